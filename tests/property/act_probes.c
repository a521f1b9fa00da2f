/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 8: a database test runs outside the workers, and one slow target never delays another's test.
 * Generated hosts with simulated time: scopes of all sizes, targets that answer, fail, hang until their
 * time-out or are never answered at all. LAPIDARY_SEED repeats a run.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/act/probes.h"

enum {
	CASES = 120,
	SCOPES_MAX = 6,
	TARGETS_MAX = 600,
	RUNNING_MAX = 16,
	TICK_MS = 100,
	TIMEOUT_MS = 2000,
	CASE_MS = 60000,
};

#define MS UINT64_C(1000000)

enum manner { ANSWERS, FAILS, HANGS, MANNERS };

struct target {
	char name[64];
	int scope;
	enum manner manner;
	bool urgent;
	bool running;
	uint64_t last_ms; /* when it was asked last; 0: never */
	uint64_t asked;
};

struct running {
	uint64_t token, ends_ms;
	struct target *target; /* NULL: a free place */
};

static struct {
	struct probes *probes;
	struct probes_settings settings;
	struct ev_scope scopes[SCOPES_MAX];
	struct target targets[TARGETS_MAX];
	int scope_count, target_count, running_count;
	struct running running[RUNNING_MAX];
	uint64_t now_ms, asked;
	int of_scope[SCOPES_MAX]; /* running now */
} w;

static struct target *find(const struct ev_scope *scope, const char *name)
{
	for (int i = 0; i < w.target_count; i++)
		if (scope_equal(&w.scopes[w.targets[i].scope], scope) && strcmp(w.targets[i].name, name) == 0)
			return &w.targets[i];
	return NULL;
}

static uint64_t duration_of(const struct target *target)
{
	return target->manner == HANGS ? TIMEOUT_MS : 1 + draw(30);
}

static int on_ask(void *context, const struct probes_question *question)
{
	struct target *target = find(&question->scope, question->target);

	(void)context;
	assert_non_null(target);
	assert_false(target->running); /* one test at a time of one target */
	assert_true(question->tgid > 0);
	assert_true(w.running_count < (int)w.settings.running_max);
	assert_true(w.of_scope[target->scope] < ((int)w.settings.running_max + 1) / 2);
	for (int i = 0; i < RUNNING_MAX; i++) {
		if (w.running[i].target)
			continue;
		w.running[i] = (struct running){question->token, w.now_ms + duration_of(target), target};
		break;
	}
	w.running_count++;
	w.of_scope[target->scope]++;
	target->running = true;
	target->last_ms = w.now_ms;
	target->asked++;
	w.asked++;
	return 0;
}

static void on_answered(void *context, const struct probes_answer *answer)
{
	const struct target *target = find(&answer->scope, answer->target);

	(void)context;
	assert_non_null(target);
	if (target->manner == HANGS)
		assert_false(answer->reached); /* it never was */
	if (target->manner == ANSWERS)
		assert_true(answer->reached);
}

static void finish_those_that_are_due(void)
{
	for (int i = 0; i < RUNNING_MAX; i++) {
		struct running one = w.running[i];

		if (!one.target || one.ends_ms > w.now_ms)
			continue;
		w.running[i].target = NULL;
		w.running_count--;
		w.of_scope[one.target->scope]--;
		one.target->running = false;
		probes_answer(w.probes, one.token,
			      one.target->manner == HANGS   ? PROBE_TIMEOUT
			      : one.target->manner == FAILS ? PROBE_REFUSED
							    : PROBE_OK,
			      "", 1, w.now_ms * MS);
	}
}

static void add(int scope, enum manner manner, bool urgent)
{
	struct target *target = &w.targets[w.target_count];

	*target = (struct target){.scope = scope, .manner = manner, .urgent = urgent};
	snprintf(target->name, sizeof(target->name), "postgres://db:5432/%d", w.target_count++);
}

static void begin(uint32_t targets_max)
{
	const struct probes_events events = {.ask = on_ask, .answered = on_answered};

	memset(&w, 0, sizeof(w));
	w.now_ms = 1000000;
	w.settings = (struct probes_settings){.interval_ms = 5000,
					      .urgent_ms = 500,
					      .idle_ms = 600000,
					      .running_max = 2 + (uint32_t)draw(RUNNING_MAX - 1),
					      .targets_max = targets_max};
	w.probes = probes_new(&w.settings, draw(UINT64_MAX), &events);
	assert_non_null(w.probes);
}

static void add_scope(void)
{
	char app[16];

	snprintf(app, sizeof(app), "app%d", w.scope_count);
	scope_set(&w.scopes[w.scope_count], 1000 + (uint32_t)w.scope_count, 1, 1, app);
	w.scope_count++;
}

static void use(struct target *target)
{
	const struct ev_scope *scope = &w.scopes[target->scope];

	probes_used(w.probes, scope, target->name, 100 + (uint32_t)target->scope, 1, w.now_ms * MS);
	if (target->urgent)
		probes_urgent(w.probes, scope, target->name, true, w.now_ms * MS);
}

static void tick(void)
{
	w.now_ms += TICK_MS;
	finish_those_that_are_due();
	probes_tick(w.probes, w.now_ms * MS);
}

/*
 * One scope has up to five hundred targets that hang, all of which a breaker waits for; the others, with few
 * that answer, are tested as often as they would be alone: the longest interval, a tick for the schedule and
 * one for the places of each scope.
 */
