/* SPDX-License-Identifier: Apache-2.0 */
/* Reading /proc beside the loop, on threads that may hang (errands.h): asked here, answered by
 * watch_answered. */
#ifndef LAPIDARY_AGENT_PROC_H
#define LAPIDARY_AGENT_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/event.h"

struct agent;

enum proc_want {
	PROC_FACTS = 1 << 0, /* who it is */
	PROC_MAPS = 1 << 1,
	PROC_SAMPLE = 1 << 2, /* memory, faults, CPU time */
	PROC_ADOPT = 1 << 3,  /* watch it if the configuration lets us */
	PROC_SCAN = 1 << 4,   /* part of a scan of all processes */
};

struct proc_answer {
	uint32_t tgid;
	uint64_t start_ns;
	unsigned wanted, got; /* got: those of FACTS, MAPS, SAMPLE that could be read */
	char capture[12];     /* what may be taken of it; only with FACTS */
	bool ended;           /* it is gone, or a zombie */
	bool configured;      /* an entry of the configuration names its app; only with FACTS */
	bool excluded;        /* by the configuration; only with FACTS */
	uint64_t read_ns;     /* when reading began */
	char *maps;           /* text of /proc/PID/maps */
	size_t maps_size;
	struct ev_info info;     /* without head */
	struct ev_sample sample; /* without head and user_faults */
};

int proc_open(
	struct agent *agent); /* agent->readers, errands and answers; their owner closes and frees them */
void proc_tick(struct agent *agent); /* gives up on readers that hang */

/* -EAGAIN when too many are being read, or two of this process. */
int proc_ask(struct agent *agent, uint32_t tgid, uint64_t start_ns, unsigned wanted);

/* agent_watch.c; on the loop's thread. The answer is freed afterwards. */
void watch_answered(struct agent *agent, const struct proc_answer *answer);

#endif
