/* SPDX-License-Identifier: Apache-2.0 */
/* What the shipped rules ask for while an incident lasts, which breakers they open, and whose app it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/rules_watcher.h"

enum { MASTER = 100 };

static struct rules_watcher w;
static struct history *h = &w.history;

static int before(void **state)
{
	(void)state;
	if (rules_watcher_init(&w, "rules"))
		return -1;
	history_watch(h, MASTER, 1, "ruby", 1000);
	history_info(h, MASTER, "shop", 1001);
	return 0;
}

static int after(void **state)
{
	(void)state;
	rules_watcher_done(&w);
	return 0;
}

static void workers(uint32_t from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		history_fork(h, from + i, MASTER, 1100);
}

static void crash(uint32_t pid, uint64_t ms)
{
	history_location(h, pid, ms, "/usr/lib/crashy.so", 0x1139);
	history_fault(h, pid, SIGSEGV, FAULT_DEFAULT_ACTION, ms);
	history_exit(h, pid, SIGSEGV, 0, ms + 1);
}

static bool says(const char *text)
{
	fflush(w.out);
	return strstr(w.said, text) != NULL;
}

static void errors(unsigned count, uint64_t ms)
{
	for (unsigned i = 0; i < count; i++)
		history_conn(h, MASTER, 0x1000 + ms + i, CONN_FAILED, REASON_REFUSED, ms + i);
}

/* A pool of 30 opens; the database stops, five of them meet that and the breaker opens; it is back. */
static void restart(const struct ev_scope *scope)
{
	for (unsigned i = 0; i < 30; i++)
		history_conn(h, MASTER, 0x1000 + i, CONN_OPEN, 0, 2000 + i);
	for (unsigned i = 0; i < 5; i++)
		history_conn(h, MASTER, 0x1000 + i, CONN_BROKEN, REASON_CLOSED, 5000 + i);
	assert_string_equal(w.actions, "breaker.open:query alert ");
	history_breaker(h, scope, BREAKER_QUERY, BREAKER_OPEN, 5010);
	history_probe(h, scope, PROBE_REFUSED, 1, "", 5500);
	history_probe(h, scope, PROBE_OK, 1, "", 8000);
	history_probe(h, scope, PROBE_OK, 1, "", 8500);
	history_breaker(h, scope, BREAKER_QUERY, BREAKER_CLOSED, 8501);
}

/* The rest of the pool is found dead one by one, over longer than a rule waits before it asks again. */
static void test_what_a_restart_left_dead_opens_nothing(void **state)
{
	struct ev_scope scope = history_scope("shop");
	(void)state;
	restart(&scope);
	for (unsigned i = 5; i < 30; i++) {
		if (i % 2)
			history_query_end(h, MASTER, 0x1000 + i, "57P01", 36000 + i * 100, 36001 + i * 100);
		history_conn(h, MASTER, 0x1000 + i, CONN_BROKEN, REASON_CLOSED, 36002 + i * 100);
		history_conn(h, MASTER, 0x1000 + i, CONN_OPEN, 0, 36003 + i * 100);
	}
	assert_string_equal(w.actions, "breaker.open:query alert ");
}

/* A connection that opened since, or answered since, died of something new. */
static void test_the_next_outage_opens_in_time(void **state)
{
	struct ev_scope scope = history_scope("shop");
	(void)state;
	restart(&scope);
	for (unsigned i = 0; i < 3; i++)
		history_conn(h, MASTER, 0x1000 + i, CONN_OPEN, 0, 36000 + i);
	for (unsigned i = 5; i < 7; i++)
		history_query_end(h, MASTER, 0x1000 + i, "", 36005, 36006 + i);
	for (unsigned i = 7; i < 20; i++)
		history_conn(h, MASTER, 0x1000 + i, CONN_BROKEN, REASON_CLOSED, 36100 + i);
	assert_int_equal(w.decisions, 2);
	for (unsigned i = 0; i < 7; i++)
		history_conn(h, MASTER, 0x1000 + i, CONN_BROKEN, REASON_CLOSED, 36200 + i);
	assert_string_equal(w.actions, "breaker.open:query alert breaker.open:query ");
}

/* While nothing has recovered yet, every connection of the pool speaks. */
static void test_an_old_pool_speaks_of_the_outage_that_is(void **state)
{
	struct ev_scope scope = history_scope("shop");
	(void)state;
	restart(&scope);
	history_probe(h, &scope, PROBE_REFUSED, 1, "", 37000);
	for (unsigned i = 10; i < 15; i++)
		history_conn(h, MASTER, 0x1000 + i, CONN_BROKEN, REASON_CLOSED, 37100 + i);
	assert_string_equal(w.actions, "breaker.open:query alert breaker.open:query ");
}

