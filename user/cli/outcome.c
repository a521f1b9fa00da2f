// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include "user/base/json.h"
#include "user/cli/help.h"
#include "user/cli/outcome.h"

static const struct {
	const char *name;
	enum tint tint;
	const char *advice; /* NULL: nothing is wrong */
} outcomes[] = {
	{"done", TINT_GREEN, NULL},
	{"sent", TINT_CYAN, NULL},
	{"observed", TINT_YELLOW,
	 "let the app's library accept it, or allow it with the setting act (--act APP)"},
	{"refused", TINT_YELLOW, "nothing was changed: try again when that reason is gone"},
	{"failed", TINT_RED,
	 "'lapidary actions' has the whole line, 'lapidary doctor PID' tells of the process"},
};

enum { OUTCOMES = sizeof(outcomes) / sizeof(*outcomes) };

static size_t find(const char *name)
{
	size_t i = 0;

	while (i < OUTCOMES && strcmp(outcomes[i].name, name) != 0)
		i++;
	return i;
}

enum tint outcome_tint(const char *outcome)
{
	size_t i = find(outcome);

	return i < OUTCOMES ? outcomes[i].tint : TINT_YELLOW;
}

int outcome_tell(const char *what, const cJSON *one, bool quiet)
{
	const char *name = json_text(one, "outcome"), *reason = json_text(one, "outcome_reason");
	size_t i = find(name);

	if (i < OUTCOMES && !outcomes[i].advice)
		return EXIT_FINE;
	if (quiet)
		return EXIT_PROBLEMS;
	return command_error(EXIT_PROBLEMS, "%s: %s: %s; %s", what, *name ? name : "no outcome",
			     *reason ? reason : "no reason was given",
			     i < OUTCOMES ? outcomes[i].advice : "is the agent of the same version?");
}
