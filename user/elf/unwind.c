// SPDX-License-Identifier: Apache-2.0
/*
 * The way from the registers outwards: a jump to nowhere is taken back first; then tables as far as they
 * lead, a scan where they are missing, tables again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/elf/instruction.h"
#include "user/elf/unwind_private.h"

static bool in_order(const struct unwind_question *question)
{
	for (size_t i = 0; i < question->source_count; i++) {
		const struct unwind_source *source = &question->sources[i];

		if (source->start >= source->end || (i > 0 && source->start < source[-1].end))
			return false;
	}
	return true;
}

static void begin(struct unwind_walk *walk)
{
	unwind_registers(walk->question->regs, walk->regs);
	walk->known = (1u << UNWIND_REGISTERS_COUNT) - 1;
}

/* Nothing ran at the place that was jumped to, so all registers are still those of the call but for its push.
 */
static bool resume(struct unwind_walk *walk, uint64_t *pc)
{
	uint64_t target, sp = walk->regs[UNWIND_SP];

	if (unwind_stack_word(walk->question, sp, pc) != 0 ||
	    unwind_follows_call(walk, *pc, &target) == UNWIND_NO_CALL)
		return false;
	walk->regs[UNWIND_SP] = sp + 8;
	return true;
}

static void add_nowhere(struct unwind_walk *walk)
{
	walk->out->frames[walk->out->count++] = (struct unwind_frame){
		.pc = walk->regs[UNWIND_PC],
		.sp = walk->regs[UNWIND_SP],
		.module = UNWIND_NO_MODULE,
		.how = UNWIND_REGISTERS,
	};
}

/* Returns why it ended. */
static enum unwind_end walk_out(struct unwind_walk *walk)
{
	uint64_t pc = walk->regs[UNWIND_PC];
	enum unwind_how how = UNWIND_REGISTERS;

	if (!unwind_source_at(walk, pc)) {
		add_nowhere(walk);
		if (resume(walk, &pc))
			how = UNWIND_RESUMED;
		else if (unwind_scan(walk, &pc))
			how = UNWIND_SCANNED;
		else
			return UNWIND_NO_TABLES;
	}
	for (;;) {
		walk->out->scanned += how == UNWIND_SCANNED;
		unwind_walk_from(walk, pc, how);
		if (walk->stopped != UNWIND_NO_TABLES)
			return walk->stopped;
		if (walk->out->count == UNWIND_FRAMES)
			return UNWIND_LIMIT;
		if (!unwind_scan(walk, &pc))
			return UNWIND_NO_TABLES;
		how = UNWIND_SCANNED;
	}
}

static void say_why(struct unwind_result *out)
{
	const struct unwind_frame *last = out->count ? &out->frames[out->count - 1] : NULL;
	unsigned long long sp = last ? last->sp : 0, pc = last ? last->pc : 0;

	switch (out->end) {
	case UNWIND_STACK_ENDS:
		snprintf(out->why, sizeof(out->why), "the stack that was captured ends above 0x%llx", sp);
		break;
	case UNWIND_PAGE_MISSING:
		snprintf(out->why, sizeof(out->why), "a page of the stack above 0x%llx could not be read",
			 sp);
		break;
	case UNWIND_NO_TABLES:
		snprintf(out->why, sizeof(out->why),
			 "no unwind tables for 0x%llx, and no caller on the stack", pc);
		break;
	case UNWIND_LIMIT:
		snprintf(out->why, sizeof(out->why), "the stack goes on beyond %d frames", UNWIND_FRAMES);
		break;
	case UNWIND_DAMAGED:
		snprintf(out->why, sizeof(out->why), "what the unwind tables say of 0x%llx makes no sense",
			 pc);
		break;
	default:
		break;
	}
}

int unwind(const struct unwind_question *question, struct unwind_result *out)
{
	struct unwind_walk *walk;
	int err = -ENOMEM;

	memset(out, 0, sizeof(*out));
	if (question->code && question->code_start)
		instruction_text(question->code, EV_CODE, question->code_start, question->regs[REG_IP_],
				 out->instruction, sizeof(out->instruction));
	if (!in_order(question) || elf_version(EV_CURRENT) == EV_NONE) {
		out->end = UNWIND_DAMAGED;
		text_copy(out->why, sizeof(out->why), "the list of mappings makes no sense");
		return 0;
	}
	walk = calloc(1, sizeof(*walk));
	if (!walk)
		return -ENOMEM;
	walk->question = question;
	walk->out = out;
	if (!unwind_modules_load(walk) || code_reader_new(&walk->reader) != 0 || !unwind_walk_open(walk))
		goto out;
	begin(walk);
	out->end = walk_out(walk);
	say_why(out);
	unwind_name(walk);
	err = 0;
out:
	if (walk->dwfl)
		dwfl_end(walk->dwfl);
	code_reader_free(walk->reader);
	unwind_modules_done(walk);
	free(walk);
	return err;
}
