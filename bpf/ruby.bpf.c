/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What libruby itself tells: that a process is a Ruby, that the VM gives up, and that its crash handler
 * has begun.
 *
 * The first exported function that Ruby's SIGSEGV handler calls, rb_source_location_cstr, is also called
 * for every warning. It confirms a crash only for a thread whose fault is still pending and only on the
 * stack of a signal handler: the alternate one, or, where the thread has none, just below the fault.
 */
#include "bpf/uprobe.bpf.h"
#include "bpf/fault.bpf.h"
#include "bpf/report.bpf.h"
#include "bpf/ruby_frames.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

enum { HANDLER_DEPTH = 128 * 1024 }; /* a handler without a stack of its own runs this near below the fault */

/* Where the probe is hit against where it lies in the file: that is where the whole file lies. */
static __always_inline void place_note(struct task_struct *leader, __u64 ip, __u32 group)
{
	struct ruby_layout *ruby = bpf_map_lookup_elem(&rubies, &group);
	struct ruby_place *place;

	if (!ruby || !ruby->start)
		return;
	place = bpf_task_storage_get(&places, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!place)
		return;
	place->bias = ip - ruby->start;
	place->group = group;
}

/* ruby_sysinit or ruby_setup: watch this process from its first instruction of Ruby on. */
SEC("uprobe")
int ruby_start(struct pt_regs *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf(), *leader = task->group_leader;
	struct mark fresh = {}, *mark = mark_get(leader);
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (!mark) {
		fresh.start_ns = leader->start_boottime;
		mark = bpf_task_storage_get(&marks, leader, &fresh, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!mark)
			return 0;
		birth_send(leader, leader->real_parent, EV_WATCH);
	}
	if (hit_counts(mark, cookie, SITE_RUBY_START))
		place_note(leader, PT_REGS_IP(ctx), cookie >> 16);
	return 0;
}

static __always_inline int fatal_send(struct pt_regs *ctx, enum site site, enum fatal_kind kind,
				      const char *message, __u32 line)
{
	struct ev_fatal ev = {};
	struct hit hit;
	enum lane lane;
	__u64 now;

	if (!hit_take(ctx, site, &hit))
		return 0;
	now = bpf_ktime_get_boot_ns();
	lane = mark_note(hit.mark, now);
	head_fill(&ev.head, EV_FATAL, sizeof(ev), lane, now, hit.task);
	ev.kind = kind;
	ev.line = line;
	if (message && bpf_probe_read_user_str(ev.message, sizeof(ev.message), message) < 0)
		count_unreadable();
	lane_send(lane, &ev, sizeof(ev), now);
	if (kind == FATAL_BUG || kind == FATAL_ASSERT)
		report_fatal(hit.task, hit.mark, now);
	return 0;
}

/* rb_bug(format, ...) and rb_fatal(format, ...): the format alone, its arguments may hold anything. */
SEC("uprobe")
int ruby_bug(struct pt_regs *ctx)
{
	return fatal_send(ctx, SITE_RUBY_BUG, FATAL_BUG, (const char *)PT_REGS_PARM1(ctx), 0);
}

SEC("uprobe")
int ruby_fatal(struct pt_regs *ctx)
{
	return fatal_send(ctx, SITE_RUBY_FATAL, FATAL_FATAL, (const char *)PT_REGS_PARM1(ctx), 0);
}

SEC("uprobe")
int ruby_memerror(struct pt_regs *ctx)
{
	return fatal_send(ctx, SITE_RUBY_MEMERROR, FATAL_MEMERROR, NULL, 0);
}

/* rb_assert_failure(file, line, name, expression) */
SEC("uprobe")
int ruby_assert(struct pt_regs *ctx)
{
	return fatal_send(ctx, SITE_RUBY_ASSERT, FATAL_ASSERT, (const char *)PT_REGS_PARM4(ctx),
			  (__u32)PT_REGS_PARM2(ctx));
}

static __always_inline bool on_handler_stack(struct task_struct *task, __u64 sp, __u64 fault_sp)
{
	if (task->sas_ss_size)
		return sp - task->sas_ss_sp < task->sas_ss_size;
	return sp < fault_sp && fault_sp - sp < HANDLER_DEPTH;
}

/* The crash that got no record gets its small one now: none may be told of without signal and place. */
static __always_inline void fault_late(struct hit *hit, struct thread *thread)
{
	struct ev_fault *ev = bpf_ringbuf_reserve(&life, sizeof(*ev), 0);

	if (ev) {
		fault_fill(ev, &thread->fault, hit->task, thread, hit->mark, LANE_LIFE);
		bpf_ringbuf_submit(ev, 0);
	} else {
		lane_next(LANE_LIFE);
	}
	lane_count(LANE_LIFE, !ev);
}

SEC("uprobe")
int ruby_confirm(struct pt_regs *ctx)
{
	struct ev_confirm ev = {};
	struct thread *thread;
	struct hit hit;
	__u64 now;

	if (!hit_take(ctx, SITE_RUBY_CONFIRM, &hit))
		return 0;
	thread = bpf_task_storage_get(&threads, hit.task, 0, 0);
	if (!thread || !thread->fault.time_ns || (thread->fault.flags & FAULT_DEFAULT_ACTION) ||
	    !on_handler_stack(hit.task, PT_REGS_SP(ctx), thread->fault.sp))
		return 0;
	if (!thread->fault.recorded)
		fault_late(&hit, thread);
	now = bpf_ktime_get_boot_ns();
	head_fill(&ev.head, EV_CONFIRM, sizeof(ev), LANE_LIFE, now, hit.task);
	ev.fault_time_ns = thread->fault.time_ns;
	thread->fault.time_ns = 0;
	report_confirmed(thread, hit.mark, now);
	lane_send(LANE_LIFE, &ev, sizeof(ev), now);
	return 0;
}
