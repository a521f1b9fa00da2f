/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes two crashes alike: the class, the blamed module, and the calls in it that led there, as far as
 * they are the same on the next host.
 *
 * Addresses are not (ASLR). A function is known by its symbol, else by where it begins in the file, else by
 * the instruction's offset: an offset is that of one build, and another build of the blamed module is another
 * suspect. Of libc and Ruby neither offsets count, since hosts have other builds of them, nor the
 * names of their inner functions, which one host has debug symbols for and the next has not, or
 * which depend on the processor (memcpy's variants): only that they were called, and of Ruby the function
 * of its interface that an extension called, which every build exports. Of a path the base name counts,
 * without what follows ".so".
 *
 * Frames beyond the innermost bytecode are the app's way there and differ. Direct recursion counts once, and
 * a stack overflow by the functions that repeat, since its depth and its last call are chance. Where no one
 * is blamed the innermost Ruby method stands in, if damage is not found wherever it happens to be met. What
 * rests on a low confidence names the module alone: a leftover word may lie elsewhere the next time.
 */
#include <stdlib.h>
#include <string.h>
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/crash/blame.h"

enum { TOP = 3, OVERFLOW_FRAMES = 64 };

static uint64_t add_number(uint64_t digest, uint64_t number)
{
	return digest_fnv(digest, &number, sizeof(number));
}

/* "libpq.so" of "/usr/lib/libpq.so.5.15 (deleted)". */
static uint64_t add_module(uint64_t digest, const char *path)
{
	char name[256];
	char *end;

	text_copy(name, sizeof(name), text_base(path));
	if ((end = strstr(name, ".so")))
		end[3] = '\0';
	else if ((end = strstr(name, " (deleted)")))
		*end = '\0';
	return digest_text(digest, name);
}

/* What its debug file calls it is not: the next host may have no such file. */
static bool is_everywhere(const struct frame *frame)
{
	return frame->symbol[0] && frame->symbol_from != UNWIND_DEBUG_SYMBOLS;
}

/* The function of a frame in code that is not everybody's. */
static uint64_t function_token(const struct crash_input *input, const struct frame *frame)
{
	uint64_t token = add_module(DIGEST_START, frame->path), offset = 0;

	if (is_everywhere(frame))
		return digest_text(token, frame->symbol);
	if (frame->function && frame->region)
		return add_number(token, frame->function - frame->region->start + frame->region->offset);
	if (frame_offset(input, frame, &offset))
		token = add_number(token, offset);
	return token;
}

static bool is_own_code(const struct frame *frame)
{
	return frame->kind == MODULE_EXTENSION || frame->kind == MODULE_LIBRARY;
}

/*
 * Of code that is everybody's: its kind, once for a run of such frames; of Ruby the function that the
 * frame outside of the run called.
 */
static uint64_t shared_token(const struct frames *frames, size_t at)
{
	const struct frame *frame = &frames->list[at];
	uint64_t token = add_number(DIGEST_START, frame->kind);

	if (frame->kind == MODULE_RUBY && at + 1 < frames->count && is_own_code(frame + 1) &&
	    is_everywhere(frame) && !strncmp(frame->symbol, "rb_", 3))
		token = digest_text(token, frame->symbol);
	return token;
}

static uint64_t add_top(uint64_t digest, const struct crash_input *input, const struct frames *frames)
{
	uint64_t last = 0, token;
	size_t own = 0;

	for (size_t i = 0; i < frames->reach && own < TOP; i++) {
		const struct frame *frame = &frames->list[i];

		if (frame->how == UNWIND_SCANNED)
			break;
		if (!is_own_code(frame) && i + 1 < frames->count && frames->list[i + 1].kind == frame->kind)
			continue; /* the outermost of its run */
		token = is_own_code(frame) ? function_token(input, frame) : shared_token(frames, i);
		if (token != last) {
			digest = add_number(digest, token);
			own += is_own_code(frame);
		}
		last = token;
	}
	return digest;
}

static int by_number(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* The functions that stand on the stack more than once, in no order. */
static uint64_t add_recursion(uint64_t digest, const struct crash_input *input, const struct frames *frames)
{
	uint64_t tokens[OVERFLOW_FRAMES] = {0};
	size_t count = 0;

	for (size_t i = 0; i < frames->count && count < OVERFLOW_FRAMES; i++)
		if (is_own_code(&frames->list[i]) && frames->list[i].how != UNWIND_SCANNED)
			tokens[count++] = function_token(input, &frames->list[i]);
	qsort(tokens, count, sizeof(*tokens), by_number);
	for (size_t i = 1; i < count; i++)
		if (tokens[i] == tokens[i - 1] && (i == 1 || tokens[i] != tokens[i - 2]))
			digest = add_number(digest, tokens[i]);
	return digest;
}

static uint64_t add_ruby(uint64_t digest, const struct crash_input *input)
{
	const struct ev_ruby *ruby = input->ruby_stack;
	char text[EV_RUBY_PATH + 1];

	if (!ruby || !ruby->count)
		return digest;
	text_copy_bytes(text, sizeof(text), ruby->frames[0].label, sizeof(ruby->frames[0].label));
	digest = digest_text(digest, text);
	text_copy_bytes(text, sizeof(text), ruby->frames[0].path, sizeof(ruby->frames[0].path));
	return digest_text(digest, text_base(text));
}

static uint64_t add_place(uint64_t digest, const struct crash_input *input, enum cause cause,
			  const struct blame *blame, const struct frames *frames)
{
	digest = add_module(digest, blame->module);
	digest = digest_text(digest, blame->gem);
	if (blame->confidence[0] == 'n') {
		if (frames->count)
			digest = add_number(digest, frames->list[0].kind);
		if (cause != CAUSE_HEAP_CORRUPTION)
			digest = add_ruby(digest, input);
		return digest_text(digest, input->crash->app);
	}
	if (cause == CAUSE_STACK_OVERFLOW && frames->unwound)
		return add_recursion(digest, input, frames);
	return blame->confidence[0] == 'l' ? digest : add_top(digest, input, frames);
}

void fingerprint_of(const struct crash_input *input, enum cause cause, const struct blame *blame,
		    const struct frames *frames, char out[20])
{
	const struct crash *crash = input->crash;
	uint64_t digest = digest_text(DIGEST_START, cause_name(cause));
	char signal[12];

	switch (cause) {
	case CAUSE_OOM:
		digest = digest_text(digest, crash->app);
		break;
	case CAUSE_INJECTED:
		signal_name(crash_signal(crash), signal);
		digest = digest_text(digest, signal);
		break;
	case CAUSE_VM_ERROR:
		/* the format string, unexpanded: the same for every instance of it */
		digest = digest_text(digest, crash->fatal.message);
		digest = add_number(digest, crash->fatal.kind);
		if (!crash->fatal.kind)
			digest = add_place(digest, input, cause, blame, frames);
		break;
	case CAUSE_ABI_MISMATCH:
		/* it fails wherever it comes to use a field that moved */
		digest = add_module(digest, blame->module);
		digest = digest_text(digest, blame->gem);
		digest = digest_text(digest, blame->version);
		break;
	default:
		digest = add_place(digest, input, cause, blame, frames);
	}
	digest_hex(digest, out);
}
