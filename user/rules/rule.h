/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the rules: a rule as it was read, its fields and windows. Nobody outside user/rules includes this.
 */
#ifndef LAPIDARY_RULE_H
#define LAPIDARY_RULE_H

#include "user/base/table.h"
#include "user/rules/rules.h"

enum {
	RULES_MAX = 64,
	CONDITIONS_MAX = 8,
	PER_MAX = 6,
	DECISIONS_MAX = 6,
	REMEDIES_MAX = 16, /* as the schema has it */
	WINDOW_MAX = 256,  /* notices a window counts */
	SERIES_MAX = 1024, /* keys counted at a time */
	LOSSES_KEPT = 32,
	FIELD_SIZE = 512,
};

/* field.c: what a rule may ask of a notice. */
struct field;
const struct field *field_named(const char *name, size_t length, enum notice_type type); /* NULL: none such */
void field_value(const struct field *field, const struct notice *notice, char out[FIELD_SIZE]);

/* The counts behind an incident, for templates and decisions. */
struct tally {
	uint32_t total; /* notices of the incident so far */
	uint32_t count; /* in the window */
	uint32_t window_s;
	uint32_t threshold;
	uint32_t workers; /* alive, crashing ones left out */
	uint32_t healthy; /* those of them that serve; filled in when something is decided */
};

/* template.c: "{app}: {count} crashes" */
bool template_check(const char *text, enum notice_type type, char *why, size_t why_size);
void template_fill(const char *text, const struct notice *notice, const struct tally *tally, char *out,
		   size_t size);

/* condition.c: [{"field": "signal", "in": ["SIGSEGV"]}, ...]; all must hold. Texts are borrowed from the
 * document. */
struct condition {
	const struct field *field;
	const cJSON *is, *in, *not_in, *prefix;
};
struct conditions {
	struct condition list[CONDITIONS_MAX];
	size_t count;
};
/* -EBADMSG with "/pointer: what" in why. */
int conditions_read(const cJSON *array, const char *pointer, enum notice_type type, struct conditions *out,
		    char *why, size_t why_size);
bool conditions_hold(const struct conditions *conditions, const struct notice *notice);

enum quantifier { ALWAYS, EVERY, SOME, SAME }; /* over the notices of the window */

struct rule_decision {
	const char *action, *scope, *target, *reason;
	enum quantifier quantifier;
	struct conditions when;
	uint32_t at_least;   /* SOME, SAME: so many notices */
	bool of_latest;      /* its target is the latest notice's own, not the key's */
	bool needs_a_target; /* a breaker without one breaks nothing */
};

struct rule_remedy {
	struct conditions where;
	const char *text;
};

struct rule {
	char name[48];
	cJSON *document; /* what the pointers point into */
	enum notice_type notice;
	struct conditions where;
	const struct field *per[PER_MAX];
	size_t per_count;
	bool per_app; /* then the key holds the app's whole scope */
	bool per_target;
	const struct field *same; /* what its decisions ask to be the same; NULL: none does */
	uint32_t count, window_s, quiet_s;
	uint32_t repeat_s;      /* 0: decisions are asked for once an incident */
	uint32_t share_percent; /* 0: no matter */
	const char *kind, *severity, *subject, *title, *title_many;
	struct rule_decision decisions[DECISIONS_MAX];
	size_t decision_count;
	struct rule_remedy remedies[REMEDIES_MAX];
	size_t remedy_count;
};

struct rules {
	struct rule *list;
	size_t count;
	uint8_t digest[32];
};

/* rule.c: from a document that the schema has accepted. The rule owns it on success. */
int rule_read(cJSON *document, struct rule *out, char *why, size_t why_size);
void rule_done(struct rule *rule);

/* window.c: the notices of one key in time order. */
struct window {
	struct window_entry {
		uint64_t time_ns;
		uint64_t same;  /* digest of rule.same's value; 0: it had none */
		uint32_t marks; /* bit i: decision i's condition held */
		bool spent;     /* decisions were asked for since */
	} * entries;
	uint32_t count, size;
};
/* Adds a notice and forgets what is older than `length_ns` before the latest one. */
void window_add(struct window *window, const struct window_entry *entry, uint64_t length_ns);
/* Entries that carry the mark; that have this value; that are not spent. */
uint32_t window_marked(const struct window *window, unsigned bit);
uint32_t window_same(const struct window *window, uint64_t same);
uint32_t window_fresh(const struct window *window);
void window_spend(struct window *window); /* all that is in it now */
void window_empty(struct window *window);
uint64_t window_latest(const struct window *window); /* 0: empty */
void window_done(struct window *window);

#endif
