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
	"  --json   SystemHealthStatus as one JSON object, with what is broken off, held or paused\n",
	"  lapidary health\n"
	"  lapidary health --json | jq .diagnostic_messages\n",
};

/*
 * What Lapidary itself does at the moment belongs to the state of the services: a breaker that is open
 * answers for the database, and a worker that is held back is not one that hangs.
 */
static void add_acting(const char *run_dir, cJSON *health)
{
	cJSON *breakers = NULL, *acting = NULL;
	const cJSON *one;
	uint64_t open = 0;
	char why[512];

	if (control_ask(run_dir, "breakers", &breakers, why, sizeof(why)) == 0) {
		cJSON_ArrayForEach(one, cJSON_GetObjectItem(breakers, "breakers")) open +=
			strcmp(json_text(one, "state"), "closed") != 0;
		json_add_count(health, "circuit_breakers_open", open);
	}
	if (control_ask(run_dir, "acting", &acting, why, sizeof(why)) == 0) {
		cJSON_AddBoolToObject(health, "acting_paused", json_true(acting, "paused"));
		json_add_count(health, "apps_held_back",
			       (uint64_t)cJSON_GetArraySize(cJSON_GetObjectItem(acting, "holds")));
		json_add_count(health, "workers_restarting",
			       (uint64_t)cJSON_GetArraySize(cJSON_GetObjectItem(acting, "restarts")));
	}
	cJSON_Delete(breakers);
	cJSON_Delete(acting);
}

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
	return json_number(health, "circuit_breakers_open", 0) > 0;
}

static void acting_rows(struct grid *grid, const cJSON *health)
{
	double open = json_number(health, "circuit_breakers_open", -1);

	grid_cell(grid, TINT_NONE, "circuit breakers");
	if (open < 0)
		grid_cell(grid, TINT_DIM, "not judged");
	else
		grid_cell(grid, open > 0 ? TINT_RED : TINT_GREEN, "%s", open > 0 ? "problem" : "fine");
	if (open > 0)
		grid_cell(grid, TINT_NONE, "%.0f not closed; 'lapidary breakers' shows them", open);
	else
		grid_cell(grid, TINT_NONE, "%s", "");
	if (!cJSON_HasObjectItem(health, "acting_paused"))
		return;
	grid_cell(grid, TINT_NONE, "acting");
	if (json_true(health, "acting_paused"))
		grid_cell(grid, TINT_YELLOW, "paused");
	else
		grid_cell(grid, TINT_GREEN, "on");
	grid_cell(grid, TINT_DIM, "apps held back %.0f, workers restarting %.0f",
		  json_number(health, "apps_held_back", 0), json_number(health, "workers_restarting", 0));
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
	if (grid) {
		acting_rows(grid, health);
		grid_print(grid, stdout, colour);
	}
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
	add_acting(listing.config->run_dir, answer);
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
