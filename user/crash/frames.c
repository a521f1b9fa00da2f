/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame lies where its call was made: a return address may be the first byte behind the mapping, when
 * the last thing in it is a call that does not come back. So a return address is looked up one byte lower.
 */
#include <stdlib.h>
#include <string.h>
#include "user/crash/frames.h"
#include "user/crash/interleave.h"

static bool is_return_address(const struct frame *frame)
{
	return frame->how != UNWIND_REGISTERS && !frame->interrupted;
}

static void place_frame(const struct crash_input *input, struct frames *frames, struct frame *frame)
{
	const struct ev_location *at = &input->crash->location;

	frame->region = region_of(input->regions, input->region_count, frame->pc - is_return_address(frame));
	frame->path = frame->region && frame->region->path ? frame->region->path : "";
	if (!frame->region && frames->count == 0 && (at->what == LOCATION_FILE || at->what == LOCATION_VDSO))
		frame->path = at->module;
	for (size_t i = frames->count; i-- > 0;)
		if (frames->list[i].path == frame->path) {
			frame->kind = frames->list[i].kind;
			frame->gem = frames->list[i].gem;
			return;
		}
	frame->kind = module_kind(frame->path, &frame->gem);
}

static void add_frame(const struct crash_input *input, struct frames *frames, struct frame frame)
{
	if (frames->count == UNWIND_FRAMES)
		return;
	place_frame(input, frames, &frame);
	frames->list[frames->count++] = frame;
}

static void add_unwound(const struct crash_input *input, struct frames *frames)
{
	const struct unwind_result *unwound = input->unwound;

	frames->unwound = true;
	for (size_t i = 0; i < unwound->count && i < UNWIND_FRAMES; i++) {
		const struct unwind_frame *from = &unwound->frames[i];

		add_frame(input, frames,
			  (struct frame){
				  .pc = from->pc,
				  .sp = from->sp,
				  .function = from->function    ? from->function
					      : from->symbol[0] ? from->pc - from->symbol_offset
								: 0,
				  .how = from->how,
				  .interrupted = from->interrupted,
				  .symbol = from->symbol,
				  .symbol_offset = from->symbol_offset,
				  .symbol_from = from->symbol_from,
			  });
	}
}

/* What can be said without an examiner: the first is known, the others are words found on the stack. */
static void add_scanned(const struct crash_input *input, struct frames *frames)
{
	const struct ev_fault *fault = &input->crash->fault;

	add_frame(input, frames,
		  (struct frame){
			  .pc = fault->regs[REG_IP_],
			  .sp = fault->regs[REG_SP_],
			  .how = UNWIND_REGISTERS,
			  .symbol = "",
		  });
	for (size_t i = 0; i < frames->scan->count; i++)
		add_frame(input, frames,
			  (struct frame){
				  .pc = frames->scan->frames[i].address,
				  .sp = fault->regs[REG_SP_] + frames->scan->frames[i].distance + 8,
				  .how = UNWIND_SCANNED,
				  .symbol = "",
			  });
}

static const struct ev_ruby_frame *ruby_frames(const struct crash_input *input, size_t *count)
{
	const struct ev_ruby *ruby = input->ruby_stack;

	*count = !ruby ? 0 : ruby->count < EV_RUBY_FRAMES ? ruby->count : EV_RUBY_FRAMES;
	return ruby ? ruby->frames : NULL;
}

/*
 * With the names that every host has: what is blamed, and so the fingerprint, must not depend on debug files
 * that are installed on one.
 */
static void hide_debug_names(const struct crash_input *input, struct frames *frames, bool hide)
{
	for (size_t i = 0; frames->unwound && i < frames->count; i++)
		if (frames->list[i].symbol_from == UNWIND_DEBUG_SYMBOLS)
			frames->list[i].symbol = hide ? "" : input->unwound->frames[i].symbol;
}

static size_t find_reach(const struct crash_input *input, const struct frames *frames)
{
	struct interleaved stack[INTERLEAVE_MAX];
	size_t ruby_count, reach = 0, count;
	const struct ev_ruby_frame *ruby = ruby_frames(input, &ruby_count);

	count = interleave(frames->list, frames->count, ruby, ruby_count, stack);
	for (size_t i = 0; i < count; i++) {
		if (stack[i].native != INTERLEAVE_NONE)
			reach = stack[i].native + 1u;
		else if (ruby[stack[i].ruby].kind == RUBY_FRAME_RUBY)
			return reach;
	}
	for (size_t i = 1; i < frames->count; i++)
		if (interpreter_loop(&frames->list[i]))
			return i;
	return frames->count;
}

const struct maps_region *frames_method(const struct crash_input *input, const struct ev_ruby_frame **method)
{
	const struct maps_region *region;
	size_t count;
	const struct ev_ruby_frame *ruby = ruby_frames(input, &count);

	if (!count || ruby[0].kind != RUBY_FRAME_C)
		return NULL;
	region = region_of(input->regions, input->region_count, ruby[0].address);
	if (!region || module_kind(region->path, NULL) != MODULE_EXTENSION)
		return NULL;
	*method = &ruby[0];
	return region;
}

struct frames *frames_new(const struct crash_input *input)
{
	struct frames *frames = calloc(1, sizeof(*frames));

	if (!frames || !(frames->scan = malloc(sizeof(*frames->scan)))) {
		frames_free(frames);
		return NULL;
	}
	scan_stack(input->stack, input->stack_size, input->regions, input->region_count, frames->scan);
	if (!input->crash->has_fault)
		return frames;
	if (input->unwound && input->unwound->count)
		add_unwound(input, frames);
	else
		add_scanned(input, frames);
	hide_debug_names(input, frames, true);
	frames->reach = find_reach(input, frames);
	hide_debug_names(input, frames, false);
	return frames;
}

void frames_free(struct frames *frames)
{
	if (!frames)
		return;
	free(frames->scan);
	free(frames);
}

bool frame_offset(const struct crash_input *input, const struct frame *frame, uint64_t *offset)
{
	const struct ev_location *at = &input->crash->location;

	if (frame->region && frame->path[0]) {
		*offset = frame->pc - frame->region->start + frame->region->offset;
		return true;
	}
	if (frame->path != at->module || !frame->path[0])
		return false;
	*offset = at->offset;
	return true;
}

bool frame_is(const struct frame *frame, const char *const names[])
{
	for (; *names; names++)
		if (!strcmp(frame->symbol, *names))
			return true;
	return false;
}
