/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's wiring from open connections to tests of their databases, in simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/history.h"
#include "user/cli/acting.h"

enum { MASTER = 100, WORKER = 200, HOURS = 3 };

#define SECOND UINT64_C(1000000000)

static struct agent *agent;
static struct history history;
static uint64_t now, asked, asked_tgid, token;
static struct probes *probes;

static void emit(void *context, const struct ev_head *ev)
{
	(void)context;
	model_apply(pipeline_model(agent->pipeline), ev, NULL, NULL);
}

static int ask(void *context, const struct probes_question *question)
{
	(void)context;
	asked++;
	asked_tgid = question->tgid;
	token = question->token;
	return 0;
}

static int before(void **state)
{
	const struct probes_settings settings = {.interval_ms = 5000,
						 .urgent_ms = 500,
						 .idle_ms = 600000,
						 .running_max = 8,
						 .targets_max = 512};
	const struct probes_events events = {.ask = ask};
	struct model_limits limits = {0};
	char why[256];

	(void)state;
	now = SECOND;
	asked = asked_tgid = token = 0;
	agent = calloc(1, sizeof(*agent));
	if (rules_load("rules", &agent->rules, why, sizeof(why)) != 0)
		return -1;
	agent->pipeline = pipeline_new(agent->rules, 1, &limits);
	if (!agent->pipeline || acting_new(agent) != 0)
		return -1;
	probes_free(agent->acting->probes);
	agent->acting->probes = probes = probes_new(&settings, 1, &events);
	memset(&history, 0, sizeof(history));
	history.emit = emit;
	history_begin(&history, NULL);
	history_watch(&history, MASTER, 1, "ruby", 1000);
	history_info(&history, MASTER, "shop", 1001);
	history_fork(&history, WORKER, MASTER, 1100);
	history_fork(&history, WORKER + 1, MASTER, 1100);
	return 0;
}

static int after(void **state)
{
	(void)state;
	acting_free(agent);
	pipeline_free(agent->pipeline);
	rules_free(agent->rules);
	free(agent);
	return 0;
}

static const struct process *process(uint32_t pid)
{
	return model_process(pipeline_model(agent->pipeline), pid, history_start(pid));
}

static void has_page(void)
{
	struct ev_scope scope;

	scope_of_app(process(MASTER)->app, &scope);
	assert_non_null(pages_of(agent, &scope, true));
}

static void pass(uint64_t seconds)
{
	for (uint64_t end = now + seconds * SECOND; now < end; now += SECOND) {
		tests_tick(agent, now);
		if (token)
			probes_answer(probes, token, PROBE_OK, "", 1, now);
		token = 0;
	}
}

/* The fault: ten minutes after its last connect a database was tested no more. */
static void a_pool_that_connects_once_is_tested_for_hours(void **state)
{
	(void)state;
	has_page();
	history_conn(&history, WORKER, 0x10, CONN_OPEN, 0, 1200);
	pass(60);
	assert_true(asked > 5);
	for (int i = 0; i < 6 * HOURS; i++) {
		asked = 0;
		pass(600);
		assert_true(asked > 60);
	}
	history_conn(&history, WORKER, 0x10, CONN_FINISH, 0, 1300);
	pass(700);
	asked = 0;
	pass(600);
	assert_int_equal(asked, 0); /* nobody uses it */
}

static void its_database_is_reached_through_who_lives(void **state)
{
	(void)state;
	has_page();
	history_conn(&history, WORKER, 0x10, CONN_OPEN, 0, 1200);
	pass(30);
	assert_int_equal(asked_tgid, WORKER);
	tests_gone(agent, process(WORKER));
	history_exit(&history, WORKER, 0, 0, 1300);
	asked_tgid = 0;
	pass(30);
	assert_true(asked_tgid == MASTER || asked_tgid == WORKER + 1);
}

static void who_is_not_placed_uses_nothing(void **state)
{
	struct ev_scope scope;

	(void)state;
	history_watch(&history, 300, 1, "ruby", 1400);
	history_conn(&history, 300, 0x20, CONN_OPEN, 0, 1410);
	scope_of_app(process(300)->app, &scope);
	tests_used(agent, process(300), HISTORY_TARGET, now);
	pass(120);
	assert_false(tests_knows(agent, &scope, HISTORY_TARGET));
	history_info(&history, 300, "desk", 1500);
	scope_of_app(process(300)->app, &scope);
	pass(120);
	assert_true(tests_knows(agent, &scope, HISTORY_TARGET));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(a_pool_that_connects_once_is_tested_for_hours),
		EACH(its_database_is_reached_through_who_lives),
		EACH(who_is_not_placed_uses_nothing),
	};

	return cmocka_run_group_tests_name("cli: databases in use", tests, NULL, NULL);
}
