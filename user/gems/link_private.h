/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of link: one library as it is known to a link. */
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

int link_names_build(struct link_names *names, const struct object *object);
uint32_t link_hash(const char *name);
/* Is the symbol given, in a version that does? */
bool link_names_have(const struct link_names *names, const struct object *object, uint32_t hash,
		     const char *name, const char *version);

#endif
