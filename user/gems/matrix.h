/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is publicly known of gems with native code: rules/gems.json, each line with its reference. A line that
 * does not apply, or asks for what is not known, says nothing; what no line names is MATRIX_UNKNOWN, never
 * good. Asking is pure.
 */
#ifndef LAPIDARY_MATRIX_H
#define LAPIDARY_MATRIX_H

#include <cjson/cJSON.h>
#include <stddef.h>

struct matrix;

enum matrix_rating {
	MATRIX_UNKNOWN,
	MATRIX_GOOD, /* its authors say that it is made for this */
	MATRIX_RISK, /* known to fail under conditions that are stated: told, decides nothing */
	MATRIX_BAD,  /* known not to build, load or work */
};

/* Every text "" when it is not known. */
struct matrix_query {
	const char *gem, *version;
	const char *ruby;             /* "3.3.8" */
	const char *platform;         /* of the gem: "x86_64-linux-musl", "ruby": built from source */
	const char *libc;             /* "glibc", "musl" */
	const char *const *libraries; /* sonames that it gets: "libpq.so.5", "libssl.so.3" */
	size_t library_count;
};

/* Borrowed from the matrix. */
struct matrix_answer {
	enum matrix_rating rating;
	const char *id;         /* "pg-gss-after-fork" */
	const char *says;       /* one line for people */
	const char *fixed_in;   /* "1.5.4", "" when none is known */
	const char *title, *at; /* its first reference */
	const cJSON *line;
};

enum { MATRIX_FILE_LIMIT = 512 << 10, MATRIX_LINES_MAX = 1024, MATRIX_ANSWERS = 8 };

/*
 * Reads rules_dir/gems.json against rules_dir/schema/gems.schema.json; where rules_dir has none, the one that
 * is installed; where that is missing too, nothing is known. 0, or -errno with one line in `why`. The caller
 * frees.
 */
int matrix_load(const char *rules_dir, struct matrix **out, char *why, size_t why_size);
/* The same from text; `schema` is borrowed and may be NULL: then what the reader needs is checked alone. */
int matrix_parse(const char *name, const char *text, const cJSON *schema, struct matrix **out, char *why,
		 size_t why_size);
void matrix_free(struct matrix *matrix); /* NULL-safe */

size_t matrix_count(const struct matrix *matrix);

/* Fills at most `size` lines that apply, worst first; returns how many. NULL matrix: 0. */
size_t matrix_ask(const struct matrix *matrix, const struct matrix_query *query, struct matrix_answer *out,
		  size_t size);

const char *matrix_rating_name(enum matrix_rating rating);

#endif
