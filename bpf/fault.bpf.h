/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Making an EV_FAULT from what is known of a fault: at once, with all registers, or later, when Ruby's
 * crash handler turns out to run for a fault that was over the budget.
 */
#ifndef LAPIDARY_FAULT_BPF_H
#define LAPIDARY_FAULT_BPF_H

#include "bpf/thread.bpf.h"

static __always_inline void fault_statement(struct ev_fault *ev, struct thread *thread)
{
	struct ev_query_start *last;

	ev->conn = 0;
	ev->sql_start_ns = 0;
	ev->sql_end_ns = 0;
	ev->sql_len = 0;
	if (!thread || !statement_of(thread)->conn) {
		__builtin_memset(ev->sql, 0, sizeof(ev->sql));
		return;
	}
	last = statement_of(thread);
	ev->conn = last->conn;
	ev->sql_start_ns = last->head.time_ns;
	ev->sql_end_ns = thread->sql_end_ns;
	ev->sql_len = last->text_len < EV_SQL_LAST ? last->text_len : EV_SQL_LAST;
	bpf_probe_read_kernel(ev->sql, sizeof(ev->sql), last->text);
}

/* Everything but registers and stack; the three registers that are kept stand in their places. */
static __always_inline void fault_fill(struct ev_fault *ev, const struct pending *fault,
				       struct task_struct *task, struct thread *thread, struct mark *mark,
				       enum lane lane)
{
	head_fill(&ev->head, EV_FAULT, sizeof(*ev), lane, fault->time_ns, task);
	ev->signal = fault->signal;
	ev->code = fault->code;
	ev->address = fault->address;
	ev->sender_tgid = fault->sender_tgid;
	ev->sender_uid = fault->sender_uid;
	ev->handler = fault->handler;
	ev->trap_nr = fault->trap_nr;
	ev->error_code = fault->error_code;
	ev->cr2 = fault->cr2;
	__builtin_memset(ev->regs, 0, sizeof(ev->regs));
	ev->regs[REG_IP_] = fault->ip;
	ev->regs[REG_SP_] = fault->sp;
	ev->regs[REG_BP_] = fault->bp;
	ev->arg_start = task->mm->arg_start;
	ev->flags = fault->flags;
	ev->suppressed = __sync_lock_test_and_set(&mark->suppressed, 0);
	BPF_CORE_READ_STR_INTO(&ev->comm, task, comm);
	fault_statement(ev, thread);
	ev->stack_len = 0;
	ev->capture_ns = 0;
	ev->auxv_count = 0;
	__builtin_memset(ev->auxv, 0, sizeof(ev->auxv));
	ev->code_start = 0;
	__builtin_memset(ev->text, 0, sizeof(ev->text));
	__builtin_memset(ev->missing, 0, sizeof(ev->missing));
	__builtin_memset(ev->windows, 0, sizeof(ev->windows));
}

#endif
