/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine code of one function, and its decoding (x86-64; another processor is a file beside code.c).
 * A code_reader owns one Capstone handle and one instruction, since opening a handle costs more than
 * decoding the few functions of a file.
 */
#ifndef LAPIDARY_ELF_CODE_H
#define LAPIDARY_ELF_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <capstone/capstone.h>

struct code {
	const uint8_t *bytes;
	size_t size;
	uint64_t address; /* of bytes[0], as linked */
};

struct code_reader;

int code_reader_new(struct code_reader **out);
void code_reader_free(struct code_reader *reader);

/*
 * Decodes the instruction at `at` (an index into code->bytes). NULL: there is none, or it is cut off.
 * Borrowed until the next call.
 */
const cs_insn *code_decode(struct code_reader *reader, const struct code *code, size_t at);

/* The general registers it writes, implicit ones too, as a mask. */
uint32_t code_written(struct code_reader *reader, const cs_insn *insn);

/*
 * General registers in the order of their encoding. Returns the number, or -1 when it is another kind of
 * register; *bits gets 64, 32, 16 or 8.
 */
int code_register(unsigned int capstone_register, unsigned int *bits);

enum code_register {
	CODE_RAX,
	CODE_RCX,
	CODE_RDX,
	CODE_RBX,
	CODE_RSP,
	CODE_RBP,
	CODE_RSI,
	CODE_RDI,
	CODE_R8,
	CODE_R9,
	CODE_R10,
	CODE_R11,
	CODE_R12,
	CODE_R13,
	CODE_R14,
	CODE_R15,
	CODE_REGISTERS
};

/* A jump whose target is written in it: true with the index of the target (possibly outside the code). */
bool code_jump_target(const struct code *code, const cs_insn *insn, int64_t *target);
bool code_is_jump(const cs_insn *insn);        /* any, direct or not, conditional or not */
bool code_is_conditional(const cs_insn *insn); /* a jump that may fall through */
bool code_is_return(const cs_insn *insn);
bool code_is_call(const cs_insn *insn);
bool code_is_dead_end(const cs_insn *insn); /* ud2, hlt, int3: nothing follows */

#endif
