/* SPDX-License-Identifier: Apache-2.0 */
/* What is put off: its order, and that a long row of it takes no stack. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "user/cli/later.h"

enum { LONG = 200000, STACK = 128 * 1024 };

struct life {
	struct later_row row;
	unsigned done, left, depth, deepest;
	unsigned order[4];
};

/* As a step of the agent: it ends with what was put off in it. */
static void step(struct life *life)
{
	if (++life->depth > life->deepest)
		life->deepest = life->depth;
	later_run(&life->row, life);
	life->depth--;
}

static void again(void *context, void *payload)
{
	struct life *life = context;

	(void)payload;
	life->done++;
	if (life->left-- > 1)
		later_add(&life->row, 0, again);
	step(life);
}

static void *live(void *context)
{
	struct life *life = context;

	later_add(&life->row, 0, again);
	step(life);
	return NULL;
}

static void a_long_row_takes_no_more_stack_than_one(void **state)
{
	struct life life = {.left = LONG};
	pthread_attr_t small;
	pthread_t thread;

	(void)state;
	later_init(&life.row);
	pthread_attr_init(&small);
	assert_int_equal(pthread_attr_setstacksize(&small, STACK), 0);
	assert_int_equal(pthread_create(&thread, &small, live, &life), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&small);
	assert_int_equal(life.done, LONG);
	assert_int_equal(life.deepest, 2);
}

static void note(void *context, void *payload)
{
	struct life *life = context;

	life->order[life->done++] = *(unsigned *)payload;
}

static void add(struct life *life, unsigned number, void (*run)(void *context, void *payload))
{
	*(unsigned *)later_add(&life->row, sizeof(number), run) = number;
}

static void note_and_add(void *context, void *payload)
{
	note(context, payload);
	add(context, 4, note);
	step(context);
}

static void what_comes_meanwhile_comes_last(void **state)
{
	struct life life = {0};

	(void)state;
	later_init(&life.row);
	later_run(&life.row, &life);
	add(&life, 1, note);
	add(&life, 2, note_and_add);
	add(&life, 3, note);
	later_run(&life.row, &life);
	assert_int_equal(life.done, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(life.order[i], i + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_row_takes_no_more_stack_than_one),
		cmocka_unit_test(what_comes_meanwhile_comes_last),
	};

	return cmocka_run_group_tests_name("cli: what is put off", tests, NULL, NULL);
}
