// SPDX-License-Identifier: Apache-2.0
/*
 * The names that a Ruby's extensions give to each other, in one table: ten thousand of them must not make
 * each missing symbol a search through ten thousand. At most half full, and bounded: what is beyond stays
 * unknown, and a symbol of it counts as missing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/gems/link_private.h"

enum { GIVEN_MAX = 1 << 20, GIVEN_START = 1024 };

static void put(struct link *link, const struct link_given *given)
{
	size_t at = given->hash;

	while (link->given[at & (link->given_size - 1)].object)
		at++;
	link->given[at & (link->given_size - 1)] = *given;
}

static int make_room(struct link *link, size_t more)
{
	struct link_given *old = link->given;
	size_t old_size = link->given_size, size = old_size ? old_size : GIVEN_START;

	while (size < (link->given_count + more) * 2)
		size *= 2;
	if (size == old_size)
		return 0;
	link->given = calloc(size, sizeof(*link->given));
	if (!link->given) {
		link->given = old;
		return -ENOMEM;
	}
	link->given_size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].object)
			put(link, &old[i]);
	free(old);
	return 0;
}

int link_add_extension(struct link *link, const struct object *object)
{
	/* most export their Init_ alone, which nobody asks for */
	if (object->given_count <= 1 || link->given_count + object->given_count > GIVEN_MAX)
		return 0;
	if (make_room(link, object->given_count) != 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < object->given_count; i++) {
		const char *name = object_text(object, object_given(object, i)->name);
		uint32_t hash = link_hash(name);

		/* once: a thousand extensions with the same names would be one long chain */
		if (link_extension_gives(link, object, hash, name))
			continue;
		put(link, &(struct link_given){object, hash, i});
		link->given_count++;
	}
	return 0;
}

bool link_extension_gives(const struct link *link, const struct object *asker, uint32_t hash,
			  const char *name)
{
	if (!link->given)
		return false;
	for (size_t at = hash; link->given[at & (link->given_size - 1)].object; at++) {
		const struct link_given *one = &link->given[at & (link->given_size - 1)];

		if (one->hash == hash && one->object->machine == asker->machine &&
		    one->object->bits == asker->bits &&
		    strcmp(object_text(one->object, object_given(one->object, one->index)->name), name) == 0)
			return true;
	}
	return false;
}
