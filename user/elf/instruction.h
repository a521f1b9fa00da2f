/* SPDX-License-Identifier: Apache-2.0 */
/* One instruction as text. What a process executed may be anything: the examiner alone calls this. */
#ifndef LAPIDARY_INSTRUCTION_H
#define LAPIDARY_INSTRUCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The instruction at `address`, of `size` bytes that lay at `start`: "mov eax, dword ptr [rdi + 8]". False,
 * and out "", when the address is not among them or the bytes there are no instruction.
 */
bool instruction_text(const uint8_t *bytes, size_t size, uint64_t start, uint64_t address, char *out,
		      size_t out_size);

#endif
