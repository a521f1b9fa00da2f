/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: who may act, how often, and the line that each decision leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "user/act/gate.h"
#include "user/base/json.h"

#define SECOND 1000000000ull

static const struct gate_settings settings = {
	.restarts_per_minute = 3,
	.host_restarts_per_minute = 5,
	.restarting_max = 1,
	.breakers_per_minute = 2,
};

static struct gate *gate;
static struct gate_pass pass;
static struct gate_request request;
static uint64_t now;

static int before(void **state)
{
	(void)state;
	gate = gate_new(&settings, 5);
	memset(&pass, 0, sizeof(pass));
	now = 1000 * SECOND;
	request = (struct gate_request){
		.decision = "d1",
		.incident = "i1",
		.action = "worker.restart",
		.target = "",
		.breaker = "",
		.reason = "3 crashes in 60 s",
		.count = 3,
		.window_ms = 60000,
		.threshold = 2,
		.pid = 4711,
		.start_ns = 1,
		.live_workers = 5,
		.healthy_workers = 4,
		.is_healthy = true,
		.is_worker = true,
		.accepted = true,
		.wall_ns = 1700000000000000000ull,
	};
	scope_set(&request.scope, 1000, 4026531840, 1, "shop");
	return gate ? 0 : -1;
}

static int after(void **state)
{
	(void)state;
	cJSON_Delete(pass.audit);
	gate_free(gate);
	return 0;
}

static enum action_outcome decide(void)
{
	cJSON_Delete(pass.audit);
	gate_decide(gate, &request, now, &pass);
	assert_string_equal(json_text(pass.audit, "outcome"), gate_outcome_name(pass.outcome));
	assert_true(json_text(pass.audit, "outcome_reason")[0] != '\0');
	return pass.outcome;
}

static bool because(const char *words)
{
	return strstr(json_text(pass.audit, "outcome_reason"), words) != NULL;
}

static void end(enum action_outcome outcome)
{
	cJSON_Delete(gate_outcome(gate, pass.id, outcome, "it ended", request.wall_ns + SECOND, now));
}

static void consent_is_asked_for(void **state)
{
	static const struct {
		const char *action;
		bool accepted, configured, by_operator;
		enum action_outcome outcome;
		const char *consent;
	} cases[] = {
		{"alert", false, false, false, ACTION_DONE, "none"},
		{"worker.restart", false, false, false, ACTION_OBSERVED, "none"},
		{"worker.restart", true, false, false, ACTION_SENT, "accepts"},
		{"worker.restart", false, true, false, ACTION_SENT, "configuration"},
		{"worker.restart", true, true, true, ACTION_SENT, "operator"},
		{"worker.hold", false, false, false, ACTION_OBSERVED, "none"},
		{"worker.hold", true, false, false, ACTION_SENT, "accepts"},
		{"breaker.open", false, false, false, ACTION_OBSERVED, "none"},
		{"breaker.open", false, false, true, ACTION_SENT, "operator"},
		{"breaker.close", false, false, false, ACTION_SENT, "none"},
		{"app.drain", false, false, false, ACTION_OBSERVED, "none"},
		{"app.drain", true, false, false, ACTION_SENT, "accepts"},
		{"app.degrade", false, true, false, ACTION_SENT, "configuration"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		print_message("# %s %d %d %d\n", cases[i].action, cases[i].accepted, cases[i].configured,
			      cases[i].by_operator);
		request.action = cases[i].action;
		request.accepted = cases[i].accepted;
		request.configured = cases[i].configured;
		request.by_operator = cases[i].by_operator;
		now += 60 * SECOND;
		assert_int_equal(decide(), cases[i].outcome);
		assert_string_equal(json_text(pass.audit, "consent"), cases[i].consent);
		assert_string_equal(json_text(pass.audit, "by"), cases[i].by_operator ? "operator" : "rule");
		end(ACTION_DONE);
	}
}

/* A scope that /proc has not told of yet fits no peer and no budget: nobody may act on it, operators neither.
 */
static void nothing_is_done_to_an_unknown_scope(void **state)
{
	static const char *const actions[] = {"worker.restart", "worker.hold", "breaker.open", "app.drain"};

	(void)state;
	scope_set(&request.scope, 1000, 0, 0, "shop");
	request.configured = request.by_operator = true;
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		request.action = actions[i];
		assert_int_equal(decide(), ACTION_REFUSED);
		assert_true(because("not known yet"));
	}
	request.action = "alert";
	assert_int_equal(decide(), ACTION_DONE);
}

