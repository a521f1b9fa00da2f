/* SPDX-License-Identifier: Apache-2.0 */
/* The chapters of `lapidary crash show`. Each prints nothing when it has nothing to tell. */
#ifndef LAPIDARY_CRASH_SHOW_H
#define LAPIDARY_CRASH_SHOW_H

#include "user/cli/crash_places.h"
#include "user/cli/page.h"

struct story {
	struct page page;
	const struct bundle_files *bundle;
	const cJSON *report;
	struct places places;
	bool memory; /* more of it */
};

/* The whole page. `group` (of like crashes, one of store_groups) may be NULL: no store at hand. 0 or -ENOMEM.
 */
int story_print(FILE *out, bool colour, const struct bundle_files *bundle, const cJSON *group, bool memory);

void story_first(const struct story *story, const cJSON *group);
void story_stack(const struct story *story);
void story_registers(const struct story *story);
void story_memory(const struct story *story);
void story_maps(const struct story *story);
void story_events(const struct story *story);
void story_gems(const struct story *story);
void story_stderr(const struct story *story);
void story_parts(const struct story *story);
/* Each known pattern with its explanation, remedies and references. */
void story_diagnosis(const struct story *story);

/* --- the stack's lines, for diff as well --- */
struct frame_line {
	const char *language; /* "C", "Ruby", "C for Ruby" */
	char what[160];       /* "rb_ary_each+0x4c", "app/shop.rb:12 in 'block in total'" */
	char where[96];       /* "libruby-3.1.so.3.1 +0x1b530" */
	const char *how;      /* "", what lowers the confidence, or whose name it is */
	char key[192]; /* what makes two frames the same on two hosts: symbol or offset, module, method */
};
/* Frames of the interleaved stack, or of both lists one after the other in a report without it. */
int frame_count(const cJSON *report);
void frame_line(const cJSON *report, int number, struct frame_line *out);
/* "…/models/order.rb": at most `width` bytes, the end. */
void path_tail(const char *path, size_t width, char *out, size_t size);

#endif
