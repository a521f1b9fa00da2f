/* SPDX-License-Identifier: Apache-2.0 */
/* Holds: whose boots wait, how long, and until when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "user/act/hold.h"

#define SECOND 1000000000ull

static const struct hold_settings usual = {.first_ms = 1000, .max_ms = 20000, .calm_ms = 60000};
static struct holds *holds;
static struct ev_scope scope, other;

static int before(void **state)
{
	(void)state;
	holds = holds_new(&usual, 3);
	scope_set(&scope, 1000, 4026531840, 1, "shop");
	scope_set(&other, 1000, 4026531841, 1, "shop");
	return holds ? 0 : -1;
}

static int after(void **state)
{
	(void)state;
	holds_free(holds);
	return 0;
}

static void boots_wait_longer_after_each_crash(void **state)
{
	static const uint32_t waits[] = {1000, 2000, 4000, 8000, 16000, 20000, 20000};
	const struct hold *hold;

	(void)state;
	holds_crash(holds, &scope, SECOND); /* no hold yet: not counted */
	assert_int_equal(holds_boot(holds, &scope, SECOND), 0);
	assert_int_equal(holds_begin(holds, &scope, "3 crashes in 60 s", "incident", SECOND), 0);
	for (unsigned i = 0; i < 7; i++) {
		uint32_t wait = holds_boot(holds, &scope, (2 + i) * SECOND);

		assert_in_range(wait, waits[i] * 3 / 4, waits[i]);
		holds_crash(holds, &scope, (2 + i) * SECOND);
	}
	hold = holds_find(holds, &scope);
	assert_int_equal(hold->crashes, 7);
	assert_int_equal(hold->boots, 7);
	assert_string_equal(hold->incident, "incident");
	assert_string_equal(hold->reason, "3 crashes in 60 s");
	assert_true(hold->since_ns == SECOND);
	assert_int_equal(holds_boot(holds, &other, 9 * SECOND), 0); /* same name, another namespace */
	assert_null(holds_find(holds, &other));
}

static void calm_ends_it(void **state)
{
	(void)state;
	holds_begin(holds, &scope, "r", "i", SECOND);
	holds_crash(holds, &scope, 10 * SECOND);
	holds_tick(holds, 69 * SECOND);
	assert_non_null(holds_find(holds, &scope));
	holds_begin(holds, &scope, "another", "one", 69 * SECOND); /* prolonged, not begun anew */
	assert_int_equal(holds_find(holds, &scope)->crashes, 1);
	assert_string_equal(holds_find(holds, &scope)->incident, "i");
	holds_tick(holds, 128 * SECOND);
	assert_non_null(holds_find(holds, &scope));
	holds_tick(holds, 129 * SECOND);
	assert_null(holds_find(holds, &scope));
	/* a boot that comes before the tick does not wait either */
	holds_begin(holds, &scope, "r", "i", 200 * SECOND);
	assert_int_equal(holds_boot(holds, &scope, 260 * SECOND), 0);
	assert_null(holds_find(holds, &scope));
}

static void count_one(void *context, const struct hold *hold)
{
	(void)hold;
	++*(unsigned *)context;
}

static void by_hand_and_all_at_once(void **state)
{
	unsigned count = 0;

	(void)state;
	holds_begin(holds, &scope, "r", "i", SECOND);
	holds_begin(holds, &other, "r", "i", SECOND);
	holds_each(holds, count_one, &count);
	assert_int_equal(count, 2);
	assert_true(holds_end(holds, &scope));
	assert_false(holds_end(holds, &scope));
	holds_release(holds);
	assert_null(holds_find(holds, &other));
	for (uint32_t i = 0; i < 5000; i++) { /* scopes without end are bounded */
		scope_set(&scope, i, 1, 1, "shop");
		assert_int_equal(holds_begin(holds, &scope, "r", "i", SECOND), 0);
	}
	count = 0;
	holds_each(holds, count_one, &count);
	assert_int_equal(count, 1024);
}

static void twenty_seconds_are_the_most(void **state)
{
	const struct hold_settings greedy = {.first_ms = 50000, .max_ms = 600000, .calm_ms = 60000};
	const struct hold_settings none = {.first_ms = 1000, .max_ms = 0, .calm_ms = 60000};

	(void)state;
	holds_free(holds);
	holds = holds_new(&greedy, 3);
	holds_begin(holds, &scope, "r", "i", SECOND);
	assert_in_range(holds_boot(holds, &scope, SECOND), 15000, 20000);
	holds_free(holds);
	holds = holds_new(&none, 3);
	holds_begin(holds, &scope, "r", "i", SECOND);
	assert_int_equal(holds_boot(holds, &scope, SECOND), 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(boots_wait_longer_after_each_crash),
		EACH(calm_ends_it),
		EACH(by_hand_and_all_at_once),
		EACH(twenty_seconds_are_the_most),
	};

	return cmocka_run_group_tests_name("act: holds", tests, NULL, NULL);
}
