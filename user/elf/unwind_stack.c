// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include "user/elf/unwind_private.h"

/* One stretch of captured memory. */
struct stretch {
	uint64_t address;
	const uint8_t *bytes;
	size_t size;
};

size_t unwind_windows_size(const struct ev_window windows[WINDOW_COUNT])
{
	size_t size = 0;

	for (int i = 0; windows && i < WINDOW_COUNT; i++)
		size += windows[i].size;
	return size;
}

static bool holds(const struct stretch *stretch, uint64_t address)
{
	return address >= stretch->address && stretch->size >= sizeof(uint64_t) &&
	       address - stretch->address <= stretch->size - sizeof(uint64_t);
}

/* Pieces are cut where pages begin (struct ev_fault). */
static uint64_t piece_of(const struct stretch *stretch, uint64_t address)
{
	return address / EV_PAGE - stretch->address / EV_PAGE;
}

static enum unwind_end in_stack(const struct unwind_question *question, const struct stretch *stack,
				uint64_t address)
{
	for (int i = 0; question->missing && i < 2; i++) {
		uint64_t piece = piece_of(stack, address + (i ? sizeof(uint64_t) - 1 : 0));

		if (question->missing[piece / 8] >> piece % 8 & 1)
			return UNWIND_PAGE_MISSING;
	}
	return 0;
}

static enum unwind_end in_window(const struct ev_window *window, const struct stretch *stretch,
				 uint64_t address)
{
	for (int i = 0; i < 2; i++) {
		uint64_t piece = piece_of(stretch, address + (i ? sizeof(uint64_t) - 1 : 0));

		if (piece < 32 && window->missing >> piece & 1)
			return UNWIND_PAGE_MISSING;
	}
	return 0;
}

enum unwind_end unwind_stack_word(const struct unwind_question *question, uint64_t address, uint64_t *word)
{
	struct stretch at = {question->regs[REG_SP_], question->stack, question->stack_size};
	enum unwind_end lost;
	int window = -1;

	while (!holds(&at, address)) {
		if (!question->windows || ++window == WINDOW_COUNT)
			return UNWIND_STACK_ENDS;
		at.bytes += at.size;
		at.address = question->windows[window].address;
		at.size = question->windows[window].size;
	}
	lost = window < 0 ? in_stack(question, &at, address)
			  : in_window(&question->windows[window], &at, address);
	if (!lost)
		memcpy(word, at.bytes + (address - at.address), sizeof(*word));
	return lost;
}
