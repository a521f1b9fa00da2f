// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include "user/elf/unwind_private.h"

/* Pieces are cut where pages begin (struct ev_fault). */
static bool is_missing(const struct unwind_question *question, uint64_t at)
{
	uint64_t first = EV_PAGE - question->regs[REG_SP_] % EV_PAGE;
	uint64_t piece = at < first ? 0 : 1 + (at - first) / EV_PAGE;

	return question->missing && (question->missing[piece / 8] >> piece % 8 & 1);
}

enum unwind_end unwind_stack_word(const struct unwind_question *question, uint64_t address, uint64_t *word)
{
	uint64_t at = address - question->regs[REG_SP_];

	if (address < question->regs[REG_SP_] || question->stack_size < sizeof(*word) ||
	    at > question->stack_size - sizeof(*word))
		return UNWIND_STACK_ENDS;
	if (is_missing(question, at) || is_missing(question, at + sizeof(*word) - 1))
		return UNWIND_PAGE_MISSING;
	memcpy(word, question->stack + at, sizeof(*word));
	return 0;
}
