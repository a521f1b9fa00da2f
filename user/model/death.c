/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends. An ordinary one is told at once. A death by a signal that only a defect sends needs its fault, which
 * may still lie in the capture lane: it is judged when the fault that surely killed has come, or two ticks
 * later with what is known by then. The dead stay in the graveyard a little longer, so that a late
 * record does not raise them again.
 */
#include "user/model/state.h"
#include <string.h>
#include <sys/wait.h>

static void bury(struct model *model, struct process_state *process, uint64_t time_ns, bool exec)
{
	process->buried = true;
	process->ended_ns = time_ns;
	process->ended_tick = model->tick;
	process_uncount(process);
	process_unlink(model, process, !exec || process->settled);
	while (model->grave_count >= model->limits.processes)
		death_clear_one(model);
	uint32_t at = (model->grave_first + model->grave_count++) % model->limits.processes;
	model->graves[at] = (struct process_key){process->pub.id.start_ns, process->pub.id.tgid};
}

static void finish(struct model *model, struct process_state *process)
{
	process->judged = true;
	process->pub.crashing = false;
	fault_forget(process);
	if (!process->crash)
		process->pub.app->exits++;
	model_say(model, NOTICE_GONE, process->ended_ns, process);
}

/* Which lane was read first must not show in what is told: a fault that was certain death confirmed itself.
 */
static void make_by_death(struct model *model, struct process_state *process, const struct pending *pending)
{
	bool certain = pending && pending->certain;
	uint64_t at_ns = certain ? fault_last_ns(pending) : process->ended_ns;

	crash_make(model, process, pending, certain ? CONFIRMED_DEFAULT : CONFIRMED_DEATH, process->ended_ns,
		   at_ns);
}

void death_review(struct model *model, struct process_state *process, bool last)
{
	int signal = WTERMSIG(process->status);
	struct pending *pending = NULL;
	bool sure = false;
	if (process->judged)
		return;
	if (process->crash || (!process->oom && !process->confirm_ns && !fault_signal(signal))) {
		finish(model, process);
		return;
	}
	/* whose crash it was may be told yet: who dies so young was looked at all the same */
	if (!process->placed && !last)
		return;
	if (process->oom) {
		crash_make(model, process, NULL, CONFIRMED_OOM, process->ended_ns, process->ended_ns);
	} else if (process->confirm_ns) {
		if (!last)
			return;
		fault_confirmed_late(model, process);
	} else {
		pending = fault_match(process, signal, process->ended_ns, &sure);
		if (!sure && !last)
			return;
		make_by_death(model, process, pending);
	}
	finish(model, process);
}

void death_exit(struct model *model, struct process_state *process, const struct ev_exit *ev)
{
	process->status = ev->status;
	process->oom = ev->oom != 0;
	process->pub.minor_faults = ev->minor_faults;
	process->pub.major_faults = ev->major_faults;
	process->pub.user_faults = ev->user_faults;
	bury(model, process, ev->head.time_ns, false);
	if (process->crash) {
		process->crash->status = ev->status;
		process->crash->oom = process->oom;
		model_say_crash(model, NOTICE_CRASH_END, ev->head.time_ns, process);
	}
	death_review(model, process, false);
}

void death_exec(struct model *model, struct process_state *process, const struct ev_exec *ev)
{
	bury(model, process, ev->head.time_ns, true);
	process->judged = true;
	model_say(model, NOTICE_LEFT, ev->head.time_ns, process);
}

static struct process_state *grave_at(const struct model *model, uint32_t index)
{
	const struct process_key *key =
		&model->graves[(model->grave_first + index) % model->limits.processes];
	struct process_state *process = table_peek(model->processes, key);
	return process && process->buried ? process : NULL;
}

bool death_clear_one(struct model *model)
{
	if (model->grave_count == 0)
		return false;
	struct process_key key = model->graves[model->grave_first];
	struct process_state *process = grave_at(model, 0);
	model->grave_first = (model->grave_first + 1) % model->limits.processes;
	model->grave_count--;
	if (process) { /* else: an exec made it another program meanwhile, or it was evicted */
		death_review(model, process, true);
		table_delete(model->processes, &key);
	}
	return true;
}

void death_tick(struct model *model)
{
	for (uint32_t i = 0; i < model->grave_count; i++) {
		struct process_state *process = grave_at(model, i);
		if (process && model->tick - process->ended_tick >= TICKS_TO_JUDGE)
			death_review(model, process, true);
	}
	while (model->grave_count > 0) {
		const struct process_state *process = grave_at(model, 0);
		if (process && model->tick - process->ended_tick < TICKS_TO_REMOVE)
			break;
		death_clear_one(model);
	}
}
