/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lapidary crashes`: what was recorded, newest first, or one row for all that are alike. Reads the store; no
 * agent is needed.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/commands.h"
#include "user/cli/crash_show.h"
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
	double after = json_number(crash, "finished_after_ms", -1);
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
	if (after >= 0 && !strcmp(state, "whole"))
		grid_cell(grid, TINT_DIM, "whole in %.1f ms", after);
	else
		grid_cell(grid, strcmp(state, "whole") ? TINT_RED : TINT_DIM, "%s", state);
}

static void names_text(const cJSON *names, char *out, size_t size)
{
	const cJSON *one;
	size_t used = 0;

	out[0] = '\0';
	cJSON_ArrayForEach(one, names)
	{
		if (cJSON_IsString(one))
			text_add(out, size, &used, "%s%s", used ? "," : "", one->valuestring);
	}
}

static void add_group(struct grid *grid, const cJSON *group)
{
	char first[24], last[24], who[128], apps[96], hosts[96];
	double hidden = json_number(group, "suppressed", 0);

	blame_text(cJSON_GetObjectItem(group, "blame"), who, sizeof(who));
	names_text(cJSON_GetObjectItem(group, "apps"), apps, sizeof(apps));
	names_text(cJSON_GetObjectItem(group, "hosts"), hosts, sizeof(hosts));
	grid_cell(grid, TINT_CYAN, "%s", json_text(group, "fingerprint"));
	grid_cell(grid, TINT_RED, "%.0f", json_number(group, "count", 0));
	grid_cell(grid, TINT_DIM, hidden > 0 ? "%.0f" : "-", hidden);
	grid_cell(grid, TINT_NONE, "%s", time_short(json_text(group, "first"), first));
	grid_cell(grid, TINT_NONE, "%s", time_short(json_text(group, "last"), last));
	grid_cell(grid, TINT_BOLD, "%s", apps);
	grid_cell(grid, TINT_NONE, "%s", hosts);
	grid_cell(grid, TINT_NONE, "%s", json_text(group, "cause"));
	grid_cell(grid, TINT_YELLOW, "%s", who);
	grid_cell(grid, TINT_NONE, "%s", json_text(group, "top_frame"));
	grid_cell(grid, TINT_CYAN, "%s", json_text(group, "example"));
}

/* The innermost frame of each group's example. */
static int read_groups(struct store_reader *reader, const struct store_filter *filter, cJSON **out)
{
	int err = store_groups(reader, filter, out);
	cJSON *group;

	if (err)
		return err;
	cJSON_ArrayForEach(group, cJSON_GetObjectItem(*out, "groups"))
	{
		struct frame_line frame = {.how = ""};
		cJSON *report = NULL;
		char place[4608];

		if (!store_report(reader, json_text(group, "example"), &report, place, sizeof(place)) &&
		    frame_count(report))
			frame_line(report, 0, &frame);
		text_clean(frame.what);
		json_add_text(group, "top_frame", frame.what);
		cJSON_Delete(report);
	}
	return 0;
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

static const char synopsis[] = "crashes [--group] [--app APP] [--cause CAUSE] [--gem GEM] [--fingerprint FP] "
			       "[--since T] [--until T] [--limit N] [--json]";

static const char about[] =
	"Lists the recorded crashes, newest first. T is a duration back from now (1h, 30m, 7d) or a time\n"
	"(2026-11-22T20:00:00Z). Only what is safely on disk is listed. Causes: null, non_canonical,\n"
	"bad_jump, write_read_only, no_access, unmapped, stack_overflow, injected, heap_corruption,\n"
	"buffer_overflow, assertion, abort, vm_error, abi_mismatch, oom, illegal_instruction, arithmetic,\n"
	"bus, unknown.\n";

static const char options[] =
	"  --group                                                 one row for all that are alike\n"
	"  --app APP, --cause CAUSE, --gem GEM, --fingerprint FP   only those\n"
	"  --since T, --until T                                    only those in this time\n"
	"  --limit N                                               at most N (default 1000)\n"
	"  --json                                                  one JSON object: {\"crashes\":[…]},\n"
	"                                                          or {\"groups\":[…]}\n";

static const char examples[] =
	"  lapidary crashes --since 1h\n"
	"  lapidary crashes --group --since 7d\n"
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

static const struct documents groups = {
	.name = "groups",
	.help = {synopsis, about, options, examples},
	.heads = "fingerprint|crashes>|counted only>|first (UTC)|last (UTC)|apps|hosts|cause|blame|innermost "
		 "frame|example",
	.row = add_group,
	.read = read_groups,
	.flags = LISTING_APP | LISTING_CAUSE | LISTING_GEM | LISTING_FINGERPRINT | LISTING_TIME |
		 LISTING_LIMIT,
};

int cmd_crashes(int argc, char **argv)
{
	const struct documents *which = option_take(&argc, argv, "--group") ? &groups : &crashes;

	return documents_run(which, argc, argv);
}
