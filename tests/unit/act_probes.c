/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler of tests, in simulated time: when, for whom, from where, and what is remembered. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "user/act/probes.h"

enum { ASKED_MAX = 4096 };

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define A      "postgres://db:5432/a"
#define B      "postgres://db:5432/b"

static const struct probes_settings usual = {
	.interval_ms = 5000, .urgent_ms = 500, .idle_ms = 600000, .running_max = 8, .targets_max = 512};

static struct {
	struct probes *probes;
	struct ev_scope shop, blog;
	uint64_t now_ns;
	struct probes_question asked[ASKED_MAX];
	uint64_t asked_ns[ASKED_MAX];
	int count, answers;
	int result; /* of ask */
	struct probes_answer last;
} w;

static int on_ask(void *context, const struct probes_question *question)
{
	(void)context;
	if (w.result)
		return w.result;
	assert_true(w.count < ASKED_MAX);
	w.asked_ns[w.count] = w.now_ns;
	w.asked[w.count++] = *question;
	return 0;
}

static void on_answered(void *context, const struct probes_answer *answer)
{
	(void)context;
	w.last = *answer;
	w.answers++;
}

static void begin(const struct probes_settings *settings)
{
	const struct probes_events events = {.ask = on_ask, .answered = on_answered};

	memset(&w, 0, sizeof(w));
	w.now_ns = 1000 * SECOND;
	scope_set(&w.shop, 1000, 4026531840, 7, "shop");
	scope_set(&w.blog, 1001, 4026531840, 8, "blog");
	w.probes = probes_new(settings, 42, &events);
	assert_non_null(w.probes);
}

static int end(void **state)
{
	(void)state;
	probes_free(w.probes);
	w.probes = NULL;
	return 0;
}

static void use(const struct ev_scope *scope, const char *target)
{
	probes_used(w.probes, scope, target, 100, 5, w.now_ns);
}

/* Ticks every 100 ms until a question comes; returns how long that took. */
static uint64_t run_until_asked(uint64_t limit_ms)
{
	uint64_t began = w.now_ns;
	int count = w.count;

	while (w.count == count && w.now_ns - began <= limit_ms * MS) {
		w.now_ns += 100 * MS;
		probes_tick(w.probes, w.now_ns);
	}
	return (w.now_ns - began) / MS;
}

static void run(uint64_t ms)
{
	for (uint64_t end_ns = w.now_ns + ms * MS; w.now_ns < end_ns;) {
		w.now_ns += 100 * MS;
		probes_tick(w.probes, w.now_ns);
	}
}

static void answer(enum probe_result result, const char *sqlstate)
{
	probes_answer(w.probes, w.asked[w.count - 1].token, result, sqlstate, 12, w.now_ns);
}

static void seldom_while_all_is_well(void **state)
{
	(void)state;
	begin(&usual);
	use(&w.shop, A);
	assert_in_range(run_until_asked(1000), 400, 700); /* the first one comes soon */
	assert_string_equal(w.asked[0].target, A);
	assert_int_equal(w.asked[0].tgid, 100);
	assert_int_equal(w.asked[0].start_ns, 5);
	assert_true(scope_equal(&w.asked[0].scope, &w.shop));
	assert_int_equal(run_until_asked(10000), 10100); /* not again while it runs */
	answer(PROBE_OK, "");
	assert_int_equal(w.last.result, PROBE_OK);
	assert_int_equal(w.last.ms, 12);
	assert_int_equal(w.last.tested_ns, w.now_ns);
	for (int i = 0; i < 20; i++) {
		assert_in_range(run_until_asked(7000), 4000, 6100);
		answer(PROBE_OK, "");
	}
}

static void often_after_a_failure_and_for_a_breaker(void **state)
{
	(void)state;
	begin(&usual);
	use(&w.shop, A);
	run_until_asked(1000);
	for (int i = 0; i < 10; i++) {
		answer(PROBE_REFUSED, "");
		assert_in_range(run_until_asked(1000), 400, 700);
	}
	answer(PROBE_REFUSED, ""); /* it stays away, and no breaker waits for it */
	assert_in_range(run_until_asked(7000), 4000, 6100);
	probes_urgent(w.probes, &w.shop, A, true, w.now_ns);
	for (int i = 0; i < 30; i++) {
		answer(PROBE_REFUSED, "");
		assert_in_range(run_until_asked(1000), 400, 700);
	}
	answer(PROBE_OK, ""); /* the breaker wants a second one */
	assert_in_range(run_until_asked(1000), 400, 700);
	probes_urgent(w.probes, &w.shop, A, false, w.now_ns);
	answer(PROBE_OK, "");
	assert_in_range(run_until_asked(7000), 4000, 6100);
	answer(PROBE_OK, "");
	run(1000);
	probes_urgent(w.probes, &w.shop, A, true, w.now_ns); /* at once, not when it would have been due */
	assert_int_equal(run_until_asked(1000), 100);
}

