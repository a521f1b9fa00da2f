// SPDX-License-Identifier: Apache-2.0
/*
 * Scheduling by sched_setattr(2), for which the C library has no name. A real-time policy needs to be asked
 * for anew after each ordinary stretch, so the right to it must outlast the start.
 *
 * Stepping aside is a short sleep. A yield gives way within one's own group of processes (session, cgroup)
 * alone, and then for milliseconds; and who becomes ordinary while it runs is left its slice before others.
 */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "user/base/urgency.h"

#define SECOND_NS   1000000000ull
#define PER_SECOND  100000000ull
#define STRETCH_NS  2000000ull
#define SLICE_SHORT 100000ull /* the shortest there is; 0 is the kernel's own */
#define ASIDE_NS    50000ull

enum { RTTIME_US = 20000, RESET_ON_FORK = 1 };

/* SCHED_ATTR_SIZE_VER0 of linux/sched/types.h */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

_Static_assert(sizeof(struct attributes) == 48, "struct sched_attr");

static pid_t thread; /* for the signal's handler */

static bool set(pid_t tid, int policy, int nice, uint64_t slice)
{
	struct attributes attributes = {
		.size = sizeof(attributes),
		.policy = (uint32_t)policy,
		.flags = RESET_ON_FORK,
		.nice = policy == SCHED_OTHER ? nice : 0,
		.priority = policy == SCHED_OTHER ? 0 : 1,
		.runtime = slice,
	};

	return syscall(SYS_sched_setattr, tid, &attributes, 0) == 0;
}

/* RLIMIT_RTTIME: the kernel says so even to a thread that never comes back to its loop. */
static void too_long(int number)
{
	(void)number;
	set(thread, SCHED_OTHER, 0, 0);
}

bool urgency_by_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_RTPRIO, &limit) != 0)
		return false;
	if (limit.rlim_cur >= 1)
		return true;
	limit.rlim_cur = 1;
	if (limit.rlim_max < 1)
		limit.rlim_max = 1;
	return setrlimit(RLIMIT_RTPRIO, &limit) == 0;
}

void urgency_init(struct urgency *urgency)
{
	struct sigaction action = {.sa_handler = too_long, .sa_flags = SA_RESTART};
	struct rlimit time;

	*urgency = (struct urgency){.means = URGENCY_SLICE, .nice = getpriority(PRIO_PROCESS, 0)};
	thread = (pid_t)syscall(SYS_gettid);
	if (getrlimit(RLIMIT_RTTIME, &time) != 0)
		return;
	if (time.rlim_max > RTTIME_US) /* the hard limit would kill */
		time.rlim_cur = RTTIME_US;
	if (setrlimit(RLIMIT_RTTIME, &time) == 0 && sigaction(SIGXCPU, &action, NULL) == 0 &&
	    set(0, SCHED_FIFO, 0, 0))
		urgency->means = URGENCY_REALTIME;
	set(0, SCHED_OTHER, urgency->nice, 0);
}

static void ordinary(struct urgency *urgency)
{
	urgency->urgent = false;
	set(0, SCHED_OTHER, urgency->nice, 0);
}

/* What was used of this second up to now; false: there is nothing left of it. */
static bool spend(struct urgency *urgency, uint64_t now_ns)
{
	urgency->used_ns += now_ns - urgency->woken_ns;
	urgency->woken_ns = now_ns;
	if (urgency->used_ns < PER_SECOND)
		return true;
	urgency->cut++;
	return false;
}

void urgency_sleep(struct urgency *urgency, uint64_t now_ns)
{
	bool left = !urgency->urgent || spend(urgency, now_ns);

	if (now_ns - urgency->second_ns >= SECOND_NS) {
		urgency->second_ns = now_ns;
		urgency->used_ns = 0;
		left = true;
	}
	if (!left)
		ordinary(urgency);
	if (urgency->urgent || urgency->used_ns >= PER_SECOND)
		return;
	urgency->woken_ns = now_ns;
	urgency->urgent = urgency->means == URGENCY_REALTIME
				  ? set(0, SCHED_FIFO, 0, 0)
				  : set(0, SCHED_OTHER, urgency->nice, SLICE_SHORT);
}

void urgency_wake(struct urgency *urgency, uint64_t now_ns)
{
	urgency->woken_ns = now_ns;
}

void urgency_end(struct urgency *urgency, uint64_t now_ns)
{
	if (!urgency->urgent)
		return;
	spend(urgency, now_ns);
	ordinary(urgency);
}

void urgency_step_aside(struct urgency *urgency, uint64_t now_ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ASIDE_NS}, NULL);
	urgency_end(urgency, now_ns); /* the sleep does not count */
}

void urgency_go_on(struct urgency *urgency, uint64_t now_ns)
{
	if (!urgency->urgent || now_ns - urgency->woken_ns < STRETCH_NS)
		return;
	urgency->cut++;
	urgency_end(urgency, now_ns);
}

const char *urgency_name(enum urgency_means means)
{
	return means == URGENCY_REALTIME ? "real time" : "short slices";
}
