// SPDX-License-Identifier: Apache-2.0
/* What unwinding knows of the processor. */
#include <string.h>
#include "user/elf/unwind_private.h"

/* A near call through registers, displacement and prefixes has 2 to 8 bytes. */
enum { CALL_MIN = 2, CALL_MAX = 8, CALL_DIRECT = 5 };

void unwind_registers(const uint64_t regs[REG_COUNT], uint64_t out[UNWIND_REGISTERS_COUNT])
{
	static const uint8_t order[UNWIND_REGISTERS_COUNT] = {
		REG_AX_, REG_DX_,  REG_CX_,  REG_BX_,  REG_SI_,  REG_DI_,  REG_BP_,  REG_SP_, REG_R8_,
		REG_R9_, REG_R10_, REG_R11_, REG_R12_, REG_R13_, REG_R14_, REG_R15_, REG_IP_,
	};

	for (int i = 0; i < UNWIND_REGISTERS_COUNT; i++)
		out[i] = regs[order[i]];
}

static bool is_hole(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Instructions cannot be read backwards: each length that a call may have is tried. */
enum unwind_call unwind_follows_call(const struct unwind_walk *walk, uint64_t word, uint64_t *target)
{
	uint8_t bytes[CALL_MAX];

	*target = 0;
	if (word < CALL_MAX || !unwind_source_at(walk, word - 1))
		return UNWIND_NO_CALL;
	/* a distilled copy may have left the code out: then nothing is known */
	if (!unwind_code_read(walk, word - CALL_MAX, bytes, sizeof(bytes)) || is_hole(bytes, sizeof(bytes)))
		return UNWIND_MAY_BE_CALL;
	for (size_t length = CALL_MIN; length <= CALL_MAX; length++) {
		struct code code = {
			.bytes = bytes + CALL_MAX - length, .size = length, .address = word - length};
		const cs_insn *insn;

		if (length != CALL_DIRECT && !memchr(code.bytes, 0xff, 3 < length ? 3 : length))
			continue;
		insn = code_decode(walk->reader, &code, 0);
		if (!insn || insn->size != length || !code_is_call(insn))
			continue;
		if (insn->detail->x86.op_count == 1 && insn->detail->x86.operands[0].type == X86_OP_IMM)
			*target = insn->detail->x86.operands[0].imm;
		return UNWIND_CALL;
	}
	return UNWIND_NO_CALL;
}
