// SPDX-License-Identifier: Apache-2.0
/*
 * Budgets are windows that slide: of the last `size` actions the oldest must lie a minute back, so no minute,
 * wherever it begins, holds more. A scope's window may be evicted by those of more lively scopes; the host's
 * never is, and what is under way is counted from the actions themselves.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/dice.h"
#include "user/act/gate.h"
#include "user/base/json.h"
#include "user/base/table.h"
#include "user/base/text.h"

enum { SCOPES_MAX = 1024, SENT_MAX = 1024 };

#define MINUTE_NS 60000000000ull

/* The last `size` times, in a ring. */
struct window {
	uint32_t size, used, next;
	uint64_t *times;
};

struct scope_windows {
	struct window restarts, breakers;
	uint64_t times[];
};

/* An action that is under way. */
struct sent {
	struct ev_scope scope;
	bool takes_worker;
	uint64_t begun_ns;
	cJSON *audit;
};

struct gate {
	struct gate_settings settings;
	struct dice dice;
	uint64_t number;
	bool paused;
	uint64_t paused_until_ns; /* 0: until resumed */
	struct window host;
	struct table *scopes, *sent;
};

static void sent_gone(void *context, const void *key, void *value)
{
	struct sent *sent = value;

	(void)context;
	(void)key;
	cJSON_Delete(sent->audit);
}

struct gate *gate_new(const struct gate_settings *settings, uint64_t seed)
{
	struct gate *gate = calloc(1, sizeof(*gate));
	size_t times = (size_t)settings->restarts_per_minute + settings->breakers_per_minute;

	if (!gate)
		return NULL;
	gate->settings = *settings;
	gate->dice.seed = seed;
	gate->host.size = settings->host_restarts_per_minute;
	gate->host.times = calloc((size_t)gate->host.size + 1, sizeof(uint64_t));
	gate->scopes =
		table_new(sizeof(struct ev_scope), sizeof(struct scope_windows) + times * sizeof(uint64_t),
			  SCOPES_MAX, NULL, NULL);
	gate->sent = table_new(sizeof(((struct gate_pass *)NULL)->id), sizeof(struct sent), SENT_MAX,
			       sent_gone, NULL);
	if (!gate->host.times || !gate->scopes || !gate->sent) {
		gate_free(gate);
		return NULL;
	}
	return gate;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	table_free(gate->scopes);
	table_free(gate->sent);
	free(gate->host.times);
	free(gate);
}

static bool window_has_room(const struct window *window, uint64_t now_ns)
{
	if (window->used < window->size)
		return true;
	return window->size > 0 && now_ns >= window->times[window->next] + MINUTE_NS;
}

static void window_take(struct window *window, uint64_t now_ns)
{
	window->times[window->next] = now_ns;
	window->next = (window->next + 1) % window->size;
	if (window->used < window->size)
		window->used++;
}

static struct scope_windows *windows_of(struct gate *gate, const struct ev_scope *scope)
{
	bool fresh;
	struct scope_windows *windows = table_put(gate->scopes, scope, &fresh);

	if (windows && fresh) {
		windows->restarts.size = gate->settings.restarts_per_minute;
		windows->restarts.times = windows->times;
		windows->breakers.size = gate->settings.breakers_per_minute;
		windows->breakers.times = windows->times + windows->restarts.size;
	}
	return windows;
}

struct tally {
	const struct ev_scope *scope;
	uint32_t count;
};

static void count_sent(void *context, const void *key, void *value)
{
	struct tally *tally = context;
	const struct sent *sent = value;

	(void)key;
	if (sent->takes_worker && scope_equal(&sent->scope, tally->scope))
		tally->count++;
}

uint32_t gate_restarting(const struct gate *gate, const struct ev_scope *scope)
{
	struct tally tally = {.scope = scope};

	table_each(gate->sent, count_sent, &tally);
	return tally.count;
}

void gate_pause(struct gate *gate, uint64_t now_ns, uint64_t for_ms)
{
	gate->paused = true;
	gate->paused_until_ns = for_ms ? now_ns + for_ms * 1000000 : 0;
}

void gate_resume(struct gate *gate)
{
	gate->paused = false;
}

