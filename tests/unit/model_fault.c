/* SPDX-License-Identifier: Apache-2.0 */
/* Which faults are crashes (docs/design.md 5): one case a rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/model_watcher.h"

enum { MASTER = 100, WORKER = 200 };

static struct watcher w;
static struct history *h = &w.history;

static int before(void **state)
{
	(void)state;
	watcher_init(&w, NULL);
	history_watch(h, MASTER, 1, "ruby", 1000);
	history_info(h, MASTER, "shop", 1001);
	history_fork(h, WORKER, MASTER, 1010);
	history_tick(h, 1500);
	return 0;
}

static int after(void **state)
{
	(void)state;
	watcher_done(&w);
	return 0;
}

static void ticks(uint64_t from_ms, int count)
{
	for (int i = 0; i < count; i++)
		history_tick(h, from_ms + 1000u * (unsigned)i);
}

static void test_handler_confirms(void **state)
{
	(void)state;
	history_location(h, WORKER, 2000, "/app/crashy.so", 0x1139);
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_confirm(h, WORKER, 2000, 2001);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_HANDLER);
	assert_int_equal(w.crash.status, -1);
	assert_int_equal(w.crash.location.offset, 0x1139);
	assert_string_equal(w.crash.app, "shop");
	assert_int_equal(w.crash.role, ROLE_WORKER);
	assert_true(model_process(w.model, WORKER, history_start(WORKER))->crashing);
	history_fault(h, WORKER, SIGABRT, FAULT_ON_ALTSTACK, 2040);
	history_exit(h, WORKER, SIGABRT, 0, 2041);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.said[NOTICE_CRASH_END], 1);
	assert_int_equal(w.crash.status, SIGABRT);
	assert_int_equal(w.crash.fault.signal, SIGSEGV);
	assert_int_equal(w.said[NOTICE_GONE], 1);
	assert_int_equal(model_process(w.model, MASTER, history_start(MASTER))->worker_crashes, 1);
}

static void test_default_action_dies_at_once(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, FAULT_DEFAULT_ACTION, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_DEFAULT);
	assert_int_equal(w.crash.confirmed_ns, 2000 * HISTORY_MS);
	assert_int_equal(w.crash.status, -1);
	history_exit(h, WORKER, SIGSEGV, 0, 2001);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.said[NOTICE_CRASH_END], 1);
	assert_int_equal(w.crash.status, SIGSEGV);
	assert_int_equal(w.said[NOTICE_GONE], 1);
	ticks(3000, 10);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
}

/* Process 1 of a pid namespace survives what is sent to it where the action is SIG_DFL. */
static void test_sent_with_the_default_action_waits_for_death(void **state)
{
	struct ev_fault ev = history_fault_of(h, WORKER, SIGSEGV, 2000);
	(void)state;
	ev.code = 0; /* SI_USER */
	ev.flags |= FAULT_DEFAULT_ACTION;
	watcher_emit(&w, &ev.head);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_exit(h, WORKER, SIGSEGV, 0, 2001);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_DEATH);
}

/* The handler's own fault: its cause may still be in the slower lane. */
static void test_default_action_inside_a_handler_waits(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, FAULT_DEFAULT_ACTION | FAULT_ON_ALTSTACK | FAULT_SMALL, 2050);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.time_ns, 2000 * HISTORY_MS);
	history_exit(h, WORKER, SIGSEGV, 0, 2051);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.said[NOTICE_CRASH_END], 1);
}

static void test_abort_after_fault_is_one_crash(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_fault(h, WORKER, SIGABRT, FAULT_ON_ALTSTACK, 2050);
	history_exit(h, WORKER, SIGABRT, 0, 2051);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.fault.signal, SIGSEGV);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_DEATH);
}

static void test_raise_again_is_one_crash(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_fault(h, WORKER, SIGSEGV, FAULT_SELF | FAULT_DEFAULT_ACTION, 2002);
	history_exit(h, WORKER, SIGSEGV, 0, 2003);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.time_ns, 2000 * HISTORY_MS);
}

