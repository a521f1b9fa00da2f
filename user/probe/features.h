/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host's kernel offers, found out by trying (bpf/features.bpf.c and small system calls), never
 * by comparing versions. `lapidary features` prints it; the agent refuses to start (exit 3) when a feature
 * with `needed` is missing, and goes on without the capability of any other.
 */
#ifndef LAPIDARY_FEATURES_H
#define LAPIDARY_FEATURES_H

#include <stdbool.h>
#include <stddef.h>

enum feature {
	FEATURE_BTF,         /* /sys/kernel/btf/vmlinux */
	FEATURE_HOST_PID_NS, /* the agent is in the initial pid namespace */
	FEATURE_RING_BUFFER,
	FEATURE_TASK_STORAGE,
	FEATURE_TP_SIGNAL_DELIVER,
	FEATURE_TP_SIGNAL_GENERATE,
	FEATURE_TP_PROCESS, /* sched_process_fork, exec, exit */
	FEATURE_TP_PAGE_FAULT,
	FEATURE_TP_SYS_ENTER,
	FEATURE_TASK_ITERATOR,
	FEATURE_UPROBE_MULTI,
	FEATURE_PERF_UPROBE,
	FEATURE_PERF_MMAP, /* perf mmap2 records of the whole host */
	FEATURE_PERF_BUILD_ID,
	FEATURE_PIDFD,
	FEATURE_COUNT,
};

struct feature_state {
	const char *name;  /* "uprobe_multi" */
	const char *gives; /* what Lapidary does with it, in a few words */
	bool needed;       /* without it the agent does not start */
	bool present;
	char detail[160]; /* why not, or how it was found */
};

struct features {
	struct feature_state state[FEATURE_COUNT];
};

/* Probes all of them; always fills `out`. Leaves nothing loaded or attached. */
void features_probe(struct features *out);
/* The first needed feature that is missing, or NULL. Borrowed from `features`. */
const struct feature_state *features_missing(const struct features *features);

#endif
