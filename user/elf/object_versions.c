// SPDX-License-Identifier: Apache-2.0
/*
 * Symbol versions: .gnu.version has a number for each dynamic symbol; .gnu.version_r (what is asked of which
 * library) and .gnu.version_d (what is given) name the numbers, which they share. Both are lists of lists
 * whose links are distances, so a hostile one may loop: the steps are counted.
 *
 * The entries are read by the file's byte order here rather than by libelf, which would convert a chunk by
 * walking the same links.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/elf/object_private.h"

enum {
	TABLE_MAX = 64 << 10, /* libstdc++'s are 3 KiB */
	STEPS_MAX = 8192,
	NEED_SIZE = 16,
	NEED_AUX_SIZE = 16,
	DEF_SIZE = 20,
	DEF_AUX_SIZE = 8,
	INDEX_MASK = 0x7fff, /* the bit above hides a version from those who ask for none */
};

struct version_table {
	unsigned char *bytes;
	size_t size;
	unsigned int steps;
};

static bool fits(const struct version_table *table, size_t at, size_t size)
{
	return size <= table->size && at <= table->size - size;
}

/* Next place of a list: 0 when it ends, leaves the table or has gone on for too long. */
static size_t next_place(struct version_table *table, size_t at, uint32_t distance)
{
	if (distance == 0 || distance > table->size || ++table->steps > STEPS_MAX)
		return 0;
	return at + distance;
}

/* Is a newer than b? Both "2.34" or "2.2.5". */
static bool is_newer(const char *a, const char *b)
{
	while (*a || *b) {
		char *end_a, *end_b;
		long left = strtol(a, &end_a, 10), right = strtol(b, &end_b, 10);

		if (left != right)
			return left > right;
		if (end_a == a && end_b == b)
			return false;
		a = *end_a == '.' ? end_a + 1 : end_a;
		b = *end_b == '.' ? end_b + 1 : end_b;
	}
	return false;
}

static bool is_number(const char *text)
{
	return isdigit((unsigned char)*text) && text[strspn(text, "0123456789.")] == '\0' &&
	       strlen(text) < 16;
}

static int note_version(struct object_reading *reading, uint16_t index, const char *name, bool asked)
{
	object_name at;
	int err;

	if (!name || index < 2 || index >= OBJECT_VERSIONS)
		return 0;
	err = object_add_text(reading, name, strlen(name), &at);
	if (err)
		return err;
	reading->versions[index] = at;
	if (strncmp(name, "GLIBC_", 6) != 0)
		return 0;
	reading->head.libc = OBJECT_LIBC_GLIBC;
	if (asked && is_number(name + 6) &&
	    (!reading->head.libc_version ||
	     is_newer(name + 6, (const char *)reading->text.bytes + reading->head.libc_version)))
		reading->head.libc_version = at ? at + 6 : 0;
	return 0;
}

static int read_needed(struct object_reading *reading, struct version_table *table)
{
	size_t at = 0;

	while (fits(table, at, NEED_SIZE)) {
		const unsigned char *need = table->bytes + at;
		size_t aux = at + object_u32(reading, need + 8);
		size_t next;

		for (unsigned int left = object_u16(reading, need + 2);
		     left && fits(table, aux, NEED_AUX_SIZE); left--) {
			const unsigned char *entry = table->bytes + aux;
			int err = note_version(reading, object_u16(reading, entry + 6) & INDEX_MASK,
					       object_dynamic_name(reading, object_u32(reading, entry + 8)),
					       true);

			if (err)
				return err;
			aux = next_place(table, aux, object_u32(reading, entry + 12));
			if (!aux)
				break;
		}
		next = next_place(table, at, object_u32(reading, need + 12));
		if (!next)
			return 0;
		at = next;
	}
	return 0;
}

static int read_given(struct object_reading *reading, struct version_table *table)
{
	size_t at = 0;

	while (fits(table, at, DEF_SIZE)) {
		const unsigned char *def = table->bytes + at;
		size_t aux = at + object_u32(reading, def + 12), next;
		bool base = object_u16(reading, def + 2) & VER_FLG_BASE;

		/* the first name is the version's own, those behind it are its ancestors' */
		if (!base && fits(table, aux, DEF_AUX_SIZE)) {
			int err = note_version(
				reading, object_u16(reading, def + 4) & INDEX_MASK,
				object_dynamic_name(reading, object_u32(reading, table->bytes + aux)), false);

			if (err)
				return err;
		}
		next = next_place(table, at, object_u32(reading, def + 16));
		if (!next)
			return 0;
		at = next;
	}
	return 0;
}

static int read_table(struct object_reading *reading, uint64_t address,
		      int (*read)(struct object_reading *, struct version_table *))
{
	struct version_table table = {0};
	int err;

	if (!address)
		return 0;
	table.bytes = malloc(TABLE_MAX);
	if (!table.bytes)
		return -ENOMEM;
	table.size = object_bytes(reading, address, table.bytes, TABLE_MAX);
	err = read(reading, &table);
	if (table.steps > STEPS_MAX)
		reading->head.flags |= OBJECT_CUT;
	free(table.bytes);
	return err;
}

int object_read_versions(struct object_reading *reading)
{
	int err = read_table(reading, reading->dynamic.needed_versions, read_needed);

	return err ? err : read_table(reading, reading->dynamic.given_versions, read_given);
}
