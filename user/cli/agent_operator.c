// SPDX-License-Identifier: Apache-2.0
/*
 * Commands of people that act, and what they want to see of it. An operator's command needs no consent, but
 * passes the same gate: never the last healthy worker, nothing while paused, and an audit line for each.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/acting.h"
#include "user/probe/reason.h"

__attribute__((format(printf, 1, 2))) static cJSON *error(const char *format, ...)
{
	cJSON *answer = cJSON_CreateObject();
	char text[400];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	text_clean(text);
	cJSON_AddStringToObject(answer, "error", text);
	return answer;
}

/* The one object that a command may have; an empty one when there is none. */
static cJSON *argument_of(const char *argument)
{
	cJSON *object = *argument ? cJSON_Parse(argument) : cJSON_CreateObject();

	if (object && !cJSON_IsObject(object)) {
		cJSON_Delete(object);
		return NULL;
	}
	return object;
}

/* Wall clock of a moment on CLOCK_MONOTONIC. */
static uint64_t wall_of(struct agent *agent, uint64_t mono_ns)
{
	uint64_t boot = when_boot_now(), mono = mono_now();

	return mono_ns ? agent_wall(agent, boot - (mono - mono_ns)) : 0;
}

/* --- breakers --------------------------------------------------------------------------------------- */

struct listing {
	struct agent *agent;
	cJSON *array;
};

static void add_test(struct listing *listing, cJSON *row, const struct ev_scope *scope, const char *target)
{
	struct probes_answer test;

	if (!probes_latest(listing->agent->acting->probes, scope, target, &test)) {
		cJSON_AddNullToObject(row, "last_connection_test");
		cJSON_AddNullToObject(row, "last_test_result");
		cJSON_AddNullToObject(row, "last_test_ms");
		return;
	}
	json_add_time(row, "last_connection_test", wall_of(listing->agent, test.tested_ns));
	json_add_text(row, "last_test_result", result_name(test.result));
	json_add_count(row, "last_test_ms", test.ms);
}

static void add_row(struct listing *listing, const struct ev_scope *scope, const char *target,
		    enum breaker_kind kind, const struct breaker *breaker)
{
	struct agent *agent = listing->agent;
	cJSON *row = cJSON_CreateObject();
	uint64_t now = mono_now();
	bool shut = breaker && breaker->state != BREAKER_CLOSED;

	json_add_text(row, "app", scope->app);
	json_add_count(row, "uid", scope->uid);
	json_add_count(row, "netns", scope->netns);
	json_add_text(row, "target", target);
	cJSON_AddStringToObject(row, "scope", protocol_kind_name(kind));
	cJSON_AddStringToObject(row, "state", protocol_state_name(breaker ? breaker->state : BREAKER_CLOSED));
	json_add_time(row, "since", breaker ? wall_of(agent, breaker->changed_ns) : 0);
	json_add_count(row, "lease_ms",
		       shut && breaker->lease_end_ns > now ? (breaker->lease_end_ns - now) / 1000000 : 0);
	json_add_count(row, "max_ms_left",
		       shut && breaker->end_ns > now ? (breaker->end_ns - now) / 1000000 : 0);
	json_add_text(row, "reason", breaker ? breaker->reason : "");
	json_add_text(row, "incident", breaker ? breaker->incident : "");
	cJSON_AddBoolToObject(row, "by_operator", breaker && breaker->by_operator);
	json_add_count(row, "openings", breaker ? breaker->openings : 0);
	json_add_count(row, "peers", peers_of(agent, scope, ACCEPTS_BREAKER));
	add_test(listing, row, scope, target);
	cJSON_AddItemToArray(listing->array, row);
}

static void list_breaker(void *context, const struct breaker *breaker)
{
	add_row(context, &breaker->scope, breaker->target, breaker->kind, breaker);
}

/* Targets in use without a breaker that is worth telling of are listed as closed, for their test. */
static void list_use(void *context, const struct ev_scope *scope, const char *target)
{
	struct listing *listing = context;

	for (enum breaker_kind kind = 0; kind < BREAKER_KINDS; kind++)
		if (!breakers_find(listing->agent->acting->breakers, scope, target, kind))
			add_row(listing, scope, target, kind, NULL);
}

