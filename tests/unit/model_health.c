/* SPDX-License-Identifier: Apache-2.0 */
/* Which workers serve, by their library's word, by their hold, and by what they were seen to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/model_watcher.h"

enum { MASTER = 100, A = 200, B = 201, CONN = 0x1000 };

static struct watcher w;
static struct history *h = &w.history;

static int before(void **state)
{
	(void)state;
	watcher_init(&w, NULL);
	history_watch(h, MASTER, 1, "ruby", 1000);
	history_info(h, MASTER, "shop", 1001);
	history_fork(h, A, MASTER, 1100);
	history_fork(h, B, MASTER, 1100);
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

static enum worker_health health(uint32_t pid)
{
	return model_worker_health(w.model, process(pid));
}

static struct workers workers(uint32_t like)
{
	return model_workers(w.model, process(MASTER)->app, like ? process(like) : NULL, NULL, NULL);
}

static void without_a_library_it_must_have_done_something_or_lived_a_while(void **state)
{
	(void)state;
	assert_int_equal(health(A), WORKER_BOOTING);
	assert_int_equal(workers(0).living, 2);
	assert_int_equal(workers(0).healthy, 0);
	history_conn(h, A, CONN, CONN_OPEN, 0, 1200);
	assert_int_equal(health(A), WORKER_BOOTING);
	history_query(h, A, CONN, "select 1", 1300);
	assert_int_equal(health(A), WORKER_BOOTING);
	history_query_end(h, A, CONN, "", 1300, 1301);
	assert_int_equal(health(A), WORKER_HEALTHY);
	assert_int_equal(workers(0).healthy, 1);
	history_tick(h, B + 29999);
	assert_int_equal(health(B), WORKER_BOOTING);
	history_tick(h, B + 30000);
	assert_int_equal(health(B), WORKER_HEALTHY);
	assert_int_equal(workers(A).healthy, 2);
}

static void with_a_library_its_word_counts(void **state)
{
	static const struct {
		uint32_t said;
		enum worker_health health;
	} cases[] = {
		{APP_BOOTING, WORKER_BOOTING},
		{APP_SERVING, WORKER_HEALTHY},
		{APP_DRAINING, WORKER_DRAINING},
		{APP_STOPPED, WORKER_DRAINING},
	};

	(void)state;
	history_tick(h, 60000); /* it lives long enough for two */
	history_hello(h, A, "shop", 0, 60001);
	history_hello(h, B, "shop", 0, 60001);
	assert_int_equal(health(B), WORKER_HEALTHY); /* welcomed, and says nothing */
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		history_state(h, A, cases[i].said, 60002 + i);
		assert_int_equal(health(A), cases[i].health);
		assert_int_equal(workers(B).healthy, 1 + (cases[i].health == WORKER_HEALTHY));
		assert_int_equal(workers(B).living, 2);
	}
}

static void who_is_held_serves_nobody_whatever_it_says(void **state)
{
	(void)state;
	history_hello(h, A, "shop", ACCEPTS_HOLD, 2000);
	history_welcome(h, A, APP_SILENT, 5000, 2000);
	assert_int_equal(health(A), WORKER_HELD);
	history_state(h, A, APP_SERVING, 2001);
	assert_int_equal(health(A), WORKER_HELD);
	history_tick(h, 6999);
	assert_int_equal(health(A), WORKER_HELD);
	history_tick(h, 7000);
	assert_int_equal(health(A), WORKER_HEALTHY);
	history_hello(h, B, "shop", ACCEPTS_HOLD, 8000);
	history_welcome(h, B, APP_SILENT, 5000, 8000);
	assert_int_equal(health(B), WORKER_HELD);
	history_welcome(h, B, APP_SILENT, 0, 8100); /* all holds were released */
	assert_int_equal(health(B), WORKER_HEALTHY);
}

