/* SPDX-License-Identifier: Apache-2.0 */
/* `lapidary crashes`: what was recorded, newest first. Reads the store; no agent is needed. */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/commands.h"
#include "user/cli/grid.h"
#include "user/cli/listing.h"

static const struct help crashes_help = {
	"crashes [--app APP] [--cause CAUSE] [--gem GEM] [--fingerprint FP] [--since T] [--until T] [--limit "
	"N] [--json]",
	"Lists the recorded crashes, newest first. T is a duration back from now (1h, 30m, 7d) or a time\n"
	"(2026-11-22T20:00:00Z). Only what is safely on disk is listed. Causes: null, non_canonical, "
	"bad_jump,\n"
	"write_read_only, unmapped, stack_overflow, injected, heap_corruption, abort, vm_error, oom,\n"
	"illegal_instruction, arithmetic, bus, unknown.\n",
	"  --app APP, --cause CAUSE, --gem GEM, --fingerprint FP   only those\n"
	"  --since T, --until T                                    only those in this time\n"
	"  --limit N                                               at most N (default 1000)\n"
	"  --json                                                  one JSON object: {\"crashes\":[…]}\n",
	"  lapidary crashes --since 1h\n"
	"  lapidary crashes --app shop --cause null\n"
	"  lapidary crashes --json | jq -r '.crashes[] | [.time, .blame.gem, .fingerprint] | @tsv'\n",
};

/* "pg 1.5.4", or the module's base name when no gem is known; "?" is nobody. */
static void blame_text(const cJSON *blame, char *out, size_t size)
{
	const char *gem = json_text(blame, "gem"), *version = json_text(blame, "version");
	const char *module = json_text(blame, "module");

	if (*gem)
		snprintf(out, size, "%s%s%s", gem, *version ? " " : "", version);
	else
		text_copy(out, size, strcmp(module, "unknown") ? text_base(module) : "?");
}

static void add_row(struct grid *grid, const cJSON *crash)
{
	const cJSON *blame = cJSON_GetObjectItem(crash, "blame");
	const char *state = json_text(crash, "bundle_state");
	char time[24], who[128];

	blame_text(blame, who, sizeof(who));
	grid_cell(grid, TINT_NONE, "%s", time_short(json_text(crash, "time"), time));
	grid_cell(grid, TINT_CYAN, "%s", json_text(crash, "id"));
	grid_cell(grid, TINT_BOLD, "%s", json_text(crash, "app"));
	grid_cell(grid, TINT_NONE, "%.0f", json_number(crash, "pid", 0));
	grid_cell(grid, TINT_RED, "%s", json_text(crash, "signal"));
	grid_cell(grid, TINT_NONE, "%s", json_text(crash, "cause"));
	grid_cell(grid, TINT_NONE, "%s", json_text(crash, "fault_address"));
	grid_cell(grid, TINT_YELLOW, "%s", who);
	grid_cell(grid, TINT_DIM, "%s", json_text(blame, "confidence"));
	grid_cell(grid, strcmp(state, "whole") ? TINT_RED : TINT_DIM, "%s", state);
}

static void print_table(const cJSON *all, bool colour)
{
	struct grid *grid = grid_new("time (UTC)|id|app|pid>|signal|cause|address>|blame|confidence|bundle");
	const cJSON *crash;

	if (!grid)
		return;
	cJSON_ArrayForEach(crash, cJSON_GetObjectItem(all, "crashes")) add_row(grid, crash);
	if (grid_rows(grid))
		grid_print(grid, stdout, colour);
	else
		puts("no crashes");
	grid_free(grid);
	cJSON_ArrayForEach(
		crash,
		cJSON_GetObjectItem(all, "crashes")) if (!strcmp(json_text(crash, "bundle_state"), "damaged"))
		command_error(0, "crashes: %s: damaged: %s", json_text(crash, "id"),
			      json_text(crash, "bundle_problem"));
}

int cmd_crashes(int argc, char **argv)
{
	struct store_reader *reader = NULL;
	struct listing listing;
	cJSON *all = NULL;
	int code = listing_start(&listing, argc, argv, &crashes_help,
				 LISTING_APP | LISTING_CAUSE | LISTING_GEM | LISTING_FINGERPRINT |
					 LISTING_TIME | LISTING_LIMIT,
				 0);

	if (code >= 0)
		return code;
	code = listing_store(&listing, argv[0], &reader);
	if (code >= 0)
		goto out;
	code = EXIT_FINE;
	if (store_crashes(reader, &listing.filter, &all))
		code = command_error(EXIT_PROBLEMS,
				     "crashes: the store cannot be read; the agent's next start checks it");
	else if (listing.json)
		code = print_json(all);
	else
		print_table(all, listing.colour);
	cJSON_Delete(all);
	store_reader_close(reader);
out:
	listing_done(&listing);
	return code;
}