cJSON *acting_breakers(struct agent *agent)
{
	cJSON *answer = cJSON_CreateObject();
	struct listing listing = {agent, cJSON_AddArrayToObject(answer, "breakers")};

	breakers_each(agent->acting->breakers, list_breaker, &listing);
	tests_each(agent, NULL, list_use, &listing);
	return answer;
}

/* What a command names: a target, maybe an app, one kind or both. */
struct wish {
	struct agent *agent;
	const char *target, *app;
	bool kinds[BREAKER_KINDS];
	bool open;
	uint32_t for_ms;
	uint32_t matched; /* carried out */
	uint32_t known;   /* targets in use that fit */
	cJSON *array;
};

static void carry_out(struct wish *wish, const struct ev_scope *scope, enum breaker_kind kind)
{
	struct agent *agent = wish->agent;
	struct gate_request request =
		consent_request(agent, scope, wish->open ? "breaker.open" : "breaker.close", ACCEPTS_BREAKER);
	cJSON *row = cJSON_CreateObject();
	struct gate_pass pass;
	const char *reason = wish->open ? "an operator opened it" : "an operator closed it";
	const struct breaker *breaker;

	request.target = wish->target;
	request.breaker = protocol_kind_name(kind);
	request.reason = reason;
	request.by_operator = true;
	gate_decide(agent->acting->gate, &request, mono_now(), &pass);
	cJSON_AddStringToObject(row, "app", scope->app);
	cJSON_AddStringToObject(row, "target", wish->target);
	cJSON_AddStringToObject(row, "scope", protocol_kind_name(kind));
	cJSON_AddStringToObject(row, "id", pass.id);
	cJSON_AddStringToObject(row, "outcome", gate_outcome_name(pass.outcome));
	json_add_text(row, "outcome_reason", pass.audit ? json_text(pass.audit, "outcome_reason") : "");
	orders_audit(agent, pass.audit);
	if (pass.outcome == ACTION_SENT)
		carry_breaker(agent, &pass, scope, wish->target, kind, wish->open, reason, "",
			      BREAKER_BY_OPERATOR, wish->for_ms);
	breaker = breakers_find(agent->acting->breakers, scope, wish->target, kind);
	cJSON_AddStringToObject(row, "state", protocol_state_name(breaker ? breaker->state : BREAKER_CLOSED));
	json_add_count(row, "peers", peers_of(agent, scope, ACCEPTS_BREAKER));
	cJSON_AddItemToArray(wish->array, row);
}

static bool fits(const struct wish *wish, const struct ev_scope *scope, const char *target)
{
	return strcmp(target, wish->target) == 0 && (!wish->app[0] || strcmp(wish->app, scope->app) == 0);
}

static void count_use(void *context, const struct ev_scope *scope, const char *target)
{
	struct wish *wish = context;

	wish->known += fits(wish, scope, target);
}

static void grant(struct wish *wish, const struct ev_scope *scope, const char *target, enum breaker_kind kind)
{
	if (!fits(wish, scope, target) || !wish->kinds[kind])
		return;
	wish->matched++;
	carry_out(wish, scope, kind);
}

static void grant_use(void *context, const struct ev_scope *scope, const char *target)
{
	for (enum breaker_kind kind = 0; kind < BREAKER_KINDS; kind++)
		grant(context, scope, target, kind);
}

/* Copies first: closing one changes what is walked over. */
struct found {
	struct breaker list[PAGE_SLOTS * BREAKER_KINDS];
	size_t count;
};

static void find_open(void *context, const struct breaker *breaker)
{
	struct found *found = context;

	if (breaker->state != BREAKER_CLOSED && found->count < PAGE_SLOTS * BREAKER_KINDS)
		found->list[found->count++] = *breaker;
}

static void close_open(struct agent *agent, struct wish *wish)
{
	struct found *found = calloc(1, sizeof(*found));

	if (!found)
		return;
	breakers_each(agent->acting->breakers, find_open, found);
	for (size_t i = 0; i < found->count; i++)
		grant(wish, &found->list[i].scope, found->list[i].target, found->list[i].kind);
	free(found);
}

