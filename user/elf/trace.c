// SPDX-License-Identifier: Apache-2.0
/*
 * A value is at most  pointer + index * scale + offset,  which is all that `conn->hosts[conn->which].port`
 * needs, however a compiler multiplies (lea, imul, shl and add). Both sides of a conditional jump or move
 * are followed, since the conditions (is the pointer NULL, is the string empty) say nothing of offsets.
 */
#include <errno.h>
#include <string.h>
#include "user/elf/trace.h"

struct path {
	size_t at;
	unsigned int backward;
	struct value registers[CODE_REGISTERS];
	struct value first_integer, first_item;
};

struct trace {
	struct code_reader *reader;
	const struct code *code;
	size_t waiting;
	struct path paths[TRACE_PATHS];
	trace_return_fn fn;
	void *context;
};

static const struct value unknown = {.base = VALUE_UNKNOWN};

static struct value number(int64_t n)
{
	if (n < -TRACE_REACH || n > TRACE_REACH)
		return unknown;
	return (struct value){.base = VALUE_NUMBER, .offset = (int32_t)n};
}

static bool is_constant(const struct value *value)
{
	return value->base == VALUE_NUMBER && value->scale == 0;
}

/* Keeps a value whose numbers have grown beyond any structure from being believed. */
static struct value bounded(struct value value, int64_t scale, int64_t offset)
{
	if (scale < -TRACE_REACH || scale > TRACE_REACH || offset < -TRACE_REACH || offset > TRACE_REACH)
		return unknown;
	value.scale = (int32_t)scale;
	value.offset = (int32_t)offset;
	return value;
}

static struct value add(struct value a, struct value b)
{
	if (a.base == VALUE_UNKNOWN || b.base == VALUE_UNKNOWN)
		return unknown;
	if (a.base == VALUE_NUMBER) {
		struct value swap = a;

		a = b;
		b = swap;
	}
	/* now b must be the number; an item's scale belongs to its address and takes no other index */
	if (b.base != VALUE_NUMBER || (b.scale && a.scale && (a.base == VALUE_ITEM || a.index != b.index)) ||
	    (b.scale && a.base == VALUE_ARGUMENT) || (b.scale && a.base == VALUE_ITEM))
		return unknown;
	if (b.scale)
		a.index = b.index;
	return bounded(a, (int64_t)a.scale + b.scale, (int64_t)a.offset + b.offset);
}

static struct value multiply(struct value a, int64_t factor)
{
	if (a.base != VALUE_NUMBER || factor < -TRACE_REACH || factor > TRACE_REACH)
		return unknown;
	return bounded(a, a.scale * factor, a.offset * factor);
}

/* 32-bit arithmetic keeps an index right, and makes nonsense of a pointer. */
static struct value narrowed(struct value value, unsigned int bits)
{
	if (bits == 64 || (bits == 32 && value.base == VALUE_NUMBER))
		return value;
	return unknown;
}

static struct value get(const struct path *path, unsigned int name)
{
	unsigned int bits;
	int n = code_register(name, &bits);

	return n < 0 ? unknown : narrowed(path->registers[n], bits);
}

static void set(struct path *path, unsigned int name, struct value value)
{
	unsigned int bits;
	int n = code_register(name, &bits);

	if (n >= 0)
		path->registers[n] = narrowed(value, bits);
}

static struct value address_of(const struct path *path, const x86_op_mem *mem)
{
	struct value sum = number(mem->disp);

	if (mem->segment != X86_REG_INVALID || mem->base == X86_REG_RIP)
		return unknown;
	if (mem->base != X86_REG_INVALID)
		sum = add(sum, get(path, mem->base));
	if (mem->index != X86_REG_INVALID)
		sum = add(sum, multiply(get(path, mem->index), mem->scale));
	return sum;
}

static struct value note_first(struct value *first, struct value value)
{
	if (first->base == VALUE_UNKNOWN)
		*first = value;
	return value;
}

