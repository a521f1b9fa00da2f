/* SPDX-License-Identifier: Apache-2.0 */
/* `lapidary workers`: the watched processes as the agent sees them now. */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/when.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"
#include "user/cli/grid.h"
#include "user/cli/listing.h"

static const struct help workers_help = {
	"workers [--app APP] [--json]",
	"Lists the watched Ruby processes: memory, crashes, connections, queries. Asks the running agent.\n",
	"  --app APP   only this app's\n"
	"  --json      one JSON object: {\"workers\":[WorkerProcessStatus…]}\n",
	"  lapidary workers --app shop\n"
	"  lapidary workers --json | jq '.workers[] | select(.memory_usage_mb > 500)'\n",
};

/* A worker that is being replaced is told so, with why; it is neither well nor lost. */
static void add_restarts(const char *run_dir, cJSON *answer)
{
	const cJSON *restart;
	cJSON *acting = NULL, *worker, *copy;
	char why[512];

	if (control_ask(run_dir, "acting", &acting, why, sizeof(why)) != 0)
		return; /* what the workers are is worth showing without it */
	cJSON_ArrayForEach(restart, cJSON_GetObjectItem(acting, "restarts"))
	{
		double pid = json_number(restart, "pid", 0);

		cJSON_ArrayForEach(worker, cJSON_GetObjectItem(answer, "workers"))
		{
			if (json_number(worker, "process_id", 0) != pid ||
			    cJSON_HasObjectItem(worker, "restart"))
				continue;
			copy = cJSON_AddObjectToObject(worker, "restart");
			json_add_text(copy, "id", json_text(restart, "id"));
			json_add_text(copy, "stage", json_text(restart, "stage"));
			json_add_text(copy, "reason", json_text(restart, "reason"));
			json_add_count(copy, "deadline_ms", (uint64_t)json_number(restart, "deadline_ms", 0));
		}
	}
	cJSON_Delete(acting);
}

static void add_row(struct grid *grid, const cJSON *worker)
{
	const char *health = json_text(worker, "health_status");
	const cJSON *memory = cJSON_GetObjectItem(worker, "memory_usage_mb");
	uint64_t started = 0;
	char span[24];

	grid_cell(grid, TINT_BOLD, "%s", json_text(worker, "app"));
	grid_cell(grid, TINT_NONE, "%.0f", json_number(worker, "process_id", 0));
	grid_cell(grid, TINT_NONE, "%s", json_text(worker, "role"));
	if (cJSON_HasObjectItem(worker, "restart"))
		grid_cell(grid, TINT_YELLOW, "restarting");
	else
		grid_cell(grid, strcmp(health, "running") ? TINT_RED : TINT_GREEN, "%s", health);
	if (cJSON_IsNumber(memory))
		grid_cell(grid, TINT_NONE, "%.1f", memory->valuedouble);
	else
		grid_cell(grid, TINT_DIM, "-");
	grid_cell(grid, TINT_NONE, "%.0f", json_number(worker, "crash_count", 0));
	grid_cell(grid, TINT_NONE, "%.0f", json_number(worker, "connections", 0));
	grid_cell(grid, TINT_NONE, "%.0f", json_number(worker, "queries", 0));
	grid_cell(grid, TINT_NONE, "%.0f", json_number(worker, "errors", 0));
	if (when_parse(json_text(worker, "last_restart_time"), &started) && started < when_wall_now())
		grid_cell(grid, TINT_NONE, "%s", span_text(when_wall_now() - started, span));
	else
		grid_cell(grid, TINT_DIM, "-");
	grid_cell(grid, TINT_NONE, "%s", json_text(worker, "ruby"));
	grid_cell(grid, TINT_DIM, "%s", json_text(worker, "title"));
}

static void print_table(const cJSON *answer, bool colour)
{
	struct grid *grid = grid_new(
		"app|pid>|role|health|memory MB>|crashes>|connections>|queries>|errors>|up for>|Ruby|title");
	const cJSON *worker;

	if (!grid)
		return;
	cJSON_ArrayForEach(worker, cJSON_GetObjectItem(answer, "workers")) add_row(grid, worker);
	if (grid_rows(grid))
		grid_print(grid, stdout, colour);
	else
		puts("no Ruby process is watched");
	grid_free(grid);
}

int cmd_workers(int argc, char **argv)
{
	struct listing listing;
	char why[512], question[128] = "workers";
	cJSON *answer = NULL;
	int code = listing_start(&listing, argc, argv, &workers_help, LISTING_APP, 0);

	if (code >= 0)
		return code;
	if (listing.filter.app)
		snprintf(question, sizeof(question), "workers %.100s", listing.filter.app);
	code = control_ask(listing.config->run_dir, question, &answer, why, sizeof(why));
	if (!code)
		add_restarts(listing.config->run_dir, answer);
	if (code)
		command_error(code, "workers: %s", why);
	else if (listing.json)
		code = print_json(answer);
	else
		print_table(answer, listing.colour);
	cJSON_Delete(answer);
	listing_done(&listing);
	return code;
}
