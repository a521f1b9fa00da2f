/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of link. */
#ifndef LAPIDARY_GEMS_LINK_PRIVATE_H
#define LAPIDARY_GEMS_LINK_PRIVATE_H

#include "user/gems/link.h"

struct link_slot {
	uint32_t hash, index; /* index of the given symbol + 1; 0: free */
};

/* The given names of one object. */
struct link_names {
	struct link_slot *slots;
	uint32_t mask;
};

struct link_library {
	char *path;
	const struct object *object;
	int result; /* 0, or why there is no object */
	struct link_names names;
	struct link_library *next; /* of the same bucket */
};

enum { LINK_BUCKETS = 256 };

struct link_member {
	struct link_library *library; /* NULL only for an extension that is judged */
	const struct object *object;
	const char *path;
	const char *asked; /* the name by which it was asked for, "" for the first */
	int asker;         /* index, -1 for the first */
};

struct link_closure {
	size_t count;
	struct link_member members[LINK_LIBRARIES];
};

/* A name that an extension gives; object NULL: a free slot. */
struct link_given {
	const struct object *object;
	uint32_t hash, index;
};

struct link {
	struct link_options options;
	struct link_library *buckets[LINK_BUCKETS];
	struct link_closure program; /* the Ruby and its libraries */
	bool program_uncertain, musl;
	struct link_closure work; /* the extension's: here, since it is too large for a stack */
	struct link_given *given; /* of all extensions; a power of two */
	size_t given_count, given_size;
};

/* What a search is about. */
struct link_search {
	struct link *link;
	const struct object *asker; /* whose class and machine it must have */
	const char *name;
	struct link_library *found;
	bool unreadable, no_memory;
};

/* Fills in found, unreadable or no_memory: for what closure->members[asker] asks. */
void link_search_library(struct link_search *search, const struct link_closure *closure, int asker);
/* Is it a name of musl's one file? */
bool link_is_musl_itself(const char *name);
/* The library at a path, opened at the first question; NULL: no memory. Its names are hashed when used. */
struct link_library *link_library_at(struct link *link, const char *path);

/* Does an extension of that machine give it? */
bool link_extension_gives(const struct link *link, const struct object *asker, uint32_t hash,
			  const char *name);

int link_names_build(struct link_names *names, const struct object *object);
uint32_t link_hash(const char *name);
/* Is the symbol given, in a version that does? */
bool link_names_have(const struct link_names *names, const struct object *object, uint32_t hash,
		     const char *name, const char *version);

#endif
