/* SPDX-License-Identifier: Apache-2.0 */
/* `lapidary crashes`: what was recorded, newest first. Reads the store; no agent is needed. */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/commands.h"
#include "user/cli/documents.h"

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

/* A damaged bundle is listed, and what is wrong with it is said. */
static void tell_damage(const cJSON *all)
{
	const cJSON *crash;

	cJSON_ArrayForEach(crash, cJSON_GetObjectItem(all, "crashes"))
	{
		if (!strcmp(json_text(crash, "bundle_state"), "damaged"))
			command_error(0, "crashes: %s: damaged: %s", json_text(crash, "id"),
				      json_text(crash, "bundle_problem"));
	}
}

static const char synopsis[] = "crashes [--app APP] [--cause CAUSE] [--gem GEM] [--fingerprint FP] "
			       "[--since T] [--until T] [--limit N] [--json]";

static const char about[] =
	"Lists the recorded crashes, newest first. T is a duration back from now (1h, 30m, 7d) or a time\n"
	"(2026-11-22T20:00:00Z). Only what is safely on disk is listed. Causes: null, non_canonical,\n"
	"bad_jump, write_read_only, no_access, unmapped, stack_overflow, injected, heap_corruption,\n"
	"buffer_overflow, assertion, abort, vm_error, abi_mismatch, oom, illegal_instruction, arithmetic,\n"
	"bus, unknown.\n";

static const char options[] =
	"  --app APP, --cause CAUSE, --gem GEM, --fingerprint FP   only those\n"
	"  --since T, --until T                                    only those in this time\n"
	"  --limit N                                               at most N (default 1000)\n"
	"  --json                                                  one JSON object: {\"crashes\":[…]}\n";

static const char examples[] =
	"  lapidary crashes --since 1h\n"
	"  lapidary crashes --app shop --cause null\n"
	"  lapidary crashes --json | jq -r '.crashes[] | [.time, .blame.gem, .fingerprint] | @tsv'\n";

static const struct documents crashes = {
	.name = "crashes",
	.help = {synopsis, about, options, examples},
	.heads = "time (UTC)|id|app|pid>|signal|cause|address>|blame|confidence|bundle",
	.row = add_row,
	.read = store_crashes,
	.flags = LISTING_APP | LISTING_CAUSE | LISTING_GEM | LISTING_FINGERPRINT | LISTING_TIME |
		 LISTING_LIMIT,
	.remark = tell_damage,
};

int cmd_crashes(int argc, char **argv)
{
	return documents_run(&crashes, argc, argv);
}
