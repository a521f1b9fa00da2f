/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The truth of a crash, told by the process that is about to have it. Every function of the chain notes
 * itself (FRAME), in the order in which they are called, and none returns before the end; `tell` writes what
 * was noted, and the stack as the compiler's own unwinder has it, right before the failing instruction.
 */
#ifndef CRASHES_DEEP_H
#define CRASHES_DEEP_H

#include <stddef.h>

#define KEPT __attribute__((noinline, noclone, visibility("default")))

/* Where the caller of this function stands (a return address), and which function this is. */
#define FRAME() note(__func__, __builtin_return_address(0))

void note(const char *function, void *return_address);

/* Before a fault: `at` is the failing instruction, NULL when it lies in somebody else's code. `fd` from
 * tell_to. */
void tell(const char *at);
void tell_to(int fd);

/* Calls `next(argument)` from this library, with `room` bytes of used stack between, and a hole of pages that
 * are not there when `hole` is set. */
enum hole { HOLE_NONE, HOLE_DROPPED, HOLE_UNMAPPED, HOLE_PROTECTED };
long deep_call(long (*next)(void *), void *argument, size_t room, enum hole hole);

/* Does not come back for a kind that this library knows; -1: it does not know it. */
int deep_cause(const char *kind);

#endif
