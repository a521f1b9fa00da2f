/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate of this version only observes. Acting needs consent, and nothing can give it yet, so every
 * decision ends here with a line that says what would have been done, why, and why it was not. An alert
 * touches nobody: it is done by being recorded.
 *
 * Audit lines are numbered per run, so that a hole in what the store kept shows.
 */
#include <stdlib.h>
#include <string.h>
#include "user/act/gate.h"
#include "user/base/json.h"

struct gate {
	uint64_t number;
};

struct gate *gate_new(void)
{
	return calloc(1, sizeof(struct gate));
}

void gate_free(struct gate *gate)
{
	free(gate);
}

static const struct {
	enum gate_outcome outcome;
	const char *name, *why;
} verdicts[] = {
	{GATE_DONE, "done", "an alert is recorded and shown; it changes nothing in the app"},
	{GATE_OBSERVED, "observed", "no consent: neither the app nor the configuration allows acting"},
	{GATE_REFUSED, "refused", "it would take the last healthy worker"},
};

enum gate_outcome gate_pass(struct gate *gate, const struct gate_request *request, cJSON **audit)
{
	const char *action = request->action ? request->action : "";
	enum gate_outcome outcome = GATE_OBSERVED;
	cJSON *line = cJSON_CreateObject();

	if (!strcmp(action, "alert"))
		outcome = GATE_DONE;
	else if (!strcmp(action, "worker.restart") && request->live_workers <= 1)
		outcome = GATE_REFUSED;
	json_add_time(line, "time", request->wall_ns);
	json_add_count(line, "number", ++gate->number);
	json_add_text(line, "decision", request->decision);
	json_add_text(line, "incident", request->incident);
	json_add_text(line, "action", action);
	json_add_text(line, "app", request->app);
	json_add_text(line, "target", request->target);
	if (request->pid)
		json_add_count(line, "pid", request->pid);
	else
		cJSON_AddNullToObject(line, "pid");
	json_add_text(line, "reason", request->reason);
	json_add_count(line, "live_workers", request->live_workers);
	cJSON_AddStringToObject(line, "outcome", verdicts[outcome].name);
	cJSON_AddStringToObject(line, "outcome_reason", verdicts[outcome].why);
	*audit = line;
	return outcome;
}
