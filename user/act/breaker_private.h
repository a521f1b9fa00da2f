/* SPDX-License-Identifier: Apache-2.0 */
/* What breaker.c (which breaker) and breaker_state.c (what becomes of one) share. */
#ifndef LAPIDARY_BREAKER_PRIVATE_H
#define LAPIDARY_BREAKER_PRIVATE_H

#include "user/act/breaker.h"
#include "user/act/dice.h"
#include "user/base/table.h"

struct breaker_entry {
	struct breaker breaker;
	uint64_t evidence_ns; /* the latest */
	uint64_t closed_ns;   /* of the last closing, 0: never */
	uint64_t settled_ns;  /* opened again soon: until then the prober may not close it */
	uint64_t judged_ns;   /* the prober's latest word that says something, 0: none */
	uint32_t successes;   /* of the prober, in a row */
	uint64_t trial_end_ns;
	uint64_t failed_peer; /* that had the last trial */
};

struct breakers {
	struct breaker_settings settings;
	struct breakers_events events;
	struct dice dice;
	struct table *table; /* scope, target and kind to struct breaker_entry */
	struct table
		*trials; /* trial_id to struct breaker_entry *: peers may send outcomes by the thousand */
	uint32_t seq;
	uint64_t now_ns; /* of the latest call; never goes back */
	size_t open;
};

enum breaker_verdict { SAYS_NOTHING, SAYS_WELL, SAYS_ILL };

/* True when it is not closed and may stay so; one that ran out is closed by asking. NULL: false. */
bool breaker_lasts(struct breakers *breakers, struct breaker_entry *entry);
void breaker_open(struct breakers *breakers, struct breaker_entry *entry, const char *reason,
		  const char *incident, uint32_t hold_ms);
void breaker_close(struct breakers *breakers, struct breaker_entry *entry, const char *reason);
/* One that is open already is open for a statement from now on, too. */
void breaker_poison(struct breakers *breakers, struct breaker_entry *entry);
void breaker_evidence(struct breakers *breakers, struct breaker_entry *entry);
enum breaker_verdict breaker_judge(enum breaker_kind kind, enum probe_result result, const char *sqlstate,
				   bool reached);
void breaker_hear(struct breakers *breakers, struct breaker_entry *entry, enum breaker_verdict verdict);
/* Whoever has the trial lost it: another may have it. */
void breaker_take_back(struct breakers *breakers, struct breaker_entry *entry);
void breaker_fail(struct breakers *breakers, struct breaker_entry *entry, const char *reason);
void breaker_step(struct breakers *breakers, struct breaker_entry *entry);

#endif
