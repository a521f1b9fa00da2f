/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What a crashing task writes, to whatever file: Ruby's report on its stderr, or where RUBY_CRASH_REPORT
 * sends it. Attached to every system call of the host, hence only while somebody crashes (unless the
 * configuration says always), and left at once by whom it does not concern.
 *
 * A fault that nobody has confirmed may have been rescued, so until then only what is written from a
 * signal handler's stack counts. Of the capture ring a quarter is left free: no report may take the room of a
 * fault. Reports come in hundreds of small writes, so they wake nobody until they are many; the agent finds
 * them with whatever wakes it next, at the latest the end of the process.
 *
 * Each piece says how many bytes the task had written before, by the kernel's own count: so a short write
 * that is repeated, a piece that found no room and a head that was missed are all seen by who joins them.
 */
#include "bpf/report.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

enum {
	SYS_WRITE = 1,
	SYS_WRITEV = 20,
	REPORT_BYTES = 256 * 1024,       /* of one crash */
	PIECES = 16,                     /* of one call */
	HANDLER_DEPTH = 128 * 1024,      /* as in ruby.bpf.c */
	PENDING_NS = 2000 * 1000 * 1000, /* a handler that writes begins at once */
	PIECE_TINY = 32,                 /* a piece takes the smallest of these that holds it */
	PIECE_SMALL = 256,
	WHOLE = 1 << 30, /* a call writes less than 2 GiB */
};

static __always_inline bool in_handler(struct task_struct *task, const struct report *report, __u64 sp)
{
	if (bpf_ktime_get_boot_ns() - report->fault_ns > PENDING_NS)
		return false;
	if (task->sas_ss_size)
		return sp - task->sas_ss_sp < task->sas_ss_size;
	return sp < report->sp && report->sp - sp < HANDLER_DEPTH;
}

static __always_inline __u32 piece_flags(struct report *report, __u64 at)
{
	__u64 *since = report_word(REPORT_SINCE);
	bool counted = bpf_core_field_exists(((struct task_struct *)0)->ioac.wchar), late;

	if (report->begun)
		return 0;
	report->begun = 1;
	late = counted ? at > 0 : !since || *since > report->fault_ns;
	return late ? WRITTEN_LATE : 0;
}

#define PIECE(room)                                                                                          \
	do {                                                                                                 \
		ev = bpf_ringbuf_reserve(&capture, sizeof(*ev) + (room), 0);                                 \
		if (!ev)                                                                                     \
			break;                                                                               \
		barrier_var(size);                                                                           \
		if (size > (room) || bpf_probe_read_user(ev->bytes, size, (void *)from))                     \
			size = 0;                                                                            \
		ev->at = at;                                                                                 \
		ev->full_size = full;                                                                        \
		ev->size = size;                                                                             \
		ev->fd = fd;                                                                                 \
		piece_fill(ev, task, &thread->report);                                                       \
		bpf_ringbuf_submit(ev, wake);                                                                \
	} while (0)

static __always_inline void piece_fill(struct ev_written *ev, struct task_struct *task, struct report *report)
{
	head_fill(&ev->head, EV_WRITTEN, sizeof(*ev) + ev->size, LANE_CAPTURE, bpf_ktime_get_boot_ns(), task);
	ev->fault_time_ns = report->fault_ns;
	ev->flags = piece_flags(report, ev->at);
	report->kept += ev->size;
	if (report->kept >= REPORT_BYTES)
		ev->flags |= WRITTEN_LAST;
	lane_count(LANE_CAPTURE, false);
}

/*
 * Sends the piece of the current task that stands for `full` bytes, of which EV_WRITTEN_MAX are taken at
 * most, the `at`th since its fault. 1: no more are wanted. Not static: so the verifier looks at it once, and
 * not once for each turn of the loops that call it.
 */
__noinline int report_piece(__u64 from, __u32 full, __u64 at, __s32 fd)
{
	__u64 held = bpf_ringbuf_query(&capture, BPF_RB_AVAIL_DATA);
	__u64 ring = bpf_ringbuf_query(&capture, BPF_RB_RING_SIZE);
	__u64 wake = held > ring / 8 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
	__u32 size = full < EV_WRITTEN_MAX ? full : EV_WRITTEN_MAX;
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *thread = bpf_task_storage_get(&threads, task, 0, 0);
	struct ev_written *ev;

	if (!thread || thread->report.kept >= REPORT_BYTES)
		return 1;
	if (held >= ring / 4 * 3)
		return 0;
	if (size <= PIECE_TINY)
		PIECE(PIECE_TINY);
	else if (size <= PIECE_SMALL)
		PIECE(PIECE_SMALL);
	else
		PIECE(EV_WRITTEN_MAX);
	return 0;
}

static __always_inline __u32 bounded(__u64 size, __u32 most)
{
	return size < most ? size : most;
}

static __noinline int written_one(__u64 from, __u64 count, __u64 at, __s32 fd)
{
	__u32 full, i;

	for (i = 0; i < PIECES && count; i++) {
		full = bounded(count, i < PIECES - 1 ? EV_WRITTEN_MAX : WHOLE);
		if (report_piece(from, full, at, fd))
			break;
		from += full;
		at += full;
		count -= full;
	}
	return 0;
}

/* The first bytes of each element; what writes long ones this way writes no crash report. */
static __noinline int written_many(__u64 elements, __u64 count, __u64 at, __s32 fd)
{
	struct iovec element;
	__u32 full, i;

	for (i = 0; i < PIECES && i < count; i++) {
		if (bpf_probe_read_user(&element, sizeof(element), (void *)(elements + i * sizeof(element))))
			break;
		full = bounded(element.iov_len, WHOLE);
		if (full && report_piece((__u64)element.iov_base, full, at, fd))
			break;
		at += full;
	}
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(report_write, struct pt_regs *regs, long id)
{
	struct task_struct *task;
	struct thread *thread;
	struct report *report;
	__u64 at;

	if (id != SYS_WRITE && id != SYS_WRITEV)
		return 0;
	task = bpf_get_current_task_btf();
	thread = bpf_task_storage_get(&threads, task, 0, 0);
	if (!thread || !thread->report.fault_ns)
		return 0;
	report = &thread->report;
	if (!report->confirmed && !in_handler(task, report, regs->sp))
		return 0;
	at = bpf_core_field_exists(task->ioac.wchar) ? report_written(task) - report->written : report->kept;
	if (id == SYS_WRITE)
		written_one(regs->si, regs->dx, at, regs->di);
	else
		written_many(regs->si, regs->dx, at, regs->di);
	return 0;
}
