/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped rules on scripted histories: when incidents open, what they ask for, when they close. */
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

static void test_one_crash(void **state)
{
	(void)state;
	workers(1234, 1);
	crash(1234, 5000);
	assert_int_equal(w.opened, 1);
	assert_string_equal(w.incident.kind, "crash");
	assert_string_equal(w.incident.title, "shop: worker 1234 died of SIGSEGV in crashy.so+0x1139");
	assert_string_equal(w.incident.subject, "shop SIGSEGV crashy.so+0x1139");
	assert_int_equal(strlen(w.incident.id), 16);
	assert_int_equal(strlen(w.incident.crash_id), 16);
	assert_string_equal(w.actions, "alert ");
	assert_string_equal(w.decision.incident, w.incident.id);
	assert_string_equal(
		w.decision.reason,
		"worker 1234 of shop died of SIGSEGV in crashy.so+0x1139 (confirmed by: default_action)");
}

static void test_remedies_tell_senders_apart(void **state)
{
	struct ev_fault ev = history_fault_of(h, MASTER, SIGSEGV, 5000);
	(void)state;
	ev.code = 0;
	ev.sender_tgid = 4242;
	rules_watcher_emit(&w, &ev.head);
	history_confirm(h, MASTER, 5000, 5001);
	assert_string_equal(w.incident.remedy,
			    "Process 4242 sent SIGSEGV: find out who that was before suspecting shop");
	after(NULL);
	before(NULL);
	ev.sender_tgid = MASTER;
	ev.flags |= FAULT_SELF;
	rules_watcher_emit(&w, &ev.head);
	history_confirm(h, MASTER, 5000, 5001);
	assert_non_null(strstr(w.incident.remedy, "100 sent SIGSEGV to itself"));
}

static void test_like_crashes_are_one_incident(void **state)
{
	(void)state;
	workers(200, 20);
	crash(200, 5000);
	crash(201, 15000);
	assert_int_equal(w.opened, 1);
	assert_int_equal(w.incident.count, 2);
	assert_int_equal(w.decisions, 1);
	assert_string_equal(w.incident.title,
			    "shop: 2 times SIGSEGV in crashy.so+0x1139; the last was worker 201");
	history_location(h, 202, 20000, "/usr/lib/crashy.so", 0x2000);
	history_fault(h, 202, SIGSEGV, FAULT_DEFAULT_ACTION, 20000);
	history_exit(h, 202, SIGSEGV, 0, 20001);
	assert_int_equal(w.opened, 2); /* another place */
}

static void test_crash_loop(void **state)
{
	(void)state;
	workers(200, 5);
	crash(200, 10000);
	crash(201, 40000);
	assert_string_equal(w.actions, "alert ");
	crash(202, 70000); /* 60 s after the first, ends included */
	assert_string_equal(w.actions, "alert worker.hold alert ");
	assert_string_equal(w.decision.rule, "crash_loop");
	assert_int_equal(w.decision.count, 3);
	assert_int_equal(w.decision.live_workers, 2);
	assert_int_equal(w.decision.threshold, 3);
	assert_int_equal(w.decision.window_ms, 60000);
	crash(203, 71000);
	assert_int_equal(w.decisions, 3); /* no new one while it is open */
	assert_string_equal(w.incident.kind, "crash_loop");
	assert_int_equal(w.incident.count, 4);
}

static void test_no_loop_when_slow(void **state)
{
	(void)state;
	workers(200, 5);
	crash(200, 10000);
	crash(201, 40000);
	crash(202, 70001);
	assert_string_equal(w.actions, "alert ");
}

static void test_no_loop_in_a_big_pool(void **state)
{
	(void)state;
	workers(200, 15);
	crash(200, 10000);
	crash(201, 11000);
	crash(202, 12000); /* 3 of 12 + 3: a fifth */
	assert_int_equal(w.decision.live_workers, 12);
	assert_string_equal(w.actions, "alert worker.hold alert ");
	after(NULL);
	before(NULL);
	workers(200, 16);
	crash(200, 10000);
	crash(201, 11000);
	crash(202, 12000);
	assert_string_equal(w.actions, "alert ");
	crash(203, 13000); /* 4 of 16 */
	assert_string_equal(w.actions, "alert worker.hold alert ");
	assert_int_equal(w.decision.count, 4);
}

