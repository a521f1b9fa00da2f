// SPDX-License-Identifier: Apache-2.0
/*
 * The walk goes straight down from the entry to the first emulated instruction, over instructions that touch
 * no needed argument. Nothing in between may be the target of a jump: a loop back to there would count one
 * call many times, with arguments that are none. Jump targets are those of a linear decode of the whole
 * function; where that fails, data may hide among the code and the entry it is.
 */
#include <errno.h>
#include <stdio.h>
#include "user/base/text.h"
#include "user/elf/placement.h"

/* The kernel's rules (arch/x86/kernel/uprobes.c), without the prefixes that it may or may not take. */
static bool is_emulated(const cs_insn *insn)
{
	const uint8_t *b = insn->bytes;

	if (insn->id == X86_INS_NOP)
		return true;
	if (insn->size == 1 || (insn->size == 2 && b[0] == 0x41)) {
		uint8_t opcode = b[insn->size - 1];

		return opcode >= 0x50 && opcode <= 0x57;
	}
	return b[0] == 0xe8 || b[0] == 0xe9 || b[0] == 0xeb || (b[0] & 0xf0) == 0x70 ||
	       (b[0] == 0x0f && (b[1] & 0xf0) == 0x80);
}

static void describe(const cs_insn *insn, size_t at, struct placement *out)
{
	size_t used = 0;
	bool target = code_is_jump(insn) || code_is_call(insn); /* its address would say nothing */

	out->at = at;
	out->emulated = is_emulated(insn);
	out->instruction[0] = '\0';
	text_add(out->instruction, sizeof(out->instruction), &used, "%s%s%s", insn->mnemonic,
		 target || !insn->op_str[0] ? "" : " ", target ? "" : insn->op_str);
}

int placement_entry(struct code_reader *reader, const struct code *code, struct placement *out)
{
	const cs_insn *insn = code_decode(reader, code, 0);

	if (!insn)
		return -EINVAL;
	describe(insn, 0, out);
	return 0;
}

static uint32_t argument_mask(unsigned int arguments)
{
	static const enum code_register order[] = {CODE_RDI, CODE_RSI, CODE_RDX, CODE_RCX, CODE_R8, CODE_R9};
	uint32_t mask = 0;

	for (unsigned int i = 0; i < arguments && i < sizeof(order) / sizeof(*order); i++)
		mask |= 1u << order[i];
	return mask;
}

/* Is (0, last] free of jump targets, and the code decodable to its end? */
static bool is_straight(struct code_reader *reader, const struct code *code, size_t last)
{
	size_t at = 0;

	while (at < code->size) {
		const cs_insn *insn = code_decode(reader, code, at);
		int64_t target;

		if (!insn)
			return false;
		if (code_jump_target(code, insn, &target) && target > 0 && target <= (int64_t)last)
			return false;
		at += insn->size;
	}
	return true;
}

int placement_choose(struct code_reader *reader, const struct code *code, unsigned int arguments, bool whole,
		     struct placement *out)
{
	uint32_t needed = argument_mask(arguments);
	struct placement found;
	int err = placement_entry(reader, code, out);

	if (err || out->emulated || !whole)
		return err;
	for (size_t at = 0; at < code->size;) {
		const cs_insn *insn = code_decode(reader, code, at);

		if (!insn)
			return 0;
		if (is_emulated(insn)) {
			describe(insn, at, &found);
			if (is_straight(reader, code, at))
				*out = found;
			return 0;
		}
		if (code_is_jump(insn) || code_is_call(insn) || code_is_return(insn) ||
		    code_is_dead_end(insn) || (code_written(reader, insn) & needed))
			return 0;
		at += insn->size;
	}
	return 0;
}

int placement_returns(struct code_reader *reader, const struct code *code, struct placement *out, size_t max)
{
	size_t at = 0, count = 0;

	while (at < code->size) {
		const cs_insn *insn = code_decode(reader, code, at);

		if (!insn)
			return -EINVAL;
		if (code_is_return(insn)) {
			if (count == max)
				return -ENOSPC;
			describe(insn, at, &out[count++]);
		}
		at += insn->size;
	}
	return count;
}
