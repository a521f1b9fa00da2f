/* SPDX-License-Identifier: Apache-2.0 */
/* Masters and workers, apps, the flight recorder, views, and the limits of the tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/model_watcher.h"
#include "user/base/json.h"
#include "user/model/view.h"

enum { MASTER = 100, WORKER = 200 };

static struct watcher w;
static struct history *h = &w.history;

static int before(void **state)
{
	(void)state;
	watcher_init(&w, NULL);
	history_watch(h, MASTER, 1, "ruby", 1000);
	history_info(h, MASTER, "shop", 1001);
	return 0;
}

static int after(void **state)
{
	(void)state;
	watcher_done(&w);
	return 0;
}

static const struct process *process(uint32_t pid)
{
	return model_process(w.model, pid, history_start(pid));
}

static void count_one(void *context, const struct process *one)
{
	(void)one;
	++*(unsigned *)context;
}

static unsigned listed(void)
{
	unsigned count = 0;
	model_each_process(w.model, count_one, &count);
	return count;
}

static void test_fork_makes_master_and_worker(void **state)
{
	(void)state;
	assert_int_equal(process(MASTER)->role, ROLE_SINGLE);
	assert_int_equal(process(MASTER)->app->workers, 1);
	history_fork(h, WORKER, MASTER, 1100);
	history_fork(h, WORKER + 1, MASTER, 1100);
	assert_int_equal(process(MASTER)->role, ROLE_MASTER);
	assert_int_equal(process(WORKER)->role, ROLE_WORKER);
	assert_int_equal(process(MASTER)->children, 2);
	assert_string_equal(process(WORKER)->app->name, "shop");
	assert_int_equal(process(WORKER)->app->workers, 2);
	history_exit(h, WORKER, 0, 0, 5000);
	assert_int_equal(process(MASTER)->children, 1);
	assert_int_equal(process(MASTER)->app->workers, 1);
	assert_int_equal(process(MASTER)->app->exits, 1);
}

static void test_helper_makes_no_master(void **state)
{
	(void)state;
	history_fork(h, WORKER, MASTER, 1100);
	history_exec(h, WORKER, 1101);
	assert_int_equal(w.said[NOTICE_LEFT], 1);
	assert_null(process(WORKER));
	assert_int_equal(process(MASTER)->role, ROLE_SINGLE);
	assert_int_equal(process(MASTER)->app->workers, 1);
}

static void test_helper_of_a_worker(void **state)
{
	(void)state;
	history_fork(h, WORKER, MASTER, 1100);
	history_tick(h, 2000);
	history_fork(h, 300, WORKER, 2100);
	history_exec(h, 300, 2101);
	assert_int_equal(process(WORKER)->role, ROLE_WORKER);
	assert_int_equal(process(MASTER)->role, ROLE_MASTER);
}

static void test_children_listed_before_their_master(void **state)
{
	(void)state;
	history_watch(h, 401, 400, "ruby", 1100);
	history_watch(h, 402, 400, "ruby", 1100);
	assert_int_equal(process(401)->role, ROLE_SINGLE);
	history_watch(h, 400, 1, "ruby", 1101);
	assert_int_equal(process(400)->role, ROLE_MASTER);
	assert_int_equal(process(401)->role, ROLE_WORKER);
	assert_int_equal(process(400)->children, 2);
}

static void test_exec_of_another_ruby(void **state)
{
	(void)state;
	history_fork(h, WORKER, MASTER, 1100);
	history_exec(h, WORKER, 1101);
	history_watch(h, WORKER, MASTER, "rake", 1102); /* same pid and start time */
	assert_non_null(process(WORKER));
	assert_int_equal(process(WORKER)->role, ROLE_SINGLE);
	assert_string_equal(process(WORKER)->app->name, "rake");
	for (unsigned i = 0; i < 10; i++)
		history_tick(h, 2000 + 1000 * i);
	assert_non_null(process(WORKER));
}