bool gate_paused(const struct gate *gate, uint64_t now_ns, uint64_t *left_ms)
{
	bool paused = gate->paused && (gate->paused_until_ns == 0 || now_ns < gate->paused_until_ns);

	if (left_ms)
		*left_ms = paused && gate->paused_until_ns
				   ? (gate->paused_until_ns - now_ns + 999999) / 1000000
				   : 0;
	return paused;
}

const char *gate_outcome_name(enum action_outcome outcome)
{
	static const char *const names[ACTION_OUTCOME_END] = {
		[ACTION_DONE] = "done",     [ACTION_OBSERVED] = "observed", [ACTION_REFUSED] = "refused",
		[ACTION_FAILED] = "failed", [ACTION_SENT] = "sent",
	};

	return (size_t)outcome < ACTION_OUTCOME_END && names[outcome] ? names[outcome] : "";
}

static bool is_action(const struct gate_request *request, const char *action)
{
	return strcmp(request->action, action) == 0;
}

static bool takes_worker(const struct gate_request *request)
{
	return is_action(request, "worker.restart") || is_action(request, "app.drain");
}

static const char *consent_of(const struct gate_request *request)
{
	if (is_action(request, "alert"))
		return "none";
	if (request->by_operator)
		return "operator";
	if (request->accepted)
		return "accepts";
	return request->configured ? "configuration" : "none";
}

/* What a worker's absence costs: whether it may go, and room for its going. */
static enum action_outcome judge_worker(struct gate *gate, const struct gate_request *request,
					uint64_t now_ns, char *why, size_t size)
{
	const struct gate_settings *settings = &gate->settings;
	uint32_t restarting = gate_restarting(gate, &request->scope);
	struct scope_windows *windows = windows_of(gate, &request->scope);

	if (request->is_worker && request->healthy_workers <= (uint32_t)request->is_healthy)
		snprintf(why, size, "it would %s (%u healthy of %u alive)",
			 request->is_healthy ? "take the last healthy worker"
					     : "go while there is no other healthy worker",
			 request->healthy_workers, request->live_workers);
	else if (restarting >= settings->restarting_max)
		snprintf(why, size, "budget: %u of its workers are restarting already, at most %u at once",
			 restarting, settings->restarting_max);
	else if (!windows || !window_has_room(&windows->restarts, now_ns))
		snprintf(why, size, "budget: %u restarts of this app in the last minute",
			 settings->restarts_per_minute);
	else if (!window_has_room(&gate->host, now_ns))
		snprintf(why, size, "budget: %u restarts on this host in the last minute",
			 settings->host_restarts_per_minute);
	else {
		window_take(&windows->restarts, now_ns);
		window_take(&gate->host, now_ns);
		return ACTION_SENT;
	}
	return ACTION_REFUSED;
}

static enum action_outcome judge(struct gate *gate, const struct gate_request *request, uint64_t now_ns,
				 char *why, size_t size)
{
	struct scope_windows *windows;

	if (is_action(request, "alert")) {
		snprintf(why, size, "an alert is recorded and shown; it changes nothing in the app");
		return ACTION_DONE;
	}
	if (is_action(request,
		      "breaker.close")) /* gives back: needs nobody's leave, and pausing closes, too */
		return ACTION_SENT;
	if (gate_paused(gate, now_ns, NULL)) {
		snprintf(why, size, "acting is paused; `lapidary actions resume` ends that");
		return ACTION_REFUSED;
	}
	if (!scope_known(&request->scope)) {
		snprintf(why, size,
			 "it is not known yet whose that process is: its cgroup is still being read");
		return ACTION_REFUSED;
	}
	if (strcmp(consent_of(request), "none") == 0) {
		snprintf(why, size, "no consent: neither the app nor the configuration allows acting");
		return ACTION_OBSERVED;
	}
	if (takes_worker(request))
		return judge_worker(gate, request, now_ns, why, size);
	if (is_action(request, "breaker.open")) {
		windows = windows_of(gate, &request->scope);
		if (!windows || !window_has_room(&windows->breakers, now_ns)) {
			snprintf(why, size, "budget: %u breakers of this app opened in the last minute",
				 gate->settings.breakers_per_minute);
			return ACTION_REFUSED;
		}
		window_take(&windows->breakers, now_ns);
	}
	return ACTION_SENT;
}

