/* SPDX-License-Identifier: Apache-2.0 */
/* One stack out of two: the native frames and the Ruby frames of a thread, in the order of the calls. */
#ifndef LAPIDARY_INTERLEAVE_H
#define LAPIDARY_INTERLEAVE_H

#include "user/crash/frames.h"

enum { INTERLEAVE_NONE = 0xffff, INTERLEAVE_MAX = UNWIND_FRAMES + EV_RUBY_FRAMES };

/* Indexes into the two lists; both are set where a C function was called from Ruby. */
struct interleaved {
	uint16_t native, ruby;
};

/*
 * Innermost first; returns how many, at most INTERLEAVE_MAX. Every Ruby frame is in it once, every native
 * frame at most once: those that are missing are frames of the interpreter, and the Ruby frames that they
 * ran stand in their place.
 */
size_t interleave(const struct frame *native, size_t native_count, const struct ev_ruby_frame *ruby,
		  size_t ruby_count, struct interleaved out[INTERLEAVE_MAX]);

/* The frame is of the part of the interpreter that runs bytecode and calls methods, by its symbol. */
bool interpreter_loop(const struct frame *frame);

#endif