static void test_pid_is_no_identity(void **state)
{
	struct ev_birth reborn = {.head = HISTORY_HEAD(h, EV_FORK, LANE_LIFE, reborn, WORKER, 9000),
				  .parent_tgid = MASTER,
				  .parent_start_ns = history_start(MASTER),
				  .comm = "ruby"};
	(void)state;
	history_fork(h, WORKER, MASTER, 1100);
	history_exit(h, WORKER, 0, 0, 2000);
	reborn.head.start_ns = 9000 * HISTORY_MS;
	watcher_emit(&w, &reborn.head);
	assert_null(process(WORKER));
	assert_non_null(model_process(w.model, WORKER, 9000 * HISTORY_MS));
	assert_int_equal(listed(), 2);
}

static void test_apps_of_two_scopes_do_not_join(void **state)
{
	struct ev_info other = {.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, other, 500, 1200),
				.uid = 1000,
				.cgroup_id = 8,
				.app = "shop"};
	(void)state;
	watcher_emit(&w, &other.head);
	assert_ptr_not_equal(process(500)->app, process(MASTER)->app);
	assert_string_equal(process(500)->app->name, "shop");
}

static void test_apps_of_two_networks_do_not_join(void **state)
{
	struct ev_info other = {.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, other, 500, 1200),
				.uid = 1000,
				.cgroup_id = 7,
				.netns = 4026532000,
				.app = "shop"};
	(void)state;
	watcher_emit(&w, &other.head);
	assert_ptr_not_equal(process(500)->app, process(MASTER)->app);
	assert_int_equal(process(500)->app->netns, 4026532000);
	history_fork(h, 501, 500, 1300);
	assert_ptr_equal(process(501)->app, process(500)->app);
}

static void test_fork_is_where_its_parent_is(void **state)
{
	(void)state;
	history_fork(h, WORKER, MASTER, 1100);
	assert_ptr_equal(process(WORKER)->app, process(MASTER)->app);
	assert_int_equal(process(WORKER)->app->cgroup_id, 7);
}

/* Forked before /proc told who the parent is: they are placed by the same word, however deep, dead ones too.
 */
static void test_forks_of_an_unknown_parent_wait_with_it(void **state)
{
	(void)state;
	history_watch(h, 600, 1, "ruby", 1000);
	history_fork(h, 601, 600, 1010);
	history_fork(h, 602, 601, 1020);
	history_fork(h, 603, 600, 1030);
	history_exec(h, 603, 1040);
	for (uint32_t pid = 600; pid <= 602; pid++)
		assert_int_equal(process(pid)->app->cgroup_id, 0);
	history_info(h, 600, "desk", 1100);
	for (uint32_t pid = 600; pid <= 602; pid++) {
		assert_string_equal(process(pid)->app->name, "desk");
		assert_int_equal(process(pid)->app->cgroup_id, 7);
		assert_ptr_equal(process(pid)->app, process(600)->app);
	}
	assert_ptr_not_equal(process(600)->app, process(MASTER)->app);
}

/* A crash counts in its scope: while that is not known it waits, for two ticks at most. */
static void test_crash_of_the_unknown_waits_for_its_scope(void **state)
{
	(void)state;
	history_watch(h, 600, 1, "ruby", 1000);
	history_fault(h, 600, SIGSEGV, FAULT_DEFAULT_ACTION, 1010);
	history_exit(h, 600, SIGSEGV, 0, 1011);
	history_watch(h, 610, 1, "ruby", 1020);
	history_fork(h, 611, 610, 1021);
	history_fault(h, 611, SIGSEGV, 0, 1022);
	history_confirm(h, 611, 1022, 1023);
	history_watch(h, 620, 1, "ruby", 1030);
	history_exit(h, 620, SIGKILL, 1, 1031);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_info(h, 600, "desk", 1100);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crashed.cgroup_id, 7);
	history_info(h, 610, "bench", 1110);
	assert_int_equal(w.said[NOTICE_CRASH], 2);
	assert_string_equal(w.crashed.name, "bench");
	assert_int_equal(w.crashed.cgroup_id, 7);
	history_tick(h, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 2);
	history_tick(h, 3000); /* of the third nothing more will be known */
	assert_int_equal(w.said[NOTICE_CRASH], 3);
	assert_int_equal(w.crashed.cgroup_id, 0);
}