static void add_evidence(cJSON *line, const struct gate_request *request)
{
	cJSON *evidence;

	if (request->threshold == 0) {
		cJSON_AddNullToObject(line, "evidence");
		return;
	}
	evidence = cJSON_AddObjectToObject(line, "evidence");
	json_add_count(evidence, "count", request->count);
	json_add_count(evidence, "window_ms", request->window_ms);
	json_add_count(evidence, "threshold", request->threshold);
}

/* Everything but how it ended. */
static cJSON *audit_new(struct gate *gate, const struct gate_request *request, const char *id)
{
	cJSON *line = cJSON_CreateObject();

	json_add_text(line, "id", id);
	json_add_time(line, "time", request->wall_ns);
	json_add_count(line, "number", ++gate->number);
	json_add_text(line, "by", request->by_operator ? "operator" : "rule");
	json_add_text(line, "decision", request->decision);
	json_add_text(line, "incident", request->incident);
	json_add_text(line, "action", request->action);
	json_add_text(line, "scope", request->breaker);
	json_add_text(line, "app", request->scope.app);
	json_add_text(line, "target", request->target);
	if (request->pid)
		json_add_count(line, "pid", request->pid);
	else
		cJSON_AddNullToObject(line, "pid");
	json_add_text(line, "reason", request->reason);
	add_evidence(line, request);
	json_add_text(line, "consent", consent_of(request));
	json_add_count(line, "live_workers", request->live_workers);
	json_add_count(line, "healthy_workers", request->healthy_workers);
	return line;
}

/* wall_ns 0: it goes on. */
static void audit_end(cJSON *line, enum action_outcome outcome, const char *reason, uint64_t wall_ns,
		      uint64_t took_ns)
{
	json_add_text(line, "outcome", gate_outcome_name(outcome));
	json_add_text(line, "outcome_reason", reason);
	json_add_time(line, "finished", wall_ns);
	if (wall_ns)
		json_add_count(line, "took_ms", took_ns / 1000000);
	else
		cJSON_AddNullToObject(line, "took_ms");
}

void gate_judge(struct gate *gate, const struct gate_request *request, uint64_t now_ns, struct gate_pass *out)
{
	struct sent *sent;

	*out = (struct gate_pass){.why = "ordered; the outcome follows"};
	dice_id(&gate->dice, out->id);
	out->outcome = judge(gate, request, now_ns, out->why, sizeof(out->why));
	if (out->outcome != ACTION_SENT)
		return;
	sent = table_put(gate->sent, out->id, NULL);
	if (sent) {
		sent->scope = request->scope;
		sent->takes_worker = takes_worker(request);
		sent->begun_ns = now_ns;
	} else { /* what cannot be followed is not begun */
		out->outcome = ACTION_REFUSED;
		text_copy(out->why, sizeof(out->why), "no memory to follow it");
	}
}

void gate_audit(struct gate *gate, const struct gate_request *request, struct gate_pass *pass)
{
	bool sent = pass->outcome == ACTION_SENT;
	struct sent *open = sent ? table_peek(gate->sent, pass->id) : NULL;

	pass->audit = audit_new(gate, request, pass->id);
	if (open && !open->audit)
		open->audit = cJSON_Duplicate(pass->audit, true);
	audit_end(pass->audit, pass->outcome, pass->why, sent ? 0 : request->wall_ns, 0);
}

void gate_decide(struct gate *gate, const struct gate_request *request, uint64_t now_ns,
		 struct gate_pass *out)
{
	gate_judge(gate, request, now_ns, out);
	gate_audit(gate, request, out);
}

cJSON *gate_outcome(struct gate *gate, const char *id, enum action_outcome outcome, const char *reason,
		    uint64_t wall_ns, uint64_t now_ns)
{
	char key[sizeof(((struct gate_pass *)NULL)->id)] = "";
	struct sent *sent;
	cJSON *audit;

	text_copy(key, sizeof(key), id);
	sent = table_peek(gate->sent, key);
	if (!sent)
		return NULL;
	audit = sent->audit;
	sent->audit = NULL;
	audit_end(audit, outcome, reason, wall_ns, now_ns > sent->begun_ns ? now_ns - sent->begun_ns : 0);
	table_delete(gate->sent, key);
	return audit;
}
