// SPDX-License-Identifier: Apache-2.0
/*
 * Where the names of methods are: `global_symbols` is private, but rb_id2str is exported, short, and looks
 * into it: it compares the id with tLAST_OP_ID, the serial number with the 32-bit `last_id` that
 * global_symbols begins with, and loads the array `ids` 16 bytes behind (symbol.h, rb_symbols_t). So its
 * code, and that of what it calls, is followed along every path; the first address that is read as 32 bits
 * and then, 16 bytes on, as 64 is believed, and nothing else.
 */
#include <errno.h>
#include <string.h>
#include "user/elf/ruby_vm.h"

enum {
	IDS_BEHIND = 16, /* rb_symbols_t.ids */
	STEPS = 1024,    /* instructions; rb_id2str and get_id_serial_entry have about 80 */
	PLACES = 48,     /* where paths begin */
	DEPTH = 2,       /* calls that are followed into */
	ACCESSES = 32,
	PIECE = 256, /* bytes of code that are read at a time */
	INSN_MAX = 16,
	LAST_OP_MIN = 128, /* above every character that is an operator */
	LAST_OP_MAX = 255,
};

struct place {
	uint64_t address;
	unsigned int depth;
};

struct search {
	const struct elf_file *file;
	struct code_reader *reader;
	struct place places[PLACES];
	size_t place_count, place_next;
	size_t steps;
	uint64_t counts[ACCESSES], pointers[ACCESSES]; /* read as 32 bits, as 64 */
	size_t count_count, pointer_count;
	uint32_t last_op;
	uint64_t known[CODE_REGISTERS]; /* addresses that lea put there, 0: not known */
	uint8_t bytes[PIECE];
};

static void add_place(struct search *search, uint64_t address, unsigned int depth)
{
	for (size_t i = 0; i < search->place_count; i++)
		if (search->places[i].address == address)
			return;
	if (search->place_count < PLACES && depth <= DEPTH)
		search->places[search->place_count++] = (struct place){address, depth};
}

static void add_access(uint64_t *list, size_t *count, uint64_t address)
{
	if (*count < ACCESSES)
		list[(*count)++] = address;
}

/* The address of a memory operand, 0 when it is not one that the code alone tells. */
static uint64_t operand_address(const struct search *search, const cs_insn *insn, const x86_op_mem *mem)
{
	unsigned int bits;
	int base;

	if (mem->index != X86_REG_INVALID || mem->segment != X86_REG_INVALID)
		return 0;
	if (mem->base == X86_REG_RIP)
		return insn->address + insn->size + (uint64_t)mem->disp;
	base = code_register(mem->base, &bits);
	return base >= 0 && search->known[base] ? search->known[base] + (uint64_t)mem->disp : 0;
}

static void note_accesses(struct search *search, const cs_insn *insn)
{
	const cs_x86 *x86 = &insn->detail->x86;

	for (uint8_t i = 0; i < x86->op_count && insn->id != X86_INS_LEA; i++) {
		const cs_x86_op *op = &x86->operands[i];
		uint64_t address = op->type == X86_OP_MEM ? operand_address(search, insn, &op->mem) : 0;

		if (address && op->size == 4)
			add_access(search->counts, &search->count_count, address);
		else if (address && op->size == 8)
			add_access(search->pointers, &search->pointer_count, address);
	}
}

static void note_registers(struct search *search, const cs_insn *insn)
{
	const cs_x86 *x86 = &insn->detail->x86;
	uint32_t written = code_written(search->reader, insn);
	uint64_t address = insn->id == X86_INS_LEA && x86->op_count == 2
				   ? operand_address(search, insn, &x86->operands[1].mem)
				   : 0;
	unsigned int bits;
	int to;

	for (int n = 0; n < CODE_REGISTERS; n++)
		if (written & 1u << n)
			search->known[n] = 0;
	to = address ? code_register(x86->operands[0].reg, &bits) : -1;
	if (to >= 0)
		search->known[to] = address;
}

/* "Is it an operator?": the first comparison of a register with a number that can be tLAST_OP_ID. */
static void note_last_op(struct search *search, const cs_insn *insn)
{
	const cs_x86_op *op = insn->detail->x86.operands;

	if (search->last_op || insn->id != X86_INS_CMP || op[0].type != X86_OP_REG ||
	    op[1].type != X86_OP_IMM || op[1].imm < LAST_OP_MIN || op[1].imm > LAST_OP_MAX)
		return;
	search->last_op = (uint32_t)op[1].imm;
}

/* One instruction; false when the path goes no further in a line. */
static bool step(struct search *search, const struct code *code, const cs_insn *insn, unsigned int depth)
{
	const cs_x86_op *op = insn->detail->x86.operands;
	int64_t target;

	if (code_is_return(insn) || code_is_dead_end(insn))
		return false;
	if (code_is_jump(insn)) {
		if (code_jump_target(code, insn, &target))
			add_place(search, code->address + (uint64_t)target, depth);
		return code_is_conditional(insn);
	}
	note_accesses(search, insn);
	if (depth == 0)
		note_last_op(search, insn);
	note_registers(search, insn);
	if (code_is_call(insn)) {
		if (op[0].type == X86_OP_IMM)
			add_place(search, (uint64_t)op[0].imm, depth + 1);
		memset(search->known, 0, sizeof(search->known));
	}
	return true;
}

static void follow(struct search *search, struct place place)
{
	uint64_t address = place.address;

	memset(search->known, 0, sizeof(search->known));
	while (search->steps < STEPS) {
		ssize_t n = elf_file_read(search->file, address, search->bytes, sizeof(search->bytes));
		struct code code = {search->bytes, n > 0 ? (size_t)n : 0, address};
		size_t at = 0;

		if (n <= 0)
			return;
		/* the last few bytes may be half an instruction: they are read again with the next piece */
		while (at == 0 || (at + INSN_MAX <= (size_t)n && search->steps < STEPS)) {
			const cs_insn *insn = code_decode(search->reader, &code, at);
			size_t size;

			if (!insn)
				return;
			size = insn->size;
			search->steps++;
			if (!step(search, &code, insn, place.depth))
				return;
			at += size;
		}
		address += at;
	}
}

static uint64_t find_ids(const struct search *search)
{
	for (size_t i = 0; i < search->count_count; i++)
		for (size_t k = 0; k < search->pointer_count; k++)
			if (search->pointers[k] == search->counts[i] + IDS_BEHIND)
				return search->pointers[k];
	return 0;
}

int ruby_vm_names(const struct elf_file *file, struct code_reader *reader, const struct symbol *id2str,
		  struct ruby_layout *out)
{
	struct search search = {.file = file, .reader = reader};
	uint64_t ids;

	out->names = 0;
	out->last_op = 0;
	if (!id2str->found)
		return -ENOENT;
	add_place(&search, id2str->address, 0);
	while (search.place_next < search.place_count && search.steps < STEPS)
		follow(&search, search.places[search.place_next++]);
	ids = find_ids(&search);
	if (!ids || ids % 8 != 0 || !search.last_op)
		return -ENOENT;
	out->names = ids;
	out->last_op = search.last_op;
	return 0;
}