static void what_was_not_run_makes_no_haste(void **state)
{
	(void)state;
	begin(&usual);
	use(&w.shop, A);
	run_until_asked(1000);
	for (int i = 0; i < 5; i++) {
		answer(PROBE_NOT_RUN, "");
		assert_int_equal(w.last.result, PROBE_NOT_RUN);
		assert_false(w.last.reached);
		assert_in_range(run_until_asked(7000), 4000, 6100);
	}
	answer(PROBE_OK, "");
	w.result = -EPIPE; /* no spawner: counts as not run */
	w.answers = 0;
	run(6100);
	assert_int_equal(w.answers, 1);
	assert_int_equal(w.last.result, PROBE_NOT_RUN);
	w.result = -EAGAIN; /* later */
	w.answers = 0;
	run(20000);
	assert_int_equal(w.answers, 0);
	w.result = 0;
	assert_in_range(run_until_asked(1000), 100, 200);
}

static void reached_means_that_it_was_answered_once(void **state)
{
	static const struct {
		enum probe_result result;
		bool reaches;
	} cases[] = {{PROBE_OK, true},       {PROBE_REJECTED, true}, {PROBE_REFUSED, false},
		     {PROBE_TIMEOUT, false}, {PROBE_NO_HOST, false}, {PROBE_BROKEN, false},
		     {PROBE_NOT_RUN, false}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct probes_answer latest;

		begin(&usual);
		use(&w.shop, A);
		use(&w.blog, A);
		assert_false(probes_latest(w.probes, &w.shop, A, &latest));
		while (w.count < 2)
			run_until_asked(1000);
		probes_answer(w.probes, w.asked[0].token, cases[i].result, "53300", 1, w.now_ns);
		assert_int_equal(w.last.reached, cases[i].reaches);
		assert_string_equal(w.last.sqlstate, "53300");
		assert_true(probes_latest(w.probes, &w.asked[0].scope, A, &latest));
		assert_int_equal(latest.reached, cases[i].reaches);
		/* the other scope is another network, perhaps */
		assert_false(probes_latest(w.probes, &w.asked[1].scope, A, &latest));
		end(NULL);
	}
	begin(&usual);
	use(&w.shop, A);
	run_until_asked(1000);
	answer(PROBE_OK, "");
	probes_urgent(w.probes, &w.shop, A, true, w.now_ns);
	run_until_asked(1000);
	answer(PROBE_TIMEOUT, "");
	assert_true(w.last.reached); /* its failures count */
	run_until_asked(1000);
	w.now_ns += 3600 * SECOND;
	answer(PROBE_TIMEOUT, "");
	assert_false(w.last.reached); /* for an hour */
}

static void it_looks_from_a_process_that_lives(void **state)
{
	(void)state;
	begin(&usual);
	probes_used(w.probes, &w.shop, A, 100, 5, w.now_ns);
	probes_used(w.probes, &w.shop, A, 101, 6, w.now_ns);
	run_until_asked(1000);
	assert_int_equal(w.asked[0].tgid, 101); /* the latest */
	answer(PROBE_OK, "");
	probes_process_gone(w.probes, 101, 99); /* another with that number */
	run_until_asked(7000);
	assert_int_equal(w.asked[1].tgid, 101);
	answer(PROBE_OK, "");
	probes_process_gone(w.probes, 101, 6);
	probes_reach(w.probes, &w.blog, 103, 8); /* of another scope, and without a target */
	probes_reach(w.probes, &w.shop, 102, 7);
	run_until_asked(7000);
	assert_int_equal(w.asked[2].tgid, 102);
	assert_int_equal(w.asked[2].start_ns, 7);
	answer(PROBE_OK, "");
	probes_process_gone(w.probes, 102, 7);
	assert_int_equal(run_until_asked(20000), 20100); /* from nowhere it cannot */
	probes_used(w.probes, &w.shop, B, 103, 8, w.now_ns);
	run(1000);
	assert_int_equal(w.count, 5); /* both, from the new one */
	assert_int_equal(w.asked[3].tgid, 103);
}