static void test_loop_closes_when_quiet(void **state)
{
	(void)state;
	workers(200, 5);
	for (uint32_t i = 0; i < 3; i++)
		crash(200 + i, 10000 + 1000 * i);
	history_tick(h, 312000);
	assert_int_equal(w.closed, 0);
	history_tick(h, 312002);
	assert_int_equal(w.closed, 1);
	assert_string_equal(w.incident.kind, "crash_loop");
	assert_int_equal(w.incident.state, INCIDENT_CLOSED);
	history_tick(h, 4000000);
	assert_int_equal(w.closed, 2); /* the crash's own, after an hour */
}

static void test_database_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		history_conn(h, MASTER, 0x100 + i, CONN_FAILED, REASON_REFUSED, 5000 + i);
	assert_int_equal(w.opened, 0);
	history_conn(h, MASTER, 0x104, CONN_FAILED, REASON_REFUSED, 6000);
	assert_int_equal(w.opened, 1);
	assert_string_equal(w.incident.kind, "database_failures");
	assert_string_equal(w.incident.subject, "postgres://db.internal:5432/shop");
	assert_string_equal(w.actions, "breaker.open:connect alert ");
	assert_non_null(strstr(w.incident.remedy, "Nothing listens at postgres://db.internal:5432/shop"));
}

static void test_database_mixed_opens_for_queries(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		history_conn(h, MASTER, 0x100 + i, CONN_FAILED, REASON_REFUSED, 5000 + i);
	history_conn(h, MASTER, 0x104, CONN_OPEN, 0, 5500);
	history_query_end(h, MASTER, 0x104, "57P01", 5600, 5700);
	assert_string_equal(w.actions, "");
	history_conn(h, MASTER, 0x105, CONN_OPEN, 0, 5800);
	history_query_end(h, MASTER, 0x105, "57P01", 5801, 5802);
	assert_string_equal(w.actions, "breaker.open:query alert ");
}

static void test_unknown_database_opens_no_breaker(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct ev_conn ev = {.head = HISTORY_HEAD(h, EV_CONN, LANE_LIFE, ev, MASTER, 5000 + i),
				     .conn = 0x100 + i,
				     .what = CONN_BROKEN,
				     .reason = REASON_CLOSED};
		rules_watcher_emit(&w, &ev.head);
	}
	assert_string_equal(w.actions, "alert ");
	assert_string_equal(w.incident.title,
			    "shop: 5 database failures in 10 s at an unknown database, the last: closed");
}

static void test_database_counts_availability_alone(void **state)
{
	(void)state;
	history_conn(h, MASTER, 0x100, CONN_OPEN, 0, 5000);
	for (unsigned i = 0; i < 50; i++)
		history_query_end(h, MASTER, 0x100, i % 2 ? "42P01" : "40001", 5001 + i, 5002 + i);
	for (unsigned i = 0; i < 50; i++)
		history_conn(h, MASTER, 0x200 + i, CONN_FAILED, REASON_AUTH, 6000 + i);
	assert_int_equal(w.opened, 0);
}

static void test_gap_touches_an_open_incident(void **state)
{
	(void)state;
	workers(200, 1);
	crash(200, 50000);
	assert_int_equal(w.incident.lost_records, 0);
	history_gap(h, 9, 55000, 56000, 56100);
	assert_int_equal(w.incident.lost_records, 9);
	history_gap(h, 4, 90000, 91000, 91100);
	assert_int_equal(w.incident.lost_records, 9);
	history_gap(h, 5, 92000, 93000, 93100);
	history_watch(h, 300, 1, "ruby", 94000);
	crash(300, 95000);
	assert_int_equal(w.incident.lost_records, 9); /* both gaps before it */
}

static void test_scopes_do_not_join(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		struct ev_info info = {.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, info, 300 + i, 2000),
				       .uid = 1000 + i,
				       .cgroup_id = 7,
				       .app = "shop"};
		rules_watcher_emit(&w, &info.head);
		crash(300 + i, 5000 + i);
	}
	assert_int_equal(w.opened, 3);
	assert_string_equal(w.actions, "alert alert alert ");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_one_crash),
		CASE(test_remedies_tell_senders_apart),
		CASE(test_like_crashes_are_one_incident),
		CASE(test_crash_loop),
		CASE(test_no_loop_when_slow),
		CASE(test_no_loop_in_a_big_pool),
		CASE(test_loop_closes_when_quiet),
		CASE(test_database_refused),
		CASE(test_database_mixed_opens_for_queries),
		CASE(test_unknown_database_opens_no_breaker),
		CASE(test_database_counts_availability_alone),
		CASE(test_gap_touches_an_open_incident),
		CASE(test_scopes_do_not_join),
	};
	return cmocka_run_group_tests_name("rules: correlation", tests, NULL, NULL);
}