static void slow_targets_delay_no_other_scope(void **state)
{
	(void)state;
	draw_start();
	for (int n = 0; n < CASES; n++) {
		int slow = 1 + (int)draw(500), others;

		begin(512);
		add_scope();
		for (int i = 0; i < slow; i++)
			add(0, HANGS, true);
		others = 1 + (int)draw(w.settings.running_max / 2);
		for (int i = 0; i < others; i++) {
			if (w.scope_count < SCOPES_MAX)
				add_scope();
			add(w.scope_count - 1, draw(4) ? ANSWERS : FAILS, draw(3) == 0);
		}
		for (int i = 0; i < w.target_count; i++)
			use(&w.targets[i]);
		for (uint64_t end = w.now_ms + CASE_MS; w.now_ms < end; tick())
			for (int i = slow; i < w.target_count; i++) {
				const struct target *t = &w.targets[i];
				uint64_t since = w.now_ms - (t->last_ms ? t->last_ms : end - CASE_MS);

				/* asked, answered within one tick, and due again */
				assert_in_range(since, 0, 6000 + 3 * TICK_MS);
				if (t->urgent && t->last_ms)
					assert_in_range(since, 0, 600 + 4 * TICK_MS);
			}
		probes_free(w.probes);
	}
}

/* Within a scope, too: as long as a place is free, what hangs delays nobody. */
static void few_slow_targets_delay_nobody(void **state)
{
	(void)state;
	for (int n = 0; n < CASES; n++) {
		int share, slow;

		begin(512);
		share = ((int)w.settings.running_max + 1) / 2;
		slow = (int)draw((uint64_t)share); /* one place at least stays */
		add_scope();
		for (int i = 0; i < slow; i++)
			add(0, HANGS, draw(2) == 0);
		for (int i = 0; i < 3; i++)
			add(0, ANSWERS, false);
		for (int i = 0; i < w.target_count; i++)
			use(&w.targets[i]);
		for (uint64_t end = w.now_ms + CASE_MS; w.now_ms < end; tick())
			for (int i = slow; i < w.target_count; i++)
				if (w.targets[i].last_ms)
					assert_in_range(w.now_ms - w.targets[i].last_ms, 0,
							6000 + 6 * TICK_MS);
		probes_free(w.probes);
	}
}

/* Whatever comes: everybody is tested again and again, nobody twice at once, and the list stays bounded. */
static void nobody_starves(void **state)
{
	(void)state;
	for (int n = 0; n < CASES; n++) {
		int count = 1 + (int)draw(60);

		begin(512);
		for (int i = 0, scopes = 1 + (int)draw(SCOPES_MAX); i < scopes; i++)
			add_scope();
		for (int i = 0; i < count; i++)
			add((int)draw((uint64_t)w.scope_count), (enum manner)draw(MANNERS), draw(4) == 0);
		for (int i = 0; i < count; i++)
			use(&w.targets[i]);
		for (uint64_t end = w.now_ms + 4 * CASE_MS; w.now_ms < end; tick())
			;
		for (int i = 0; i < count; i++) {
			/* the worst: all hang and share one place, which takes two seconds for each */
			if (w.targets[i].asked == 0)
				fail_msg("case %d: target %d of %d was never tested", n, i, count);
			assert_in_range(w.now_ms - w.targets[i].last_ms, 0,
					(uint64_t)(count + 1) * (TIMEOUT_MS + 2 * TICK_MS) + 6000);
		}
		probes_free(w.probes);
	}
}

static void count_listed(void *context, const struct probes_answer *answer)
{
	int *of_scope = context;

	for (int i = 0; i < w.scope_count; i++)
		of_scope[i] += scope_equal(&w.scopes[i], &answer->scope);
}

/* A small list and one that claims it all: each of the others has its share. */
static void the_list_is_shared(void **state)
{
	(void)state;
	for (int n = 0; n < CASES; n++) {
		uint32_t room = 16 + (uint32_t)draw(48);
		int listed[SCOPES_MAX] = {0}, greedy = (int)room + (int)draw(400);

		begin(room);
		for (int i = 0; i < 3; i++)
			add_scope();
		for (int i = 0; i < greedy; i++)
			add(0, ANSWERS, false);
		for (int i = 0; i < 8; i++)
			add(1 + i % 2, ANSWERS, false);
		for (uint64_t end = w.now_ms + CASE_MS; w.now_ms < end; tick())
			for (int i = 0; i < 20; i++)
				use(&w.targets[w.now_ms % 500 ? draw((uint64_t)w.target_count)
							      : (uint64_t)(greedy + i % 8)]);
		probes_each(w.probes, count_listed, listed);
		assert_int_equal(listed[1], 4);
		assert_int_equal(listed[2], 4);
		assert_in_range(listed[0], 1, (int)room - 8);
		probes_free(w.probes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 8: slow targets delay no other scope's test", slow_targets_delay_no_other_scope,
		 NULL, NULL, NULL},
		{"Property 8: while a place is free, a slow target delays nobody",
		 few_slow_targets_delay_nobody, NULL, NULL, NULL},
		{"Property 8: everybody is tested, nobody twice at once", nobody_starves, NULL, NULL, NULL},
		{"Property 8: the list of targets is shared", the_list_is_shared, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
