/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Faults of watched processes, taken in the dying task's own context just before the signal is delivered.
 *
 * A fault is no crash yet: Ruby rescues stack overflows, and a program may live off SIGSEGV at 390,000 a
 * second. So there is a budget a process and second: a few full captures, then small records without a
 * stack, then a count. What has no handler is the process's last word and gets a full capture whatever
 * the budget says. Each fault is also kept in brief for its thread, in case a crash handler follows.
 */
#include "bpf/fault.bpf.h"
#include "bpf/report.bpf.h"
#include "bpf/ruby_frames.bpf.h"
#include "bpf/stack.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile bool no_captures = false;

enum {
	SIGILL_ = 4,
	SIGTRAP_ = 5,
	SIGABRT_ = 6,
	SIGBUS_ = 7,
	SIGFPE_ = 8,
	SIGSEGV_ = 11,
	SIGSYS_ = 31,
	FAULTS = 1 << SIGILL_ | 1 << SIGABRT_ | 1 << SIGBUS_ | 1 << SIGFPE_ | 1 << SIGSEGV_,
	FAULTS_IF_DEFAULT = 1 << SIGTRAP_, /* with a handler it is a debugger's business; SIGSYS likewise */
	SI_USER_ = 0,
	SI_QUEUE_ = -1,
	SI_TKILL_ = -6,
	SMALL_PER_SECOND = 16,
	REGS_COPIED = REG_SS_ + 1, /* pt_regs and user_regs_struct agree so far */
	CODE_BEFORE = EV_CODE / 2, /* of the code, what lies before the instruction pointer */
};

static __always_inline bool is_fault(int sig, __u64 handler)
{
	if (sig == SIGSYS_)
		return !handler;
	return sig > 0 && sig < SIGSYS_ && (FAULTS >> sig & 1 || (!handler && FAULTS_IF_DEFAULT >> sig & 1));
}

/* The task's process id in its own pid namespace, which is what its siginfo speaks of. */
static __always_inline __u32 tgid_inside(struct task_struct *task)
{
	struct pid *pid = task->signal->pids[PIDTYPE_TGID];
	struct upid in = {};

	bpf_probe_read_kernel(&in, sizeof(in), &pid->numbers[pid->level]);
	return in.nr;
}

/*
 * Who sent it, as the host sees it. signal_generate has seen the sender; a siginfo alone is believed only
 * where it says that the process did it to itself.
 */
static __always_inline void fault_sender(struct pending *fault, struct kernel_siginfo *info,
					 struct mark *mark, struct task_struct *task)
{
	if (fault->code != SI_USER_ && fault->code != SI_QUEUE_ && fault->code != SI_TKILL_) {
		fault->address = fault->code > 0 ? (__u64)info->_sifields._sigfault._addr : 0;
		return;
	}
	if ((__u32)info->_sifields._kill._pid == tgid_inside(task)) {
		fault->flags |= FAULT_SELF;
		fault->sender_tgid = task->tgid;
		fault->sender_uid = task->cred->uid.val;
	} else if (mark->kill_signal == fault->signal) {
		fault->sender_tgid = mark->kill_sender;
		fault->sender_uid = mark->kill_uid;
	}
}

static __always_inline void fault_take(struct pending *fault, int sig, struct kernel_siginfo *info,
				       __u64 handler, struct task_struct *task, struct pt_regs *regs)
{
	fault->handler = handler;
	fault->trap_nr = task->thread.trap_nr;
	fault->error_code = task->thread.error_code;
	fault->cr2 = task->thread.cr2;
	fault->ip = regs->ip;
	fault->sp = regs->sp;
	fault->bp = regs->bp;
	fault->signal = sig;
	fault->code = info->si_code;
	fault->address = 0;
	fault->sender_tgid = 0;
	fault->sender_uid = 0;
	fault->recorded = 0;
	fault->flags = 0;
	if (!handler)
		fault->flags |= FAULT_DEFAULT_ACTION;
	if (on_alternate_stack(task, fault->sp))
		fault->flags |= FAULT_ON_ALTSTACK;
}

static __always_inline void regs_copy(struct ev_fault *ev, struct task_struct *task, struct pt_regs *regs)
{
	bpf_probe_read_kernel(ev->regs, REGS_COPIED * sizeof(__u64), regs);
	ev->regs[REG_FS_BASE_] = task->thread.fsbase;
	ev->regs[REG_GS_BASE_] = task->thread.gsbase;
	ev->regs[REG_DS_] = task->thread.ds;
	ev->regs[REG_ES_] = task->thread.es;
	ev->regs[REG_FS_] = task->thread.fsindex;
	ev->regs[REG_GS_] = task->thread.gsindex;
}

