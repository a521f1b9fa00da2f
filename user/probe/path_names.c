// SPDX-License-Identifier: Apache-2.0
/* Chained hashing that doubles with the load. What bounds it are the regions that refer to its paths. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/digest.h"
#include "user/probe/path_names.h"

struct name {
	struct name *next;
	uint64_t digest;
	size_t references, size;
	char text[];
};

struct path_names {
	struct name **buckets;
	size_t bucket_count, count, bytes;
};

struct path_names *path_names_new(void)
{
	struct path_names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->bucket_count = 64;
	names->buckets = calloc(names->bucket_count, sizeof(*names->buckets));
	if (!names->buckets) {
		free(names);
		return NULL;
	}
	return names;
}

void path_names_free(struct path_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->bucket_count; i++) {
		struct name *name = names->buckets[i], *next;

		for (; name; name = next) {
			next = name->next;
			free(name);
		}
	}
	free(names->buckets);
	free(names);
}

static struct name *name_of(const char *kept)
{
	return (struct name *)(kept - offsetof(struct name, text));
}

static struct name **find(const struct path_names *names, uint64_t digest, const char *path)
{
	struct name **link = &names->buckets[digest & (names->bucket_count - 1)];

	while (*link && ((*link)->digest != digest || strcmp((*link)->text, path) != 0))
		link = &(*link)->next;
	return link;
}

/* A failed growth costs speed, not correctness. */
static void grow(struct path_names *names)
{
	size_t bucket_count = names->bucket_count * 2;
	struct name **buckets = calloc(bucket_count, sizeof(*buckets));

	if (!buckets)
		return;
	for (size_t i = 0; i < names->bucket_count; i++) {
		struct name *name = names->buckets[i], *next;

		for (; name; name = next) {
			next = name->next;
			name->next = buckets[name->digest & (bucket_count - 1)];
			buckets[name->digest & (bucket_count - 1)] = name;
		}
	}
	free(names->buckets);
	names->buckets = buckets;
	names->bucket_count = bucket_count;
}

const char *path_names_keep(struct path_names *names, const char *path)
{
	uint64_t digest = digest_mix(digest_text(DIGEST_START, path));
	struct name **link = find(names, digest, path), *name = *link;
	size_t size = strlen(path) + 1;

	if (name)
		return path_names_again(name->text);
	name = malloc(sizeof(*name) + size);
	if (!name)
		return NULL;
	*name = (struct name){.digest = digest, .references = 1, .size = sizeof(*name) + size};
	memcpy(name->text, path, size);
	*link = name;
	names->bytes += name->size;
	if (++names->count > names->bucket_count)
		grow(names);
	return name->text;
}

const char *path_names_again(const char *kept)
{
	name_of(kept)->references++;
	return kept;
}

void path_names_drop(struct path_names *names, const char *kept)
{
	struct name *name = name_of(kept), **link;

	if (--name->references > 0)
		return;
	link = find(names, name->digest, name->text);
	*link = name->next;
	names->count--;
	names->bytes -= name->size;
	free(name);
}

size_t path_names_memory(const struct path_names *names)
{
	return sizeof(*names) + names->bucket_count * sizeof(*names->buckets) + names->bytes;
}
