/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signal goes to a pidfd alone, after the facts were looked at once more: start time, uid, cgroup, that it
 * has not ended, that it is not process 1 of its pid namespace, and that it catches the signal (SigCgt; KILL
 * excepted). The pidfd is opened first and asked last, so a pid that is used again in between gets nothing.
 */
#ifndef LAPIDARY_SIGNALS_H
#define LAPIDARY_SIGNALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct signal_order {
	uint32_t tgid;
	uint64_t start_ns;
	uint32_t uid;
	uint64_t cgroup_id; /* FNV-1a of the path, as in ev_info; 0, not known, fits none */
	int signal;
	bool init_allowed; /* process 1 of a namespace may be signalled: the configuration says so */
};

/* 0; -ESRCH: gone or another; -EPERM: uid or cgroup differ, or process 1; -ENOTSUP: it does not catch it.
 * `why` gets one line on failure. */
int signals_send(const struct signal_order *order, char *why, size_t why_size);
/* Only the checks. */
int signals_check(const struct signal_order *order, char *why, size_t why_size);

#endif
