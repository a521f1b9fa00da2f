/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the core writer: the file as it grows, and its notes. */
#ifndef LAPIDARY_CORE_PARTS_H
#define LAPIDARY_CORE_PARTS_H

#include "user/crash/core.h"

/* Bytes that grow; a failed allocation is remembered and everything after it does nothing. */
struct image {
	uint8_t *bytes;
	size_t size, room;
	bool failed;
};

/* Appends and returns where it begins. `bytes` may be NULL: zeroes. */
size_t image_add(struct image *image, const void *bytes, size_t size);
void image_align(struct image *image, size_t to);
/* Overwrites what was added before. */
void image_put(struct image *image, size_t at, const void *bytes, size_t size);

/* A note of the owner "CORE". */
void note_add(struct image *image, uint32_t type, const void *bytes, size_t size);

/*
 * PRSTATUS, PRPSINFO, SIGINFO as this processor has them. -ENODATA: the report has no registers.
 * core_x86_64.c
 */
int core_notes_process(struct image *image, const cJSON *report);
/* AUXV and FILE, where the bundle has what they hold. */
void core_notes_memory(struct image *image, const cJSON *report, const struct bundle_maps *maps,
		       struct core_gaps *gaps);

/*
 * The list of loaded files as the dynamic linker keeps it (struct r_debug, struct link_map and the names),
 * as if it lay at `address`. Empty when the program or its files are not known.
 */
void core_link_map(struct image *image, const cJSON *report, uint64_t address, struct core_gaps *gaps);

/* The module that holds AT_ENTRY; NULL: not known. */
const cJSON *core_program_module(const cJSON *report);

#endif
