// SPDX-License-Identifier: Apache-2.0
/* lapidary doctor: is the agent well, and why is a process watched, or not. */
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/cli/commands.h"
#include "user/cli/config.h"
#include "user/cli/control.h"
#include "user/cli/grid.h"
#include "user/cli/help.h"

static const struct help doctor_help = {
	.synopsis = "doctor [--json] [PID]",
	.text = "Without PID: how the agent is doing (lanes, drops, store, probed files). With PID: whether "
		"that\n"
		"process is watched, and why. Exit status 1 when it is not or when something is wrong, 4 "
		"when no\n"
		"agent answers or it is not ready yet.\n",
	.options = "  --json            the agent's answer as it is\n"
		   "  --run-dir DIR     where the agent's socket is\n",
	.examples = "  sudo lapidary doctor\n  sudo lapidary doctor 4711\n",
};

static void print_item(const cJSON *item, int depth, bool colour)
{
	char name[96];

	snprintf(name, sizeof(name), "%*s%-*s ", depth * 2, "", 26 - depth * 2,
		 item->string ? item->string : "-");
	for (char *at = name; *at; at++)
		if (*at == '_')
			*at = ' ';
	if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
		const cJSON *child;

		tint_print(stdout, colour, TINT_BOLD, name);
		putchar('\n');
		cJSON_ArrayForEach(child, item) print_item(child, depth + 1, colour);
		return;
	}
	fputs(name, stdout);
	if (cJSON_IsString(item)) {
		puts(item->valuestring);
	} else {
		char *text = cJSON_PrintUnformatted(item);

		puts(text ? text : "");
		free(text);
	}
}

/* What a person should do something about; the rest is for the curious. */
static bool is_well(const cJSON *answer)
{
	const cJSON *store = cJSON_GetObjectItem(answer, "store"), *lane;

	cJSON_ArrayForEach(lane, cJSON_GetObjectItem(answer, "lanes"))
	{
		if (strcmp(json_text(lane, "lane"), "flow") != 0 && json_number(lane, "dropped", 0) > 0)
			return false;
	}
	return json_true(answer, "can_probe_new_files") && !*json_text(store, "last_error") &&
	       json_number(store, "folder_lost", 0) == 0 && json_number(answer, "records_refused", 0) == 0;
}

static int verdict(const cJSON *answer, bool one_process)
{
	if (one_process)
		return json_true(answer, "watched") ? EXIT_FINE : EXIT_PROBLEMS;
	if (!json_true(answer, "ready"))
		return EXIT_NO_ANSWER;
	return is_well(answer) ? EXIT_FINE : EXIT_PROBLEMS;
}

int cmd_doctor(int argc, char **argv)
{
	struct config config;
	const char *pid = NULL;
	cJSON *answer = NULL;
	char command[64], why[512];
	bool json = false;
	uint64_t number;
	int code;

	if (config_load(&argc, argv, &config, why, sizeof(why)) != 0)
		return usage_error("%s", why);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return help_print(&doctor_help);
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (argv[i][0] == '-' || pid)
			return usage_error("doctor: %s: not an option; see --help", argv[i]);
		else
			pid = argv[i];
	}
	if (pid && (!parse_u64(pid, &number) || number == 0 || number > INT32_MAX))
		return usage_error("doctor: %s: not a process id", pid);
	snprintf(command, sizeof(command), pid ? "doctor %s" : "status", pid);
	code = control_ask(config.run_dir, command, &answer, why, sizeof(why));
	if (code)
		return command_error(code, "%s", why);
	if (json) {
		char *text = cJSON_Print(answer);

		puts(text);
		free(text);
	} else {
		const cJSON *item;

		cJSON_ArrayForEach(item, answer) print_item(item, 0, colour_wanted(config.color, stdout));
	}
	code = verdict(answer, pid != NULL);
	cJSON_Delete(answer);
	return code;
}