/* A Ruby is found by its mappings while the record of its start still lies in the ring. */
static void test_start_told_late_moves_nobody(void **state)
{
	struct ev_birth late = {.head = HISTORY_HEAD(h, EV_WATCH, LANE_LIFE, late, MASTER, 1100),
				.parent_tgid = 1,
				.uid = 1000,
				.comm = "ruby"};
	const struct app *shop = process(MASTER)->app;
	(void)state;
	watcher_emit(&w, &late.head);
	assert_ptr_equal(process(MASTER)->app, shop);
	history_fork(h, WORKER, MASTER, 1200);
	assert_ptr_equal(process(WORKER)->app, shop);
	history_fork(h, 300, 299, 1300); /* by nobody known */
	history_hello(h, 300, "desk", ACCEPTS_BREAKER, 1400);
	late.head = HISTORY_HEAD(h, EV_WATCH, LANE_LIFE, late, 300, 1500);
	watcher_emit(&w, &late.head);
	assert_string_equal(process(300)->app->name, "desk");
	history_fork(h, 301, 300, 1600);
	assert_ptr_equal(process(301)->app, process(300)->app);
}

static void test_hello_names_its_app(void **state)
{
	(void)state;
	history_fork(h, WORKER, MASTER, 1100);
	history_hello(h, WORKER, "desk", ACCEPTS_BREAKER | ACCEPTS_HOLD, 1200);
	assert_string_equal(process(WORKER)->app->name, "desk");
	assert_true(process(WORKER)->told);
	assert_int_equal(process(WORKER)->accepts, ACCEPTS_BREAKER | ACCEPTS_HOLD);
	assert_string_equal(process(WORKER)->app->server, "puma");
	assert_string_equal(process(WORKER)->app->ruby, "3.1.7");
	assert_string_equal(process(MASTER)->app->name, "shop");
	assert_false(process(MASTER)->told);
	history_info(h, WORKER, "shop", 1300); /* the title says otherwise */
	assert_string_equal(process(WORKER)->app->name, "desk");
	history_fork(h, 300, WORKER, 1400);
	assert_string_equal(process(300)->app->name, "desk");
	assert_false(process(300)->told);
	assert_int_equal(process(300)->accepts, 0);
	history_info(h, 300, "shop", 1500);
	assert_string_equal(process(300)->app->name, "desk");
	history_hello(h, 300, "bench", 0, 1600);
	assert_string_equal(process(300)->app->name, "bench");
}

static void test_hello_of_nobody_makes_nobody(void **state)
{
	(void)state;
	history_hello(h, 900, "desk", ACCEPTS_RESTART, 1200);
	assert_null(process(900));
	history_fork(h, WORKER, MASTER, 1100);
	history_exit(h, WORKER, 0, 0, 1200);
	history_hello(h, WORKER, "desk", ACCEPTS_RESTART, 1300);
	assert_null(process(WORKER));
	assert_int_equal(listed(), 1);
}

static void test_own_doings_are_told_with_their_app(void **state)
{
	struct ev_scope shop = history_scope("shop"), other = history_scope("shop");
	(void)state;
	other.netns = 9;
	history_probe(h, &shop, PROBE_TIMEOUT, 1, "", 2000);
	history_probe(h, &shop, PROBE_OK, 1, "", 2100);
	assert_int_equal(w.said[NOTICE_PROBE], 2);
	assert_ptr_equal(w.app, process(MASTER)->app);
	history_breaker(h, &other, BREAKER_QUERY, BREAKER_OPEN, 2200);
	assert_int_equal(w.said[NOTICE_BREAKER], 1);
	assert_null(w.app);
	history_action(h, MASTER, &shop, "worker.restart", ACTION_SENT, 2300); /* of its outcome alone */
	assert_int_equal(w.said[NOTICE_ACTION], 0);
	history_action(h, MASTER, &shop, "worker.restart", ACTION_DONE, 2350);
	history_action(h, 0, &shop, "alert", ACTION_DONE, 2400);
	assert_int_equal(w.said[NOTICE_ACTION], 2);
	assert_ptr_equal(w.app, process(MASTER)->app);
}