cJSON *operator_breaker(struct agent *agent, const char *argument)
{
	cJSON *words = argument_of(argument), *answer;
	const char *scope = words ? json_text(words, "scope") : "",
		   *what = words ? json_text(words, "do") : "";
	bool both = !scope[0] || strcmp(scope, "both") == 0;
	double for_ms = words ? json_number(words, "for_ms", 0) : 0;
	struct wish wish = {.agent = agent,
			    .target = words ? json_text(words, "target") : "",
			    .app = words ? json_text(words, "app") : "",
			    .open = strcmp(what, "open") == 0,
			    .for_ms = for_ms > 0 && for_ms <= UINT32_MAX ? (uint32_t)for_ms : 0};

	wish.kinds[BREAKER_CONNECT] = both || strcmp(scope, "connect") == 0;
	wish.kinds[BREAKER_QUERY] = both || strcmp(scope, "query") == 0;
	if (!words || !wish.target[0] || (!wish.open && strcmp(what, "close") != 0) ||
	    (!wish.kinds[0] && !wish.kinds[1])) {
		cJSON_Delete(words);
		return error("breaker: open or close, and a target, are needed");
	}
	answer = cJSON_CreateObject();
	wish.array = cJSON_AddArrayToObject(answer, "breakers");
	if (wish.open)
		tests_each(agent, NULL, grant_use, &wish);
	else
		close_open(agent, &wish);
	tests_each(agent, NULL, count_use, &wish);
	if (!wish.matched && !wish.known) {
		cJSON_Delete(answer);
		answer = error("%s%s was %sseen to use %s; lapidary breakers lists what is in use",
			       wish.app[0] ? "app " : "no watched app", wish.app, wish.app[0] ? "not " : "",
			       wish.target);
	}
	cJSON_Delete(words);
	return answer;
}

/* --- restarts --------------------------------------------------------------------------------------- */

struct wanted {
	uint32_t tgid;
	struct identity id;
};

static void find_process(void *context, const struct process *process)
{
	struct wanted *wanted = context;

	if (process->id.tgid == wanted->tgid)
		wanted->id = process->id;
}

cJSON *operator_restart(struct agent *agent, const char *argument)
{
	cJSON *words = argument_of(argument), *answer;
	double pid = words ? json_number(words, "pid", 0) : 0;
	bool now = words && json_true(words, "now");
	struct wanted wanted = {.tgid = pid > 0 && pid <= INT32_MAX ? (uint32_t)pid : 0};
	struct gate_request request = {0};
	const struct process *process;
	struct gate_pass pass;
	char number[16];

	cJSON_Delete(words);
	snprintf(number, sizeof(number), "%u", wanted.tgid);
	if (wanted.tgid)
		model_each_process(pipeline_model(agent->pipeline), find_process, &wanted);
	if (!wanted.id.tgid)
		return error("process %s is not watched; lapidary workers lists those that are", number);
	process = model_process(pipeline_model(agent->pipeline), wanted.id.tgid, wanted.id.start_ns);
	scope_of_app(process->app, &request.scope);
	request = consent_request(agent, &request.scope, "worker.restart", ACCEPTS_RESTART);
	consent_process(agent, &request, wanted.id.tgid, wanted.id.start_ns);
	request.reason = "an operator asked for it";
	request.by_operator = true;
	gate_decide(agent->acting->gate, &request, mono_now(), &pass);
	answer = cJSON_CreateObject();
	cJSON_AddStringToObject(answer, "id", pass.id);
	json_add_count(answer, "pid", wanted.id.tgid);
	cJSON_AddStringToObject(answer, "app", request.scope.app);
	cJSON_AddStringToObject(answer, "outcome", gate_outcome_name(pass.outcome));
	json_add_text(answer, "outcome_reason", pass.audit ? json_text(pass.audit, "outcome_reason") : "");
	cJSON_AddStringToObject(answer, "by", request.accepted ? "order" : "signal");
	orders_audit(agent, pass.audit);
	if (pass.outcome == ACTION_SENT)
		carry_restart(agent, &pass, &request, now);
	return answer;
}

/* --- the pause -------------------------------------------------------------------------------------- */

struct tally {
	uint32_t holds, restarts;
};

