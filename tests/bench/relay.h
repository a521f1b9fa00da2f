/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What relay.bpf.c tells relay.c. */
#ifndef LAPIDARY_BENCH_RELAY_H
#define LAPIDARY_BENCH_RELAY_H

struct relay_fault {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 tgid;
};

#endif
