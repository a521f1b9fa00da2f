/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Series: the notices of one rule that have the same key, their window and the incident they opened. A table
 * of bounded size; nothing joins two scopes in it, not even one name and one target.
 */
#ifndef LAPIDARY_SERIES_H
#define LAPIDARY_SERIES_H

#include "user/rules/rule.h"

#define SECOND_NS 1000000000ull

struct series {
	const struct rule *rule;
	uint64_t key;   /* its own, for ids */
	uint64_t place; /* digest of scope and target, where the rule counts by both; else 0 */
	struct window window;
	struct incident *incident; /* NULL: none open */
	uint32_t asked;            /* how often its incident asked for decisions */
	uint64_t asked_ns;         /* when it last did; 0: nothing of that still stands */
};

/* series.c */
struct table *series_table_new(void);
uint64_t series_key(const struct rule *rule, const struct notice *notice);
/* In a table that has room. NULL: no memory. */
struct series *series_new(struct table *table, uint64_t key, const struct rule *rule,
			  const struct notice *notice);
/* Frees what an incident left behind. */
void series_calm(struct series *series);
/* The scope a notice is about; zeroed where it has none. */
void notice_scope(const struct notice *notice, struct ev_scope *out);
/* A breaker closed: who counts its scope and target begins anew. */
void series_begin_anew(struct table *table, const struct ev_breaker *breaker);

/* decide.c */
/* What the window keeps of a notice. */
void decide_entry(const struct rule *rule, const struct notice *notice, struct window_entry *out);
struct tally tally_of(const struct series *series, const struct notice *notice);
/* True when the volume for asking is there: at first, or once more. */
bool decide_due(const struct series *series, const struct notice *notice, const struct tally *tally);
void decide(struct series *series, const struct notice *notice, const struct tally *tally,
	    const struct rules_sink *sink);

#endif
