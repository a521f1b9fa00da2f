/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults that wait for a confirmation. A SIGSEGV is no crash: Ruby rescues stack overflows. So a thread's
 * first fault is pending until Ruby's crash handler takes its first step (EV_CONFIRM) or the process dies
 * of it; raised by the kernel where the action is SIG_DFL it is a crash at once, because nothing can stop
 * that death (one that is sent spares process 1 of a pid namespace, so it waits). What the handler raises
 * afterwards (abort in 3.1, the same signal again in 3.3) is an echo of that fault; a fault that is no echo
 * means that the one before was rescued, and takes its place.
 */
#include "user/model/state.h"
#include "user/base/text.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HANDLER_STACK = 256 * 1024 }; /* Ruby's report takes tens of KiB */

bool fault_signal(int signal)
{
	return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
	       signal == SIGABRT;
}

/* Raised by a handler, or at least it looks so: abort() on the normal stack is a defect of its own. */
static bool is_echo(const struct ev_fault *fault)
{
	return (fault->flags & FAULT_ON_ALTSTACK) ||
	       (fault->signal != SIGABRT && (fault->flags & FAULT_SELF));
}

/* The kernel could not run the handler, because the stack that it would have used is full: it kills. */
static bool is_forced(const struct ev_fault *first, const struct ev_fault *ev)
{
	return ev->signal == SIGSEGV && ev->code == SI_KERNEL && (ev->flags & FAULT_DEFAULT_ACTION) &&
	       ev->regs[REG_IP_] == first->regs[REG_IP_] && ev->regs[REG_SP_] == first->regs[REG_SP_];
}

/* Ruby's handlers of SIGILL and SIGFPE have no stack of their own: their abort comes from below the fault. */
static bool is_handlers_abort(const struct ev_fault *first, const struct ev_fault *ev)
{
	return (first->signal == SIGILL || first->signal == SIGFPE) && first->code > 0 &&
	       first->handler > 1 && ev->signal == SIGABRT && (ev->flags & FAULT_SELF) &&
	       ev->regs[REG_SP_] < first->regs[REG_SP_] &&
	       first->regs[REG_SP_] - ev->regs[REG_SP_] < HANDLER_STACK;
}

bool fault_follows(const struct ev_fault *first, const struct ev_fault *ev)
{
	return is_echo(ev) || is_forced(first, ev) || is_handlers_abort(first, ev);
}

uint64_t fault_last_ns(const struct pending *pending)
{
	return pending->echo_ns ? pending->echo_ns : pending->fault.head.time_ns;
}

static bool kills(const struct pending *pending)
{
	return pending->echo_ns ? pending->echo_kills : pending->fault.flags & FAULT_DEFAULT_ACTION;
}

void fault_forget(struct process_state *process)
{
	for (int i = 0; i < PENDING_MAX; i++) {
		free(process->pending[i]);
		process->pending[i] = NULL;
	}
}

/* The thread's slot, else a free one, else the oldest fault's. */
static struct pending **slot_for(struct process_state *process, uint32_t tid)
{
	struct pending **best = &process->pending[0];
	for (int i = 0; i < PENDING_MAX; i++) {
		struct pending **slot = &process->pending[i];
		if (*slot && (*slot)->fault.head.tid == tid)
			return slot;
		if (*best && (!*slot || fault_last_ns(*slot) < fault_last_ns(*best)))
			best = slot;
	}
	return best;
}

static bool is_certain(const struct ev_fault *ev)
{
	return (ev->flags & FAULT_DEFAULT_ACTION) && ev->code > 0;
}

static void set_echo(struct pending *pending, const struct ev_fault *echo)
{
	pending->echo_ns = echo->head.time_ns;
	pending->echo_signal = echo->signal;
	pending->echo_kills = echo->flags & FAULT_DEFAULT_ACTION;
	pending->certain = is_certain(echo);
}

static void set_fault(struct model *model, struct pending *pending, const struct ev_fault *ev)
{
	memset(pending, 0, sizeof(*pending));
	memcpy(&pending->fault, ev, sizeof(*ev)); /* the flexible stack stays behind */
	pending->fault.head.size = sizeof(*ev);
	pending->fault.stack_len = 0;
	memset(pending->fault.windows, 0, sizeof(pending->fault.windows));
	pending->certain = is_certain(ev);
	const struct ev_location *location = &model->location;
	if (location->head.tgid == ev->head.tgid && location->head.start_ns == ev->head.start_ns &&
	    location->fault_time_ns == ev->head.time_ns)
		pending->location = *location;
}

static void note(struct model *model, struct process_state *process, const struct ev_fault *ev)
{
	struct pending **slot = slot_for(process, ev->head.tid);
	struct pending *pending = *slot;
	if (!pending && !(pending = *slot = calloc(1, sizeof(*pending))))
		return;
	bool same = pending->fault.head.tid == ev->head.tid && pending->fault.signal != 0;
	uint64_t first = pending->fault.head.time_ns;
	if (same && ev->head.time_ns < first) { /* from the slower lane */
		struct ev_fault later = pending->fault;
		if (!fault_follows(ev, &later) || is_echo(ev) || first - ev->head.time_ns > ECHO_NS)
			return;
		set_fault(model, pending, ev);
		set_echo(pending, &later);
	} else if (same && fault_follows(&pending->fault, ev) &&
		   ev->head.time_ns - fault_last_ns(pending) <= ECHO_NS) {
		set_echo(pending, ev);
	} else {
		set_fault(model, pending, ev);
	}
}

