/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Life of watched processes: fork, exec, exit, signals from outside; and the iterator that lists all.
 *
 * A fork passes the watch on (a prefork worker never starts Ruby anew), an exec ends it (the new program's
 * Ruby, if it has one, announces itself). Threads make no record. The mark's start_ns doubles as the latch
 * of the exit: the last two threads may both see `live` at 0, and one of them takes it.
 */
#include "bpf/report.bpf.h"
#include "bpf/ruby_frames.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

enum {
	SIGNAL_GROUP_EXIT_ = 0x4,
	TRACE_SIGNAL_DELIVERED_ = 0,
	SI_KERNEL_ = 0x80,
	INFO_NONE = 0, /* SEND_SIG_NOINFO and SEND_SIG_PRIV: no siginfo behind the pointer */
	INFO_KERNEL = 1,
	/* HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE TERM XCPU XFSZ SYS */
	SIGNALS_THAT_KILL = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 |
			    1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 24 | 1 << 25,
	SIGSYS_ = 31,
};

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct ruby_place *place, copy;
	struct mark fresh = {}, *mark;

	if (child->group_leader != child)
		return 0;
	mark = mark_get(parent->group_leader);
	if (!mark)
		return 0;
	fresh.start_ns = child->start_boottime;
	__builtin_memcpy(fresh.libs, mark->libs, sizeof(fresh.libs));
	bpf_task_storage_get(&marks, child, &fresh, BPF_LOCAL_STORAGE_GET_F_CREATE);
	place = bpf_task_storage_get(&places, parent->group_leader, 0, 0);
	if (place) {
		copy = *place;
		bpf_task_storage_get(&places, child, &copy, BPF_LOCAL_STORAGE_GET_F_CREATE);
	}
	birth_send(child, parent, EV_FORK);
	return 0;
}

/*
 * When a thread other than the leader execs, it takes the leader's identity and the old leader's mark is
 * gone. That is rare: then tell of any exec, user space knows whether it knew the process.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	struct ev_exec ev = {};
	__u64 now;

	if (!mark_get(task) && old_pid == task->pid)
		return 0;
	now = bpf_ktime_get_boot_ns();
	head_fill(&ev.head, EV_EXEC, sizeof(ev), LANE_LIFE, now, task);
	BPF_CORE_READ_STR_INTO(&ev.comm, task, comm);
	bpf_probe_read_kernel_str(ev.file, sizeof(ev.file), bprm->filename);
	lane_send(LANE_LIFE, &ev, sizeof(ev), now);
	bpf_task_storage_delete(&marks, task);
	bpf_task_storage_delete(&places, task);
	bpf_task_storage_delete(&threads, task);
	return 0;
}

/* What wait(2) will say: the group's code where the group was told to exit, else the leader's own. */
static __always_inline __s32 exit_status(struct task_struct *task, struct signal_struct *signal)
{
	return signal->flags & SIGNAL_GROUP_EXIT_ ? signal->group_exit_code : task->group_leader->exit_code;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct signal_struct *signal = task->signal;
	struct ev_exit ev = {};
	struct mark *mark;
	__u64 now;

	if (signal->live.counter)
		return 0;
	mark = mark_get(leader);
	if (!mark || !__sync_lock_test_and_set(&mark->start_ns, 0))
		return 0;
	report_ended(mark);
	now = bpf_ktime_get_boot_ns();
	head_fill(&ev.head, EV_EXIT, sizeof(ev), LANE_LIFE, now, task);
	ev.status = exit_status(task, signal);
	ev.oom = signal->oom_mm != NULL;
	/* threads that were reaped are in `signal`; this one and a leader that went before it are not */
	ev.minor_faults = signal->min_flt + task->min_flt + (leader == task ? 0 : leader->min_flt);
	ev.major_faults = signal->maj_flt + task->maj_flt + (leader == task ? 0 : leader->maj_flt);
	ev.user_faults = mark->user_faults;
	ev.sender_tgid = mark->kill_sender == (__u32)task->tgid ? 0 : mark->kill_sender;
	lane_send(LANE_LIFE, &ev, sizeof(ev), now);
	return 0;
}

static __always_inline void kill_send(struct task_struct *task, struct task_struct *sender, int sig, int code,
				      enum lane lane, __u64 now)
{
	struct ev_kill ev = {};

	head_fill(&ev.head, EV_KILL, sizeof(ev), lane, now, task);
	ev.signal = sig;
	ev.code = code;
	ev.sender_tgid = sender->tgid;
	ev.sender_uid = sender->cred->uid.val;
	bpf_get_current_comm(ev.sender_comm, sizeof(ev.sender_comm));
	lane_send(lane, &ev, sizeof(ev), now);
}

/*
 * The sender is the current task, seen from the host; a siginfo would give its id in the receiver's
 * namespace. Codes above 0 and INFO_KERNEL come from the kernel: who runs at that moment sent nothing.
 */
SEC("tp_btf/signal_generate")
int BPF_PROG(process_signal, int sig, struct kernel_siginfo *info, struct task_struct *task, int group,
	     int result)
{
	struct task_struct *sender;
	struct mark *mark;
	__u64 now;
	int code = 0;

	if (result != TRACE_SIGNAL_DELIVERED_ ||
	    (sig != SIGSYS_ && (sig < 1 || sig > 25 || !(SIGNALS_THAT_KILL >> sig & 1))))
		return 0;
	mark = mark_get(task->group_leader);
	if (!mark)
		return 0;
	if ((unsigned long)info == INFO_KERNEL)
		code = SI_KERNEL_;
	else if ((unsigned long)info != INFO_NONE)
		bpf_probe_read_kernel(&code, sizeof(code),
				      (void *)info + bpf_core_field_offset(info->si_code));
	sender = bpf_get_current_task_btf();
	mark->kill_signal = sig;
	mark->kill_sender = code > 0 ? 0 : sender->tgid;
	mark->kill_uid = code > 0 ? 0 : sender->cred->uid.val;
	if (code > 0 || sender->tgid == task->tgid)
		return 0;
	now = bpf_ktime_get_boot_ns();
	kill_send(task, sender, sig, code, mark_note(mark, now), now);
	return 0;
}

/* Layout of struct probe_task in user/probe/probe.h, which asserts it. */
struct task_line {
	__u32 tgid, parent_tgid, uid, reserved;
	__u64 start_ns, parent_start_ns;
	char comm[EV_COMM];
};

SEC("iter/task")
int process_list(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *parent;
	struct task_line line = {};

	if (!task || task->group_leader != task)
		return 0;
	parent = task->real_parent;
	line.tgid = task->tgid;
	line.parent_tgid = parent->tgid;
	line.uid = task->cred->uid.val;
	line.start_ns = task->start_boottime;
	line.parent_start_ns = parent->group_leader->start_boottime;
	BPF_CORE_READ_STR_INTO(&line.comm, task, comm);
	bpf_seq_write(ctx->meta->seq, &line, sizeof(line));
	return 0;
}
