// SPDX-License-Identifier: Apache-2.0
/*
 * `lapidary breaker open|close TARGET`. An order by hand is the operator's consent; it still is a lease that
 * the agent renews, and still ends by itself, so that nobody can forget one open.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"
#include "user/cli/grid.h"
#include "user/cli/listing.h"
#include "user/cli/outcome.h"
#include "user/cli/setting.h"

enum { FOR_MAX_MS = 3600000 }; /* as much as breaker_max_open_ms may say */

static const struct help breaker_help = {
	"breaker open TARGET [--app APP] [--scope connect|query|both] [--for TIME] [--json]\n"
	"       lapidary breaker close TARGET [--app APP] [--scope connect|query|both] [--json]",
	"Opens or closes the circuit breakers of a database by hand. TARGET is postgres://host:port/dbname "
	"as\n"
	"'lapidary breakers' lists it; without --app those of every app that uses it. One opened by hand is\n"
	"closed by hand or by its time, at most the setting breaker_max_open_ms. peers: processes whose\n"
	"library is connected and accepts it. Exit status 0: done, or nothing was to do; 1: nobody uses it,\n"
	"or an order was refused, failed, or could only be noted.\n",
	"  --app APP       only this app's\n"
	"  --scope SCOPE   connect: new connections; query: statements; both (default)\n"
	"  --for TIME      how long it stays open: 30s, 5m\n"
	"  --json          one JSON object: "
	"{\"breakers\":[{\"app\",\"target\",\"scope\",\"state\",\"outcome\",…}]}\n",
	"  lapidary breaker open postgres://db:5432/shop --for 30s\n"
	"  lapidary breaker close postgres://db:5432/shop --app shop --scope query\n",
};

/* The words of the command line; NULL where one was not given. */
struct words {
	const char *scope, *duration;
	uint64_t for_ms;
};

/* -1: sound. */
static int words_check(const struct listing *listing, struct words *words)
{
	const char *verb = listing->count ? listing->words[0] : "";
	const char *target = listing->count > 1 ? listing->words[1] : "";

	if (strcmp(verb, "open") != 0 && strcmp(verb, "close") != 0)
		return usage_error("breaker: 'open' or 'close' is missing; see 'lapidary breaker --help'");
	if (!*target)
		return usage_error("breaker %s: TARGET is missing; 'lapidary breakers' lists them", verb);
	/* not quoted: it may hold a password */
	if (strncmp(target, "postgres://", 11) != 0 || strchr(target, '@') || strlen(target) >= 192)
		return usage_error(
			"breaker %s: TARGET must be postgres://host:port/dbname, without a user, as "
			"'lapidary breakers' lists it",
			verb);
	if (!words->scope)
		words->scope = "both";
	if (!setting_is_choice("connect query both", words->scope))
		return usage_error("--scope: '%s' is not known; allowed: connect, query, both", words->scope);
	if (!words->duration)
		return -1;
	if (!strcmp(verb, "close"))
		return usage_error("--for: belongs to 'breaker open'; a closed breaker needs no time");
	if (!parse_duration_ms(words->duration, &words->for_ms) || words->for_ms == 0 ||
	    words->for_ms > FOR_MAX_MS)
		return usage_error("--for: '%s' is not a duration from 1ms to 1h", words->duration);
	return -1;
}

static cJSON *question(const struct listing *listing, const struct words *words)
{
	cJSON *argument = cJSON_CreateObject();

	cJSON_AddStringToObject(argument, "do", listing->words[0]);
	cJSON_AddStringToObject(argument, "target", listing->words[1]);
	cJSON_AddStringToObject(argument, "scope", words->scope);
	if (listing->filter.app)
		cJSON_AddStringToObject(argument, "app", listing->filter.app);
	if (words->for_ms)
		json_add_count(argument, "for_ms", words->for_ms);
	return argument;
}

static void print_table(const cJSON *list, bool colour)
{
	struct grid *grid = grid_new("app|target|scope|state|peers>|outcome|why");
	const cJSON *one;

	if (!grid)
		return;
	cJSON_ArrayForEach(one, list)
	{
		const char *outcome = json_text(one, "outcome");

		grid_cell(grid, TINT_BOLD, "%s", json_text(one, "app"));
		grid_cell(grid, TINT_NONE, "%s", json_text(one, "target"));
		grid_cell(grid, TINT_NONE, "%s", json_text(one, "scope"));
		grid_cell(grid, TINT_NONE, "%s", json_text(one, "state"));
		grid_cell(grid, TINT_NONE, "%.0f", json_number(one, "peers", 0));
		grid_cell(grid, outcome_tint(outcome), "%s", outcome);
		grid_cell(grid, TINT_NONE, "%s", json_text(one, "outcome_reason"));
	}
	grid_print(grid, stdout, colour);
	grid_free(grid);
}

static int tell(const cJSON *answer, const struct listing *listing)
{
	const cJSON *list = cJSON_GetObjectItem(answer, "breakers"), *one;
	int code = EXIT_FINE, printed = EXIT_FINE;

	if (listing->json)
		printed = print_json(answer);
	else if (!cJSON_GetArraySize(list))
		puts("nothing to do: none of them is open");
	else
		print_table(list, listing->colour);
	cJSON_ArrayForEach(one, list)
	{
		char what[160];

		snprintf(what, sizeof(what), "breaker: %s, %s", json_text(one, "app"),
			 json_text(one, "scope"));
		if (outcome_tell(what, one, listing->json))
			code = EXIT_PROBLEMS;
	}
	return printed ? printed : code;
}

int cmd_breaker(int argc, char **argv)
{
	struct listing listing = {0};
	struct words words = {0};
	cJSON *argument = NULL, *answer = NULL;
	char why[512];
	int code = option_value(&argc, argv, "--scope", "connect, query or both", &words.scope);

	if (code < 0)
		code = option_value(&argc, argv, "--for", "a duration like 30s", &words.duration);
	if (code < 0)
		code = listing_start(&listing, argc, argv, &breaker_help, LISTING_APP, 2);
	if (code >= 0)
		return code;
	code = words_check(&listing, &words);
	if (code >= 0)
		goto out;
	argument = question(&listing, &words);
	code = control_ask_with(listing.config->run_dir, "breaker", argument, &answer, why, sizeof(why));
	if (code)
		command_error(code, "breaker %s: %s", listing.words[0], why);
	else
		code = tell(answer, &listing);
out:
	cJSON_Delete(argument);
	cJSON_Delete(answer);
	listing_done(&listing);
	return code;
}