static struct value load(struct path *path, const x86_op_mem *mem, unsigned int bytes)
{
	struct value address = address_of(path, mem);

	if (address.base == VALUE_ARGUMENT && address.offset >= 0) {
		if (bytes == 8)
			return (struct value){.base = VALUE_FIELD, .field = address.offset};
		if (bytes == 4) {
			struct value integer = {.base = VALUE_NUMBER, .index = address.offset, .scale = 1};

			return note_first(&path->first_integer, integer);
		}
	}
	if (address.base == VALUE_FIELD && address.scale > 0 && bytes == 8 && address.offset >= 0 &&
	    address.offset < address.scale) {
		struct value item = address;

		item.base = VALUE_ITEM;
		item.item = address.offset;
		item.offset = 0;
		return note_first(&path->first_item, item);
	}
	return unknown;
}

static struct value read_operand(struct path *path, const cs_x86_op *operand)
{
	switch (operand->type) {
	case X86_OP_REG:
		return get(path, operand->reg);
	case X86_OP_IMM:
		return number(operand->imm);
	case X86_OP_MEM:
		return load(path, &operand->mem, operand->size);
	default:
		return unknown;
	}
}

static void forget(struct path *path, uint32_t mask)
{
	for (int n = 0; n < CODE_REGISTERS; n++)
		if (mask & (1u << n))
			path->registers[n] = unknown;
}

static struct value multiplied(struct path *path, const cs_x86 *x86)
{
	struct value a = read_operand(path, &x86->operands[x86->op_count - 2]);
	struct value b = read_operand(path, &x86->operands[x86->op_count - 1]);

	return is_constant(&b) ? multiply(a, b.offset) : unknown;
}

static struct value shifted(struct path *path, const cs_x86 *x86)
{
	struct value by = read_operand(path, &x86->operands[1]);

	if (!is_constant(&by) || by.offset < 0 || by.offset > 16)
		return unknown;
	return multiply(read_operand(path, &x86->operands[0]), INT64_C(1) << by.offset);
}

/* The new value of the first operand, or false when this instruction is not one that computes offsets. */
static bool compute(struct path *path, const cs_insn *insn, struct value *out)
{
	const cs_x86 *x86 = &insn->detail->x86;
	const cs_x86_op *op = x86->operands;

	switch (insn->id) {
	case X86_INS_MOV:
	case X86_INS_MOVABS:
		*out = read_operand(path, &op[1]);
		return true;
	case X86_INS_MOVSXD:
		*out = narrowed(read_operand(path, &op[1]), 32);
		return true;
	case X86_INS_LEA:
		*out = address_of(path, &op[1].mem);
		return true;
	case X86_INS_ADD:
		*out = add(read_operand(path, &op[0]), read_operand(path, &op[1]));
		return true;
	case X86_INS_SUB:
		*out = add(read_operand(path, &op[0]), multiply(read_operand(path, &op[1]), -1));
		return true;
	case X86_INS_IMUL:
		if (x86->op_count < 2)
			return false;
		*out = multiplied(path, x86);
		return true;
	case X86_INS_SHL:
	case X86_INS_SAL:
		*out = x86->op_count == 2 ? shifted(path, x86) : multiply(read_operand(path, &op[0]), 2);
		return true;
	case X86_INS_XOR:
		if (op[0].type != X86_OP_REG || op[1].type != X86_OP_REG || op[0].reg != op[1].reg)
			return false;
		*out = number(0);
		return true;
	default:
		return false;
	}
}

static bool is_conditional_move(const cs_insn *insn)
{
	switch (insn->id) {
	case X86_INS_CMOVA:
	case X86_INS_CMOVAE:
	case X86_INS_CMOVB:
	case X86_INS_CMOVBE:
	case X86_INS_CMOVE:
	case X86_INS_CMOVNE:
	case X86_INS_CMOVG:
	case X86_INS_CMOVGE:
	case X86_INS_CMOVL:
	case X86_INS_CMOVLE:
	case X86_INS_CMOVNO:
	case X86_INS_CMOVNP:
	case X86_INS_CMOVNS:
	case X86_INS_CMOVO:
	case X86_INS_CMOVP:
	case X86_INS_CMOVS:
		return true;
	default:
		return false;
	}
}

