/* SPDX-License-Identifier: Apache-2.0 */
/* What an address of a crashed process points at, as far as its bundle tells. */
#ifndef LAPIDARY_CRASH_PLACES_H
#define LAPIDARY_CRASH_PLACES_H

#include "user/crash/bundle_files.h"

enum place_class {
	PLACE_ZERO,    /* 0 */
	PLACE_SMALL,   /* below 64 KiB: a number, or a field of what is not there */
	PLACE_STACK,   /* in the captured stack, or on its last page */
	PLACE_FILE,    /* in a mapped file */
	PLACE_MAPPING, /* in a mapping without a file */
	PLACE_NOT_CANONICAL,
	PLACE_OTHER, /* heap, data, or nothing: not known */
};

struct places {
	const cJSON *report;
	struct bundle_maps maps;
	struct bundle_stack stack;
	bool has_stack;
};

/* 0 or -ENOMEM. The bundle must outlive it. */
int places_init(struct places *places, const struct bundle_files *bundle);
void places_done(struct places *places);

enum place_class place_class(const struct places *places, uint64_t address);
const char *place_class_name(enum place_class class); /* "zero", "small", "stack", … */
/* "libruby-3.1.so.3.1 +0x1b530", "stack +0x20", "zero": out is not cleaned. */
void place_text(const struct places *places, uint64_t address, char *out, size_t size);
/* Base name of the file that holds it; "" for none. Borrowed from the bundle. */
const char *place_file(const struct places *places, uint64_t address);

#endif