static void a_pause_stops_all_but_alerts_and_closing(void **state)
{
	uint64_t left_ms;

	(void)state;
	gate_pause(gate, now, 5000);
	assert_true(gate_paused(gate, now, &left_ms));
	assert_int_equal(left_ms, 5000);
	assert_int_equal(decide(), ACTION_REFUSED);
	assert_true(because("lapidary actions resume"));
	request.by_operator = true; /* who paused meant it for himself, too */
	assert_int_equal(decide(), ACTION_REFUSED);
	request.action = "alert";
	assert_int_equal(decide(), ACTION_DONE);
	request.action = "breaker.close";
	assert_int_equal(decide(), ACTION_SENT);
	end(ACTION_DONE);
	request.action = "worker.restart";
	now += 5 * SECOND;
	assert_false(gate_paused(gate, now, &left_ms));
	assert_int_equal(decide(), ACTION_SENT);
	end(ACTION_DONE);
	gate_pause(gate, now, 0);
	now += 100000 * SECOND;
	assert_true(gate_paused(gate, now, &left_ms));
	assert_int_equal(left_ms, 0);
	gate_resume(gate);
	gate_resume(gate);
	assert_int_equal(decide(), ACTION_SENT);
}

static void the_last_healthy_worker_stays(void **state)
{
	(void)state;
	request.by_operator = true;
	request.live_workers = 4;
	request.healthy_workers = 1; /* also a single process, which is its own last worker */
	assert_int_equal(decide(), ACTION_REFUSED);
	assert_true(because("last healthy worker (1 healthy of 4 alive)"));
	request.action = "app.drain";
	assert_int_equal(decide(), ACTION_REFUSED);
	request.action = "worker.restart";
	request.healthy_workers = 0;
	request.is_healthy = false; /* it boots, as all the others do */
	assert_int_equal(decide(), ACTION_REFUSED);
	assert_true(because("no other healthy worker (0 healthy of 4 alive)"));
	request.healthy_workers = 1; /* a sick one, beside a healthy one */
	assert_int_equal(decide(), ACTION_SENT);
	end(ACTION_DONE);
	request.healthy_workers = 0;
	request.is_worker = false; /* a master, which rolls its workers */
	assert_int_equal(decide(), ACTION_SENT);
	assert_int_equal(gate_restarting(gate, &request.scope), 1);
	request.is_worker = request.is_healthy = true;
	request.healthy_workers = 3;
	assert_int_equal(decide(), ACTION_REFUSED);
	assert_true(because("at once"));
}

static void budgets_slide(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(decide(), ACTION_SENT);
		end(ACTION_FAILED);
		now += 10 * SECOND;
	}
	assert_int_equal(decide(), ACTION_REFUSED);
	assert_true(because("3 restarts of this app"));
	scope_set(&request.scope, 1000, 4026531841, 1, "shop"); /* the same name elsewhere has its own */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(decide(), ACTION_SENT);
		end(ACTION_DONE);
	}
	assert_int_equal(decide(), ACTION_REFUSED);
	assert_true(because("on this host"));
	scope_set(&request.scope, 1000, 4026531840, 1, "shop");
	now += 30 * SECOND - 1;
	assert_int_equal(decide(), ACTION_REFUSED);
	now += 1; /* a minute after the first */
	assert_int_equal(decide(), ACTION_SENT);
	end(ACTION_DONE);
	assert_int_equal(decide(), ACTION_REFUSED);
	request.action = "breaker.open";
	assert_int_equal(decide(), ACTION_SENT);
	end(ACTION_DONE);
	assert_int_equal(decide(), ACTION_SENT);
	end(ACTION_DONE);
	assert_int_equal(decide(), ACTION_REFUSED);
	assert_true(because("2 breakers"));
}

