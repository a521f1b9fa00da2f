// SPDX-License-Identifier: Apache-2.0
/* lapidary features: what this kernel offers; and, where an agent runs, which files it probes and where. */
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/cli/commands.h"
#include "user/cli/config.h"
#include "user/cli/control.h"
#include "user/cli/grid.h"
#include "user/cli/help.h"
#include "user/probe/features.h"

static const struct help features_help = {
	.synopsis = "features [--json]",
	.text = "Tries what this host's kernel offers and says what Lapidary does with it. Where an agent "
		"runs, also\n"
		"lists the probed files and the instruction that each probe stands on. Exit status 3 when "
		"something\n"
		"is missing that the agent cannot do without.\n",
	.options = "  --json            {\"features\":[…],\"probes\":[…]}\n"
		   "  --run-dir DIR     where the agent's socket is\n",
	.examples = "  sudo lapidary features\n  sudo lapidary features --json | jq '.probes[].path'\n",
};

static cJSON *features_json(const struct features *features)
{
	cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "features");

	for (int i = 0; i < FEATURE_COUNT; i++) {
		const struct feature_state *state = &features->state[i];
		cJSON *row = cJSON_CreateObject();

		cJSON_AddStringToObject(row, "name", state->name);
		cJSON_AddBoolToObject(row, "present", state->present);
		cJSON_AddBoolToObject(row, "needed", state->needed);
		cJSON_AddStringToObject(row, "gives", state->gives);
		json_add_text(row, "detail", state->detail);
		cJSON_AddItemToArray(list, row);
	}
	return root;
}

static void print_features(const struct features *features, bool colour)
{
	struct grid *grid = grid_new("feature|here|what it gives|detail");

	for (int i = 0; i < FEATURE_COUNT; i++) {
		const struct feature_state *state = &features->state[i];

		grid_cell(grid, TINT_NONE, "%s", state->name);
		grid_cell(grid,
			  state->present  ? TINT_GREEN
			  : state->needed ? TINT_RED
					  : TINT_YELLOW,
			  "%s",
			  state->present  ? "yes"
			  : state->needed ? "MISSING"
					  : "no");
		grid_cell(grid, TINT_NONE, "%s", state->gives);
		grid_cell(grid, TINT_DIM, "%s", state->detail);
	}
	grid_print(grid, stdout, colour);
	grid_free(grid);
}

static void print_probes(const cJSON *probes, bool colour)
{
	const cJSON *file, *site;

	cJSON_ArrayForEach(file, probes)
	{
		struct grid *grid = grid_new("probe|function|offset|instruction|cost");

		printf("\n%s (%s%s%s), %.0f processes\n", json_text(file, "path"), json_text(file, "kind"),
		       *json_text(file, "version") ? " " : "", json_text(file, "version"),
		       json_number(file, "processes", 0));
		if (cJSON_HasObjectItem(file, "ruby_frames"))
			printf("Ruby frames of a crash: %s\n", json_text(file, "ruby_frames"));
		cJSON_ArrayForEach(site, cJSON_GetObjectItem(file, "sites"))
		{
			bool emulated = json_true(site, "emulated");

			grid_cell(grid, TINT_NONE, "%s", json_text(site, "probe"));
			grid_cell(grid, TINT_NONE, "%s", json_text(site, "function"));
			grid_cell(grid, TINT_DIM, "%s", json_text(site, "offset"));
			grid_cell(grid, TINT_NONE, "%s", json_text(site, "instruction"));
			grid_cell(grid, emulated ? TINT_GREEN : TINT_NONE, "%s",
				  emulated ? "emulated" : "single-stepped");
		}
		grid_print(grid, stdout, colour);
		grid_free(grid);
	}
}

int cmd_features(int argc, char **argv)
{
	struct features features;
	struct config config;
	cJSON *answer = NULL, *root;
	bool json = false;
	char why[512];

	if (config_load(&argc, argv, &config, why, sizeof(why)) != 0)
		return usage_error("%s", why);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return help_print(&features_help);
		if (strcmp(argv[i], "--json") != 0)
			return usage_error("features: %s: not an option; see --help", argv[i]);
		json = true;
	}
	features_probe(&features);
	if (control_ask(config.run_dir, "probes", &answer, why, sizeof(why)) != 0)
		answer = NULL; /* no agent: the kernel's part alone */
	if (json) {
		root = features_json(&features);
		cJSON_AddItemToObject(root, "probes",
				      answer ? cJSON_DetachItemFromObject(answer, "probes")
					     : cJSON_CreateArray());
		char *text = cJSON_Print(root);
		puts(text);
		free(text);
		cJSON_Delete(root);
	} else {
		bool colour = colour_wanted(config.color, stdout);

		print_features(&features, colour);
		print_probes(cJSON_GetObjectItem(answer, "probes"), colour);
	}
	cJSON_Delete(answer);
	return features_missing(&features) ? EXIT_HOST : EXIT_FINE;
}
