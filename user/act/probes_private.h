/* SPDX-License-Identifier: Apache-2.0 */
/* Between probes.c (when) and probes_list.c (which). */
#ifndef LAPIDARY_PROBES_PRIVATE_H
#define LAPIDARY_PROBES_PRIVATE_H

#include "user/act/probes.h"
#include "user/base/table.h"

struct holder {
	uint64_t start_ns;
	uint32_t tgid, pad;
};

/* A scope that has entries. */
struct place {
	struct ev_scope scope;
	uint32_t tgid; /* the latest process that used a target; 0: none lives */
	uint64_t start_ns;
	uint32_t targets, running;
	uint64_t served; /* number of the latest test: who waited longest has the smallest */
};

struct entry {
	struct place *place;
	struct probes_answer latest;
	bool tested, urgent, was_reached;
	uint32_t failures; /* in a row */
	uint64_t token;    /* of the test that runs, 0: none */
	uint64_t asked_ns, due_ns, used_ns, reached_ns;
};

struct probes {
	struct probes_settings settings;
	struct probes_events events;
	struct table *entries, *places;
	struct table *holders; /* struct holder → uint32_t: the places reached through it */
	uint64_t random, tokens, served;
	uint32_t running;
};

/* False: no memory. */
bool probes_list_init(struct probes *probes);
void probes_list_done(struct probes *probes);
/* The process through which a scope is reached; tgid 0: none. */
void probes_list_hold(struct probes *probes, struct place *place, uint32_t tgid, uint64_t start_ns);
/* NULL: there is none. */
struct entry *probes_list_find(const struct probes *probes, const struct ev_scope *scope, const char *target);
/*
 * The same, made when there is room for it, or room can be had: *fresh says so. An entry that is pushed out
 * was neither running nor urgent.
 */
struct entry *probes_list_need(struct probes *probes, const struct ev_scope *scope, const char *target,
			       bool urgent, bool *fresh);

#endif
