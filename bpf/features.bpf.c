/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * One tiny program for each thing that a kernel may lack, so that trying it says exactly what is missing.
 * user/probe/features.c loads them, all at once and one by one where that fails; none of them does a thing.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

SEC("tp_btf/signal_deliver")
int feature_ring_buffer(void *ctx)
{
	void *room = bpf_ringbuf_reserve(&ring, 8, 0);

	if (room)
		bpf_ringbuf_discard(room, 0);
	return 0;
}

SEC("tp_btf/signal_deliver")
int feature_task_storage(void *ctx)
{
	bpf_task_storage_get(&storage, bpf_get_current_task_btf()->group_leader, 0, 0);
	return 0;
}

SEC("tp_btf/signal_deliver")
int feature_signal_deliver(void *ctx)
{
	return bpf_task_pt_regs(bpf_get_current_task_btf()) == 1;
}

SEC("tp_btf/signal_generate")
int feature_signal_generate(void *ctx)
{
	return 0;
}

SEC("tp_btf/sched_process_fork")
int feature_fork(void *ctx)
{
	return 0;
}

SEC("tp_btf/sched_process_exec")
int feature_exec(void *ctx)
{
	return 0;
}

SEC("tp_btf/sched_process_exit")
int feature_exit(void *ctx)
{
	return 0;
}

SEC("tp_btf/page_fault_user")
int feature_page_fault(void *ctx)
{
	return 0;
}

SEC("tp_btf/sys_enter")
int feature_sys_enter(void *ctx)
{
	return 0;
}

SEC("iter/task")
int feature_iterator(struct bpf_iter__task *ctx)
{
	return 0;
}

SEC("uprobe")
int feature_uprobe(void *ctx)
{
	return bpf_get_attach_cookie(ctx) == 1;
}
