/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lapidary health`: SystemHealthStatus. What cannot be judged is neither fine nor a problem; the exit code
 * is 1 only for what was judged and found wanting, so that a script can act on it.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"
#include "user/cli/grid.h"
#include "user/cli/listing.h"

static const struct help health_help = {
	"health [--json]",
	"Says how this host's Ruby services are, as the running agent sees them. Exit status 0: nothing is "
	"wrong;\n"
	"1: something is; 4: no agent answers.\n",
	"  --json   SystemHealthStatus as one JSON object\n",
	"  lapidary health\n"
	"  lapidary health --json | jq .diagnostic_messages\n",
};

static const char *const fields[][2] = {
	{"ruby_version_consistent", "Ruby versions"}, {"native_extensions_healthy", "native extensions"},
	{"database_connections_stable", "databases"}, {"worker_processes_healthy", "workers"},
	{"error_rate_acceptable", "error rate"},
};

enum { FIELDS = sizeof(fields) / sizeof(*fields) };

static bool has_problem(const cJSON *health)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (cJSON_IsFalse(cJSON_GetObjectItem(health, fields[i][0])))
			return true;
	return false;
}

static void print_page(const cJSON *health, bool colour)
{
	const cJSON *rate = cJSON_GetObjectItem(health, "error_rate"), *message;
	struct grid *grid = grid_new("subject|state|detail");

	for (size_t i = 0; grid && i < FIELDS; i++) {
		const cJSON *field = cJSON_GetObjectItem(health, fields[i][0]);

		grid_cell(grid, TINT_NONE, "%s", fields[i][1]);
		if (cJSON_IsBool(field))
			grid_cell(grid, cJSON_IsTrue(field) ? TINT_GREEN : TINT_RED, "%s",
				  cJSON_IsTrue(field) ? "fine" : "problem");
		else
			grid_cell(grid, TINT_DIM, "not judged");
		if (i + 1 == FIELDS && rate)
			grid_cell(grid, TINT_DIM, "%.0f errors of %.0f queries in %.0f s",
				  json_number(rate, "numerator", 0), json_number(rate, "denominator", 0),
				  json_number(rate, "window_ms", 0) / 1000);
		else
			grid_cell(grid, TINT_NONE, "%s", "");
	}
	if (grid)
		grid_print(grid, stdout, colour);
	grid_free(grid);
	putchar('\n');
	cJSON_ArrayForEach(message,
			   cJSON_GetObjectItem(health, "diagnostic_messages")) if (cJSON_IsString(message))
		printf("- %s\n", message->valuestring);
}

int cmd_health(int argc, char **argv)
{
	struct listing listing;
	cJSON *answer = NULL;
	char why[512];
	int code = listing_start(&listing, argc, argv, &health_help, 0, 0), printed = 0;

	if (code >= 0)
		return code;
	code = control_ask(listing.config->run_dir, "health", &answer, why, sizeof(why));
	if (code) {
		command_error(code, "health: %s", why);
		goto out;
	}
	if (listing.json)
		printed = print_json(answer);
	else
		print_page(answer, listing.colour);
	code = printed ? printed : has_problem(answer) ? EXIT_PROBLEMS : EXIT_FINE;
out:
	cJSON_Delete(answer);
	listing_done(&listing);
	return code;
}
