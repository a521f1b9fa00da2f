/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The stack of a dying task: from its pointer on, and the windows (struct ev_window) that the way out to the
 * thread's first frame needs beside it. Every size is bounded, nothing can fault, and whatever a hostile
 * process says of its stacks, what is read is memory of its own and none of its environment.
 */
#ifndef LAPIDARY_STACK_BPF_H
#define LAPIDARY_STACK_BPF_H

#include "bpf/thread.bpf.h"

const volatile __u32 stack_bytes = EV_STACK_LARGE;

enum {
	SA_ONSTACK_ = 0x08000000,
	FIRST_REACH = 16 << 20,              /* the stack of a thread that may be walked out of */
	WINDOW_PIECES = 32,                  /* bits of ev_window.missing */
	MISSING = 32,                        /* a power of two that holds the bytes of `missing` */
	PIECES = EV_STACK_MAX / EV_PAGE + 1, /* the first and the last may be parts of a page */
};

static __always_inline bool on_alternate_stack(struct task_struct *task, __u64 sp)
{
	return sp - task->sas_ss_sp < task->sas_ss_size;
}

/*
 * How much of `left` there is to take: never any of the strings from arg_start on, which hold arguments and
 * environment. A stack pointer among those has no stack that we may read.
 */
static __always_inline __u32 stack_clip(struct task_struct *task, __u64 sp, __u64 left, __u64 limit,
					__u32 *flags)
{
	__u64 arg_start = task->mm->arg_start, env_end = task->mm->env_end;

	if (limit > stack_bytes)
		limit = stack_bytes;
	if (sp >= arg_start && sp <= env_end)
		left = 0;
	else if (sp < arg_start && arg_start - sp < left)
		left = arg_start - sp;
	if (left <= limit)
		return left;
	*flags |= FAULT_CLIPPED;
	return limit;
}

/* Of an alternate signal stack what is left of it, since it lies in the heap. */
static __always_inline __u32 stack_size(struct task_struct *task, __u64 sp, __u32 *flags)
{
	__u64 left = ~0ull;

	if (*flags & FAULT_ON_ALTSTACK)
		left = task->sas_ss_sp + task->sas_ss_size - sp;
	return stack_clip(task, sp, left, EV_STACK_MAX, flags);
}

/*
 * A handler on the alternate stack is about to run: where the stack goes on below it. Whoever is on that
 * stack already interrupts itself.
 */
static __always_inline void note_interrupted(struct thread *thread, struct task_struct *task,
					     struct k_sigaction *ka, struct pt_regs *regs)
{
	if (ka->sa.sa_flags & SA_ONSTACK_ && (__u64)ka->sa.sa_handler > 1 && task->sas_ss_size &&
	    !on_alternate_stack(task, regs->sp))
		thread->interrupted_sp = regs->sp;
}

/*
 * The stack page by page, for when a piece of it cannot be read: pieces are cut where pages begin, so the
 * first is shorter. Each place is computed anew from the index, and what was read is counted in the record
 * and not in a register: so the verifier finds the same state on each path through the loop. For its view
 * of the last piece the record has a page more than `room`. The record ends with the last piece that was
 * there: beyond a thread's small stack nothing is mapped.
 */
static __noinline int stack_pieces(struct ev_fault *ev, __u64 sp, __u32 size, __u32 room)
{
	__u32 first = EV_PAGE - (sp & (EV_PAGE - 1)), at, piece, i;

	ev->stack_len = 0;
	for (i = 0; i < PIECES; i++) {
		barrier_var(i);
		at = i ? first + (i - 1) * EV_PAGE : 0;
		if (at >= size || at > room)
			break;
		piece = size - at;
		barrier_var(piece);
		if (piece > (i ? EV_PAGE : first))
			piece = i ? EV_PAGE : first;
		if (bpf_probe_read_user(ev->stack + at, piece, (void *)(sp + at)))
			ev->missing[i / 8 & (MISSING - 1)] |= 1 << (i & 7);
		else
			ev->stack_len = at + piece;
	}
	return 0;
}