/* Adds a path that goes on at `at` with the state of `path`. */
static int fork_path(struct trace *trace, const struct path *path, int64_t at)
{
	struct path *other;

	if (at < 0 || (uint64_t)at >= trace->code->size)
		return 0; /* leaves the function: a tail call, returning what we do not know */
	if ((size_t)at < path->at && path->backward == TRACE_BACKWARD)
		return 0;
	if (trace->waiting == TRACE_PATHS)
		return -E2BIG;
	other = &trace->paths[trace->waiting++];
	*other = *path;
	other->backward += (size_t)at < path->at;
	other->at = at;
	return 0;
}

/* What one instruction that is no jump, call or return does to the registers. */
static int step(struct trace *trace, struct path *path, const cs_insn *insn)
{
	const cs_x86_op *op = insn->detail->x86.operands;
	uint32_t written = code_written(trace->reader, insn);
	struct value value;

	if (is_conditional_move(insn)) {
		struct path kept = *path;

		set(path, op[0].reg, read_operand(path, &op[1]));
		set(&kept, op[0].reg, get(&kept, op[0].reg)); /* a 32-bit move clears the upper half anyway */
		return fork_path(trace, &kept, path->at + insn->size);
	}
	if (insn->id == X86_INS_CDQE) {
		path->registers[CODE_RAX] = narrowed(path->registers[CODE_RAX], 32);
		return 0;
	}
	if (!compute(path, insn, &value)) {
		forget(path, written);
		return 0;
	}
	forget(path, written);
	if (op[0].type == X86_OP_REG)
		set(path, op[0].reg, value);
	return 0;
}

static void report(struct trace *trace, const struct path *path)
{
	struct trace_return returned = {path->registers[CODE_RAX], path->first_integer, path->first_item};

	trace->fn(trace->context, &returned);
}

/* Runs the path until it ends or hands over to forks. */
static int run(struct trace *trace, struct path *path, unsigned int *steps)
{
	const uint32_t clobbered = 1u << CODE_RAX | 1u << CODE_RCX | 1u << CODE_RDX | 1u << CODE_RSI |
				   1u << CODE_RDI | 1u << CODE_R8 | 1u << CODE_R9 | 1u << CODE_R10 |
				   1u << CODE_R11;

	for (;;) {
		const cs_insn *insn = code_decode(trace->reader, trace->code, path->at);
		int64_t target;
		int err = 0;

		if (!insn || code_is_dead_end(insn))
			return 0;
		if (++*steps > TRACE_STEPS)
			return -E2BIG;
		if (code_is_return(insn)) {
			report(trace, path);
			return 0;
		}
		if (code_is_jump(insn)) {
			if (code_jump_target(trace->code, insn, &target))
				err = fork_path(trace, path, target);
			if (err || !code_is_conditional(insn))
				return err;
		} else if (code_is_call(insn)) {
			forget(path, clobbered);
		} else {
			err = step(trace, path, insn);
			if (err)
				return err;
		}
		path->at += insn->size;
	}
}

int trace_returns(struct code_reader *reader, const struct code *code, trace_return_fn fn, void *context)
{
	struct trace trace = {.reader = reader, .code = code, .fn = fn, .context = context, .waiting = 1};
	unsigned int steps = 0;
	int err = 0;

	memset(&trace.paths[0], 0, sizeof(trace.paths[0]));
	trace.paths[0].registers[CODE_RDI] = (struct value){.base = VALUE_ARGUMENT};
	while (!err && trace.waiting > 0) {
		struct path path = trace.paths[--trace.waiting];

		err = run(&trace, &path, &steps);
	}
	return err;
}
