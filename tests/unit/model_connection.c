/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: targets, generations, which errors mean that a database is not available. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/model_watcher.h"

enum { MASTER = 100, WORKER = 200, CONN = 0xc0 };

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

static uint32_t connections(uint32_t pid)
{
	return model_process(w.model, pid, history_start(pid))->connections;
}

static void test_open_and_finish(void **state)
{
	(void)state;
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 2000);
	assert_int_equal(w.said[NOTICE_DB_OK], 1);
	assert_string_equal(w.error.target, "postgres://db.internal:5432/shop");
	assert_int_equal(connections(MASTER), 1);
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 2001); /* reset at the same address */
	assert_int_equal(connections(MASTER), 1);
	history_conn(h, MASTER, CONN, CONN_FINISH, 0, 2002);
	history_conn(h, MASTER, CONN, CONN_FINISH, 0, 2003);
	assert_int_equal(connections(MASTER), 0);
	assert_int_equal(w.said[NOTICE_DB_ERROR], 0);
}

static void test_socket_target_is_encoded(void **state)
{
	struct ev_conn ev = {.head = HISTORY_HEAD(h, EV_CONN, LANE_LIFE, ev, MASTER, 2000),
			     .conn = CONN,
			     .what = CONN_OPEN,
			     .host = "/run/pg",
			     .port = "5433",
			     .database = "a b"};
	(void)state;
	watcher_emit(&w, &ev.head);
	assert_string_equal(w.error.target, "postgres://%2Frun%2Fpg:5433/a%20b");
}

static void test_ipv6_target_has_brackets(void **state)
{
	struct ev_conn ev = {.head = HISTORY_HEAD(h, EV_CONN, LANE_LIFE, ev, MASTER, 2000),
			     .conn = CONN,
			     .what = CONN_OPEN,
			     .host = "::1",
			     .port = "5433",
			     .database = "a b"};
	(void)state;
	watcher_emit(&w, &ev.head);
	assert_string_equal(w.error.target, "postgres://[::1]:5433/a%20b");
}

static void test_unknown_target_is_not_made_up(void **state)
{
	struct ev_conn ev = {.head = HISTORY_HEAD(h, EV_CONN, LANE_LIFE, ev, MASTER, 2000),
			     .conn = CONN,
			     .what = CONN_BROKEN,
			     .reason = REASON_CLOSED};
	(void)state;
	watcher_emit(&w, &ev.head);
	assert_int_equal(w.said[NOTICE_DB_ERROR], 1);
	assert_string_equal(w.error.target, "");
}

static void test_reasons_of_a_failed_connect(void **state)
{
	static const struct {
		enum conn_reason reason;
		bool counts;
	} cases[] = {
		{REASON_REFUSED, true},   {REASON_TIMEOUT, true},      {REASON_NO_HOST, true},
		{REASON_NO_SOCKET, true}, {REASON_TOO_MANY, true},     {REASON_STARTING, true},
		{REASON_SHUTDOWN, true},  {REASON_CLOSED, true},       {REASON_OTHER, true},
		{REASON_AUTH, false},     {REASON_NO_DATABASE, false}, {REASON_TLS, false},
	};
	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		history_conn(h, MASTER, CONN + i, CONN_FAILED, cases[i].reason, 2000 + i);
		assert_int_equal(w.said[NOTICE_DB_ERROR], i + 1);
		assert_int_equal(w.error.reason, cases[i].reason);
		assert_int_equal(w.error.availability, cases[i].counts);
	}
}

static void test_sqlstates(void **state)
{
	static const struct {
		const char *state;
		bool counts;
	} cases[] = {
		{"08006", true},  {"08001", true},  {"57P01", true},  {"57P02", true},
		{"57P03", true},  {"53300", true},  {"42P01", false}, {"23505", false},
		{"40001", false}, {"57014", false}, {"28P01", false}, {"3D000", false},
	};
	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		history_conn(h, MASTER, CONN + i, CONN_OPEN, 0, 2000);
		history_query(h, MASTER, CONN + i, "select $1", 2001 + 10 * i);
		history_query_end(h, MASTER, CONN + i, cases[i].state, 2001 + 10 * i, 2002 + 10 * i);
		assert_int_equal(w.said[NOTICE_DB_ERROR], i + 1);
		assert_string_equal(w.error.sqlstate, cases[i].state);
		assert_int_equal(w.error.availability, cases[i].counts);
	}
}

