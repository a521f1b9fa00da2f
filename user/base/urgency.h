/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being run at once when there is something to do, without ever keeping others waiting for long.
 *
 * Who sleeps urgent wakes before every ordinary process; what must be done at once is done, and the rest with
 * ordinary priority. Where the host allows it that is the lowest real-time priority, else (Linux 6.12) the
 * shortest time slice. Three limits see to it that urgency harms nobody: a stretch of work is ordinary after
 * 2 ms, a second holds 100 ms of it, and the kernel's own clock (RLIMIT_RTTIME) ends it after 20 ms whatever
 * the program is doing. All of it concerns the calling thread, which must be the process's first; what it
 * starts is ordinary from the start.
 */
#ifndef LAPIDARY_URGENCY_H
#define LAPIDARY_URGENCY_H

#include <stdbool.h>
#include <stdint.h>

enum urgency_means { URGENCY_SLICE, URGENCY_REALTIME };

struct urgency {
	enum urgency_means means;
	bool urgent;
	int nice;
	uint64_t woken_ns;           /* the stretch began */
	uint64_t second_ns, used_ns; /* this second, and what was used of it */
	uint64_t cut;                /* how often a limit ended it */
};

/*
 * True when real time is this process's by its limit of RLIMIT_RTPRIO, which is raised to 1 where that is
 * allowed. Else CAP_SYS_NICE is needed for it.
 */
bool urgency_by_limit(void);

/* When the capabilities are what they will stay. Finds the means; begins as ordinary. */
void urgency_init(struct urgency *urgency);

/* Times are of one clock, in ns. Before each sleep: the waking will be urgent, if the second has some left.
 */
void urgency_sleep(struct urgency *urgency, uint64_t now_ns);
void urgency_wake(struct urgency *urgency, uint64_t now_ns);
/* Between pieces of urgent work: ends it when it has lasted too long. */
void urgency_go_on(struct urgency *urgency, uint64_t now_ns);
/* What follows can wait. */
void urgency_end(struct urgency *urgency, uint64_t now_ns);
/* The same, and whom this thread has just woken on its processor runs before it goes on: sleeps for 50 us. */
void urgency_step_aside(struct urgency *urgency, uint64_t now_ns);

/* "real time" or "short slices", for people. */
const char *urgency_name(enum urgency_means means);

#endif
