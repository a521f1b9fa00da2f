/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The least that tells of a fault: one look at the signal and the user, one small record in a ring. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "tests/bench/relay.h"

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 watched_uid = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} ring SEC(".maps");

SEC("tp_btf/signal_deliver")
int BPF_PROG(relay_signal, int sig)
{
	struct relay_fault *fault;

	if (sig != 11 || (__u32)bpf_get_current_uid_gid() != watched_uid)
		return 0;
	fault = bpf_ringbuf_reserve(&ring, sizeof(*fault), 0);
	if (!fault)
		return 0;
	fault->time_ns = bpf_ktime_get_ns();
	fault->tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_ringbuf_submit(fault, 0);
	return 0;
}
