// SPDX-License-Identifier: Apache-2.0
/*
 * Both stacks as one: a Ruby frame, a C frame, or a C function that was called from Ruby, which is both.
 * Indexes come from the report and may point nowhere.
 */
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/crash_show.h"

enum { SHOWN = 64, PATH_WIDTH = 44, LIST_MAX = 1024 };

void path_tail(const char *path, size_t width, char *out, size_t size)
{
	size_t length = strlen(path);
	const char *from;

	if (length <= width) {
		text_copy(out, size, path);
		return;
	}
	from = path + length - width;
	if (strchr(from, '/'))
		from = strchr(from, '/'); /* whole names, while there are any */
	while (((unsigned char)*from & 0xc0) == 0x80)
		from++;
	snprintf(out, size, "…%s", from);
}

static const cJSON *member(const cJSON *list, const cJSON *index)
{
	double i = cJSON_IsNumber(index) ? index->valuedouble : -1;

	return i >= 0 && i < LIST_MAX ? cJSON_GetArrayItem(list, (int)i) : NULL;
}

static bool has_stack(const cJSON *report)
{
	return report_part(report, "stack") && report_part(report, "stack")->child;
}

int frame_count(const cJSON *report)
{
	int count = has_stack(report) ? cJSON_GetArraySize(report_part(report, "stack"))
				      : cJSON_GetArraySize(report_part(report, "native_frames")) +
						cJSON_GetArraySize(report_part(report, "ruby_frames"));

	return count < LIST_MAX ? count : LIST_MAX;
}

static void pick(const cJSON *report, int number, const cJSON **native, const cJSON **ruby)
{
	const cJSON *natives = report_part(report, "native_frames"),
		    *rubies = report_part(report, "ruby_frames");
	const cJSON *entry = cJSON_GetArrayItem(report_part(report, "stack"), number);
	int count;

	*native = *ruby = NULL;
	if (has_stack(report)) { /* sizes are counted, so not without need */
		*native = member(natives, report_part(entry, "native"));
		*ruby = member(rubies, report_part(entry, "ruby"));
		return;
	}
	count = cJSON_GetArraySize(natives);
	if (number < count)
		*native = cJSON_GetArrayItem(natives, number);
	else
		*ruby = cJSON_GetArrayItem(rubies, number - count);
}

static const char *doubt_text(const cJSON *native)
{
	const char *how = json_text(native, "how");

	if (!strcmp(how, "stack_scan"))
		return "a word on the stack: unsure";
	if (!strcmp(how, "resumed"))
		return "what the jump left on the stack";
	return json_true(native, "interrupted") ? "interrupted by a signal" : "";
}

static const char *how_text(const cJSON *native)
{
	const char *doubt = doubt_text(native);
	bool debug = !strcmp(json_text(native, "symbol_from"), "debug_file");

	return *doubt || !debug ? doubt : "name by its debug file";
}

static void native_text(const cJSON *native, struct frame_line *out)
{
	const char *symbol = json_text(native, "symbol"), *module = json_text(native, "module");
	double offset = json_number(native, "symbol_offset", -1);
	char place[96] = "";

	if (*module)
		snprintf(place, sizeof(place), "%.60s%s%.20s", text_base(module),
			 *json_text(native, "offset") ? " +" : "", json_text(native, "offset"));
	if (*symbol) {
		snprintf(out->what, sizeof(out->what), offset >= 0 ? "%.128s+0x%llx" : "%.128s", symbol,
			 (unsigned long long)(offset >= 0 ? offset : 0));
		text_copy(out->where, sizeof(out->where), place);
	} else { /* what is the same on every host comes first */
		text_copy(out->what, sizeof(out->what), *place ? place : json_text(native, "address"));
		text_copy(out->where, sizeof(out->where), *place ? json_text(native, "address") : "no file");
	}
	snprintf(out->key, sizeof(out->key), "%.100s %.80s", *symbol ? symbol : json_text(native, "offset"),
		 text_base(module));
	out->how = how_text(native);
}

