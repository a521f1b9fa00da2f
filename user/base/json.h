/* SPDX-License-Identifier: Apache-2.0 */
/* cJSON with places: files that say where they do not parse, and getters that do not guess types. */
#ifndef LAPIDARY_JSON_H
#define LAPIDARY_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads a JSON file of at most `limit` bytes; nothing may follow the document. On failure `why` gets
 * "PATH:LINE:COLUMN: what", or "PATH: what". The caller deletes *out.
 */
int json_read(const char *path, size_t limit, cJSON **out, char *why, size_t why_size);
/* The same for text already in memory; `name` stands for the path. */
int json_parse(const char *name, const char *text, cJSON **out, char *why, size_t why_size);

const char *json_text(const cJSON *object, const char *key); /* borrowed; "" when absent or no string */
double json_number(const cJSON *object, const char *key, double missing);
bool json_true(const cJSON *object, const char *key);

/* Adders that keep the contracts of DESIGN.md 8 and 9; they do nothing when object is NULL. */
void json_add_hex(cJSON *object, const char *key, uint64_t value);    /* "0x7f…" */
void json_add_time(cJSON *object, const char *key, uint64_t wall_ns); /* RFC 3339; null when 0 */
void json_add_text(cJSON *object, const char *key, const char *text); /* null when "" or NULL */
/* Exact to 2^53, which cJSON's doubles hold. */
void json_add_count(cJSON *object, const char *key, uint64_t value);

#endif