/* The handler's own stack is full: the kernel kills with the same registers. */
static void test_handler_that_could_not_run(void **state)
{
	struct ev_fault first = history_fault_of(h, WORKER, SIGSEGV, 2000);
	struct ev_fault forced = history_fault_of(h, WORKER, SIGSEGV, 2001);
	(void)state;
	first.regs[REG_IP_] = forced.regs[REG_IP_] = 0x1234;
	first.regs[REG_SP_] = forced.regs[REG_SP_] = 0x7000;
	forced.code = SI_KERNEL;
	forced.flags |= FAULT_DEFAULT_ACTION;
	watcher_emit(&w, &first.head);
	watcher_emit(&w, &forced.head);
	history_exit(h, WORKER, SIGSEGV, 0, 2002);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.time_ns, 2000 * HISTORY_MS);
	assert_int_equal(w.crash.fault.code, 1);
}

/* Ruby's handlers of SIGILL and SIGFPE run on the normal stack, below the fault. */
static void test_abort_of_a_handler_without_a_stack(void **state)
{
	struct ev_fault first = history_fault_of(h, WORKER, SIGFPE, 2000);
	struct ev_fault abort_ = history_fault_of(h, WORKER, SIGABRT, 2040);
	(void)state;
	first.regs[REG_SP_] = 0x70000;
	abort_.regs[REG_SP_] = 0x68000;
	watcher_emit(&w, &first.head);
	watcher_emit(&w, &abort_.head);
	history_exit(h, WORKER, SIGABRT, 0, 2041);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.fault.signal, SIGFPE);
}

static void test_rescued_overflow_is_none(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		history_fault(h, WORKER, SIGSEGV, 0, 2000 + i);
	ticks(3000, 5);
	history_exit(h, WORKER, 0, 0, 9000);
	ticks(10000, 8);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	assert_int_equal(w.said[NOTICE_GONE], 1);
}

static void test_rescued_then_exit_code(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_exit(h, WORKER, 1 << 8, 0, 2001);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	assert_int_equal(w.said[NOTICE_GONE], 1);
}

static void test_real_fault_replaces_a_rescued_one(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_fault(h, WORKER, SIGSEGV, 0, 400000);
	history_confirm(h, WORKER, 400000, 400001);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.time_ns, 400000 * HISTORY_MS);
}

static void test_abort_replaces_a_rescued_one(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_fault(h, WORKER, SIGABRT, 0, 5000);
	history_exit(h, WORKER, SIGABRT, 0, 5001);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.fault.signal, SIGABRT);
}

static void test_echo_of_a_lost_fault_long_after_a_rescued_one(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_fault(h, WORKER, SIGSEGV, FAULT_SELF | FAULT_DEFAULT_ACTION, 90000);
	history_exit(h, WORKER, SIGSEGV, 0, 90001);
	ticks(91000, 2);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.time_ns, 90000 * HISTORY_MS);
}

static void test_threads_do_not_mix(void **state)
{
	struct ev_fault other = history_fault_of(h, WORKER, SIGSEGV, 2100);
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	other.head.tid = WORKER + 1;
	watcher_emit(&w, &other.head);
	history_confirm(h, WORKER, 2000, 2200);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.time_ns, 2000 * HISTORY_MS);
}

static void test_handled_crash_that_lives_on_stays_one(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_confirm(h, WORKER, 2000, 2001);
	ticks(3000, 10);
	history_fault(h, WORKER, SIGSEGV, 0, 20000);
	history_confirm(h, WORKER, 20000, 20001);
	history_exit(h, WORKER, 0, 0, 21000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.said[NOTICE_CRASH_END], 1);
	assert_int_equal(w.crash.status, 0);
}

static void test_injected_by_another(void **state)
{
	struct ev_fault ev = history_fault_of(h, WORKER, SIGSEGV, 2000);
	(void)state;
	ev.code = 0;
	ev.sender_tgid = 4242;
	watcher_emit(&w, &ev.head);
	history_confirm(h, WORKER, 2000, 2001);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.fault.sender_tgid, 4242);
}

static void test_out_of_memory_needs_no_fault(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 1900); /* rescued */
	history_exit(h, WORKER, SIGKILL, 1, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_OOM);
	assert_true(w.crash.oom);
	assert_false(w.crash.has_fault);
	assert_int_equal(w.crash.time_ns, 2000 * HISTORY_MS);
}

static void test_killed_is_none(void **state)
{
	static const int signals[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP};
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		history_fork(h, 300 + i, MASTER, 1600);
		history_exit(h, 300 + i, signals[i], 0, 1700);
	}
	ticks(2000, 8);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	assert_int_equal(w.said[NOTICE_GONE], 4);
}