static void test_asked_again_after_a_volume_of_its_own(void **state)
{
	char first[20];
	(void)state;
	errors(5, 5000);
	assert_string_equal(w.actions, "breaker.open:connect alert ");
	strcpy(first, w.decision.id);
	errors(20, 6000);
	assert_int_equal(w.decisions, 2); /* repeat_s is not over */
	errors(4, 36000);
	assert_int_equal(w.decisions, 2); /* it is, but these are too few */
	errors(1, 37000);
	assert_string_equal(w.actions, "breaker.open:connect alert breaker.open:connect "); /* told once */
	assert_string_not_equal(w.decision.id, first);
	assert_int_equal(w.decision.count, 5);
	assert_int_equal(w.opened, 1);
	errors(4, 38000);
	errors(1, 66000); /* the four are too old by now */
	assert_int_equal(w.decisions, 3);
}

static void test_closed_breaker_needs_its_volume_anew(void **state)
{
	struct ev_scope shop = history_scope("shop"), other = history_scope("shop");
	(void)state;
	other.netns = 5;
	errors(9, 5000);
	assert_int_equal(w.decisions, 2);
	history_breaker(h, &shop, BREAKER_CONNECT, BREAKER_OPEN, 5010);
	history_breaker(h, &shop, BREAKER_CONNECT, BREAKER_HALF_OPEN, 7000);
	history_breaker(h, &other, BREAKER_CONNECT, BREAKER_CLOSED, 7001);
	errors(1, 7100);
	assert_int_equal(w.decisions, 2);
	history_breaker(h, &shop, BREAKER_CONNECT, BREAKER_CLOSED, 7200);
	errors(4, 7300);
	assert_int_equal(w.decisions, 2);
	errors(1, 7400); /* opened again long before repeat_s: what was asked for had ended */
	assert_string_equal(w.actions, "breaker.open:connect alert breaker.open:connect ");
	assert_int_equal(w.opened, 1);
	assert_int_equal(w.closed, 0);
}

static void test_hold_is_asked_for_again(void **state)
{
	(void)state;
	workers(200, 8);
	for (uint32_t i = 0; i < 3; i++)
		crash(200 + i, 10000 + i * 100);
	assert_string_equal(w.actions, "alert worker.hold alert ");
	crash(203, 11000);
	crash(204, 25000);
	assert_int_equal(w.decisions, 3);
	crash(205, 26000);
	assert_string_equal(w.actions, "alert worker.hold alert worker.hold ");
	assert_int_equal(w.decision.count, 6);
}

/* A crash of a worker inside a statement, by the module. */
static void crash_in(uint32_t pid, const char *module, const char *sql, uint64_t ms)
{
	struct ev_fault ev = history_fault_of(h, pid, SIGSEGV, ms);
	history_conn(h, pid, 0x10, CONN_OPEN, 0, ms - 20);
	history_location(h, pid, ms, module, 0x100);
	ev.flags |= FAULT_DEFAULT_ACTION;
	ev.conn = 0x10;
	ev.sql_start_ns = (ms - 10) * HISTORY_MS;
	ev.sql_len = (uint32_t)strlen(sql);
	memcpy(ev.sql, sql, ev.sql_len);
	rules_watcher_emit(&w, &ev.head);
	history_exit(h, pid, SIGSEGV, 0, ms + 1);
}

static void test_loop_inside_one_statement_opens_a_breaker(void **state)
{
	(void)state;
	workers(200, 5);
	crash_in(200, "/usr/lib/crashy.so", "select a from t", 10000);
	crash(201, 11000);
	crash_in(202, "/usr/lib/crashy.so", "select a from t", 12000);
	assert_string_equal(w.actions, "alert alert worker.hold breaker.open:query alert ");
	assert_true(says("\"target\":\"" HISTORY_TARGET "\""));
	assert_true(says("inside the same statement"));
	after(NULL);
	before(NULL);
	workers(200, 5);
	crash_in(200, "/usr/lib/crashy.so", "select a from t", 10000);
	crash_in(201, "/usr/lib/crashy.so", "select b from t", 11000);
	crash_in(202, "/usr/lib/crashy.so", "select c from t", 12000);
	assert_string_equal(w.actions, "alert worker.hold alert ");
}

