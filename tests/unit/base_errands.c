/* SPDX-License-Identifier: Apache-2.0 */
/* Work that hangs in real reads (of FIFOs that nobody writes to): whom it keeps waiting, and whom it does
 * not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "user/base/errands.h"

enum {
	THREADS = 4,
	OF_OWNER = 2,
	OF_GROUP = 3,
	WAITING = 8,
	OFF = 6,
	OFF_OF_OWNER = 3,
	OFF_OF_GROUP = 4,
	JOBS = 64
};

#define PATIENCE UINT64_C(1000000000)

struct job {
	struct errand errand;
	uint64_t owner;
	uint32_t group;
	int from; /* what it reads; -1: nothing holds it up */
	bool ran, back;
};

static struct errands *errands;
static struct job jobs[JOBS];
static size_t added;
static int woken[2], hang[2];
static _Atomic int hanging; /* have begun their read */

static void whose(struct errand *errand)
{
	struct job *job = (struct job *)errand;

	errand->owner = job->owner;
	errand->group = job->group;
}

static void run(struct errand *errand)
{
	struct job *job = (struct job *)errand;
	char byte;

	hanging += job->from >= 0;
	if (job->from >= 0 && read(job->from, &byte, 1) < 0)
		return;
	job->ran = true;
}

static void wake(void *context)
{
	(void)context;
	if (write(woken[1], "w", 1) != 1)
		abort();
}

static int before(void **state)
{
	const struct errands_settings settings = {.threads = THREADS,
						  .of_owner = OF_OWNER,
						  .of_group = OF_GROUP,
						  .waiting_of_owner = WAITING,
						  .off = OFF,
						  .off_of_owner = OFF_OF_OWNER,
						  .off_of_group = OFF_OF_GROUP,
						  .patience_ns = PATIENCE};
	const struct errands_events events = {.whose = whose, .run = run, .wake = wake};

	(void)state;
	added = 0;
	hanging = 0;
	if (pipe2(woken, O_CLOEXEC) != 0 || pipe2(hang, O_CLOEXEC) != 0)
		return -1;
	errands = errands_new(&settings, &events);
	return errands ? 0 : -1;
}

static struct job *add(uint64_t owner, uint32_t group, bool hangs)
{
	struct job *job = &jobs[added++];

	*job = (struct job){.owner = owner, .group = group, .from = hangs ? hang[0] : -1};
	assert_int_equal(errands_add(errands, &job->errand), 0);
	return job;
}

static bool take(void)
{
	struct errand *errand = errands_done(errands);

	if (errand)
		((struct job *)errand)->back = true;
	return errand != NULL;
}

static size_t back(void)
{
	size_t count = 0;

	for (size_t i = 0; i < added; i++)
		count += jobs[i].back;
	return count;
}

/* Waits for what has come back since. */
static void wait_for_more(void)
{
	struct pollfd ready = {.fd = woken[0], .events = POLLIN};
	char bytes[64];

	if (poll(&ready, 1, 20000) != 1)
		fail_msg("%zu of %zu are back, and no more come", back(), added);
	assert_true(read(woken[0], bytes, sizeof(bytes)) > 0);
	while (take())
		;
}

static void comes_back(const struct job *job)
{
	while (take())
		;
	while (!job->back)
		wait_for_more();
}

static void come_back(size_t count)
{
	while (back() < count)
		wait_for_more();
}

static void hang_all(int count)
{
	while (hanging < count)
		sched_yield();
}

static void patience_ends(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	errands_tick(errands, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + PATIENCE);
}

/* Whoever hangs is let go: all come back, and everything is freed. */
static int after(void **state)
{
	struct pollfd ready = {.fd = woken[0], .events = POLLIN};
	char bytes[64];

	(void)state;
	errands_stop(errands);
	close(hang[1]);
	while (take())
		;
	while (back() < added) {
		if (poll(&ready, 1, 20000) != 1 || read(woken[0], bytes, sizeof(bytes)) <= 0)
			return -1;
		while (take())
			;
	}
	while (!errands_free(errands))
		sched_yield();
	close(hang[0]);
	close(woken[0]);
	close(woken[1]);
	return 0;
}