static void test_lost_fault_record(void **state)
{
	(void)state;
	history_exit(h, WORKER, SIGSEGV | 0x80, 0, 2000);
	history_tick(h, 2500);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	assert_int_equal(w.said[NOTICE_GONE], 0);
	history_tick(h, 3500);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_false(w.crash.has_fault);
	assert_int_equal(w.crash.status, SIGSEGV | 0x80);
	assert_int_equal(w.said[NOTICE_GONE], 1);
	ticks(4500, 10);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
}

static void test_lost_fault_of_a_confirmation(void **state)
{
	(void)state;
	history_confirm(h, WORKER, 2000, 2001);
	history_tick(h, 2500);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_tick(h, 3500);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_HANDLER);
	assert_false(w.crash.has_fault);
	history_exit(h, WORKER, SIGABRT, 0, 3600);
	assert_int_equal(w.said[NOTICE_CRASH_END], 1);
}

static void test_lost_exit(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGSEGV, FAULT_DEFAULT_ACTION, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	ticks(2500, 8);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.status, -1);
	assert_true(model_process(w.model, WORKER, history_start(WORKER))->crashing);
}

static void test_lost_exit_after_an_abort(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGABRT, 0, 2000);
	ticks(2500, 4);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	ticks(6500, 2);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_DEATH);
	assert_int_equal(w.crash.status, -1);
}

static void test_death_before_its_fault(void **state)
{
	(void)state;
	history_exit(h, WORKER, SIGSEGV, 0, 2001);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_fault(h, WORKER, SIGSEGV, FAULT_DEFAULT_ACTION, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_true(w.crash.has_fault);
	assert_int_equal(w.crash.status, SIGSEGV);
	ticks(3000, 10);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.said[NOTICE_GONE], 1);
}

static void test_death_waits_for_the_cause_of_an_abort(void **state)
{
	(void)state;
	history_fault(h, WORKER, SIGABRT, FAULT_ON_ALTSTACK | FAULT_SMALL, 2050); /* by the life lane */
	history_exit(h, WORKER, SIGABRT, 0, 2051);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_fault(h, WORKER, SIGSEGV, 0, 2000); /* by the capture lane */
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.fault.signal, SIGSEGV);
	assert_int_equal(w.crash.time_ns, 2000 * HISTORY_MS);
}

static void test_confirmation_before_its_fault(void **state)
{
	(void)state;
	history_confirm(h, WORKER, 2000, 2001);
	history_exit(h, WORKER, SIGABRT, 0, 2040);
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_true(w.crash.has_fault);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_HANDLER);
	assert_int_equal(w.said[NOTICE_GONE], 1);
}

static void test_fault_before_its_fork(void **state)
{
	(void)state;
	history_fault(h, 300, SIGSEGV, 0, 2002);
	history_fork(h, 300, MASTER, 2000);
	history_confirm(h, 300, 2002, 2003);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_string_equal(w.crash.app, "shop");
	assert_int_equal(w.crash.parent.tgid, MASTER);
	assert_int_equal(w.crash.role, ROLE_WORKER);
}

/* Certain to die, but it is not known yet whose process it is. */
static void test_certain_fault_before_its_fork(void **state)
{
	(void)state;
	history_fault(h, 300, SIGSEGV, FAULT_DEFAULT_ACTION, 2002);
	assert_int_equal(w.said[NOTICE_CRASH], 0);
	history_fork(h, 300, MASTER, 2000);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.confirmed_by, CONFIRMED_DEFAULT);
	assert_string_equal(w.crash.app, "shop");
	history_exit(h, 300, SIGSEGV, 0, 2003);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(model_process(w.model, MASTER, history_start(MASTER))->worker_crashes, 1);
}

static void test_late_fault_raises_nobody(void **state)
{
	(void)state;
	history_exit(h, WORKER, 0, 0, 2001);
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_tick(h, 3000);
	assert_null(model_process(w.model, WORKER, history_start(WORKER)));
	assert_int_equal(w.said[NOTICE_CRASH], 0);
}

static void test_vm_error_belongs_to_its_abort(void **state)
{
	(void)state;
	history_fatal(h, WORKER, "try to mark T_NONE object", 2000);
	history_fault(h, WORKER, SIGABRT, 0, 2010);
	history_exit(h, WORKER, SIGABRT, 0, 2011);
	assert_int_equal(w.said[NOTICE_FATAL], 1);
	assert_int_equal(w.crash.fatal.kind, FATAL_BUG);
	assert_string_equal(w.crash.fatal.message, "try to mark T_NONE object");
}

