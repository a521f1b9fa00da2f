// SPDX-License-Identifier: Apache-2.0
/* `lapidary crash diff A B`: what two crashes have in common, and where they part. */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/cli/crash.h"
#include "user/cli/crash_diff.h"
#include "user/cli/page.h"

static const struct help diff_help = {
	"crash diff A B [--json]",
	"Compares two crashes: cause, blame, app, Ruby, statement; both stacks aligned, with the first "
	"frame\n"
	"where they part; what the registers point at; versions of gems. Addresses are not compared. A and "
	"B\n"
	"are ids, or exported files.\n",
	"  --json   one JSON object; its schema is crash_diff.schema.json\n",
	"  lapidary crash diff 3f2a 91c0\n"
	"  lapidary crash diff 3f2a from-the-other-host.tar.gz\n",
};

static const char *or_none(const cJSON *pair, const char *side)
{
	return *json_text(pair, side) ? json_text(pair, side) : "-";
}

static void print_pairs(const struct page *page, const char *head, const cJSON *list)
{
	struct grid *grid = grid_new("  |A|B");
	const cJSON *pair;

	if (!cJSON_GetArraySize(list)) {
		grid_free(grid);
		return;
	}
	page_head(page, head);
	cJSON_ArrayForEach(pair, list)
	{
		if (!grid)
			break;
		grid_cell(grid, TINT_DIM, "  %.40s", json_text(pair, "name"));
		grid_cell(grid, TINT_YELLOW, "%.100s", or_none(pair, "a"));
		grid_cell(grid, TINT_YELLOW, "%.100s", or_none(pair, "b"));
	}
	if (grid)
		grid_print(grid, page->out, page->colour);
	grid_free(grid);
}

static void print_frames(const struct page *page, const cJSON *list)
{
	bool parted = false;
	const cJSON *frame;

	if (!cJSON_GetArraySize(list))
		return;
	page_head(page, "Stacks, innermost first (= both, A, B)");
	cJSON_ArrayForEach(frame, list)
	{
		const char *side = json_text(frame, "in");
		bool both = !strcmp(side, "both"), first = !both && !parted;

		parted |= !both;
		page_raw(page,
			 both    ? TINT_NONE
			 : first ? TINT_RED
				 : TINT_YELLOW,
			 "  %s %s%s",
			 both                 ? "="
			 : !strcmp(side, "a") ? "A"
					      : "B",
			 json_text(frame, "frame"), first ? "   <- here they part" : "");
	}
}

static void print_diff(const struct page *page, const cJSON *diff)
{
	const cJSON *pair;

	page_raw(page, TINT_BOLD, "A  %s  %s", json_text(diff, "a"), json_text(diff, "time_a"));
	page_raw(page, TINT_BOLD, "B  %s  %s", json_text(diff, "b"), json_text(diff, "time_b"));
	page_head(page, "Alike");
	cJSON_ArrayForEach(pair, cJSON_GetObjectItem(diff, "equal"))
		page_text(page, json_text(pair, "name"), 2, "%s", json_text(pair, "a"));
	print_pairs(page, "Different", cJSON_GetObjectItem(diff, "different"));
	print_frames(page, cJSON_GetObjectItem(diff, "frames"));
	print_pairs(page, "Registers that point elsewhere", cJSON_GetObjectItem(diff, "registers"));
	print_pairs(page, "Gems", cJSON_GetObjectItem(diff, "gems"));
}

static int diff(const struct listing *listing, const struct bundle_files *a, const struct bundle_files *b)
{
	struct page page = {stdout, listing->colour, page_width(stdout)};
	cJSON *document = crash_compare(a, b);
	int code = EXIT_FINE;

	if (!document)
		return command_error(EXIT_INTERNAL, "crash diff: out of memory");
	if (listing->json)
		code = print_json(document);
	else
		print_diff(&page, document);
	cJSON_Delete(document);
	return code;
}

int crash_diff(int argc, char **argv)
{
	struct bundle_files a = {0}, b = {0};
	struct listing listing;
	int code = listing_start(&listing, argc, argv, &diff_help, 0, 2);

	if (code >= 0)
		return code;
	code = listing.count == 2 ? bundle_read_any(&listing, listing.words[0], &a)
				  : usage_error("crash diff: two are needed, as in: lapidary crash diff A B");
	if (code < 0) {
		code = bundle_read_any(&listing, listing.words[1], &b);
		if (code < 0) {
			code = diff(&listing, &a, &b);
			bundle_files_done(&b);
		}
		bundle_files_done(&a);
	}
	listing_done(&listing);
	return code;
}
