/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases in use: users, cgroups and apps of every greed share one list. However much the greedy ones
 * connect to, who uses little loses nothing. LAPIDARY_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/act/uses.h"

enum { CASES = 120, STEPS = 1500, UIDS = 6, CGROUPS = 4, APPS = 3, MODEST = 3, PROCESSES = 40 };
enum { ALL = 64, OF_UID = 24, OF_CGROUP = 16, OF_SCOPE = 8 };

static const struct uses_settings settings = {
	.all = ALL, .of_uid = OF_UID, .of_cgroup = OF_CGROUP, .of_scope = OF_SCOPE};

static struct uses *uses;

struct seen {
	uint32_t all, of_uid[UIDS], of_cgroup[UIDS][CGROUPS], of_scope[UIDS][CGROUPS][APPS];
	bool alive[PROCESSES + 1];
};

/* uid 0 is the modest one: it uses MODEST databases, and never stops. */
static struct ev_scope scope_of(uint32_t uid, uint64_t cgroup, uint32_t app)
{
	struct ev_scope scope;
	char name[8];

	snprintf(name, sizeof(name), "app%u", app);
	scope_set(&scope, uid, 1, cgroup + 1, name);
	return scope;
}

static void count(void *context, const struct ev_scope *scope, const char *target, uint32_t tgid,
		  uint64_t start_ns)
{
	struct seen *seen = context;
	uint32_t app = (uint32_t)(scope->app[3] - '0');

	assert_true(uses_knows(uses, scope, target));
	seen->all++;
	seen->of_uid[scope->uid]++;
	seen->of_cgroup[scope->uid][scope->cgroup_id - 1]++;
	seen->of_scope[scope->uid][scope->cgroup_id - 1][app]++;
	assert_true(tgid == 0 || (seen->alive[tgid] && start_ns == tgid + 7));
}

static void is_fair(struct seen *seen)
{
	seen->all = 0;
	memset(seen->of_uid, 0, sizeof(seen->of_uid));
	memset(seen->of_cgroup, 0, sizeof(seen->of_cgroup));
	memset(seen->of_scope, 0, sizeof(seen->of_scope));
	uses_each(uses, NULL, count, seen);
	assert_true(seen->all <= ALL);
	for (int uid = 0; uid < UIDS; uid++) {
		assert_true(seen->of_uid[uid] <= OF_UID);
		for (int cgroup = 0; cgroup < CGROUPS; cgroup++) {
			assert_true(seen->of_cgroup[uid][cgroup] <= OF_CGROUP);
			for (int app = 0; app < APPS; app++)
				assert_true(seen->of_scope[uid][cgroup][app] <= OF_SCOPE);
		}
	}
}

static void note(uint32_t uid, uint64_t cgroup, uint32_t app, uint64_t target, struct seen *seen)
{
	struct ev_scope scope = scope_of(uid, cgroup, app);
	uint32_t tgid = 1 + (uint32_t)draw(PROCESSES);
	char name[64];

	snprintf(name, sizeof(name), "postgres://db:%llu/x", (unsigned long long)target);
	seen->alive[tgid] = true;
	/* refused only where the scope itself has all that a page holds */
	assert_true(uses_note(uses, &scope, name, tgid, tgid + 7) ||
		    seen->of_scope[uid][cgroup][app] >= OF_SCOPE);
}

static void modest_has_all(void)
{
	struct ev_scope scope = scope_of(0, 0, 0);
	char name[64];

	for (int i = 0; i < MODEST; i++) {
		snprintf(name, sizeof(name), "postgres://db:%d/x", i);
		assert_true(uses_knows(uses, &scope, name));
	}
}

static void test_the_modest_lose_nothing(void **state)
{
	(void)state;
	for (int one = 0; one < CASES; one++) {
		struct seen seen = {0};
		uint64_t greed = 1 + draw(200);

		uses = uses_new(&settings);
		assert_non_null(uses);
		for (uint64_t i = 0; i < MODEST; i++)
			note(0, 0, 0, i, &seen);
		for (int step = 0; step < STEPS; step++) {
			if (draw(8) == 0) {
				uint32_t tgid = 1 + (uint32_t)draw(PROCESSES);

				seen.alive[tgid] = false;
				uses_gone(uses, tgid, tgid + 7);
			} else {
				note(1 + (uint32_t)draw(UIDS - 1), draw(CGROUPS), (uint32_t)draw(APPS),
				     draw(greed), &seen);
			}
			is_fair(&seen);
			modest_has_all();
		}
		uses_free(uses);
	}
}

/* One user alone may fill his share and no more, and his newest are what is kept. */
static void test_the_greedy_one_pays_with_his_oldest(void **state)
{
	struct seen seen = {0};
	struct ev_scope scope = scope_of(1, 0, 0);

	(void)state;
	uses = uses_new(&settings);
	for (uint64_t i = 0; i < 200; i++)
		note(1, i % CGROUPS, (uint32_t)(i / CGROUPS % APPS), i, &seen);
	is_fair(&seen);
	assert_int_equal(seen.all, OF_UID);
	scope = scope_of(1, 199 % CGROUPS, 199 / CGROUPS % APPS);
	assert_true(uses_knows(uses, &scope, "postgres://db:199/x"));
	scope = scope_of(1, 0, 0);
	assert_false(uses_knows(uses, &scope, "postgres://db:0/x"));
	uses_free(uses);
}

static void holder_is(void *context, const struct ev_scope *scope, const char *target, uint32_t tgid,
		      uint64_t start_ns)
{
	(void)scope;
	(void)target;
	(void)start_ns;
	assert_int_equal(tgid, *(uint32_t *)context);
}

/* A thousand workers end, and one of them held something: that one alone is searched for. */
static void test_ends_of_who_holds_nothing_walk_nothing(void **state)
{
	struct ev_scope scope = scope_of(1, 0, 0);
	uint32_t holder = 0;
	char name[64];

	(void)state;
	uses = uses_new(&settings);
	for (int i = 0; i < OF_SCOPE; i++) {
		snprintf(name, sizeof(name), "postgres://db:%d/x", i);
		assert_true(uses_note(uses, &scope, name, 500, 507));
	}
	for (uint32_t tgid = 1; tgid <= 1000; tgid++)
		if (tgid != 500)
			uses_gone(uses, tgid, tgid + 7);
	uses_gone(uses, 500, 506); /* another with that number */
	assert_int_equal(uses_walked(uses), 0);
	assert_false(uses_lack_holder(uses));
	uses_gone(uses, 500, 507);
	assert_int_equal(uses_walked(uses), OF_SCOPE);
	assert_true(uses_lack_holder(uses));
	uses_each(uses, &scope, holder_is, &holder);
	for (uint32_t tgid = 1001; tgid <= 2000; tgid++)
		assert_int_equal(uses_offer(uses, &scope, tgid, tgid + 7), tgid == 1001);
	assert_int_equal(uses_walked(uses), 2 * OF_SCOPE);
	holder = 1001;
	uses_each(uses, &scope, holder_is, &holder);
	uses_free(uses);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_modest_lose_nothing),
		cmocka_unit_test(test_the_greedy_one_pays_with_his_oldest),
		cmocka_unit_test(test_ends_of_who_holds_nothing_walk_nothing),
	};
	draw_start();
	return cmocka_run_group_tests_name("act: databases in use", tests, NULL, NULL);
}
