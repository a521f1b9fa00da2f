/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one gate: every decision passes here, and nothing acts without it. It asks, in this order: is acting
 * paused; is the scope known; is there consent (the app's own `accepts`, the configuration, --act, an
 * operator's command); would it leave no healthy worker; is there budget. What it lets through others carry
 * out, and come back with the outcome. Pure: time is an argument.
 */
#ifndef LAPIDARY_GATE_H
#define LAPIDARY_GATE_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include "user/act/scope.h"

struct gate_settings {
	uint32_t restarts_per_minute;      /* of an app's scope; 6 */
	uint32_t host_restarts_per_minute; /* 30 */
	uint32_t restarting_max;           /* workers of a scope restarting at once; 1 */
	uint32_t breakers_per_minute;      /* openings of a scope; 30 */
};

/* What the gate needs to know of a decision; strings are borrowed. Counts are those of this moment. */
struct gate_request {
	const char *decision, *incident; /* "" for an operator's command */
	const char *action;              /* "worker.restart", "breaker.open", ... */
	const char *target, *reason;
	const char *breaker; /* "connect" or "query" where the action is a breaker's, else "" */
	uint32_t count, window_ms, threshold; /* what a rule's decision rests on; zero for an operator's */
	struct ev_scope scope;
	uint32_t pid; /* 0: none */
	uint64_t start_ns;
	uint32_t live_workers;    /* of the scope, the one in question included */
	uint32_t healthy_workers; /* those of them that serve */
	bool is_worker;           /* the process is one of them; a master is not */
	bool is_healthy;          /* and serves */
	bool accepted;            /* a connected library accepts this order */
	bool configured;          /* the configuration or --act allows acting on this app */
	bool by_operator;
	uint64_t wall_ns; /* for the audit line */
};

/* The audit line: `outcome` "sent" is replaced by the final one under the same id. */
struct gate_pass {
	enum action_outcome outcome; /* ACTION_SENT: carry it out; else it ends here */
	char id[20];                 /* of the action, 16 hex digits, unique over restarts of the agent */
	char why[200];               /* the outcome's reason */
	cJSON *audit;                /* new; the caller's */
};

struct gate;
/* seed 0: ids by the kernel's chance (dice.h). */
struct gate *gate_new(const struct gate_settings *settings, uint64_t seed);
void gate_free(struct gate *gate);
/* Decides. An alert is done by being recorded; breaker.close only gives back and always passes. */
void gate_decide(struct gate *gate, const struct gate_request *request, uint64_t now_ns,
		 struct gate_pass *out);
/*
 * The same in two halves, for what somebody waits for: out->audit stays NULL until gate_audit has made it of
 * the same request. That must be before gate_outcome is called for it.
 */
void gate_judge(struct gate *gate, const struct gate_request *request, uint64_t now_ns,
		struct gate_pass *out);
void gate_audit(struct gate *gate, const struct gate_request *request, struct gate_pass *pass);
/*
 * The outcome of an action that was sent: frees what it held (a restart's place) and returns the audit line
 * anew, with outcome, outcome_reason, finished and took_ms; NULL when the id is unknown.
 */
cJSON *gate_outcome(struct gate *gate, const char *id, enum action_outcome outcome, const char *reason,
		    uint64_t wall_ns, uint64_t now_ns);

/* for_ms 0: until resumed. Resuming what is not paused is fine. */
void gate_pause(struct gate *gate, uint64_t now_ns, uint64_t for_ms);
void gate_resume(struct gate *gate);
bool gate_paused(const struct gate *gate, uint64_t now_ns, uint64_t *left_ms); /* left 0: until resumed */
uint32_t gate_restarting(const struct gate *gate, const struct ev_scope *scope);

const char *
gate_outcome_name(enum action_outcome outcome); /* "done", "observed", "refused", "failed", "sent" */

#endif
