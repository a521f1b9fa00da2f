// SPDX-License-Identifier: Apache-2.0
/*
 * `lapidary worker restart PID`. The agent does it, so that it is counted, budgeted and recorded like its
 * own restarts, and never takes the last healthy worker. This command does not wait for the end: a worker
 * may drain for half a minute.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"
#include "user/cli/listing.h"
#include "user/cli/outcome.h"

static const struct help worker_help = {
	"worker restart PID [--now] [--json]",
	"Has a worker replaced: its library or its server is told to let it finish and end, and it is "
	"killed\n"
	"when its time to drain (the setting restart_deadline_ms) is over. Never the last healthy worker of\n"
	"an app: one that boots, drains or is restarting does not count. Exit status 0: it is under way, "
	"and\n"
	"'lapidary actions' shows how it ended; 1: it was refused or failed.\n",
	"  --now    do not let it finish what it does: it has a second to end, then it is killed (where\n"
	"           only its library's consent allows acting, and not `act`, it is not killed and may "
	"drain)\n"
	"  --json   one JSON object: {\"id\",\"pid\",\"app\",\"outcome\",\"outcome_reason\",\"by\"}\n",
	"  lapidary workers --app shop\n"
	"  lapidary worker restart 4711\n",
};

static int tell(const cJSON *answer, const struct listing *listing)
{
	int printed = EXIT_FINE, code;
	char what[64];

	if (listing->json)
		printed = print_json(answer);
	snprintf(what, sizeof(what), "worker: %.0f", json_number(answer, "pid", 0));
	code = outcome_tell(what, answer, listing->json);
	if (!listing->json && code == EXIT_FINE) {
		printf("worker %.0f of %s: restart ", json_number(answer, "pid", 0),
		       json_text(answer, "app"));
		tint_print(stdout, listing->colour, outcome_tint(json_text(answer, "outcome")),
			   json_text(answer, "outcome"));
		printf(" by %s; 'lapidary actions' shows how it ends (%s)\n", json_text(answer, "by"),
		       json_text(answer, "id"));
	}
	return printed ? printed : code;
}

/* -1: sound. */
static int words_check(const struct listing *listing, uint64_t *pid)
{
	if (!listing->count || strcmp(listing->words[0], "restart") != 0)
		return usage_error("worker: 'restart' is missing; see 'lapidary worker --help'");
	if (listing->count < 2)
		return usage_error("worker restart: PID is missing; 'lapidary workers' lists them");
	if (!parse_u64(listing->words[1], pid) || *pid == 0 || *pid > INT32_MAX)
		return usage_error("worker restart: '%s' is not a process id", listing->words[1]);
	return -1;
}

int cmd_worker(int argc, char **argv)
{
	bool now = option_take(&argc, argv, "--now");
	struct listing listing;
	cJSON *argument = NULL, *answer = NULL;
	uint64_t pid = 0;
	char why[512];
	int code = listing_start(&listing, argc, argv, &worker_help, 0, 2);

	if (code >= 0)
		return code;
	code = words_check(&listing, &pid);
	if (code >= 0)
		goto out;
	argument = cJSON_CreateObject();
	json_add_count(argument, "pid", pid);
	cJSON_AddBoolToObject(argument, "now", now);
	code = control_ask_with(listing.config->run_dir, "restart", argument, &answer, why, sizeof(why));
	if (code)
		command_error(code, "worker restart: %s", why);
	else
		code = tell(answer, &listing);
out:
	cJSON_Delete(argument);
	cJSON_Delete(answer);
	listing_done(&listing);
	return code;
}
