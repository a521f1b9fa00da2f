/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds: after a crash loop is seen, the boots of that scope's workers wait, longer after each further
 * crash, at most 20 s (Puma kills a boot at 60, FACTS.md 8) with jitter, so that a master that respawns at
 * once does not burn the host and hammer the database. A hold reaches the worker as hold_ms of its welcome,
 * and the worker itself ends it when the agent falls silent: nobody stays held by a dead agent. Pure.
 */
#ifndef LAPIDARY_HOLD_H
#define LAPIDARY_HOLD_H

#include <stddef.h>
#include "user/act/scope.h"

enum { HOLD_MAX_MS = 20000 };

struct hold_settings {
	uint32_t first_ms; /* 1000: doubled by each crash after the decision */
	uint32_t max_ms;   /* at most HOLD_MAX_MS */
	uint32_t calm_ms;  /* 60000 without a crash: the hold is over */
};

struct hold {
	struct ev_scope scope;
	uint64_t since_ns, last_crash_ns;
	uint32_t crashes; /* since the decision */
	uint32_t boots;   /* that were held */
	uint32_t wait_ms; /* before jitter, of the next boot */
	char incident[20], reason[256];
};

struct holds;
struct holds *holds_new(const struct hold_settings *settings, uint64_t seed);
void holds_free(struct holds *holds);
int holds_begin(struct holds *holds, const struct ev_scope *scope, const char *reason, const char *incident,
		uint64_t now_ns); /* one that lasts is only prolonged */
void holds_crash(struct holds *holds, const struct ev_scope *scope, uint64_t now_ns);
/* How long this boot waits: 0 without a hold, else wait_ms with jitter: 75 to 100 % of it. Counts the boot.
 */
uint32_t holds_boot(struct holds *holds, const struct ev_scope *scope, uint64_t now_ns);
bool holds_end(struct holds *holds, const struct ev_scope *scope);
void holds_release(struct holds *holds);               /* all */
void holds_tick(struct holds *holds, uint64_t now_ns); /* calm ones end */
const struct hold *holds_find(const struct holds *holds, const struct ev_scope *scope);
void holds_each(const struct holds *holds, void (*fn)(void *context, const struct hold *hold), void *context);

#endif