/* The vector that the kernel gave the program: where its parts lie, no secret among it. */
static __always_inline void auxv_copy(struct ev_fault *ev, struct task_struct *task)
{
	__u32 size = bpf_core_field_size(task->mm->saved_auxv);

	if (size > sizeof(ev->auxv))
		size = sizeof(ev->auxv);
	if (!bpf_probe_read_kernel(ev->auxv, size,
				   (void *)task->mm + bpf_core_field_offset(task->mm->saved_auxv)))
		ev->auxv_count = size / sizeof(ev->auxv[0]);
}

/* The halves apart where they cannot be read as one: code begins and ends somewhere. */
static __always_inline void code_copy(struct ev_fault *ev, __u64 ip)
{
	__u64 from = ip - CODE_BEFORE;
	long before, after;

	if (bpf_probe_read_user(ev->text, sizeof(ev->text), (void *)from)) {
		before = bpf_probe_read_user(ev->text, CODE_BEFORE, (void *)from);
		after = bpf_probe_read_user(ev->text + CODE_BEFORE, EV_CODE - CODE_BEFORE, (void *)ip);
		if (before && after)
			return;
	}
	ev->code_start = from;
}

#define CAPTURE(room, other_size)                                                                            \
	do {                                                                                                 \
		ev = bpf_ringbuf_reserve(&capture, sizeof(*ev) + (room) + EV_STACK_FIRST + EV_PAGE, 0);      \
		if (!ev)                                                                                     \
			break;                                                                               \
		fault_fill(ev, fault, task, thread, mark, LANE_CAPTURE);                                     \
		regs_copy(ev, task, regs);                                                                   \
		auxv_copy(ev, task);                                                                         \
		code_copy(ev, fault->ip);                                                                    \
		stack_copy(ev, fault->sp, size, room);                                                       \
		windows_copy(ev, task, fault, interrupted, other_size, room);                                \
		ev->capture_ns = bpf_ktime_get_boot_ns() - fault->time_ns;                                   \
		/* what was written by crashing tasks lies there without a wake-up of its own */             \
		bpf_ringbuf_submit(ev, BPF_RB_FORCE_WAKEUP);                                                 \
	} while (0)

/* False when the ring had no room: the fault then becomes a small record rather than a hole. */
static __always_inline bool capture_send(struct pending *fault, struct task_struct *task,
					 struct thread *thread, struct mark *mark, struct pt_regs *regs,
					 __u32 size)
{
	__u64 interrupted = thread && fault->flags & FAULT_ON_ALTSTACK ? thread->interrupted_sp : 0;
	__u32 other = 0;
	struct ev_fault *ev;

	/* of a larger one no end may be there, and only from there the way leads on */
	if (interrupted && size <= EV_STACK_SIGNAL)
		other = stack_clip(task, interrupted, ~0ull, EV_STACK_INTERRUPTED, &fault->flags);
	if (other)
		CAPTURE(EV_STACK_LARGE, other);
	else if (size <= EV_STACK_SMALL)
		CAPTURE(EV_STACK_SMALL, 0);
	else if (size <= EV_STACK_MEDIUM)
		CAPTURE(EV_STACK_MEDIUM, 0);
	else if (size <= EV_STACK_LARGE)
		CAPTURE(EV_STACK_LARGE, 0);
	else
		CAPTURE(EV_STACK_MAX, 0);
	if (!ev)
		lane_next(LANE_CAPTURE);
	lane_count(LANE_CAPTURE, !ev);
	return ev;
}

static __always_inline void small_send(struct pending *fault, struct task_struct *task, struct thread *thread,
				       struct mark *mark, struct pt_regs *regs)
{
	struct ev_fault *ev = bpf_ringbuf_reserve(&life, sizeof(*ev), 0);

	if (ev) {
		fault_fill(ev, fault, task, thread, mark, LANE_LIFE);
		regs_copy(ev, task, regs);
		bpf_ringbuf_submit(ev, 0);
	} else {
		lane_next(LANE_LIFE);
	}
	lane_count(LANE_LIFE, !ev);
	fault->recorded = ev != NULL;
}

