// SPDX-License-Identifier: Apache-2.0
/*
 * A set of the names that an object gives. Names repeat with other versions, so a chain of probes goes on
 * until a free slot. The table is at most half full; the objects may be hostile, but their names were hashed
 * by whoever made them for ld.so as well, and the symbols of one object are bounded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/gems/link_private.h"

uint32_t link_hash(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	/* the low bits choose the slot: let all bits take part */
	hash ^= hash >> 15;
	hash *= 0x2c1b3c6du;
	return hash ^ hash >> 12;
}

int link_names_build(struct link_names *names, const struct object *object)
{
	uint32_t size = 8;

	while (size < object->given_count * 2u)
		size *= 2;
	names->slots = calloc(size, sizeof(*names->slots));
	if (!names->slots)
		return -ENOMEM;
	names->mask = size - 1;
	for (uint32_t i = 0; i < object->given_count; i++) {
		uint32_t hash = link_hash(object_text(object, object_given(object, i)->name)), at = hash;

		while (names->slots[at & names->mask].index)
			at++;
		names->slots[at & names->mask] = (struct link_slot){hash, i + 1};
	}
	return 0;
}

bool link_names_have(const struct link_names *names, const struct object *object, uint32_t hash,
		     const char *name, const char *version)
{
	for (uint32_t at = hash; names->slots[at & names->mask].index; at++) {
		const struct link_slot *slot = &names->slots[at & names->mask];
		const struct object_symbol *given;
		const char *has;

		if (slot->hash != hash)
			continue;
		given = object_given(object, slot->index - 1);
		if (strcmp(object_text(object, given->name), name) != 0)
			continue;
		has = object_text(object, given->version);
		/* ld.so: who gives it without a version gives it to all; musl looks at no version */
		if (!*version || !*has || object->libc == OBJECT_LIBC_MUSL || strcmp(has, version) == 0)
			return true;
	}
	return false;
}

bool link_is_ruby_name(const char *name)
{
	static const char *const starts[] = {"rb_", "ruby_", "rbimpl_", "onig", "Onig", "Init_"};

	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
		if (strncmp(name, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

const char *link_glibc_version(const struct object *libc)
{
	const char *best = "";
	long best_major = 0, best_minor = 0;

	for (size_t i = 0; i < libc->given_count; i++) {
		const char *version = object_text(libc, object_given(libc, i)->version);
		char *end;
		long major, minor;

		if (strncmp(version, "GLIBC_", 6) != 0)
			continue;
		major = strtol(version + 6, &end, 10);
		if (*end != '.')
			continue;
		minor = strtol(end + 1, NULL, 10);
		if (major > best_major || (major == best_major && minor > best_minor)) {
			best = version + 6;
			best_major = major;
			best_minor = minor;
		}
	}
	return best;
}
