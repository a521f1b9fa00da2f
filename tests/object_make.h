/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as the reader of ELF files makes them, without a file. */
#ifndef LAPIDARY_TESTS_OBJECT_MAKE_H
#define LAPIDARY_TESTS_OBJECT_MAKE_H

#include <assert.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include "user/elf/object.h"

struct object_made {
	const char *soname, *libc_version;
	const char *const *needed; /* ended by NULL; NULL: none */
	const char *const *asked;  /* likewise */
	uint16_t machine;          /* 0: EM_X86_64 */
	uint8_t bits;              /* 0: 64 */
	enum object_libc libc;
	uint32_t flags;
};

static inline size_t made_count(const char *const *names)
{
	size_t count = 0;

	while (names && names[count])
		count++;
	return count;
}

static inline object_name made_text(char *text, uint32_t *used, const char *add)
{
	object_name at = *used;

	if (!add || !add[0])
		return 0;
	strcpy(text + at, add);
	*used += (uint32_t)strlen(add) + 1;
	return at;
}

/* The caller's to free. */
static inline struct object *object_make(const struct object_made *what)
{
	size_t needed = made_count(what->needed), asked = made_count(what->asked);
	struct object *object = calloc(1, 65536);
	object_name *names = (object_name *)object->rest;
	struct object_symbol *symbols = (struct object_symbol *)(names + needed);
	char *text = (char *)(symbols + asked);
	uint32_t used = 1;

	object->machine = what->machine ? what->machine : EM_X86_64;
	object->bits = what->bits ? what->bits : 64;
	object->libc = what->libc;
	object->flags = what->flags;
	object->needed_count = (uint32_t)needed;
	object->asked_count = (uint32_t)asked;
	object->soname = made_text(text, &used, what->soname);
	object->libc_version = made_text(text, &used, what->libc_version);
	for (size_t i = 0; i < needed; i++)
		names[i] = made_text(text, &used, what->needed[i]);
	for (size_t i = 0; i < asked; i++)
		symbols[i].name = made_text(text, &used, what->asked[i]);
	object->text_size = used;
	object->size = (uint32_t)((size_t)(text + used - (char *)object));
	assert(object_check(object, object->size));
	return object;
}

#endif