static void test_flight_tells_hellos_and_actions(void **state)
{
	static const char *const lines[] = {
		"\"event\":\"hello\",\"role\":\"worker\",\"accepts\":[\"breaker\",\"restart\"]}",
		"\"event\":\"action\",\"id\":\"00000000c0ffee11\",\"action\":\"worker.restart\",\"outcome\":"
		"\"sent\"}",
		"\"action\":\"other\",\"outcome\":\"failed\"}",
		"\"event\":\"state\",\"state\":\"draining\",\"hold_ms\":0}",
	};
	struct ev_scope shop = history_scope("shop");
	size_t size = 0;
	(void)state;
	history_hello(h, MASTER, "shop", ACCEPTS_BREAKER | ACCEPTS_RESTART, 2000);
	history_action(h, MASTER, &shop, "worker.restart", ACTION_SENT, 2100);
	history_action(h, MASTER, &shop, "tea", ACTION_FAILED, 2200);
	history_state(h, MASTER, APP_DRAINING, 2300);
	char *flight = model_flight(w.model, MASTER, history_start(MASTER), &size);
	assert_non_null(flight);
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		if (!strstr(flight, lines[i]))
			fail_msg("%s is not in %s", lines[i], flight);
	free(flight);
}

static void test_crashes_in_a_window(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		history_fork(h, 200 + i, MASTER, 2000);
		history_fault(h, 200 + i, SIGSEGV, FAULT_DEFAULT_ACTION, 10000 + i * 10000);
		history_exit(h, 200 + i, SIGSEGV, 0, 10001 + i * 10000);
	}
	const struct app *app = process(MASTER)->app;
	assert_int_equal(app->crashes, 5);
	assert_int_equal(model_crashes_since(w.model, app, 0), 5);
	assert_int_equal(model_crashes_since(w.model, app, 30000 * HISTORY_MS), 3);
	assert_int_equal(model_crashes_since(w.model, app, 50001 * HISTORY_MS), 0);
}

static void test_flight_keeps_the_last_256(void **state)
{
	size_t size = 0;
	unsigned lines = 0;
	(void)state;
	assert_null(model_flight(w.model, 999, history_start(999), &size));
	for (unsigned i = 0; i < 300; i++)
		history_query(h, MASTER, 0x10, i % 2 ? "select $1" : "select $2", 2000 + i);
	char *flight = model_flight(w.model, MASTER, history_start(MASTER), &size);
	assert_non_null(flight);
	assert_int_equal(size, strlen(flight));
	for (char *line = strtok(flight, "\n"); line; line = strtok(NULL, "\n"), lines++) {
		cJSON *parsed = cJSON_Parse(line);
		assert_string_equal(json_text(parsed, "event"), "query_start");
		assert_string_equal(json_text(parsed, "sql"), (lines + 300) % 2 ? "select $1" : "select $2");
		cJSON_Delete(parsed);
	}
	assert_int_equal(lines, 256);
	free(flight);
}

static void test_flight_of_a_fork_starts_empty(void **state)
{
	size_t size = 0;
	(void)state;
	history_query(h, MASTER, 0x10, "select $1", 2000);
	history_fork(h, WORKER, MASTER, 2100);
	char *flight = model_flight(w.model, WORKER, history_start(WORKER), &size);
	assert_non_null(flight);
	assert_null(strstr(flight, "select"));
	assert_non_null(strstr(flight, "fork"));
	free(flight);
}

static void test_full_table_evicts_and_counts(void **state)
{
	struct model_limits limits = {.processes = 8, .connections = 4, .apps = 2};
	(void)state;
	watcher_done(&w);
	watcher_init(&w, &limits);
	for (uint32_t i = 0; i < 50; i++) {
		history_watch(h, 1000 + i, 1, "ruby", 3000 + i);
		history_info(h, 1000 + i, i % 3 ? "a" : "b", 3000 + i);
		history_conn(h, 1000 + i, 0x10, CONN_OPEN, 0, 3000 + i);
	}
	assert_true(listed() <= 8);
	assert_int_equal(model_evicted(w.model), (50 - 8) + (50 - 4));
}

static void test_more_apps_than_fit(void **state)
{
	struct model_limits limits = {.processes = 8, .connections = 4, .apps = 2};
	char name[16];
	(void)state;
	watcher_done(&w);
	watcher_init(&w, &limits);
	for (uint32_t i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "app%u", i);
		history_watch(h, 1000 + i, 1, "ruby", 3000 + i);
		history_info(h, 1000 + i, name, 3000 + i);
	}
	assert_string_equal(process(1000)->app->name, "app0");
	assert_string_equal(process(1003)->app->name, "other");
}

