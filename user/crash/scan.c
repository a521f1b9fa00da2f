/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reach is 16 KiB: a fault inside libc or the VM has its caller within a few frames, and further up
 * a Ruby stack is full of extensions that merely wait for a callee (the server's, the reactor's).
 *
 * A word that repeats the one before it is skipped, and so is a page that could not be read (zeroes).
 */
#include <string.h>
#include "user/base/text.h"
#include "user/crash/report.h"
#include "user/crash/scan.h"

enum {
	REACH = 16 * 1024,
	RODATA_REACH = 1024 * 1024, /* libc's constants lie behind its code, in the same file */
};

static bool word_at(const uint8_t *stack, size_t size, size_t at, uint64_t *out)
{
	if (at + sizeof(*out) > size)
		return false;
	memcpy(out, stack + at, sizeof(*out));
	return true;
}

/* What follows libc's code in memory. */
static bool is_constant_of_libc(uint64_t word, const struct maps_region *regions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (word >= regions[i].end && word < regions[i].end + RODATA_REACH &&
		    region_of(regions + i, 1, regions[i].start) &&
		    module_kind(regions[i].path, NULL) == MODULE_SYSTEM &&
		    !strncmp(text_base(regions[i].path), "libc", 4))
			return true;
	return false;
}

/* The length is that of a sentence: "free(): invalid pointer" has 23 characters, the longest ones have 60. */
bool scan_libc_message(const struct crash_input *input, size_t from, size_t to)
{
	uint64_t text, length;

	for (size_t at = from;
	     input->stack && at < to && word_at(input->stack, input->stack_size, at, &text) &&
	     word_at(input->stack, input->stack_size, at + 8, &length);
	     at += 8)
		if (length >= 14 && length <= 80 &&
		    is_constant_of_libc(text, input->regions, input->region_count))
			return true;
	return false;
}

void scan_stack(const uint8_t *stack, size_t size, const struct maps_region *regions, size_t count,
		struct scan *out)
{
	uint64_t word, last = 0;

	memset(out, 0, sizeof(*out));
	if (!stack || !count)
		return;
	for (size_t at = 0; at < REACH && word_at(stack, size, at, &word); at += 8) {
		struct scan_frame frame = {.address = word, .distance = at};

		if (word == 0 || word == last)
			continue;
		last = word;
		frame.region = region_of(regions, count, word);
		if (!frame.region)
			continue;
		frame.kind = module_kind(frame.region->path, &frame.gem);
		if (out->count < SCAN_FRAMES)
			out->frames[out->count++] = frame;
		if (!out->extension && frame.kind == MODULE_EXTENSION) {
			out->nearest_extension = frame;
			out->extension = &out->nearest_extension;
		}
		if (!out->suspect && (frame.kind == MODULE_EXTENSION || frame.kind == MODULE_LIBRARY)) {
			out->nearest_suspect = frame;
			out->suspect = &out->nearest_suspect;
		}
	}
}