static void test_loop_of_the_driver_opens_a_breaker(void **state)
{
	static const char *const modules[] = {"/gems/ruby/3.1.0/gems/pg-1.5.4/lib/pg_ext.so",
					      "/usr/lib/libpq.so.5.15", "/usr/lib/crashy.so"};
	(void)state;
	workers(200, 5);
	crash_in(200, modules[0], "select a from t", 10000);
	crash_in(201, modules[1], "select b from t", 11000);
	crash_in(202, modules[0], "select c from t", 12000);
	assert_string_equal(w.actions, "alert alert worker.hold breaker.open:query alert ");
	assert_string_equal(w.decision.target, "shop");
	assert_true(says("in pg, the database driver of shop"));
	after(NULL);
	before(NULL);
	workers(200, 5); /* two of three: the third says nothing about the driver */
	crash_in(200, modules[0], "select a from t", 10000);
	crash_in(201, modules[2], "select b from t", 11000);
	crash_in(202, modules[0], "select c from t", 12000);
	assert_null(strstr(w.actions, "breaker"));
}

static void test_one_order_for_two_reasons(void **state)
{
	(void)state;
	workers(200, 5);
	for (uint32_t i = 0; i < 3; i++)
		crash_in(200 + i, "/usr/lib/libpq.so.5.15", "select a from t", 10000 + i * 1000);
	assert_string_equal(w.actions, "alert worker.hold breaker.open:query alert ");
}

static void test_crashes_in_a_big_pool_open_no_breaker(void **state)
{
	(void)state;
	workers(200, 40);
	for (uint32_t i = 0; i < 4; i++)
		crash_in(200 + i, "/usr/lib/libpq.so.5.15", "select a from t", 10000 + i * 1000);
	assert_string_equal(w.actions, "alert ");
}

static void test_failed_tests_of_a_database(void **state)
{
	struct ev_scope shop = history_scope("shop");
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		history_probe(h, &shop, PROBE_TIMEOUT, 0, "", 5000 + i); /* never reached */
		history_probe(h, &shop, PROBE_NOT_RUN, 1, "", 5000 + i);
		history_probe(h, &shop, PROBE_OK, 1, "", 5000 + i);
	}
	assert_int_equal(w.opened, 0);
	for (unsigned i = 0; i < 3; i++)
		history_probe(h, &shop, PROBE_REFUSED, 1, "", 6000 + 500 * i);
	assert_string_equal(w.incident.kind, "database_unreachable");
	assert_string_equal(w.incident.title,
			    "shop: 3 tests of " HISTORY_TARGET " failed in 15 s, the last: refused");
	assert_non_null(strstr(w.incident.remedy, "Nothing listens at " HISTORY_TARGET));
	assert_string_equal(w.actions, "breaker.open:connect alert ");
	assert_memory_equal(&w.decision.scope_of, &shop, sizeof(shop));
	assert_int_equal(w.decision.live_workers, 1);
	after(NULL);
	before(NULL);
	for (unsigned i = 0; i < 3; i++)
		history_probe(h, &shop, PROBE_TIMEOUT, 1, "", 6000 + 500 * i);
	assert_string_equal(w.actions, "breaker.open:connect breaker.open:query alert ");
	assert_non_null(strstr(w.incident.remedy, "did not answer within 250 ms"));
	after(NULL);
	before(NULL);
	for (unsigned i = 0; i < 3; i++)
		history_probe(h, &shop, PROBE_REJECTED, 1, "53300", 6000 + 500 * i);
	assert_string_equal(w.actions, "breaker.open:connect alert ");
	assert_non_null(strstr(w.incident.remedy, "no connection slots left"));
}

static void test_decisions_say_whose_app(void **state)
{
	struct ev_info info = {.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, info, 300, 2000),
			       .uid = 33,
			       .netns = 44,
			       .cgroup_id = 55,
			       .app = "desk"};
	struct ev_scope scope = {.uid = 33, .netns = 44, .cgroup_id = 55, .app = "desk"};
	(void)state;
	rules_watcher_emit(&w, &info.head);
	crash(300, 5000);
	assert_memory_equal(&w.decision.scope_of, &scope, sizeof(scope));
	assert_true(says("\"app\":\"desk\",\"uid\":33,\"netns\":44,\"cgroup\":\"0x37\""));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_what_a_restart_left_dead_opens_nothing),
		CASE(test_the_next_outage_opens_in_time),
		CASE(test_an_old_pool_speaks_of_the_outage_that_is),
		CASE(test_asked_again_after_a_volume_of_its_own),
		CASE(test_closed_breaker_needs_its_volume_anew),
		CASE(test_hold_is_asked_for_again),
		CASE(test_loop_inside_one_statement_opens_a_breaker),
		CASE(test_loop_of_the_driver_opens_a_breaker),
		CASE(test_one_order_for_two_reasons),
		CASE(test_crashes_in_a_big_pool_open_no_breaker),
		CASE(test_failed_tests_of_a_database),
		CASE(test_decisions_say_whose_app),
	};
	return cmocka_run_group_tests_name("rules: orders", tests, NULL, NULL);
}
