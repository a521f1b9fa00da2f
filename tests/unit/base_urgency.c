/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Urgency and its three limits, by what the kernel says of this thread's policy. Each in a process of its
 * own, since a limit once lowered stays so; where real time is not to be had, the short slices are tried
 * alone.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cap-ng.h>
#include <cmocka.h>
#include "user/base/urgency.h"

#define MS 1000000ull

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

static int policy(void)
{
	return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
}

static bool real_time(struct urgency *urgency)
{
	urgency_init(urgency);
	return urgency->means == URGENCY_REALTIME;
}

/* Each returns 0 when all is well, else the line; 77 where this host gives no real time. */
#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			return __LINE__ & 0x3f ? __LINE__ & 0x3f : 1;                                        \
	} while (0)
#define NO_REAL_TIME 77

static int urgent_from_the_sleep_to_the_end(void)
{
	struct urgency urgency;

	if (!real_time(&urgency))
		return NO_REAL_TIME;
	CHECK(policy() == SCHED_OTHER);
	urgency_sleep(&urgency, 5000 * MS);
	CHECK(policy() == SCHED_FIFO);
	urgency_wake(&urgency, 5001 * MS);
	urgency_go_on(&urgency, 5002 * MS);
	CHECK(policy() == SCHED_FIFO);
	urgency_end(&urgency, 5002 * MS);
	CHECK(policy() == SCHED_OTHER && urgency.cut == 0);
	urgency_sleep(&urgency, 5003 * MS);
	urgency_wake(&urgency, 5003 * MS);
	urgency_step_aside(&urgency, 5003 * MS);
	CHECK(policy() == SCHED_OTHER);
	return 0;
}

static int a_long_stretch_is_ordinary(void)
{
	struct urgency urgency;

	if (!real_time(&urgency))
		return NO_REAL_TIME;
	urgency_sleep(&urgency, 5000 * MS);
	urgency_wake(&urgency, 5000 * MS);
	urgency_go_on(&urgency, 5002 * MS);
	CHECK(policy() == SCHED_OTHER && urgency.cut == 1);
	return 0;
}

static int a_second_holds_a_tenth_of_it(void)
{
	struct urgency urgency;
	uint64_t now = 5000 * MS, used = 0;

	if (!real_time(&urgency))
		return NO_REAL_TIME;
	for (int i = 0; i < 900; i++) {
		urgency_sleep(&urgency, now);
		if (policy() == SCHED_FIFO)
			used += MS;
		urgency_wake(&urgency, now);
		now += MS;
		urgency_end(&urgency, now);
		CHECK(policy() == SCHED_OTHER);
	}
	CHECK(used == 100 * MS && urgency.cut == 1);
	now += 200 * MS; /* the next second has its own */
	urgency_sleep(&urgency, now);
	CHECK(policy() == SCHED_FIFO);
	return 0;
}

static int sleeping_takes_nothing_and_not_sleeping_takes_it_too(void)
{
	struct urgency urgency;
	uint64_t now = 5000 * MS;

	if (!real_time(&urgency))
		return NO_REAL_TIME;
	urgency_sleep(&urgency, now);
	now += 400 * MS;
	urgency_wake(&urgency, now);
	urgency_end(&urgency, now);
	CHECK(urgency.used_ns == 0);
	for (int i = 0; i < 150; i++) { /* never ended, as where only rings are read */
		urgency_sleep(&urgency, now);
		urgency_wake(&urgency, now);
		now += MS;
	}
	urgency_sleep(&urgency, now);
	CHECK(policy() == SCHED_OTHER && urgency.used_ns >= 100 * MS);
	return 0;
}

static int the_kernel_ends_it_for_who_does_not_come_back(void)
{
	struct urgency urgency;
	uint64_t begun;

	if (!real_time(&urgency))
		return NO_REAL_TIME;
	urgency_sleep(&urgency, 5000 * MS);
	begun = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	while (policy() == SCHED_FIFO)
		CHECK(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun < 500 * MS);
	return 0;
}

static int children_are_ordinary(void)
{
	struct urgency urgency;
	int status;
	pid_t pid;

	if (!real_time(&urgency))
		return NO_REAL_TIME;
	urgency_sleep(&urgency, 5000 * MS);
	pid = fork();
	if (pid == 0)
		_exit(policy() == SCHED_OTHER ? 0 : 1);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	return 0;
}

static int without_the_right_it_is_short_slices(void)
{
	struct rlimit none = {0, 0};
	struct urgency urgency;

	CHECK(setrlimit(RLIMIT_RTPRIO, &none) == 0);
	capng_clear(CAPNG_SELECT_BOTH);
	CHECK(capng_apply(CAPNG_SELECT_CAPS) == 0);
	CHECK(!urgency_by_limit());
	urgency_init(&urgency);
	CHECK(urgency.means == URGENCY_SLICE);
	urgency_sleep(&urgency, 5000 * MS);
	CHECK(policy() == SCHED_OTHER && getpriority(PRIO_PROCESS, 0) == urgency.nice);
	urgency_wake(&urgency, 5000 * MS);
	urgency_step_aside(&urgency, 5001 * MS);
	CHECK(policy() == SCHED_OTHER);
	return 0;
}

static void in_a_child(void **state)
{
	int (*const test)(void) = *(int (**)(void)) * state;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(test());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_REAL_TIME)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(function)                                                                                       \
	{                                                                                                    \
		.name = #function, .test_func = in_a_child, .initial_state = &(int (*[])(void)){function}[0] \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(urgent_from_the_sleep_to_the_end),
		TEST(a_long_stretch_is_ordinary),
		TEST(a_second_holds_a_tenth_of_it),
		TEST(sleeping_takes_nothing_and_not_sleeping_takes_it_too),
		TEST(the_kernel_ends_it_for_who_does_not_come_back),
		TEST(children_are_ordinary),
		TEST(without_the_right_it_is_short_slices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