/* Copies the stack whole where that works. A stack of which nothing can be read is none. */
static __always_inline void stack_copy(struct ev_fault *ev, __u64 sp, __u32 size, __u32 room)
{
	struct counters *count;

	barrier_var(size);
	if (size > room)
		return;
	if (bpf_probe_read_user(ev->stack, size, (void *)sp)) {
		stack_pieces(ev, sp, size, room);
		count = counters_get();
		if (count)
			count->unreadable++;
	} else {
		ev->stack_len = size;
	}
	if (ev->stack_len < size)
		ev->flags &= ~FAULT_CLIPPED;
	ev->head.size = sizeof(*ev) + ev->stack_len;
}

/* Like stack_pieces, of a window whose bytes begin `at` bytes behind the first ones. */
static __noinline int window_pieces(struct ev_fault *ev, __u32 which, __u32 size, __u32 at, __u32 room)
{
	struct ev_window *window = &ev->windows[which & 1];
	__u32 first = EV_PAGE - (window->address & (EV_PAGE - 1)), from, piece, i;

	for (i = 0; i < WINDOW_PIECES; i++) {
		barrier_var(i);
		from = i ? first + (i - 1) * EV_PAGE : 0;
		if (from >= size || from > room)
			break;
		piece = size - from;
		barrier_var(piece);
		if (piece > (i ? EV_PAGE : first))
			piece = i ? EV_PAGE : first;
		if (bpf_probe_read_user(ev->stack + at + from, piece, (void *)(window->address + from)))
			window->missing |= 1u << i;
		else
			window->size = from + piece;
	}
	return 0;
}

/* `at` of `before` bytes at most are there; the window has `room`. */
static __always_inline void window_copy(struct ev_fault *ev, enum stack_window which, __u64 address,
					__u32 size, __u32 before, __u32 room)
{
	__u32 at = ev->head.size - sizeof(*ev);

	barrier_var(at);
	barrier_var(size);
	if (at > before || size > room)
		return;
	ev->windows[which].address = address;
	if (bpf_probe_read_user(ev->stack + at, size, (void *)address))
		window_pieces(ev, which, size, at, room);
	else
		ev->windows[which].size = size;
	ev->head.size += ev->windows[which].size;
}

/*
 * The end of a thread's stack, which its pointer lies at (x86-64 has a thread's own variables below it). What
 * a function takes for itself in one piece, as Ruby 2.7 and 3.1 do with 1 MiB for their own stack, lies
 * between it and what was taken, so none of it is read. A pointer that is none of a thread's end, as the main
 * thread's, or that does not point at itself, as the ABI asks for, says nothing of a stack.
 */
static __always_inline void first_frames_copy(struct ev_fault *ev, struct task_struct *task, __u64 sp,
					      __u64 taken, __u32 before)
{
	__u64 end = task->thread.fsbase, self, from = end - EV_STACK_FIRST;

	if (end <= taken || end - sp > FIRST_REACH)
		return;
	if (from < taken)
		from = taken;
	if (from <= task->mm->env_end && end > task->mm->arg_start)
		return;
	if (!bpf_probe_read_user(&self, sizeof(self), (void *)end) && self == end)
		window_copy(ev, WINDOW_FIRST, from, end - from, before, EV_STACK_FIRST);
}

/* All windows of a capture of whose own stack something could be read. */
static __always_inline void windows_copy(struct ev_fault *ev, struct task_struct *task,
					 const struct pending *fault, __u64 interrupted, __u32 size,
					 __u32 before)
{
	__u64 sp = fault->sp, taken = sp + ev->stack_len;

	if (!ev->stack_len)
		return;
	if (size) {
		window_copy(ev, WINDOW_INTERRUPTED, interrupted, size, EV_STACK_SIGNAL, EV_STACK_INTERRUPTED);
		sp = interrupted;
		taken = sp + ev->windows[WINDOW_INTERRUPTED].size;
	}
	first_frames_copy(ev, task, sp, taken, before);
}

#endif