/* Budget: full captures, then small records, then a count. Says whether any record may be made. */
static __always_inline bool fault_budget(struct pending *fault, struct mark *mark, bool *full)
{
	struct counters *count;

	mark_tick(mark, fault->time_ns);
	*full = !fault->handler || (mark->captures < EV_CAPTURES_PER_SECOND &&
				    add_once(mark->captures) < EV_CAPTURES_PER_SECOND);
	if (*full)
		return true;
	fault->flags |= FAULT_SMALL;
	if (mark->small < SMALL_PER_SECOND && add_once(mark->small) < SMALL_PER_SECOND)
		return true;
	add_once(mark->suppressed);
	count = counters_get();
	if (count)
		count->suppressed++;
	return false;
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ruby_walk);
} walks SEC(".maps");

/* The Ruby frames go before the capture that they belong to, which wakes the reader of both. */
static __always_inline void ruby_send(struct pending *fault, struct task_struct *task)
{
	struct ruby_place *place = bpf_task_storage_get(&places, task->group_leader, 0, 0);
	__u32 zero = 0, group, size, count;
	struct ruby_walk *walk = bpf_map_lookup_elem(&walks, &zero);
	struct ruby_layout *ruby;
	struct ev_ruby *ev;

	if (!walk)
		return;
	walk->count = 0;
	walk->state = RUBY_STACK_UNSUPPORTED;
	group = place ? place->group : 0;
	ruby = group ? bpf_map_lookup_elem(&rubies, &group) : NULL;
	if (place && ruby) {
		walk->ruby = *ruby;
		walk->bias = place->bias;
		walk->thread_pointer = task->thread.fsbase;
		ruby_walk_frames(walk);
	}
	count = walk->count;
	barrier_var(count);
	if (count > EV_RUBY_FRAMES)
		return;
	size = sizeof(*ev) + count * sizeof(walk->frames[0]);
	ev = ruby_record(walk);
	head_fill(&ev->head, EV_RUBY, size, LANE_CAPTURE, fault->time_ns, task);
	ev->fault_time_ns = fault->time_ns;
	ev->state = walk->state;
	ev->count = count;
	lane_count(LANE_CAPTURE, bpf_ringbuf_output(&capture, ev, size, BPF_RB_NO_WAKEUP) != 0);
}

/* Where a fault is kept in brief when its thread can have no storage: it is told of, but not confirmed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pending);
} spare SEC(".maps");

/*
 * The fault lives in map memory from the start and not on the stack: the verifier would follow each flag
 * of it through the copying of the stack.
 */
static __always_inline struct pending *pending_get(struct thread *thread)
{
	__u32 zero = 0;

	return thread ? &thread->fault : bpf_map_lookup_elem(&spare, &zero);
}

SEC("tp_btf/signal_deliver")
int BPF_PROG(crash_signal, int sig, struct kernel_siginfo *info, struct k_sigaction *ka)
{
	struct task_struct *task;
	struct pending *fault;
	struct pt_regs *regs;
	struct thread *thread;
	struct mark *mark;
	bool full, wanted;
	__u64 handler, now;
	__u32 size = 0;

	if (!is_fault(sig, 0) && !(ka->sa.sa_flags & SA_ONSTACK_))
		return 0;
	task = bpf_get_current_task_btf();
	mark = mark_get(task->group_leader);
	if (!mark)
		return 0;
	now = bpf_ktime_get_boot_ns();
	handler = (__u64)ka->sa.sa_handler;
	if (!is_fault(sig, handler) && !(ka->sa.sa_flags & SA_ONSTACK_))
		return 0;
	thread = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if (thread)
		note_interrupted(thread, task, ka, regs);
	fault = pending_get(thread);
	if (!fault || !is_fault(sig, handler))
		return 0;
	fault->time_ns = now;
	fault_take(fault, sig, info, handler, task, regs);
	fault_sender(fault, info, mark, task);
	wanted = fault_budget(fault, mark, &full);
	report_pending(thread, task, full);
	if (full && !no_captures)
		size = stack_size(task, fault->sp, &fault->flags);
	if (full && !no_captures)
		ruby_send(fault, task);
	if (size)
		fault->recorded = capture_send(fault, task, thread, mark, regs, size);
	if (wanted && !fault->recorded) {
		if (no_captures || size)
			fault->flags |= FAULT_SMALL;
		small_send(fault, task, thread, mark, regs);
	}
	return 0;
}