static const cJSON *worker_row(cJSON *root, double pid)
{
	const cJSON *row;
	cJSON_ArrayForEach(row, cJSON_GetObjectItem(root, "workers"))
	{
		if (json_number(row, "process_id", 0) == pid)
			return row;
	}
	return NULL;
}

static void test_view_workers(void **state)
{
	static const char *const names[] = {"worker_id",    "process_id",        "memory_usage_mb",
					    "crash_count",  "last_restart_time", "health_status",
					    "error_history"};
	(void)state;
	history_fork(h, WORKER, MASTER, 1100);
	history_query(h, WORKER, 0x10, "select $1", 1200);
	history_query_end(h, WORKER, 0x10, "42P01", 1200, 1201);
	cJSON *root = view_workers(w.model, "shop");
	const cJSON *row = worker_row(root, WORKER);
	assert_non_null(row);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_true(cJSON_HasObjectItem(row, names[i]));
	assert_string_equal(json_text(row, "role"), "worker");
	assert_string_equal(json_text(cJSON_GetObjectItem(row, "error_history")->child, "error"),
			    "SQLSTATE 42P01");
	cJSON_Delete(root);
	root = view_workers(w.model, "other");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "workers")), 0);
	cJSON_Delete(root);
}

static void test_property_21_health(void **state)
{
	static const char *const unjudged[] = {"ruby_version_consistent", "native_extensions_healthy",
					       "database_connections_stable", "error_rate_acceptable"};
	(void)state;
	cJSON *health = view_health(w.model);
	for (size_t i = 0; i < 4; i++)
		assert_true(cJSON_IsNull(cJSON_GetObjectItem(health, unjudged[i])));
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(health, "worker_processes_healthy")));
	assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(health, "diagnostic_messages")) >= 3);
	cJSON_Delete(health);
	history_conn(h, MASTER, 0x10, CONN_OPEN, 0, 2000);
	history_conn(h, MASTER, 0x20, CONN_FAILED, REASON_REFUSED, 2001);
	history_fork(h, WORKER, MASTER, 2002);
	history_exit(h, WORKER, SIGKILL, 1, 2003);
	health = view_health(w.model);
	assert_true(cJSON_IsFalse(cJSON_GetObjectItem(health, "worker_processes_healthy")));
	assert_true(cJSON_IsFalse(cJSON_GetObjectItem(health, "database_connections_stable")));
	assert_true(cJSON_IsFalse(cJSON_GetObjectItem(health, "error_rate_acceptable")));
	const cJSON *rate = cJSON_GetObjectItem(health, "error_rate");
	assert_int_equal(json_number(rate, "numerator", 0), 1);
	assert_int_equal(json_number(rate, "denominator", 0), 2);
	cJSON_Delete(health);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_fork_makes_master_and_worker),
		CASE(test_helper_makes_no_master),
		CASE(test_helper_of_a_worker),
		CASE(test_children_listed_before_their_master),
		CASE(test_exec_of_another_ruby),
		CASE(test_pid_is_no_identity),
		CASE(test_apps_of_two_scopes_do_not_join),
		CASE(test_apps_of_two_networks_do_not_join),
		CASE(test_fork_is_where_its_parent_is),
		CASE(test_start_told_late_moves_nobody),
		CASE(test_forks_of_an_unknown_parent_wait_with_it),
		CASE(test_crash_of_the_unknown_waits_for_its_scope),
		CASE(test_hello_names_its_app),
		CASE(test_hello_of_nobody_makes_nobody),
		CASE(test_own_doings_are_told_with_their_app),
		CASE(test_flight_tells_hellos_and_actions),
		CASE(test_crashes_in_a_window),
		CASE(test_flight_keeps_the_last_256),
		CASE(test_flight_of_a_fork_starts_empty),
		CASE(test_full_table_evicts_and_counts),
		CASE(test_more_apps_than_fit),
		CASE(test_view_workers),
		{"Property 21: health covers Ruby, extensions, databases, workers and error rate",
		 test_property_21_health, before, after, NULL},
	};
	return cmocka_run_group_tests_name("model: processes", tests, NULL, NULL);
}
