/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle as it was read back, from a store's folder or from an exported file: everything in it may be
 * damaged or forged, and no field is promised to be there.
 */
#ifndef LAPIDARY_BUNDLE_FILES_H
#define LAPIDARY_BUNDLE_FILES_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "user/probe/maps.h"

enum bundle_file { BUNDLE_REPORT, BUNDLE_MAPS, BUNDLE_EVENTS, BUNDLE_STDERR, BUNDLE_STACK, BUNDLE_FILES };

struct bundle_file_kind {
	const char *name;
	size_t limit; /* bytes; what is larger is no such file */
};
extern const struct bundle_file_kind bundle_file_kinds[BUNDLE_FILES];

struct bundle_files {
	cJSON *report;
	struct {
		char *bytes; /* NUL-terminated beyond its size; NULL: not there */
		size_t size;
	} files[BUNDLE_FILES];
	char place[4608]; /* the folder or file it was read from */
};

void bundle_files_done(struct bundle_files *bundle);

/* Takes `bytes` (freed also on failure) for report.json. -EBADMSG with `why`: "PLACE/report.json:3:1: …". */
int bundle_files_parse(struct bundle_files *bundle, char *why, size_t why_size);

/* --- what every reader asks of a report --- */
/* The member of an object, NULL when absent. */
const cJSON *report_part(const cJSON *object, const char *key);
/* "0x1f" → true; false and *out untouched when it is absent, null or no such text. */
bool report_hex(const cJSON *object, const char *key, uint64_t *out);

/* --- maps.txt --- */
struct bundle_map {
	uint64_t start, end, offset;
	uint32_t protection;         /* PROT_* */
	const char *path, *build_id; /* "" where there is none; borrowed from the map list */
};

struct bundle_maps {
	struct bundle_map *list;
	size_t count;
	size_t bad; /* lines that did not parse */
};

/* In address order; overlapping ones are left out and counted as bad. 0 or -ENOMEM. */
int bundle_maps_read(const char *text, size_t size, struct bundle_maps *out);
void bundle_maps_done(struct bundle_maps *maps);
const struct bundle_map *bundle_maps_find(const struct bundle_maps *maps, uint64_t address);

/* --- the stack: from the stack pointer on, and the windows of struct ev_fault --- */
enum { BUNDLE_PIECES = 512, BUNDLE_STRETCHES = 3 };

/* Its pieces are cut where pages begin. */
struct bundle_stretch {
	uint64_t address;
	const uint8_t *bytes;
	size_t size;
	uint8_t missing[BUNDLE_PIECES / 8]; /* one bit a piece that could not be read */
};

struct bundle_stack {
	struct bundle_stretch stretches[BUNDLE_STRETCHES]; /* the first is from the stack pointer on */
	size_t count;
	size_t size; /* of all, as stack.bin has them one after the other */
};

/* False: none was kept, with the reason in `why` (may be NULL). */
bool bundle_stack(const struct bundle_files *bundle, struct bundle_stack *out, char *why, size_t why_size);
/* The stretch that the address lies in, whether it was read or not; NULL: none. */
const struct bundle_stretch *bundle_stack_at(const struct bundle_stack *stack, uint64_t address);
/* Is the byte at this address here? */
bool bundle_stretch_has(const struct bundle_stretch *stretch, uint64_t address);
bool bundle_stack_has(const struct bundle_stack *stack, uint64_t address);
/* Copies at most `size` readable bytes from `address` on, up to the first that is missing; how many. */
size_t bundle_stack_read(const struct bundle_stack *stack, uint64_t address, void *out, size_t size);

#endif
