// SPDX-License-Identifier: Apache-2.0
/* `lapidary breakers`: the databases in use, and whether the way to them is open. Asks the running agent. */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/when.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"
#include "user/cli/grid.h"
#include "user/cli/listing.h"

static const struct help breakers_help = {
	"breakers [--app APP] [--json]",
	"Lists the circuit breakers: one for connecting to a database and one for asking it, for each app\n"
	"and database in use. open: the app's library lets nothing through; half_open: one client tries;\n"
	"closed: all is as if there were none. LEASE is when it closes by itself unless it is renewed, AT\n"
	"MOST when it closes whatever happens. TEST is the agent's own last try of the database.\n",
	"  --app APP   only this app's\n"
	"  --json      one JSON object: {\"breakers\":[…]}\n",
	"  lapidary breakers --app shop\n"
	"  lapidary breakers --json | jq '.breakers[] | select(.state != \"closed\")'\n",
};

static void add_span(struct grid *grid, const cJSON *one, const char *key)
{
	double ms = json_number(one, key, 0);

	if (ms > 0)
		grid_cell(grid, TINT_NONE, "%.1f s", ms / 1000);
	else
		grid_cell(grid, TINT_DIM, "-");
}

static void add_since(struct grid *grid, const cJSON *one)
{
	uint64_t since = 0, now = when_wall_now();
	char span[24];

	if (when_parse(json_text(one, "since"), &since))
		grid_cell(grid, TINT_NONE, "%s", span_text(now > since ? now - since : 0, span));
	else
		grid_cell(grid, TINT_DIM, "-");
}

static void add_test(struct grid *grid, const cJSON *one)
{
	const char *result = json_text(one, "last_test_result");

	if (*result)
		grid_cell(grid, strcmp(result, "ok") ? TINT_RED : TINT_GREEN, "%s, %.0f ms", result,
			  json_number(one, "last_test_ms", 0));
	else
		grid_cell(grid, TINT_DIM, "-");
}

static void add_row(struct grid *grid, const cJSON *one)
{
	const char *state = json_text(one, "state");
	bool by_operator = json_true(one, "by_operator"), closed = !strcmp(state, "closed");

	grid_cell(grid, TINT_BOLD, "%s", json_text(one, "app"));
	grid_cell(grid, TINT_DIM, "%.0f", json_number(one, "uid", 0));
	grid_cell(grid, TINT_DIM, "%.0f", json_number(one, "netns", 0));
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "target"));
	grid_cell(grid, TINT_NONE, "%s", json_text(one, "scope"));
	grid_cell(grid, closed ? TINT_GREEN : strcmp(state, "open") ? TINT_YELLOW : TINT_RED, "%s", state);
	add_since(grid, one);
	add_span(grid, one, "lease_ms");
	add_span(grid, one, "max_ms_left");
	grid_cell(grid, TINT_NONE, "%.0f", json_number(one, "peers", 0));
	add_test(grid, one);
	grid_cell(grid, TINT_CYAN, "%s", json_text(one, "incident"));
	grid_cell(grid, TINT_NONE, "%s%s", by_operator ? "by hand: " : "", json_text(one, "reason"));
}

static void print_table(const cJSON *answer, bool colour)
{
	struct grid *grid = grid_new("app|uid>|netns>|target|scope|state|for>|lease>|at most>|peers>|test|"
				     "incident|why");
	const cJSON *one;

	if (!grid)
		return;
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(answer, "breakers")) add_row(grid, one);
	if (grid_rows(grid))
		grid_print(grid, stdout, colour);
	else
		puts("no database is in use");
	grid_free(grid);
}

/* The agent lists them all; a filter is the client's own affair. */
static void keep_app(cJSON *answer, const char *app)
{
	cJSON *list = cJSON_GetObjectItem(answer, "breakers"), *next;

	for (cJSON *one = list ? list->child : NULL; one; one = next) {
		next = one->next;
		if (strcmp(json_text(one, "app"), app) != 0)
			cJSON_Delete(cJSON_DetachItemViaPointer(list, one));
	}
}

int cmd_breakers(int argc, char **argv)
{
	struct listing listing;
	cJSON *answer = NULL;
	char why[512];
	int code = listing_start(&listing, argc, argv, &breakers_help, LISTING_APP, 0);

	if (code >= 0)
		return code;
	code = control_ask(listing.config->run_dir, "breakers", &answer, why, sizeof(why));
	if (!code && listing.filter.app)
		keep_app(answer, listing.filter.app);
	if (code)
		command_error(code, "breakers: %s", why);
	else if (listing.json)
		code = print_json(answer);
	else
		print_table(answer, listing.colour);
	cJSON_Delete(answer);
	listing_done(&listing);
	return code;
}
