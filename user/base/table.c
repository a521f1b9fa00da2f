// SPDX-License-Identifier: Apache-2.0
/* Chained hashing over individually allocated entries (values must not move), with an intrusive list in
 * order of use. Buckets double with the load; they never shrink, the limit bounds them. */
#include <stdlib.h>
#include <string.h>
#include "user/base/digest.h"
#include "user/base/table.h"

struct entry {
	struct entry *next_in_bucket;
	struct entry *older, *newer;
	uint64_t hash;
	_Alignas(16) unsigned char bytes[]; /* value, then key */
};

struct table {
	size_t key_size, value_size, limit, count, bucket_count;
	uint64_t evicted;
	struct entry **buckets;
	struct entry *oldest, *newest;
	table_gone_fn gone;
	void *context;
};

static void *entry_key(const struct table *table, struct entry *entry)
{
	return entry->bytes + table->value_size;
}

struct table *table_new(size_t key_size, size_t value_size, size_t limit, table_gone_fn gone, void *context)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->bucket_count = 16;
	table->buckets = calloc(table->bucket_count, sizeof(*table->buckets));
	if (!table->buckets) {
		free(table);
		return NULL;
	}
	table->key_size = key_size;
	table->value_size = (value_size + 15) & ~(size_t)15; /* so that the key behind it is aligned, too */
	table->limit = limit > 0 ? limit : 1;
	table->gone = gone;
	table->context = context;
	return table;
}

static struct entry **bucket_of(const struct table *table, uint64_t hash)
{
	return &table->buckets[hash & (table->bucket_count - 1)];
}

static struct entry **find(const struct table *table, const void *key, uint64_t hash)
{
	struct entry **link = bucket_of(table, hash);

	while (*link && ((*link)->hash != hash || memcmp(entry_key(table, *link), key, table->key_size) != 0))
		link = &(*link)->next_in_bucket;
	return link;
}

static uint64_t hash_of(const struct table *table, const void *key)
{
	return digest_mix(digest_fnv(DIGEST_START, key, table->key_size));
}

static void unlink_use(struct table *table, struct entry *entry)
{
	*(entry->older ? &entry->older->newer : &table->oldest) = entry->newer;
	*(entry->newer ? &entry->newer->older : &table->newest) = entry->older;
}

static void link_newest(struct table *table, struct entry *entry)
{
	entry->older = table->newest;
	entry->newer = NULL;
	*(table->newest ? &table->newest->newer : &table->oldest) = entry;
	table->newest = entry;
}

static void remove_entry(struct table *table, struct entry **link)
{
	struct entry *entry = *link;

	if (!entry)
		return;
	*link = entry->next_in_bucket;
	unlink_use(table, entry);
	table->count--;
	if (table->gone)
		table->gone(table->context, entry_key(table, entry), entry->bytes);
	free(entry);
}

/* A failed growth costs speed, not correctness. */
static void grow(struct table *table)
{
	size_t count = table->bucket_count * 2;
	struct entry **buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return;
	free(table->buckets);
	table->buckets = buckets;
	table->bucket_count = count;
	for (struct entry *entry = table->oldest; entry; entry = entry->newer) {
		struct entry **bucket = bucket_of(table, entry->hash);

		entry->next_in_bucket = *bucket;
		*bucket = entry;
	}
}

void *table_peek(const struct table *table, const void *key)
{
	struct entry *entry = *find(table, key, hash_of(table, key));

	return entry ? entry->bytes : NULL;
}

void *table_get(struct table *table, const void *key)
{
	struct entry *entry = *find(table, key, hash_of(table, key));

	if (!entry)
		return NULL;
	unlink_use(table, entry);
	link_newest(table, entry);
	return entry->bytes;
}

void *table_put(struct table *table, const void *key, bool *fresh)
{
	uint64_t hash = hash_of(table, key);
	void *value = table_get(table, key);
	struct entry *entry;

	if (fresh)
		*fresh = value == NULL;
	if (value)
		return value;
	if (table->count >= table->limit) {
		remove_entry(table, find(table, entry_key(table, table->oldest), table->oldest->hash));
		table->evicted++;
	}
	entry = calloc(1, sizeof(*entry) + table->value_size + table->key_size);
	if (!entry)
		return NULL;
	entry->hash = hash;
	memcpy(entry_key(table, entry), key, table->key_size);
	entry->next_in_bucket = *bucket_of(table, hash);
	*bucket_of(table, hash) = entry;
	link_newest(table, entry);
	if (++table->count > table->bucket_count)
		grow(table);
	return entry->bytes;
}

bool table_delete(struct table *table, const void *key)
{
	struct entry **link = find(table, key, hash_of(table, key));

	if (!*link)
		return false;
	remove_entry(table, link);
	return true;
}

size_t table_count(const struct table *table)
{
	return table->count;
}

uint64_t table_evicted(const struct table *table)
{
	return table->evicted;
}

void table_each(struct table *table, void (*fn)(void *, const void *, void *), void *context)
{
	for (struct entry *entry = table->oldest, *next; entry; entry = next) {
		next = entry->newer;
		fn(context, entry_key(table, entry), entry->bytes);
	}
}

void table_free(struct table *table)
{
	if (!table)
		return;
	while (table->oldest)
		remove_entry(table, find(table, entry_key(table, table->oldest), table->oldest->hash));
	free(table->buckets);
	free(table);
}
