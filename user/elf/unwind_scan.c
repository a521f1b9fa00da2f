// SPDX-License-Identifier: Apache-2.0
/*
 * Where there are no tables, the next caller is looked for on the stack: a word that points behind a call
 * instruction, from which, where that code has tables, they lead on to another such word. A leftover of an
 * earlier call may pass as well, so what is found is marked.
 *
 * The frame pointer is asked first: a saved pointer further up with a return address above it is what a
 * compiler makes of it, and a leftover seldom.
 */
#include "user/elf/unwind_private.h"

enum { WORDS_MAX = 4096, TRIALS_MAX = 64 };

struct place {
	uint64_t at; /* where the word lies */
	uint64_t bp; /* the caller's, as far as can be told */
	bool bp_known;
};

/* A direct call further down the same file, or further back, cannot have led to where we are. */
static bool could_lead_here(const struct unwind_walk *walk, uint64_t target, uint64_t pc)
{
	uint16_t module = unwind_module_at(walk, pc);

	return target == 0 || module == UNWIND_NO_MODULE || unwind_module_at(walk, target) != module ||
	       target <= pc;
}

static bool accept(struct unwind_walk *walk, const struct place *place, uint64_t from, uint64_t *pc)
{
	uint64_t saved[UNWIND_REGISTERS_COUNT], word, target;
	uint32_t known = walk->known;

	if (unwind_stack_word(walk->question, place->at, &word) != 0 ||
	    unwind_follows_call(walk, word, &target) == UNWIND_NO_CALL ||
	    !could_lead_here(walk, target, from))
		return false;
	for (int i = 0; i < UNWIND_REGISTERS_COUNT; i++)
		saved[i] = walk->regs[i];
	walk->regs[UNWIND_SP] = place->at + 8;
	walk->regs[UNWIND_BP] = place->bp;
	walk->known = (known & ~(1u << UNWIND_BP)) | 1u << UNWIND_SP | (uint32_t)place->bp_known << UNWIND_BP;
	if (unwind_walk_try(walk, word)) {
		*pc = word;
		return true;
	}
	for (int i = 0; i < UNWIND_REGISTERS_COUNT; i++)
		walk->regs[i] = saved[i];
	walk->known = known;
	return false;
}

static bool by_frame_pointer(struct unwind_walk *walk, uint64_t from, uint64_t *pc)
{
	uint64_t bp = walk->regs[UNWIND_BP], sp = walk->regs[UNWIND_SP];
	struct place place = {.at = bp + 8, .bp_known = true};

	return walk->known & 1u << UNWIND_BP && bp >= sp && bp % 8 == 0 &&
	       unwind_stack_word(walk->question, bp, &place.bp) == 0 && (place.bp > bp || place.bp == 0) &&
	       accept(walk, &place, from, pc);
}

/* What a function with a frame pointer pushes first lies below its return address. */
static void guess_bp(const struct unwind_walk *walk, struct place *place)
{
	uint64_t below;

	if (walk->known & 1u << UNWIND_BP && walk->regs[UNWIND_BP] > place->at) {
		place->bp = walk->regs[UNWIND_BP];
		place->bp_known = true;
	} else if (unwind_stack_word(walk->question, place->at - 8, &below) == 0 && below > place->at) {
		place->bp = below;
		place->bp_known = true;
	}
}

bool unwind_scan(struct unwind_walk *walk, uint64_t *pc)
{
	uint64_t sp = walk->regs[UNWIND_SP], from = walk->out->frames[walk->out->count - 1].pc, word;
	int trials = 0;

	if (!(walk->known & 1u << UNWIND_SP))
		return false;
	if (by_frame_pointer(walk, from, pc))
		return true;
	sp = (sp + 7) & ~(uint64_t)7;
	for (int i = 0; i < WORDS_MAX && trials < TRIALS_MAX; i++) {
		struct place place = {.at = sp + (uint64_t)i * 8};
		enum unwind_end lost = unwind_stack_word(walk->question, place.at, &word);

		if (lost == UNWIND_STACK_ENDS)
			break;
		if (lost || !unwind_source_at(walk, word - 1))
			continue;
		trials++;
		guess_bp(walk, &place);
		if (accept(walk, &place, from, pc))
			return true;
	}
	return false;
}