static void ruby_text(const cJSON *ruby, char *out, size_t size, size_t width)
{
	const char *path = json_text(ruby, "path"), *method = json_text(ruby, "method");
	char tail[160], line[24] = "";

	path_tail(*path ? path : "?", width, tail, sizeof(tail));
	if (json_number(ruby, "line", 0) > 0)
		snprintf(line, sizeof(line), ":%.0f", json_number(ruby, "line", 0));
	snprintf(out, size, "%.100s%.23s in '%.64s'", tail, line, *method ? method : "?");
}

void frame_line(const cJSON *report, int number, struct frame_line *out)
{
	const cJSON *native, *ruby;
	char text[256];

	pick(report, number, &native, &ruby);
	memset(out, 0, sizeof(*out));
	out->how = "";
	out->language = native && ruby ? "C for Ruby" : ruby ? "Ruby" : "C";
	if (native)
		native_text(native, out);
	if (!ruby)
		return;
	ruby_text(ruby, text, sizeof(text), PATH_WIDTH);
	if (!native) {
		text_copy(out->what, sizeof(out->what), text);
		snprintf(out->key, sizeof(out->key), "%.60s %.100s", json_text(ruby, "method"),
			 text_base(json_text(ruby, "path")));
	} else if (!*doubt_text(native)) {
		size_t used = strlen(out->what);

		text_add(out->what, sizeof(out->what), &used, ", Ruby's '%.60s'", json_text(ruby, "method"));
	}
}

static void add_row(struct grid *grid, int number, const struct frame_line *line)
{
	bool ruby = !strcmp(line->language, "Ruby");

	grid_cell(grid, TINT_DIM, "%3d", number);
	grid_cell(grid, TINT_DIM, "%s", line->language);
	grid_cell(grid, ruby ? TINT_CYAN : number ? TINT_NONE : TINT_YELLOW, "%s", line->what);
	grid_cell(grid, TINT_NONE, "%s", *line->where ? line->where : " ");
	grid_cell(grid, TINT_DIM, "%s", *line->how ? line->how : " ");
}

static void add_repeat(struct grid *grid, int times)
{
	grid_cell(grid, TINT_NONE, " ");
	grid_cell(grid, TINT_NONE, " ");
	grid_cell(grid, TINT_DIM, "… the same %d times more", times);
	grid_cell(grid, TINT_NONE, " ");
	grid_cell(grid, TINT_NONE, " ");
}

/* Recursion fills pages: a run of equal frames is one line. */
static int run_length(const cJSON *report, int from, int count, const struct frame_line *first)
{
	struct frame_line line;
	int run = 1;

	while (from + run < count) {
		frame_line(report, from + run, &line);
		if (strcmp(line.key, first->key) != 0 || strcmp(line.what, first->what) != 0)
			break;
		run++;
	}
	return run;
}

void story_stack(const struct story *story)
{
	const cJSON *unwind = report_part(story->report, "unwind");
	int count = frame_count(story->report), rows = 0, at = 0;
	struct grid *grid = grid_new("  |in|what|where|found by");

	page_head(&story->page, "Stack, innermost first");
	for (; grid && at < count && rows < SHOWN; rows++) {
		struct frame_line line;
		int run;

		frame_line(story->report, at, &line);
		add_row(grid, at, &line);
		run = run_length(story->report, at, count, &line);
		if (run > 3)
			add_repeat(grid, run - 1);
		at += run > 3 ? run : 1;
	}
	if (grid && rows)
		grid_print(grid, story->page.out, story->page.colour);
	grid_free(grid);
	if (at < count)
		page_raw(&story->page, TINT_DIM, "  … %d more: --json has them", count - at);
	if (!count)
		page_line(&story->page, "", "none is known");
	if (*json_text(unwind, "end") && strcmp(json_text(unwind, "end"), "outermost") != 0)
		page_line(&story->page, "it ends", "%s%s%s", json_text(unwind, "end"),
			  *json_text(unwind, "why") ? ": " : "", json_text(unwind, "why"));
}
