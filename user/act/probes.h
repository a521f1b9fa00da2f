/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the prober tests which database: every (scope, target) that is in use, seldom while all is well, often
 * after a failure and while a breaker is not closed, a few at a time. Pure scheduling; asking is a callback.
 */
#ifndef LAPIDARY_PROBES_H
#define LAPIDARY_PROBES_H

#include "user/act/scope.h"

struct probes_settings {
	uint32_t interval_ms; /* 5000; 0: never probe */
	uint32_t urgent_ms;   /* 500: after a failure, or while a breaker is open */
	uint32_t idle_ms;     /* 600000: a target not used for so long is forgotten, unless it is urgent */
	uint32_t running_max; /* 8 */
	uint32_t targets_max; /* 512 */
};

struct probes_question {
	uint64_t token;
	struct ev_scope scope;
	char target[SCOPE_TARGET_SIZE];
	uint32_t tgid; /* a living process of the scope, whose namespaces are entered */
	uint64_t start_ns;
};

struct probes_answer {
	struct ev_scope scope;
	char target[SCOPE_TARGET_SIZE];
	enum probe_result result;
	char sqlstate[8];
	uint32_t ms;
	bool reached;       /* also by an earlier answer */
	uint64_t tested_ns; /* last_connection_test */
};

struct probes_events {
	void *context;
	/* 0: it will be answered; -EAGAIN: later; any other: counts as PROBE_NOT_RUN. */
	int (*ask)(void *context, const struct probes_question *question);
	void (*answered)(void *context, const struct probes_answer *answer);
};

struct probes;
struct probes *probes_new(const struct probes_settings *settings, uint64_t seed,
			  const struct probes_events *events);
void probes_free(struct probes *probes);
/* The scope uses the target (a connect was seen, or the configuration names it); the latest process counts.
 */
void probes_used(struct probes *probes, const struct ev_scope *scope, const char *target, uint32_t tgid,
		 uint64_t start_ns, uint64_t now_ns);
/* Its scopes are tested again when another process of theirs is known. One look-up for whoever reached none.
 */
void probes_process_gone(struct probes *probes, uint32_t tgid, uint64_t start_ns);
/* A process of the scope, whether it uses anything or not. */
void probes_reach(struct probes *probes, const struct ev_scope *scope, uint32_t tgid, uint64_t start_ns);
void probes_urgent(struct probes *probes, const struct ev_scope *scope, const char *target, bool urgent,
		   uint64_t now_ns);
void probes_answer(struct probes *probes, uint64_t token, enum probe_result result, const char *sqlstate,
		   uint32_t ms, uint64_t now_ns);
void probes_tick(struct probes *probes, uint64_t now_ns);
/* The latest answer about a target; false: not tested yet. */
bool probes_latest(const struct probes *probes, const struct ev_scope *scope, const char *target,
		   struct probes_answer *out);
void probes_each(const struct probes *probes, void (*fn)(void *context, const struct probes_answer *answer),
		 void *context);

#endif
