/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crash is the crashed process's own. Drawn pools of workers with connections, several scopes with one app
 * name and one target; one worker after the other dies in a drawn way, and nothing else that the model knows
 * may change: no connection, count, role, consent or app of any other process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/model_watcher.h"

enum { CASES = 200, SCOPES = 4, WORKERS = 6, DEATHS = 12, MASTER = 1000, WORKER = 2000 };

/* All that is known of a process, by value. */
struct view {
	struct process process;
	struct app app;
	bool there;
};

struct pool {
	struct watcher w;
	uint32_t workers[SCOPES];
	struct view before[SCOPES][WORKERS + 1]; /* the last is the master */
	uint64_t ms, conn, seed;
};

static struct pool pool;

static uint32_t pid_of(unsigned scope, unsigned index)
{
	return index == WORKERS ? MASTER + scope : WORKER + scope * 100 + index;
}

static struct view look(unsigned scope, unsigned index)
{
	uint32_t pid = pid_of(scope, index);
	const struct process *process = model_process(pool.w.model, pid, history_start(pid));
	struct view view = {.there = process != NULL};
	if (process) {
		view.process = *process;
		view.app = *process->app;
	}
	return view;
}

static struct ev_scope scope_of(unsigned index)
{
	return (struct ev_scope){.uid = 1 + (index == 1),
				 .netns = 1 + (index == 2),
				 .cgroup_id = 1 + (index == 3),
				 .app = "shop"};
}

static void introduce(unsigned scope, uint32_t pid)
{
	struct history *h = &pool.w.history;
	struct ev_scope is = scope_of(scope);
	struct ev_info info = {.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, info, pid, pool.ms),
			       .uid = is.uid,
			       .cgroup_id = is.cgroup_id,
			       .netns = is.netns,
			       .app = "shop"};
	struct ev_hello hello = {.head = HISTORY_HEAD(h, EV_HELLO, LANE_USER, hello, pid, pool.ms),
				 .scope = is,
				 .role = APP_WORKER,
				 .accepts = (uint32_t)draw(32)};
	if (draw(2))
		watcher_emit(&pool.w, &info.head);
	if (draw(2))
		watcher_emit(&pool.w, &hello.head);
}

static void use_database(uint32_t pid)
{
	struct history *h = &pool.w.history;
	uint64_t conn = pool.conn++;
	history_conn(h, pid, conn, CONN_OPEN, 0, pool.ms++);
	if (draw(2))
		history_query(h, pid, conn, draw(2) ? "select $1" : "select $2", pool.ms++);
	if (draw(3) == 0)
		history_conn(h, pid, conn, CONN_BROKEN, REASON_CLOSED, pool.ms++);
}

static void fill(uint64_t seed)
{
	struct history *h = &pool.w.history;
	draw_seed(seed);
	watcher_init(&pool.w, NULL);
	pool.ms = 5000;
	pool.conn = 0x100;
	pool.seed = seed;
	for (unsigned scope = 0; scope < SCOPES; scope++) {
		struct ev_scope is = scope_of(scope);
		struct ev_info info = {
			.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, info, MASTER + scope, 5000),
			.uid = is.uid,
			.cgroup_id = is.cgroup_id,
			.netns = is.netns,
			.app = "shop"};
		watcher_emit(&pool.w, &info.head);
		pool.workers[scope] = 1 + (uint32_t)draw(WORKERS);
		for (unsigned i = 0; i < pool.workers[scope]; i++) {
			struct ev_birth birth = {.head = HISTORY_HEAD(h, EV_FORK, LANE_LIFE, birth,
								      pid_of(scope, i), pool.ms++),
						 .parent_tgid = MASTER + scope,
						 .parent_start_ns = history_start(MASTER + scope),
						 .uid = is.uid};
			watcher_emit(&pool.w, &birth.head);
			introduce(scope, pid_of(scope, i));
			for (uint64_t left = draw(4); left > 0; left--)
				use_database(pid_of(scope, i));
		}
	}
	history_tick(h, pool.ms += 1000); /* workers are no helpers any more */
}

static void die(uint32_t pid)
{
	struct history *h = &pool.w.history;
	uint64_t ms = pool.ms += 10;
	switch (draw(5)) {
	case 0:
		history_fault(h, pid, SIGSEGV, FAULT_DEFAULT_ACTION, ms);
		history_exit(h, pid, SIGSEGV, 0, ms + 1);
		break;
	case 1:
		history_exit(h, pid, SIGSEGV, 0, ms + 1);
		history_fault(h, pid, SIGSEGV, FAULT_DEFAULT_ACTION, ms);
		break;
	case 2:
		history_fault(h, pid, SIGBUS, 0, ms);
		history_confirm(h, pid, ms, ms + 1);
		if (draw(2))
			history_exit(h, pid, SIGABRT, 0, ms + 5);
		break;
	case 3:
		history_fault(h, pid, SIGABRT, 0, ms);
		history_exit(h, pid, SIGABRT, 0, ms + 1);
		break;
	default:
		history_exit(h, pid, SIGKILL, 1, ms);
		break;
	}
}

