// SPDX-License-Identifier: Apache-2.0
/*
 * `lapidary actions`: the audit, from the store; and `actions pause`, the one thing to type when Lapidary
 * itself is suspected: it stops all acting and lets go of everything, before anybody reads a manual.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/base/when.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"
#include "user/cli/documents.h"
#include "user/cli/outcome.h"

enum { PAUSE_MAX_MS = 7 * 86400000 };

static const char synopsis[] = "actions [--app APP] [--since T] [--until T] [--limit N] [--json]\n"
			       "       lapidary actions pause [--for TIME] [--json]\n"
			       "       lapidary actions resume [--json]";

static const char about[] = "Lists what was done about the decisions, newest first, or would have been and "
			    "why it was not. done:\n"
			    "it happened; sent: it is under way; observed: nobody consented; refused: by the "
			    "gate; failed: it was\n"
			    "tried. pause stops all acting and releases every breaker, hold and restart at "
			    "once, until resume or\n"
			    "for a time; watching and alerts go on.\n";

static const char options[] =
	"  --app APP             only this app's\n"
	"  --since T, --until T  only those in this time; T: 1h, 7d, 2026-11-22T20:00:00Z\n"
	"  --limit N             at most N (default 1000)\n"
	"  --for TIME            pause: go on by itself after this time: 10m, 1h\n"
	"  --json                one JSON object\n";

static const char examples[] =
	"  lapidary actions --since 1h\n"
	"  lapidary actions --json | jq '.actions[] | select(.outcome == \"refused\")'\n"
	"  lapidary actions pause --for 10m\n"
	"  lapidary actions resume\n";

static void row(struct grid *grid, const cJSON *one)
{
	const char *outcome = json_text(one, "outcome"), *target = json_text(one, "target");
	const char *scope = json_text(one, "scope");
	const cJSON *took = cJSON_GetObjectItem(one, "took_ms"), *pid = cJSON_GetObjectItem(one, "pid");
	char time[24];

	grid_cell(grid, TINT_NONE, "%s", time_short(json_text(one, "time"), time));
	grid_cell(grid, TINT_CYAN, "%s", json_text(one, "action"));
	grid_cell(grid, TINT_BOLD, "%s", json_text(one, "app"));
	if (*target || !cJSON_IsNumber(pid)) /* with which of its breakers */
		grid_cell(grid, TINT_NONE, "%s%s%s", target, *target && *scope ? " " : "", scope);
	else
		grid_cell(grid, TINT_NONE, "%.0f", pid->valuedouble);
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "by"));
	grid_cell(grid, outcome_tint(outcome), "%s", outcome);
	if (cJSON_IsNumber(took) && took->valuedouble < 1000)
		grid_cell(grid, TINT_NONE, "%.0f ms", took->valuedouble);
	else if (cJSON_IsNumber(took))
		grid_cell(grid, TINT_NONE, "%.1f s", took->valuedouble / 1000);
	else
		grid_cell(grid, TINT_DIM, "-");
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "reason"));
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "outcome_reason"));
}

static const struct documents actions = {
	.name = "actions",
	.help = {synopsis, about, options, examples},
	.heads = "time (UTC)|action|app|target|by|outcome|took>|why|how",
	.row = row,
	.read = store_actions,
	.flags = LISTING_APP | LISTING_TIME | LISTING_LIMIT,
};

static void print_switch(const cJSON *answer)
{
	const cJSON *released = cJSON_GetObjectItem(answer, "released");
	double left_ms = json_number(answer, "left_ms", 0);
	char span[24];

	if (!json_true(answer, "paused")) {
		puts("acting goes on");
		return;
	}
	if (left_ms > 0)
		printf("acting is paused for %s", span_text((uint64_t)(left_ms * 1e6), span));
	else
		printf("acting is paused until 'lapidary actions resume'");
	printf("; released: breakers %.0f, holds %.0f, restarts %.0f\n", json_number(released, "breakers", 0),
	       json_number(released, "holds", 0), json_number(released, "restarts", 0));
}

/* pause and resume: `word` is the agent's command as well. */
static int switch_run(const char *word, int argc, char **argv)
{
	struct listing listing;
	cJSON *argument, *answer = NULL;
	const char *duration = NULL;
	uint64_t for_ms = 0;
	char why[512];
	int code = option_value(&argc, argv, "--for", "a duration like 10m", &duration);

	if (code < 0)
		code = listing_start(&listing, argc, argv, &actions.help, 0, 1);
	if (code >= 0)
		return code;
	argument = cJSON_CreateObject();
	if (duration && strcmp(word, "pause") != 0) {
		code = usage_error("--for: belongs to 'actions pause'");
		goto out;
	}
	if (duration && (!parse_duration_ms(duration, &for_ms) || for_ms == 0 || for_ms > PAUSE_MAX_MS)) {
		code = usage_error("--for: '%s' is not a duration from 1ms to 7d", duration);
		goto out;
	}
	if (!strcmp(word, "pause"))
		json_add_count(argument, "for_ms", for_ms);
	code = control_ask_with(listing.config->run_dir, word, argument, &answer, why, sizeof(why));
	if (code)
		command_error(code, "actions %s: %s", word, why);
	else if (listing.json)
		code = print_json(answer);
	else
		print_switch(answer);
out:
	cJSON_Delete(argument);
	cJSON_Delete(answer);
	listing_done(&listing);
	return code;
}

int cmd_actions(int argc, char **argv)
{
	if (argc > 1 && (!strcmp(argv[1], "pause") || !strcmp(argv[1], "resume")))
		return switch_run(argv[1], argc, argv);
	return documents_run(&actions, argc, argv);
}
