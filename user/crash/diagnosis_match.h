/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the crash floor: a finished judgement against the known patterns. */
#ifndef LAPIDARY_DIAGNOSIS_MATCH_H
#define LAPIDARY_DIAGNOSIS_MATCH_H

#include "user/crash/blame.h"
#include "user/crash/diagnosis.h"

enum { DIAGNOSES_MAX = 128, MATCHED_MAX = 6 };

/* What is known of one crash. Borrowed. */
struct facts {
	const struct crash_input *input;
	const struct frames *frames;
	const struct abi_mismatch *abi;
	const struct blame *blame;
	enum cause cause;
	/* filled by facts_read */
	char signal[12];
	bool connection_finished, connection_inherited;
	const char **loaded; /* base names of mapped files, each once; owned */
	const char **paths;  /* their paths; owned */
	size_t loaded_count;
};

/* 0 or -ENOMEM; facts_done afterwards either way. */
int facts_read(struct facts *facts);
void facts_done(struct facts *facts);

/* Which mapped files or files on the stack made a condition hold. */
struct matched {
	const char *names[MATCHED_MAX];
	size_t count;
};

/* The conditions of `match` hold. The document was checked against its schema. */
bool condition_holds(const struct facts *facts, const cJSON *match, struct matched *matched);

/*
 * Fills the template's {fields}. False: one of them is not known, and its place says "?". `out` is cleaned.
 */
bool diagnosis_fill(const struct facts *facts, const struct matched *matched, const char *template, char *out,
		    size_t size);
/* All {fields} of the template exist; else `unknown` points at the first that does not. */
bool diagnosis_template_good(const char *template, const char **unknown);

/* The documents that were loaded. */
const cJSON *diagnoses_at(const struct diagnoses *diagnoses, size_t index);

/* The section "diagnosis": what fits, best first. NULL: no memory. diagnoses may be NULL. */
cJSON *diagnose(const struct diagnoses *diagnoses, struct facts *facts);

/*
 * How to build a gem's extension anew: what the check told for its app, else by who installed it. "" when
 * that cannot be told, or not safely.
 */
void rebuild_command(const struct crash_input *input, const char *path, const char *gem, const char *version,
		     char *out, size_t size);

#endif