static void what_is_not_used_is_forgotten(void **state)
{
	struct probes_answer latest;

	(void)state;
	begin(&usual);
	use(&w.shop, A);
	use(&w.shop, B);
	while (w.count < 2)
		run_until_asked(1000);
	for (int i = 0; i < 2; i++)
		probes_answer(w.probes, w.asked[i].token, PROBE_OK, "", 1, w.now_ns);
	probes_urgent(w.probes, &w.shop, B, true, w.now_ns);
	w.now_ns += 601 * SECOND;
	w.result = -EAGAIN;
	probes_tick(w.probes, w.now_ns);
	assert_false(probes_latest(w.probes, &w.shop, A, &latest));
	assert_true(probes_latest(w.probes, &w.shop, B, &latest)); /* a breaker waits for it */
	probes_urgent(w.probes, &w.shop, B, false, w.now_ns);
	probes_tick(w.probes, w.now_ns);
	assert_false(probes_latest(w.probes, &w.shop, B, &latest));
}

static void answers_that_nobody_waits_for(void **state)
{
	(void)state;
	begin(&usual);
	use(&w.shop, A);
	probes_answer(w.probes, 0, PROBE_OK, "", 1, w.now_ns);
	probes_answer(w.probes, 1, PROBE_OK, "", 1, w.now_ns);
	assert_int_equal(w.answers, 0);
	run_until_asked(1000);
	answer(PROBE_OK, "");
	answer(PROBE_REFUSED, ""); /* the same once more */
	assert_int_equal(w.answers, 1);
	assert_int_equal(w.last.result, PROBE_OK);
	run_until_asked(7000);
	run(119000);
	assert_int_equal(w.answers, 1);
	run(2000); /* its answer is lost */
	assert_int_equal(w.answers, 2);
	assert_int_equal(w.last.result, PROBE_NOT_RUN);
}

static void a_full_list(void **state)
{
	struct probes_settings settings = usual;
	char target[64];

	(void)state;
	settings.targets_max = 8;
	settings.running_max = 64;
	begin(&settings);
	for (int i = 0; i < 20; i++) {
		snprintf(target, sizeof(target), "postgres://db:5432/%d", i);
		use(&w.shop, target);
	}
	run(1000);
	assert_int_equal(w.count, 8); /* the first ones stay */
	for (int i = 0; i < 8; i++)
		probes_answer(w.probes, w.asked[i].token, PROBE_OK, "", 1, w.now_ns);
	for (int i = 0; i < 20; i++) {
		snprintf(target, sizeof(target), "postgres://db:5432/%d", i);
		use(&w.blog, target);
	}
	w.count = 0;
	run(6100);
	assert_int_equal(w.count, 8);
	int blog = 0;
	for (int i = 0; i < w.count; i++)
		blog += scope_equal(&w.asked[i].scope, &w.blog);
	assert_int_equal(blog, 4); /* half each */
	for (int i = 0; i < 8; i++)
		probes_answer(w.probes, w.asked[i].token, PROBE_OK, "", 1, w.now_ns);
	/* what a breaker waits for comes instead of another of its scope */
	probes_urgent(w.probes, &w.blog, B, true, w.now_ns);
	w.count = 0;
	run_until_asked(200);
	assert_string_equal(w.asked[0].target, B);
}

static void turned_off(void **state)
{
	struct probes_settings settings = usual;

	(void)state;
	settings.interval_ms = 0;
	begin(&settings);
	use(&w.shop, A);
	probes_urgent(w.probes, &w.shop, A, true, w.now_ns);
	run(20000);
	assert_int_equal(w.count, 0);
}

#define TEST(function) cmocka_unit_test_teardown(function, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(seldom_while_all_is_well),
		TEST(often_after_a_failure_and_for_a_breaker),
		TEST(what_was_not_run_makes_no_haste),
		TEST(reached_means_that_it_was_answered_once),
		TEST(it_looks_from_a_process_that_lives),
		TEST(what_is_not_used_is_forgotten),
		TEST(answers_that_nobody_waits_for),
		TEST(a_full_list),
		TEST(turned_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