static void count_hold(void *context, const struct hold *hold)
{
	(void)hold;
	((struct tally *)context)->holds++;
}

static void count_restart(void *context, const struct restart *restart)
{
	(void)restart;
	((struct tally *)context)->restarts++;
}

static void add_pause(struct agent *agent, cJSON *answer)
{
	uint64_t left_ms = 0;
	bool paused = gate_paused(agent->acting->gate, mono_now(), &left_ms);

	cJSON_AddBoolToObject(answer, "paused", paused);
	json_add_count(answer, "left_ms", left_ms);
}

cJSON *operator_pause(struct agent *agent, const char *argument)
{
	struct acting *acting = agent->acting;
	cJSON *words = argument_of(argument), *answer = cJSON_CreateObject(), *released;
	double for_ms = words ? json_number(words, "for_ms", 0) : 0;
	uint64_t now = mono_now();
	struct tally tally = {0};

	cJSON_Delete(words);
	holds_each(acting->holds, count_hold, &tally);
	restarts_each(acting->restarts, count_restart, &tally);
	gate_pause(acting->gate, now, for_ms > 0 ? (uint64_t)for_ms : 0);
	add_pause(agent, answer);
	released = cJSON_AddObjectToObject(answer, "released");
	json_add_count(released, "breakers", breakers_open_count(acting->breakers));
	json_add_count(released, "holds", tally.holds);
	json_add_count(released, "restarts", tally.restarts);
	restarts_release(acting->restarts, "acting was paused", now);
	breakers_release(acting->breakers, "acting was paused", now);
	holds_release(acting->holds);
	app_socket_welcome_again(acting->socket,
				 NULL); /* whoever waits for its boot hears that it need not */
	return answer;
}

cJSON *operator_resume(struct agent *agent, const char *argument)
{
	cJSON *answer = cJSON_CreateObject();

	(void)argument;
	gate_resume(agent->acting->gate);
	add_pause(agent, answer);
	return answer;
}

static void add_hold(void *context, const struct hold *hold)
{
	struct listing *listing = context;
	cJSON *row = cJSON_CreateObject();

	json_add_text(row, "app", hold->scope.app);
	json_add_count(row, "crashes", hold->crashes);
	json_add_count(row, "boots", hold->boots);
	json_add_count(row, "wait_ms", hold->wait_ms);
	json_add_time(row, "since", wall_of(listing->agent, hold->since_ns));
	json_add_text(row, "reason", hold->reason);
	json_add_text(row, "incident", hold->incident);
	cJSON_AddItemToArray(listing->array, row);
}

static void add_restart(void *context, const struct restart *restart)
{
	static const char *const stages[] = {[RESTART_ORDERED] = "ordered",
					     [RESTART_ACKED] = "acked",
					     [RESTART_SIGNALLED] = "signalled",
					     [RESTART_KILLED] = "killed"};
	struct listing *listing = context;
	cJSON *row = cJSON_CreateObject();

	json_add_text(row, "id", restart->id);
	json_add_text(row, "app", restart->scope.app);
	json_add_count(row, "pid", restart->tgid);
	cJSON_AddStringToObject(row, "stage", stages[restart->stage]);
	json_add_text(row, "reason", restart->reason);
	json_add_count(row, "deadline_ms", restart->deadline_ms);
	cJSON_AddItemToArray(listing->array, row);
}

cJSON *acting_status(struct agent *agent)
{
	cJSON *answer = cJSON_CreateObject();
	struct listing holds = {agent, cJSON_AddArrayToObject(answer, "holds")};
	struct listing restarts = {agent, cJSON_AddArrayToObject(answer, "restarts")};
	struct app_socket_stats stats;

	add_pause(agent, answer);
	holds_each(agent->acting->holds, add_hold, &holds);
	restarts_each(agent->acting->restarts, add_restart, &restarts);
	app_socket_stats(agent->acting->socket, &stats);
	json_add_count(answer, "peers", stats.peers);
	json_add_count(answer, "peers_cut", stats.cut);
	json_add_count(answer, "peers_refused", stats.refused);
	json_add_count(answer, "breakers_open", breakers_open_count(agent->acting->breakers));
	return answer;
}
