/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listings of the store differ in their query and in their columns, so each is a row of one table. Here
 * are those of the documents that are kept as they came: incidents, decisions, gaps.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/when.h"
#include "user/cli/commands.h"
#include "user/cli/documents.h"

static void add_time(struct grid *grid, const cJSON *one, const char *key)
{
	char time[24];

	grid_cell(grid, TINT_NONE, "%s", time_short(json_text(one, key), time));
}

static void incident_row(struct grid *grid, const cJSON *one)
{
	const char *severity = json_text(one, "severity");
	bool open = !strcmp(json_text(one, "state"), "open");

	add_time(grid, one, "opened");
	grid_cell(grid, open ? TINT_RED : TINT_DIM, "%s", json_text(one, "state"));
	grid_cell(grid, strcmp(severity, "warning") ? TINT_RED : TINT_YELLOW, "%s", severity);
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "kind"));
	grid_cell(grid, TINT_BOLD, "%s", json_text(one, "app"));
	grid_cell(grid, TINT_NONE, "%.0f", json_number(one, "count", 0));
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "title"));
	grid_cell(grid, TINT_CYAN, "%s", json_text(one, "remedy"));
}

static void decision_row(struct grid *grid, const cJSON *one)
{
	add_time(grid, one, "time");
	grid_cell(grid, TINT_CYAN, "%s", json_text(one, "action"));
	grid_cell(grid, TINT_BOLD, "%s", json_text(one, "app"));
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "rule"));
	grid_cell(grid, TINT_NONE, "%.0f in %.0f s", json_number(one, "count", 0),
		  json_number(one, "window_ms", 0) / 1000);
	grid_cell(grid, TINT_NONE, "%.0f", json_number(one, "live_workers", 0));
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "reason"));
}

static void gap_row(struct grid *grid, const cJSON *one)
{
	uint64_t from = 0, to = when_wall_now();
	char span[24];

	when_parse(json_text(one, "from"), &from);
	when_parse(json_text(one, "to"), &to);
	add_time(grid, one, "from");
	if (cJSON_IsNull(cJSON_GetObjectItem(one, "to")))
		grid_cell(grid, TINT_RED, "now");
	else
		add_time(grid, one, "to");
	grid_cell(grid, TINT_NONE, "%s", span_text(to > from ? to - from : 0, span));
	grid_cell(grid, json_true(one, "graceful") ? TINT_DIM : TINT_YELLOW, "%s",
		  json_true(one, "graceful") ? "stopped" : "killed");
	grid_cell(grid, TINT_NONE, "%.0f", json_number(one, "dropped_before", 0));
}

static int read_gaps(struct store_reader *reader, const struct store_filter *filter, cJSON **out)
{
	(void)filter; /* all of them: a run leaves one at most */
	return store_gaps(reader, out);
}

#define FILTER_OPTIONS                                                                                       \
	"  --app APP             only this app's\n"                                                          \
	"  --since T, --until T  only those in this time: 1h, 7d, or 2026-11-22T20:00:00Z\n"                 \
	"  --limit N             at most N (default 1000)\n"                                                 \
	"  --json                one JSON object\n"

enum { FILTER_FLAGS = LISTING_APP | LISTING_TIME | LISTING_LIMIT };

static const struct documents listings[] = {
	{.name = "incidents",
	 .help = {"incidents [--app APP] [--since T] [--until T] [--limit N] [--json]",
		  "Lists what a person should know of, newest first: crashes, crash loops, databases\n"
		  "that fail, each with its evidence and what to do.\n",
		  FILTER_OPTIONS,
		  "  lapidary incidents --since 1d\n"
		  "  lapidary incidents --json | jq '.incidents[] | select(.state == \"open\")'\n"},
	 .heads = "opened (UTC)|state|severity|kind|app|count>|what|what to do",
	 .row = incident_row,
	 .read = store_incidents,
	 .flags = FILTER_FLAGS},
	{.name = "decisions",
	 .help = {"decisions [--app APP] [--since T] [--until T] [--limit N] [--json]",
		  "Lists what the rules asked for, newest first, with the counts it rests on.\n",
		  FILTER_OPTIONS, "  lapidary decisions --app shop\n"},
	 .heads = "time (UTC)|action|app|rule|counted|workers>|why",
	 .row = decision_row,
	 .read = store_decisions,
	 .flags = FILTER_FLAGS},
	{.name = "gaps",
	 .help = {"gaps [--json]",
		  "Lists the times when nobody watched: the agent was stopped, or killed (then the gap\n"
		  "begins with the last moment up to which all is known to be in the store).\n",
		  "  --json   {\"gaps\":[{\"from\",\"to\",\"graceful\"}]}; \"to\" is null while nobody "
		  "watches\n",
		  "  lapidary gaps\n"},
	 .heads = "from (UTC)|to (UTC)|for>|the agent was|dropped before>",
	 .row = gap_row,
	 .read = read_gaps},
};

static void print_table(const struct documents *documents, const cJSON *all, bool colour)
{
	struct grid *grid = grid_new(documents->heads);
	const cJSON *one;

	if (!grid)
		return;
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(all, documents->name)) documents->row(grid, one);
	if (grid_rows(grid))
		grid_print(grid, stdout, colour);
	else
		printf("no %s\n", documents->name);
	grid_free(grid);
}

int documents_run(const struct documents *documents, int argc, char **argv)
{
	struct store_reader *reader = NULL;
	struct listing listing;
	cJSON *all = NULL;
	int code = listing_start(&listing, argc, argv, &documents->help, documents->flags, 0);

	if (code >= 0)
		return code;
	code = listing_store(&listing, argv[0], &reader);
	if (code >= 0)
		goto out;
	code = EXIT_FINE;
	if (documents->read(reader, &listing.filter, &all))
		code = command_error(EXIT_PROBLEMS,
				     "%s: the store cannot be read; the agent's next start checks it",
				     documents->name);
	else if (listing.json)
		code = print_json(all);
	else
		print_table(documents, all, listing.colour);
	if (all && !listing.json && documents->remark)
		documents->remark(all);
	cJSON_Delete(all);
	store_reader_close(reader);
out:
	listing_done(&listing);
	return code;
}

int cmd_incidents(int argc, char **argv)
{
	return documents_run(&listings[0], argc, argv);
}

int cmd_decisions(int argc, char **argv)
{
	return documents_run(&listings[1], argc, argv);
}

int cmd_gaps(int argc, char **argv)
{
	return documents_run(&listings[2], argc, argv);
}
