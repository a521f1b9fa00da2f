// SPDX-License-Identifier: Apache-2.0
/*
 * An object comes from a process that read a hostile file and may have been taken over by it, or from a cache
 * on disk. What passes here can be walked, shown and compared without harm, true or not.
 */
#include <string.h>
#include "user/elf/object.h"

static size_t lists_size(const struct object *object)
{
	return object->needed_count * sizeof(object_name) +
	       ((size_t)object->asked_count + object->given_count) * sizeof(struct object_symbol);
}

static const char *text_of(const struct object *object)
{
	return (const char *)object->rest + lists_size(object);
}

static bool check_text(const struct object *object)
{
	const char *text = text_of(object);

	if (text[0] != '\0' || text[object->text_size - 1] != '\0')
		return false;
	for (size_t i = 0; i < object->text_size; i++)
		if (text[i] != '\0' && ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e))
			return false;
	return true;
}

static bool check_symbols(const struct object *object, const struct object_symbol *symbols, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (symbols[i].name >= object->text_size || symbols[i].version >= object->text_size ||
		    symbols[i].weak > 1)
			return false;
	return true;
}

static bool check_version(const struct object *object)
{
	const char *end = memchr(object->ruby_version, '\0', sizeof(object->ruby_version));

	return end && strspn(object->ruby_version, "0123456789.") == (size_t)(end - object->ruby_version);
}

static bool check_head(const struct object *object)
{
	const object_name names[] = {object->ruby_platform, object->soname, object->interpreter,
				     object->runpath, object->libc_version};

	if (object->libc > OBJECT_LIBC_MUSL || (object->bits != 32 && object->bits != 64) ||
	    object->big_endian > 1 || object->build_id_len > sizeof(object->build_id) ||
	    !check_version(object))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i] >= object->text_size)
			return false;
	return true;
}

bool object_check(const struct object *object, size_t size)
{
	if (size < sizeof(*object) || object->size != size || object->needed_count > OBJECT_NEEDED_MAX ||
	    object->asked_count > OBJECT_SYMBOLS_MAX || object->given_count > OBJECT_SYMBOLS_MAX ||
	    object->text_size == 0 || object->text_size > OBJECT_TEXT_MAX)
		return false;
	if (sizeof(*object) + lists_size(object) + object->text_size != size)
		return false;
	if (!check_text(object) || !check_head(object))
		return false;
	for (size_t i = 0; i < object->needed_count; i++)
		if (((const object_name *)object->rest)[i] >= object->text_size)
			return false;
	return check_symbols(object, object_asked(object, 0), object->asked_count) &&
	       check_symbols(object, object_given(object, 0), object->given_count);
}

const char *object_text(const struct object *object, object_name name)
{
	return text_of(object) + name;
}

const char *object_needed(const struct object *object, size_t i)
{
	return object_text(object, ((const object_name *)object->rest)[i]);
}

const struct object_symbol *object_asked(const struct object *object, size_t i)
{
	return (const struct object_symbol *)(object->rest + object->needed_count * sizeof(object_name)) + i;
}

const struct object_symbol *object_given(const struct object *object, size_t i)
{
	return object_asked(object, object->asked_count) + i;
}