static void test_old_vm_error_does_not(void **state)
{
	(void)state;
	history_fatal(h, WORKER, "failed to allocate memory", 2000);
	history_fault(h, WORKER, SIGABRT, 0, 60000);
	history_exit(h, WORKER, SIGABRT, 0, 60001);
	assert_int_equal(w.said[NOTICE_CRASH], 1);
	assert_int_equal(w.crash.fatal.kind, 0);
}

static void test_location_of_another_fault_is_not_kept(void **state)
{
	(void)state;
	history_location(h, WORKER, 1999, "/app/other.so", 1);
	history_fault(h, WORKER, SIGSEGV, FAULT_DEFAULT_ACTION, 2000);
	history_exit(h, WORKER, SIGSEGV, 0, 2001);
	assert_int_equal(w.crash.location.what, LOCATION_NONE);
}

static void test_gap_shows_on_the_crash(void **state)
{
	(void)state;
	history_gap(h, 7, 100, 1200, 1600);
	history_gap(h, 5, 15000, 15100, 15200);
	history_fault(h, WORKER, SIGSEGV, 0, 20000);
	history_confirm(h, WORKER, 20000, 20001);
	assert_int_equal(w.crash.lost_records, 5);
	assert_int_equal(w.said[NOTICE_GAP], 2);
}

static void test_statement_and_target(void **state)
{
	struct ev_fault ev = history_fault_of(h, WORKER, SIGSEGV, 2000);
	(void)state;
	history_conn(h, WORKER, 0xabc0, CONN_OPEN, 0, 1600);
	ev.conn = 0xabc0;
	ev.sql_len = (uint32_t)strlen("select $1");
	memcpy(ev.sql, "select $1", ev.sql_len);
	watcher_emit(&w, &ev.head);
	history_confirm(h, WORKER, 2000, 2001);
	assert_string_equal(w.crash.sql, "select $1");
	assert_true(w.crash.sql_in_flight);
	assert_string_equal(w.crash.target, "postgres://db.internal:5432/shop");
}

static void test_same_id_live_and_replayed(void **state)
{
	char first[20];
	(void)state;
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_confirm(h, WORKER, 2000, 2001);
	memcpy(first, w.crash.id, sizeof(first));
	after(NULL);
	before(NULL);
	history_fault(h, WORKER, SIGSEGV, 0, 2000);
	history_confirm(h, WORKER, 2000, 2001);
	assert_int_equal(strlen(first), 16);
	assert_string_equal(first, w.crash.id);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_handler_confirms),
		CASE(test_default_action_dies_at_once),
		CASE(test_sent_with_the_default_action_waits_for_death),
		CASE(test_default_action_inside_a_handler_waits),
		CASE(test_abort_after_fault_is_one_crash),
		CASE(test_raise_again_is_one_crash),
		CASE(test_handler_that_could_not_run),
		CASE(test_abort_of_a_handler_without_a_stack),
		CASE(test_rescued_overflow_is_none),
		CASE(test_rescued_then_exit_code),
		CASE(test_real_fault_replaces_a_rescued_one),
		CASE(test_abort_replaces_a_rescued_one),
		CASE(test_echo_of_a_lost_fault_long_after_a_rescued_one),
		CASE(test_threads_do_not_mix),
		CASE(test_handled_crash_that_lives_on_stays_one),
		CASE(test_injected_by_another),
		CASE(test_out_of_memory_needs_no_fault),
		CASE(test_killed_is_none),
		CASE(test_lost_fault_record),
		CASE(test_lost_fault_of_a_confirmation),
		CASE(test_lost_exit),
		CASE(test_lost_exit_after_an_abort),
		CASE(test_death_before_its_fault),
		CASE(test_death_waits_for_the_cause_of_an_abort),
		CASE(test_confirmation_before_its_fault),
		CASE(test_fault_before_its_fork),
		CASE(test_certain_fault_before_its_fork),
		CASE(test_late_fault_raises_nobody),
		CASE(test_vm_error_belongs_to_its_abort),
		CASE(test_old_vm_error_does_not),
		CASE(test_location_of_another_fault_is_not_kept),
		CASE(test_gap_shows_on_the_crash),
		CASE(test_statement_and_target),
		CASE(test_same_id_live_and_replayed),
	};
	return cmocka_run_group_tests_name("model: faults and crashes", tests, NULL, NULL);
}
