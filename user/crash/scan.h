/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conservative look at a captured stack: words that point into executable mappings, innermost first.
 * Some are return addresses and some are leftovers; without unwind tables they cannot be told apart, so
 * whoever uses them says that they are scan results.
 */
#ifndef LAPIDARY_SCAN_H
#define LAPIDARY_SCAN_H

#include "user/crash/module.h"

enum { SCAN_FRAMES = 24 };

struct crash_input;

struct scan_frame {
	uint64_t address;
	size_t distance;                  /* bytes above the stack pointer */
	const struct maps_region *region; /* borrowed from the input */
	enum module_kind kind;
	struct gem_path gem;
};

struct scan {
	struct scan_frame frames[SCAN_FRAMES];
	size_t count;
	/* the nearest words into a module that may be blamed, and into an extension; NULL: none in reach */
	const struct scan_frame *suspect, *extension;
	struct scan_frame nearest_suspect, nearest_extension;
};

void scan_stack(const uint8_t *stack, size_t size, const struct maps_region *regions, size_t count,
		struct scan *out);

/*
 * glibc's heap checks end in __libc_message, which lists the pieces of its text on the stack as {pointer into
 * libc's constants, length} before it calls abort(). Are such words from byte `from` to `to` of the stack?
 * They may be leftovers, unless that is the frame of the function that called abort().
 */
bool scan_libc_message(const struct crash_input *input, size_t from, size_t to);

#endif