static void a_connection_that_ends_takes_the_word_along_but_not_a_goodbye(void **state)
{
	(void)state;
	history_hello(h, A, "shop", 0, 2000);
	history_state(h, A, APP_SERVING, 2001);
	history_parted(h, A, 2002); /* as when the agent restarts: it must show anew that it serves */
	assert_int_equal(health(A), WORKER_BOOTING);
	history_tick(h, 40000);
	assert_int_equal(health(A), WORKER_HEALTHY);
	history_hello(h, B, "shop", 0, 40000);
	history_state(h, B, APP_DRAINING, 40001);
	history_parted(h, B, 40002);
	assert_int_equal(health(B), WORKER_DRAINING);
	history_hello(h, B, "shop", 0, 40003);
	history_state(h, B, APP_SERVING, 40004);
	assert_int_equal(health(B), WORKER_HEALTHY);
}

static void who_is_ordered_to_go_does_not_stay(void **state)
{
	struct ev_scope scope = history_scope("shop");

	(void)state;
	history_tick(h, 40000);
	memset(w.said, 0, sizeof(w.said));
	history_action(h, A, &scope, "worker.restart", ACTION_SENT, 40001);
	assert_int_equal(w.said[NOTICE_ACTION], 0); /* its outcome is told */
	assert_int_equal(health(A), WORKER_RESTARTING);
	assert_int_equal(workers(B).healthy, 1);
	history_action(h, A, &scope, "worker.restart", ACTION_FAILED, 40002);
	assert_int_equal(health(A), WORKER_HEALTHY);
	history_fault(h, A, SIGSEGV, FAULT_DEFAULT_ACTION, 40003);
	history_exit(h, A, SIGSEGV, 0, 40004);
	assert_int_equal(workers(B).healthy, 1);
	assert_int_equal(workers(B).living, 1);
}

static void hello(uint32_t pid, uint32_t role, uint64_t ms)
{
	struct ev_hello ev = {.head = HISTORY_HEAD(h, EV_HELLO, LANE_USER, ev, pid, ms),
			      .scope = history_scope("shop"),
			      .role = role};

	h->emit(h->context, &ev.head);
	history_state(h, pid, APP_SERVING, ms);
}

static void what_a_server_alone_forked_does_not_stand_in_for_it(void **state)
{
	(void)state;
	hello(MASTER, APP_SINGLE, 2000);
	hello(A, APP_WORKER, 2000);
	hello(B, APP_WORKER, 2000);
	assert_int_equal(process(MASTER)->role, ROLE_MASTER);
	assert_int_equal(workers(MASTER).living, 1);
	assert_int_equal(workers(MASTER).healthy, 1);
	assert_int_equal(workers(A).healthy, 2);
	hello(MASTER, APP_MASTER, 2001); /* no kind that serves: any worker counts */
	assert_int_equal(workers(MASTER).living, 2);
}

static bool is_b(void *context, const struct process *process)
{
	(void)context;
	return process->id.tgid == B;
}

static void the_caller_may_know_more(void **state)
{
	struct workers found;

	(void)state;
	history_tick(h, 40000);
	found = model_workers(w.model, process(A)->app, process(A), is_b, NULL);
	assert_int_equal(found.living, 2);
	assert_int_equal(found.healthy, 1);
	found = model_workers(w.model, process(B)->app, process(B), is_b, NULL); /* of the others */
	assert_int_equal(found.healthy, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_library_it_must_have_done_something_or_lived_a_while),
		TEST(with_a_library_its_word_counts),
		TEST(who_is_held_serves_nobody_whatever_it_says),
		TEST(a_connection_that_ends_takes_the_word_along_but_not_a_goodbye),
		TEST(who_is_ordered_to_go_does_not_stay),
		TEST(what_a_server_alone_forked_does_not_stand_in_for_it),
		TEST(the_caller_may_know_more),
	};

	return cmocka_run_group_tests_name("model: who serves", tests, NULL, NULL);
}
