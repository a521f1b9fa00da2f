/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a function a probe belongs. The kernel emulates a few instructions (push, nop, jmp, call, jcc) and
 * single-steps the rest, at twelve times the cost; a hot probe goes on the first emulated one that every
 * call passes with its arguments still in their registers.
 */
#ifndef LAPIDARY_ELF_PLACEMENT_H
#define LAPIDARY_ELF_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "user/elf/code.h"

struct placement {
	size_t at; /* into the function */
	bool emulated;
	char instruction[48];
};

/*
 * Chooses for a function of which the probe reads the first `arguments` (0 to 6) integer arguments. The
 * entry is always a right answer, so this fails (-EINVAL) only when not even that can be decoded.
 * `whole`: the code is the whole function; without it nothing but the entry can be proven right.
 */
int placement_choose(struct code_reader *reader, const struct code *code, unsigned int arguments, bool whole,
		     struct placement *out);

/* The entry, whatever it costs. */
int placement_entry(struct code_reader *reader, const struct code *code, struct placement *out);

/*
 * Every return instruction of the function. Returns how many, -ENOSPC when there are more than `max`, or
 * -EINVAL when the code cannot be decoded to its end.
 */
int placement_returns(struct code_reader *reader, const struct code *code, struct placement *out, size_t max);

#endif
