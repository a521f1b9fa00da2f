/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native stack as the other files of this floor read it: what the examiner unwound, else the failing
 * instruction and what a scan of the stack found; each frame with the mapping it lies in and what kind of
 * code that is.
 */
#ifndef LAPIDARY_FRAMES_H
#define LAPIDARY_FRAMES_H

#include "user/crash/report.h"
#include "user/crash/scan.h"

struct frame {
	uint64_t pc, sp;                  /* sp 0: not known */
	uint64_t function;                /* where its function begins in memory, 0: not known */
	const struct maps_region *region; /* borrowed; NULL: in no known mapping */
	const char *path;                 /* borrowed; "" when it is in no file */
	enum module_kind kind;
	struct gem_path gem; /* zeroed unless the path names one */
	enum unwind_how how;
	bool interrupted;   /* by a signal: pc is no return address */
	const char *symbol; /* borrowed; "" when none is known */
	uint32_t symbol_offset;
	enum unwind_symbols symbol_from;
};

struct frames {
	struct frame list[UNWIND_FRAMES];
	size_t count; /* innermost first */
	bool unwound; /* by the examiner */
	/*
	 * How many frames run since the innermost bytecode: whatever is further out called into Ruby and
	 * waits. All, when it cannot be told.
	 */
	size_t reach;
	struct scan *scan; /* of the stack; never NULL */
};

/* NULL: no memory. It borrows from the input. */
struct frames *frames_new(const struct crash_input *input);
void frames_free(struct frames *frames); /* NULL-safe */

/* The offset in the file, which is the same wherever the file lies; false: it is in no known mapping. */
bool frame_offset(const struct crash_input *input, const struct frame *frame, uint64_t *offset);
/* One of the names is the frame's symbol; the list ends with NULL. */
bool frame_is(const struct frame *frame, const char *const names[]);
/* The mapped file of the innermost method, when that is written in C and lies in an extension; NULL: no. */
const struct maps_region *frames_method(const struct crash_input *input, const struct ev_ruby_frame **method);

#endif