static void a_line_says_all(void **state)
{
	const cJSON *evidence;
	char id[20];
	cJSON *line;

	(void)state;
	request.action = "breaker.open";
	request.breaker = "query";
	request.target = "postgres://db:5432/shop";
	assert_int_equal(decide(), ACTION_SENT);
	assert_string_equal(json_text(pass.audit, "id"), pass.id);
	assert_int_equal(strlen(pass.id), 16);
	assert_int_equal(json_number(pass.audit, "number", 0), 1);
	assert_string_equal(json_text(pass.audit, "time"), "2023-11-14T22:13:20.000000000Z");
	assert_string_equal(json_text(pass.audit, "decision"), "d1");
	assert_string_equal(json_text(pass.audit, "incident"), "i1");
	assert_string_equal(json_text(pass.audit, "action"), "breaker.open");
	assert_string_equal(json_text(pass.audit, "scope"), "query");
	assert_string_equal(json_text(pass.audit, "app"), "shop");
	assert_string_equal(json_text(pass.audit, "target"), "postgres://db:5432/shop");
	assert_string_equal(json_text(pass.audit, "reason"), "3 crashes in 60 s");
	assert_int_equal(json_number(pass.audit, "pid", 0), 4711);
	assert_int_equal(json_number(pass.audit, "live_workers", 0), 5);
	assert_int_equal(json_number(pass.audit, "healthy_workers", 0), 4);
	evidence = cJSON_GetObjectItem(pass.audit, "evidence");
	assert_int_equal(json_number(evidence, "count", 0), 3);
	assert_int_equal(json_number(evidence, "window_ms", 0), 60000);
	assert_int_equal(json_number(evidence, "threshold", 0), 2);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(pass.audit, "finished")));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(pass.audit, "took_ms")));
	strcpy(id, pass.id);
	/* the same line again, ended */
	line = gate_outcome(gate, id, ACTION_DONE, "2 of 2 peers took it", request.wall_ns + SECOND,
			    now + SECOND);
	assert_string_equal(json_text(line, "id"), id);
	assert_string_equal(json_text(line, "outcome"), "done");
	assert_string_equal(json_text(line, "outcome_reason"), "2 of 2 peers took it");
	assert_string_equal(json_text(line, "finished"), "2023-11-14T22:13:21.000000000Z");
	assert_int_equal(json_number(line, "took_ms", 0), 1000);
	assert_int_equal(cJSON_GetArraySize(line), cJSON_GetArraySize(pass.audit));
	cJSON_Delete(line);
	assert_null(gate_outcome(gate, id, ACTION_DONE, "again", 1, now));
	assert_null(gate_outcome(gate, "no such id", ACTION_DONE, "", 1, now));
	/* an operator's has no decision, and what ends at once has its end */
	request.decision = request.incident = "";
	request.threshold = 0;
	request.pid = 0;
	request.action = "alert";
	assert_int_equal(decide(), ACTION_DONE);
	assert_string_not_equal(pass.id, id);
	assert_int_equal(json_number(pass.audit, "number", 0), 2);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(pass.audit, "decision")));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(pass.audit, "evidence")));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(pass.audit, "pid")));
	assert_string_equal(json_text(pass.audit, "finished"), json_text(pass.audit, "time"));
	assert_int_equal(json_number(pass.audit, "took_ms", 9), 0);
}

/* Whoever never tells an outcome cannot make it grow. */
static void what_is_under_way_is_bounded(void **state)
{
	char first[20];

	(void)state;
	request.action = "worker.hold";
	assert_int_equal(decide(), ACTION_SENT);
	strcpy(first, pass.id);
	for (int i = 0; i < 5000; i++)
		assert_int_equal(decide(), ACTION_SENT);
	assert_null(gate_outcome(gate, first, ACTION_DONE, "late", 1, now));
	end(ACTION_DONE);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(consent_is_asked_for),
		EACH(nothing_is_done_to_an_unknown_scope),
		EACH(a_pause_stops_all_but_alerts_and_closing),
		EACH(the_last_healthy_worker_stays),
		EACH(budgets_slide),
		EACH(a_line_says_all),
		EACH(what_is_under_way_is_bounded),
	};

	return cmocka_run_group_tests_name("act: the gate", tests, NULL, NULL);
}
