/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules: (model, rules, now) to incidents and decisions. Pure and deterministic; how a decision is carried
 * out is not known here.
 *
 * Rules are the JSON files of one directory, validated against rules/schema/rules.schema.json when they are
 * read. A rule matches one kind of notice, counts it in a window per app, target or process, and when its
 * conditions hold it opens (or updates) an incident and asks for actions.
 */
#ifndef LAPIDARY_RULES_H
#define LAPIDARY_RULES_H

#include <cjson/cJSON.h>
#include "user/model/model.h"

struct rules;

/*
 * Reads every *.json below `directory`, in name order. Returns 0, or -errno with one line in `why`: file,
 * place in it (JSON pointer), what is wrong.
 */
int rules_load(const char *directory, struct rules **out, char *why, size_t why_size);
void rules_free(struct rules *rules);
const uint8_t *rules_digest(const struct rules *rules); /* SHA-256 over the files in name order; 32 bytes */
size_t rules_count(const struct rules *rules);

enum incident_state { INCIDENT_OPEN, INCIDENT_CLOSED };

struct incident {
	char id[20];       /* 16 hex digits, deterministic */
	char kind[32];     /* "crash", "crash_loop", "database_failures" */
	char severity[12]; /* "warning", "error", "critical" */
	char rule[48];
	char app[64];
	char subject[192]; /* what it is about: a fingerprint, a target, a process */
	char title[256];   /* one line for a person */
	char remedy[256];  /* what to do, specific; "" when the rule has none */
	enum incident_state state;
	uint64_t opened_ns, updated_ns, closed_ns;
	uint32_t count;        /* notices that belong to it */
	uint64_t lost_records; /* gaps that touch it */
	char crash_id[20];     /* the latest crash that belongs to it, "" when none */
};

/* What the rules ask for, with the counts it rests on. */
struct decision {
	char id[20];
	char incident[20];
	char rule[48];
	char action[24]; /* "alert", "worker.hold", "breaker.open", ... (DESIGN.md 6) */
	char scope[12];  /* of a breaker: "connect" or "query", else "" */
	char app[64];
	struct ev_scope scope_of; /* whose app that is */
	char target[192];
	struct identity process;
	bool of_crash; /* crashes are what it rests on, not what a database did */
	uint64_t time_ns;
	uint32_t count, window_ms; /* so many notices in so long */
	uint32_t live_workers, healthy_workers, threshold;
	char reason[256];
};

/* What one step asked for; pointers are valid during the call. */
struct rules_sink {
	void (*incident)(void *context, const struct incident *incident); /* opened, updated or closed */
	void (*decision)(void *context, const struct decision *decision);
	void *context;
};

struct rules_state; /* open incidents and windows; bounded */
struct rules_state *rules_state_new(const struct rules *rules, uint64_t seed);
void rules_state_free(struct rules_state *state);

void rules_notice(struct rules_state *state, const struct model *model, const struct notice *notice,
		  const struct rules_sink *sink);
/* Time passes: windows run out, quiet incidents close. */
void rules_tick(struct rules_state *state, const struct model *model, uint64_t now_ns,
		const struct rules_sink *sink);

/* Canonical JSON of both, key order fixed: the golden output of replay, and what the store keeps. */
cJSON *incident_json(const struct incident *incident, const struct model *model);
cJSON *decision_json(const struct decision *decision, const struct model *model);

#endif