static void remember(void)
{
	for (unsigned scope = 0; scope < SCOPES; scope++)
		for (unsigned i = 0; i <= WORKERS; i++)
			pool.before[scope][i] = look(scope, i);
}

static void same(const struct view *before, const struct view *now, bool app)
{
	const struct process *was = &before->process, *is = &now->process;
	assert_int_equal(before->there, now->there);
	if (!now->there)
		return;
	assert_ptr_equal(was->app, is->app);
	assert_int_equal(was->role, is->role);
	assert_int_equal(was->connections, is->connections);
	assert_int_equal(was->queries, is->queries);
	assert_int_equal(was->errors, is->errors);
	assert_int_equal(was->crashing, is->crashing);
	assert_int_equal(was->told, is->told);
	assert_int_equal(was->accepts, is->accepts);
	if (app) {
		assert_int_equal(was->children, is->children);
		assert_int_equal(was->worker_crashes, is->worker_crashes);
		assert_memory_equal(&before->app, &now->app, sizeof(now->app));
	}
}

/* Everybody but the one that died; the scope it died in may only have counted that. */
static void compare(unsigned where, unsigned who)
{
	for (unsigned scope = 0; scope < SCOPES; scope++) {
		struct view *before = pool.before[scope], now = look(scope, WORKERS);
		bool here = scope == where;
		for (unsigned i = 0; i <= WORKERS; i++) {
			struct view one = look(scope, i);
			if (!here || i != who)
				same(&before[i], &one, !here);
		}
		if (!here)
			continue;
		assert_int_equal(now.process.worker_crashes, before[WORKERS].process.worker_crashes + 1);
		assert_int_equal(now.app.crashes, before[WORKERS].app.crashes + 1);
		assert_int_equal(now.app.exits, before[WORKERS].app.exits);
		/* the last worker's end leaves the master alone in it */
		uint32_t left = before[WORKERS].app.workers - 1;
		assert_int_equal(now.app.workers, left ? left : 1);
	}
}

static void test_a_crash_is_its_own(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES; i++) {
		unsigned deaths = 0;
		fill(first + i);
		for (unsigned left = DEATHS; left > 0; left--) {
			unsigned scope = (unsigned)draw(SCOPES);
			unsigned who = (unsigned)draw(pool.workers[scope]);
			struct view victim = look(scope, who);
			if (!victim.there || victim.process.crashing)
				continue;
			remember();
			die(pid_of(scope, who));
			compare(scope, who);
			deaths++;
		}
		assert_int_equal(pool.w.said[NOTICE_CRASH], deaths);
		assert_true(deaths > 0);
		watcher_done(&pool.w);
	}
}

static void test_scopes_share_nothing(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES; i++) {
		fill(first + i);
		for (unsigned scope = 0; scope < SCOPES; scope++) {
			struct view master = look(scope, WORKERS);
			struct ev_scope is = scope_of(scope);
			assert_string_equal(master.app.name, "shop");
			assert_int_equal(master.app.uid, is.uid);
			assert_int_equal(master.app.netns, is.netns);
			assert_int_equal(master.app.cgroup_id, is.cgroup_id);
			assert_int_equal(master.app.workers, pool.workers[scope]);
			for (unsigned w = 0; w < pool.workers[scope]; w++)
				assert_ptr_equal(look(scope, w).process.app, master.process.app);
			history_probe(&pool.w.history, &is, PROBE_REFUSED, 1, "", ++pool.ms);
			assert_ptr_equal(pool.w.app, master.process.app);
			is.netns += 10;
			history_breaker(&pool.w.history, &is, BREAKER_QUERY, BREAKER_OPEN, ++pool.ms);
			assert_null(pool.w.app);
		}
		watcher_done(&pool.w);
	}
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 10 and 11: a worker's crash changes nothing of any other process",
		 test_a_crash_is_its_own, NULL, NULL, &seed},
		{"Property 11: scopes with one name and one target share no app", test_scopes_share_nothing,
		 NULL, NULL, &seed},
	};
	return cmocka_run_group_tests_name("model: isolation", tests, NULL, NULL);
}
