/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded hash table: fixed-size keys and values, and a limit at which the least recently used entry
 * makes room. Whatever a watched process can make grow lives in one of these.
 *
 * Values never move: a pointer stays good until its entry is deleted or evicted. Keys are compared byte
 * by byte: zero the padding. Iteration goes from the least to the most recently used, so it is the same
 * for the same history.
 */
#ifndef LAPIDARY_TABLE_H
#define LAPIDARY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table;

/* Called with key and value before an entry is deleted, evicted or freed with the table. */
typedef void (*table_gone_fn)(void *context, const void *key, void *value);

/* NULL: no memory. gone may be NULL. */
struct table *table_new(size_t key_size, size_t value_size, size_t limit, table_gone_fn gone, void *context);
void table_free(struct table *table);

/* The value, made the most recently used; NULL when there is none. */
void *table_get(struct table *table, const void *key);
/* The value without touching the order. */
void *table_peek(const struct table *table, const void *key);
/* The value, zeroed and *fresh set when it was not there. May evict. NULL: no memory. */
void *table_put(struct table *table, const void *key, bool *fresh);
bool table_delete(struct table *table, const void *key);

size_t table_count(const struct table *table);
uint64_t table_evicted(const struct table *table); /* since it was made */

/* Oldest first. fn may delete the entry it is given, and no other. */
void table_each(struct table *table, void (*fn)(void *context, const void *key, void *value), void *context);

#endif
