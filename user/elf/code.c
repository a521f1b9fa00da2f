// SPDX-License-Identifier: Apache-2.0
/* Capstone with its details on, behind the few questions that placement and accessor reading ask. */
#include <errno.h>
#include <stdlib.h>
#include "user/elf/code.h"

struct code_reader {
	csh handle;
	cs_insn *insn;
};

int code_reader_new(struct code_reader **out)
{
	struct code_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &reader->handle) != CS_ERR_OK) {
		free(reader);
		return -ENOTSUP;
	}
	cs_option(reader->handle, CS_OPT_DETAIL, CS_OPT_ON);
	reader->insn = cs_malloc(reader->handle);
	if (!reader->insn) {
		code_reader_free(reader);
		return -ENOMEM;
	}
	*out = reader;
	return 0;
}

void code_reader_free(struct code_reader *reader)
{
	if (!reader)
		return;
	if (reader->insn)
		cs_free(reader->insn, 1);
	cs_close(&reader->handle);
	free(reader);
}

const cs_insn *code_decode(struct code_reader *reader, const struct code *code, size_t at)
{
	const uint8_t *bytes;
	uint64_t address;
	size_t left;

	if (at >= code->size)
		return NULL;
	bytes = code->bytes + at;
	left = code->size - at;
	address = code->address + at;
	return cs_disasm_iter(reader->handle, &bytes, &left, &address, reader->insn) ? reader->insn : NULL;
}

int code_register(unsigned int capstone_register, unsigned int *bits)
{
	static const struct {
		uint16_t name[5]; /* 64, 32, 16 bits, low and high byte */
	} registers[CODE_REGISTERS] = {
		{{X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL, X86_REG_AH}},
		{{X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH}},
		{{X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH}},
		{{X86_REG_RBX, X86_REG_EBX, X86_REG_BX, X86_REG_BL, X86_REG_BH}},
		{{X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL}},
		{{X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL}},
		{{X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL}},
		{{X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL}},
		{{X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B}},
		{{X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B}},
		{{X86_REG_R10, X86_REG_R10D, X86_REG_R10W, X86_REG_R10B}},
		{{X86_REG_R11, X86_REG_R11D, X86_REG_R11W, X86_REG_R11B}},
		{{X86_REG_R12, X86_REG_R12D, X86_REG_R12W, X86_REG_R12B}},
		{{X86_REG_R13, X86_REG_R13D, X86_REG_R13W, X86_REG_R13B}},
		{{X86_REG_R14, X86_REG_R14D, X86_REG_R14W, X86_REG_R14B}},
		{{X86_REG_R15, X86_REG_R15D, X86_REG_R15W, X86_REG_R15B}},
	};
	static const unsigned int widths[5] = {64, 32, 16, 8, 8};

	if (capstone_register == X86_REG_INVALID)
		return -1;
	for (int number = 0; number < CODE_REGISTERS; number++)
		for (int i = 0; i < 5; i++)
			if (registers[number].name[i] == capstone_register) {
				*bits = widths[i];
				return number;
			}
	return -1;
}

uint32_t code_written(struct code_reader *reader, const cs_insn *insn)
{
	cs_regs read, written;
	uint8_t read_count, written_count;
	uint32_t mask = 0;

	if (cs_regs_access(reader->handle, insn, read, &read_count, written, &written_count) != CS_ERR_OK)
		return UINT32_MAX; /* not known: all of them */
	for (uint8_t i = 0; i < written_count; i++) {
		unsigned int bits;
		int number = code_register(written[i], &bits);

		if (number >= 0)
			mask |= 1u << number;
	}
	return mask;
}

static bool in_group(const cs_insn *insn, uint8_t group)
{
	for (uint8_t i = 0; i < insn->detail->groups_count; i++)
		if (insn->detail->groups[i] == group)
			return true;
	return false;
}

/* Capstone 4 counts the loop instructions as no jumps. */
static bool is_loop(const cs_insn *insn)
{
	return insn->id == X86_INS_LOOP || insn->id == X86_INS_LOOPE || insn->id == X86_INS_LOOPNE;
}

bool code_is_jump(const cs_insn *insn)
{
	return in_group(insn, CS_GRP_JUMP) || is_loop(insn);
}

bool code_is_conditional(const cs_insn *insn)
{
	return code_is_jump(insn) && insn->id != X86_INS_JMP && insn->id != X86_INS_LJMP;
}

bool code_is_return(const cs_insn *insn)
{
	return in_group(insn, CS_GRP_RET) || in_group(insn, CS_GRP_IRET);
}

bool code_is_call(const cs_insn *insn)
{
	return in_group(insn, CS_GRP_CALL);
}

bool code_is_dead_end(const cs_insn *insn)
{
	return insn->id == X86_INS_UD2 || insn->id == X86_INS_HLT || insn->id == X86_INS_INT3;
}

bool code_jump_target(const struct code *code, const cs_insn *insn, int64_t *target)
{
	const cs_x86 *x86 = &insn->detail->x86;

	if (!code_is_jump(insn) || x86->op_count != 1 || x86->operands[0].type != X86_OP_IMM)
		return false;
	*target = (int64_t)((uint64_t)x86->operands[0].imm - code->address);
	return true;
}