static void test_one_loss_is_told_once(void **state)
{
	(void)state;
	history_conn(h, MASTER, CONN, CONN_FAILED, REASON_REFUSED, 2000);
	history_conn(h, MASTER, CONN, CONN_BROKEN, REASON_REFUSED, 2001); /* its message was read */
	assert_int_equal(w.said[NOTICE_DB_ERROR], 1);
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 3000);
	history_query_end(h, MASTER, CONN, "57P01", 3001, 3002);
	history_query_end(h, MASTER, CONN, "57P01", 3001, 3002); /* its status was asked twice */
	history_conn(h, MASTER, CONN, CONN_BROKEN, REASON_CLOSED, 3003);
	assert_int_equal(w.said[NOTICE_DB_ERROR], 2);
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 4000);
	history_conn(h, MASTER, CONN, CONN_BROKEN, REASON_CLOSED, 4003);
	history_conn(h, MASTER, CONN, CONN_BROKEN, REASON_CLOSED, 4004);
	assert_int_equal(w.said[NOTICE_DB_ERROR], 3);
	assert_true(w.error.availability);
}

static void test_fork_misuse_is_no_outage(void **state)
{
	(void)state;
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 90);
	history_fork(h, WORKER, MASTER, 2000);
	history_conn(h, WORKER, CONN, CONN_FINISH, 0, 2100);
	history_exit(h, WORKER, 0, 0, 2101);
	history_conn(h, MASTER, CONN, CONN_BROKEN, REASON_CLOSED, 2200);
	assert_int_equal(w.said[NOTICE_DB_ERROR], 1);
	assert_false(w.error.availability);
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 2300);
	history_conn(h, MASTER, CONN, CONN_BROKEN, REASON_CLOSED, 2400);
	assert_true(w.error.availability);
}

static void test_shared_connection_of_a_child(void **state)
{
	(void)state;
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 90);
	history_fork(h, WORKER, MASTER, 2000);
	history_conn(h, WORKER, CONN, CONN_BROKEN, REASON_CLOSED, 2100);
	assert_int_equal(w.said[NOTICE_DB_ERROR], 1);
	assert_false(w.error.availability);
}

static void test_inherited_target(void **state)
{
	struct ev_fault ev;
	(void)state;
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 90);
	history_fork(h, WORKER, MASTER, 2000);
	ev = history_fault_of(h, WORKER, SIGSEGV, 3000);
	ev.conn = CONN;
	ev.sql_len = 1;
	ev.sql[0] = 'x';
	ev.sql_end_ns = 2900;
	watcher_emit(&w, &ev.head);
	history_confirm(h, WORKER, 3000, 3001);
	assert_string_equal(w.crash.target, "postgres://db.internal:5432/shop");
	assert_false(w.crash.sql_in_flight);
}

static void test_last_statement_without_a_fault(void **state)
{
	(void)state;
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 1500);
	history_conn(h, MASTER, CONN + 1, CONN_OPEN, 0, 1500);
	history_query(h, MASTER, CONN, "select pg_sleep($1)", 1600);
	history_query(h, MASTER, CONN + 1, "select $1", 1700);
	history_query_end(h, MASTER, CONN + 1, "", 1700, 1701);
	history_exit(h, MASTER, SIGKILL, 1, 2000);
	assert_string_equal(w.crash.sql, "select pg_sleep($1)");
	assert_true(w.crash.sql_in_flight);
}

static void test_flow_after_a_finish_opens_nothing(void **state)
{
	(void)state;
	history_conn(h, MASTER, CONN, CONN_OPEN, 0, 1500);
	history_conn(h, MASTER, CONN, CONN_FINISH, 0, 1800);
	history_query(h, MASTER, CONN, "select $1", 1600);
	history_query_end(h, MASTER, CONN, "", 1600, 1601);
	assert_int_equal(connections(MASTER), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_open_and_finish),
		CASE(test_socket_target_is_encoded),
		CASE(test_ipv6_target_has_brackets),
		CASE(test_unknown_target_is_not_made_up),
		CASE(test_reasons_of_a_failed_connect),
		CASE(test_sqlstates),
		CASE(test_one_loss_is_told_once),
		CASE(test_fork_misuse_is_no_outage),
		CASE(test_shared_connection_of_a_child),
		CASE(test_inherited_target),
		CASE(test_last_statement_without_a_fault),
		CASE(test_flow_after_a_finish_opens_nothing),
	};
	return cmocka_run_group_tests_name("model: connections", tests, NULL, NULL);
}