static void all_are_run(void **state)
{
	(void)state;
	for (int i = 0; i < WAITING; i++)
		add(1, 1, false);
	for (int i = 0; i < JOBS / 2; i++)
		add(2 + (uint64_t)i, 2, false);
	for (size_t i = 0; i < added; i++) {
		comes_back(&jobs[i]);
		assert_true(jobs[i].ran);
		assert_false(jobs[i].errand.refused);
	}
}

/* The fault: eight that hang used to be all the readers there were, and nobody else was looked at any more.
 */
static void who_hangs_keeps_his_own_places_alone(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		add(1, 1, true);
	comes_back(add(2, 2, false));
	for (int i = 0; i < 8; i++)
		add(3 + (uint64_t)i, 1, true); /* from ever new cgroups */
	comes_back(add(2, 2, false));
	assert_int_equal(back(), 2);
}

static void what_hangs_is_written_off(void **state)
{
	struct job *own;

	(void)state;
	add(1, 1, true);
	add(1, 1, true);
	hang_all(2);
	own = add(1, 1, false);
	while (errands_written_off(errands) < 2)
		patience_ends();
	comes_back(own); /* it has places again */
	assert_true(own->ran);
}

/* Of all, of a user, of one of his cgroups: past it who hangs waits for himself, and the others go on. */
static void no_more_than_so_many_are_written_off(void **state)
{
	(void)state;
	for (uint32_t owner = 1; owner <= 2; owner++)
		for (int i = 0; i < WAITING; i++)
			add(owner, 1, true);
	for (int i = 0; i < 50; i++) {
		patience_ends();
		comes_back(add(9, 9, false));
		added--; /* its place is used again */
	}
	assert_int_equal(errands_written_off(errands), OFF_OF_GROUP);
	assert_int_equal(back(), 0);
	for (uint32_t owner = 3; owner <= 6; owner++)
		for (int i = 0; i < 4; i++)
			add(owner, owner, true);
	while (errands_written_off(errands) < OFF)
		patience_ends();
	for (int i = 0; i < 50; i++)
		patience_ends();
	assert_int_equal(errands_written_off(errands), OFF);
}

static void whoever_comes_back_is_no_thread_too_many(void **state)
{
	struct job *last;

	(void)state;
	for (int i = 0; i < OF_OWNER; i++)
		add(1, 1, true);
	hang_all(OF_OWNER);
	while (errands_written_off(errands) < OF_OWNER)
		patience_ends();
	for (int i = 0; i < OF_OWNER; i++)
		assert_int_equal(write(hang[1], "g", 1), 1);
	comes_back(&jobs[0]);
	comes_back(&jobs[1]);
	assert_true(jobs[0].ran && jobs[1].ran);
	assert_int_equal(errands_written_off(errands), 0);
	last = add(1, 1, false);
	comes_back(last);
	assert_true(last->ran);
}

static void too_many_that_wait_are_given_back(void **state)
{
	size_t refused = 0;

	(void)state;
	for (int i = 0; i < OF_OWNER + WAITING + 3; i++)
		add(1, 1, true);
	/* which of them, the threads decide */
	come_back(3);
	hang_all(OF_OWNER);
	comes_back(add(2, 2, false));
	for (size_t i = 0; i < added; i++) {
		refused += jobs[i].back && jobs[i].errand.refused;
		assert_false(jobs[i].errand.refused && jobs[i].ran);
	}
	assert_int_equal(refused, 3);
	assert_int_equal(back(), 4);
}

static void a_stop_gives_back_what_waits(void **state)
{
	struct job *waits;

	(void)state;
	for (int i = 0; i < OF_OWNER; i++)
		add(1, 1, true);
	hang_all(OF_OWNER);
	waits = add(1, 1, false);
	comes_back(add(2, 2, false));
	assert_false(waits->back);
	errands_stop(errands);
	comes_back(waits);
	assert_true(waits->errand.refused);
	assert_false(errands_free(errands)); /* two hang */
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(all_are_run),
		EACH(who_hangs_keeps_his_own_places_alone),
		EACH(what_hangs_is_written_off),
		EACH(no_more_than_so_many_are_written_off),
		EACH(whoever_comes_back_is_no_thread_too_many),
		EACH(too_many_that_wait_are_given_back),
		EACH(a_stop_gives_back_what_waits),
	};

	return cmocka_run_group_tests_name("base: errands", tests, NULL, NULL);
}