static struct pending *find_time(const struct process_state *process, uint64_t time_ns)
{
	for (int i = 0; i < PENDING_MAX; i++) {
		struct pending *pending = process->pending[i];
		if (pending && (pending->fault.head.time_ns == time_ns || pending->echo_ns == time_ns))
			return pending;
	}
	return NULL;
}

/* The fault that Ruby's handler has told of, when it has come. */
static const struct pending *waiting_for(const struct process_state *process)
{
	return process->confirm_ns ? find_time(process, process->confirm_fault_ns) : NULL;
}

/* The slower lane may still hold the fault that this one only continues, so that it would be taken for it. */
static bool may_follow(const struct pending *pending)
{
	const struct ev_fault *fault = &pending->fault;
	return is_echo(fault) || (!pending->echo_ns && fault->head.lane == LANE_LIFE &&
				  fault->signal == SIGSEGV && fault->code == SI_KERNEL);
}

void fault_review(struct model *model, struct process_state *process)
{
	const struct pending *confirmed = waiting_for(process);
	if (process->crash || process->judged || !process->placed)
		return;
	if (confirmed)
		crash_make(model, process, confirmed, CONFIRMED_HANDLER, 0, process->confirm_ns);
	if (process->buried || process->confirm_ns)
		return;
	for (int i = 0; i < PENDING_MAX; i++) {
		const struct pending *pending = process->pending[i];
		if (pending && pending->certain && !may_follow(pending)) {
			crash_make(model, process, pending, CONFIRMED_DEFAULT, 0, fault_last_ns(pending));
			return;
		}
	}
}

void fault_apply(struct model *model, struct process_state *process, const struct ev_fault *ev)
{
	if (process->crash || process->judged)
		return;
	if (process->confirm_ns && process->confirm_fault_ns == ev->head.time_ns)
		fault_forget(process); /* this is the one, whatever came by the faster lane meanwhile */
	note(model, process, ev);
	fault_review(model, process);
	if (process->buried)
		death_review(model, process, false);
}

void fault_confirm(struct model *model, struct process_state *process, const struct ev_confirm *ev)
{
	if (process->crash || process->judged || process->confirm_ns)
		return;
	process->confirm_fault_ns = ev->fault_time_ns;
	process->confirm_ns = ev->head.time_ns;
	process->confirm_tick = model->tick;
	fault_review(model, process);
}

void fault_confirmed_late(struct model *model, struct process_state *process)
{
	crash_make(model, process, waiting_for(process), CONFIRMED_HANDLER, process->confirm_fault_ns,
		   process->confirm_ns);
}

void fault_fatal(struct model *model, struct process_state *process, const struct ev_fatal *ev)
{
	if (!process->fatal && !(process->fatal = malloc(sizeof(*process->fatal))))
		return;
	*process->fatal = *ev;
	process_trouble(process, ev->head.time_ns, "VM error: %s", ev->message);
	model_say(model, NOTICE_FATAL, ev->head.time_ns, process);
}

/*
 * How well a pending fault explains a death: 3 surely (the default action of the very signal, and raised by
 * no handler whose own cause may still be on its way), 2 the same signal, 1 the abort of a handler
 * whose record is missing, 0 not at all.
 */
static int explains(const struct pending *pending, int signal, uint64_t time_ns)
{
	uint32_t last = pending->echo_ns ? pending->echo_signal : pending->fault.signal;
	if (time_ns > fault_last_ns(pending) + ECHO_NS)
		return 0;
	if (last == (uint32_t)signal)
		return kills(pending) && !is_echo(&pending->fault) ? 3 : 2;
	if (pending->fault.signal == (uint32_t)signal)
		return 2;
	return signal == SIGABRT;
}

struct pending *fault_match(const struct process_state *process, int signal, uint64_t time_ns, bool *sure)
{
	struct pending *best = NULL;
	int best_rank = 0;
	for (int i = 0; i < PENDING_MAX; i++) {
		struct pending *pending = process->pending[i];
		int rank = pending ? explains(pending, signal, time_ns) : 0;
		if (rank > best_rank ||
		    (best && rank == best_rank && fault_last_ns(pending) > fault_last_ns(best))) {
			best = pending;
			best_rank = rank;
		}
	}
	*sure = best_rank == 3;
	return best;
}

void fault_tick(struct model *model, struct process_state *process)
{
	if (process->crash || process->buried)
		return;
	if (process->confirm_ns && model->tick - process->confirm_tick >= TICKS_TO_JUDGE)
		fault_confirmed_late(model, process);
	for (int i = 0; i < PENDING_MAX && !process->crash; i++) {
		struct pending *pending = process->pending[i];
		uint64_t age = pending ? model->now_ns - fault_last_ns(pending) : 0;
		/* The default action kills. Its end is not told: still writing a core, or lost. */
		if (pending && kills(pending) && age > TICKS_TO_REMOVE * SECOND_NS) {
			crash_make(model, process, pending,
				   pending->certain ? CONFIRMED_DEFAULT : CONFIRMED_DEATH, 0, model->now_ns);
		} else if (age > STALE_NS) {
			free(pending);
			process->pending[i] = NULL;
		}
	}
}
