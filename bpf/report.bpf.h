/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * When a task begins to write the report of its own crash: the other probes say so here, report.bpf.c
 * takes what it writes.
 *
 * The probe on writes costs every system call of the host something, so it is attached only while somebody
 * crashes, by a thread of the agent that waits for a record of the ring `report_wake`. What a task wrote
 * before that is known by its count of written bytes, which the kernel keeps.
 */
#ifndef LAPIDARY_REPORT_BPF_H
#define LAPIDARY_REPORT_BPF_H

#include "bpf/thread.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REPORT_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} report_words __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} report_wake __weak SEC(".maps");

static __always_inline __u64 *report_word(__u32 which)
{
	return bpf_map_lookup_elem(&report_words, &which);
}

/* Bytes that the task has written so far, 0 where the kernel does not count them. */
static __always_inline __u64 report_written(struct task_struct *task)
{
	return bpf_core_field_exists(task->ioac.wchar) ? BPF_CORE_READ(task, ioac.wchar) : 0;
}

/* A full ring is no loss: the thread that reads it is about to attach. */
static __always_inline void report_call(__u64 now, __u32 confirmed)
{
	struct report_call call = {.time_ns = now, .confirmed = confirmed};

	bpf_ringbuf_output(&report_wake, &call, sizeof(call), 0);
}

/* A fault with a handler may become a crash, and the handler may write. `wake` bounds how often it is said.
 */
static __always_inline void report_pending(struct thread *thread, struct task_struct *task, bool wake)
{
	struct report *report = &thread->report;

	if (!thread || report->confirmed)
		return;
	__builtin_memset(report, 0, sizeof(*report));
	if (thread->fault.flags & FAULT_DEFAULT_ACTION)
		return;
	report->fault_ns = thread->fault.time_ns;
	report->sp = thread->fault.sp;
	report->written = report_written(task);
	if (wake)
		report_call(report->fault_ns, 0);
}

static __always_inline void report_open(struct report *report, struct mark *mark, __u64 now)
{
	__u64 *open = report_word(REPORT_OPEN);

	report->confirmed = 1;
	if (open) {
		add_once(*open);
		add_once(mark->reports);
	}
	report_call(now, 1);
}

/* Ruby's crash handler has taken its first step, and has written nothing yet. */
static __always_inline void report_confirmed(struct thread *thread, struct mark *mark, __u64 now)
{
	if (thread->report.fault_ns && !thread->report.confirmed)
		report_open(&thread->report, mark, now);
}

/* rb_bug and the like write their report first and raise SIGABRT at its end. */
static __always_inline void report_fatal(struct task_struct *task, struct mark *mark, __u64 now)
{
	struct thread *thread = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!thread || thread->report.confirmed)
		return;
	__builtin_memset(&thread->report, 0, sizeof(thread->report));
	thread->report.fault_ns = now;
	thread->report.written = report_written(task);
	report_open(&thread->report, mark, now);
}

static __always_inline void report_ended(struct mark *mark)
{
	__u64 *open = mark->reports ? report_word(REPORT_OPEN) : NULL;

	if (open)
		__sync_fetch_and_sub(open, mark->reports);
}

#endif
