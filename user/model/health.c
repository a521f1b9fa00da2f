/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which workers serve: the count that the last-worker rule rests on. A process that lives is not one that
 * serves; what counts is its library's own word, and where there is none, what it was seen to do:
 *
 *   with the library     it said that it serves, or said nothing but was welcomed; and no hold lasts
 *   without              it has answered a statement, or has lived for SETTLED_NS
 *   never                while it crashes, drains, has said goodbye, or is ordered to restart
 *
 * Time is that of the latest record, so a recording replays to the same counts.
 */
#include "user/model/state.h"

/* A boot that takes longer is one that Puma would kill after as long again (FACTS.md 8). */
#define SETTLED_NS (30 * SECOND_NS)

/* A program that came by exec is as old as its first record. */
static uint64_t born_ns(const struct process_state *process)
{
	return process->replaced ? process->pub.seen_ns : process->pub.id.start_ns;
}

static bool has_settled(const struct process_state *process, uint64_t now_ns)
{
	return process->worked || now_ns >= born_ns(process) + SETTLED_NS;
}

enum worker_health model_worker_health(const struct model *model, const struct process *pub)
{
	const struct process_state *process = (const struct process_state *)pub;

	if (pub->crashing || process->buried)
		return WORKER_CRASHING;
	if (process->ordered)
		return WORKER_RESTARTING;
	if (process->state == APP_DRAINING || process->state == APP_STOPPED)
		return WORKER_DRAINING;
	if (!process->connected)
		return has_settled(process, model->now_ns) ? WORKER_HEALTHY : WORKER_BOOTING;
	if (model->now_ns < process->hold_end_ns)
		return WORKER_HELD;
	return process->state == APP_BOOTING ? WORKER_BOOTING : WORKER_HEALTHY;
}

static bool are_siblings(const struct process_state *one, const struct process_state *other)
{
	return one->pub.parent.tgid == other->pub.parent.tgid &&
	       one->pub.parent.start_ns == other->pub.parent.start_ns;
}

/*
 * Of its own kind: for a process whose library speaks, those that say the same of themselves, and a worker's
 * siblings that say nothing; what a server alone has forked is a helper and no second server. Else whatever
 * is not a master.
 */
static bool is_alike(const struct process_state *one, const struct process_state *other)
{
	bool speaks = one && one->pub.told && one->pub.told_role != APP_MASTER;

	if (speaks && other->pub.told)
		return other->pub.told_role == one->pub.told_role;
	if (speaks)
		return one == other || (one->pub.told_role == APP_WORKER && other->pub.role != ROLE_MASTER &&
					are_siblings(one, other));
	if (other->pub.told)
		return other->pub.told_role != APP_MASTER;
	return other->pub.role != ROLE_MASTER;
}

struct count {
	const struct model *model;
	const struct app *app;
	const struct process_state *like;
	bool (*skip)(void *context, const struct process *process);
	void *context;
	struct workers workers;
};

static void count_one(void *context, const void *key, void *value)
{
	struct count *count = context;
	const struct process_state *process = value;

	(void)key;
	if (process->pub.app != count->app || process->buried || !is_alike(count->like, process))
		return;
	count->workers.living++;
	if (process != count->like && count->skip && count->skip(count->context, &process->pub))
		return;
	count->workers.healthy += model_worker_health(count->model, &process->pub) == WORKER_HEALTHY;
}

struct workers model_workers(const struct model *model, const struct app *app, const struct process *like,
			     bool (*skip)(void *context, const struct process *process), void *context)
{
	struct count count = {.model = model,
			      .app = app,
			      .like = (const struct process_state *)like,
			      .skip = skip,
			      .context = context};

	table_each(model->processes, count_one, &count);
	return count.workers;
}

void process_state_told(struct process_state *process, const struct ev_state *ev)
{
	process->connected = ev->connected != 0;
	/* who drains or has said goodbye goes on doing so when its connection ends */
	if (ev->connected || process->state < APP_DRAINING)
		process->state = ev->state;
	if (ev->welcomed)
		process->hold_end_ns = ev->head.time_ns + ev->hold_ms * 1000000ull;
}

/* An order to go, until it is known what became of it. A master that rolls its workers stays. */
void process_ordered(struct process_state *process, const struct ev_action *ev)
{
	process->ordered = ev->outcome == ACTION_SENT;
}
