/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model's front door: tables, dispatch by record type, and what belongs to no single process (clock,
 * gaps, the error rate). The code per subject is in the file of that name.
 */
#include "user/model/state.h"
#include "user/base/text.h"
#include <stdlib.h>
#include <string.h>

static const struct model_limits default_limits = {.processes = 4096, .connections = 16384, .apps = 256};

struct model *model_new(const struct model_limits *limits)
{
	struct model *model = calloc(1, sizeof(*model));
	if (!model)
		return NULL;
	model->limits = limits ? *limits : default_limits;
	if (!model->limits.processes)
		model->limits.processes = default_limits.processes;
	if (!model->limits.connections)
		model->limits.connections = default_limits.connections;
	if (!model->limits.apps)
		model->limits.apps = default_limits.apps;
	text_copy(model->overflow.pub.name, sizeof(model->overflow.pub.name), "other");
	model->apps = table_new(sizeof(struct app_key), sizeof(struct app_state), model->limits.apps,
				app_gone, model);
	model->connections = table_new(sizeof(struct connection_key), sizeof(struct connection),
				       model->limits.connections, connection_gone, model);
	model->processes = table_new(sizeof(struct process_key), sizeof(struct process_state),
				     model->limits.processes, process_gone, model);
	model->graves = calloc(model->limits.processes, sizeof(*model->graves));
	if (!model->apps || !model->connections || !model->processes || !model->graves) {
		model_free(model);
		return NULL;
	}
	return model;
}

void model_free(struct model *model)
{
	if (!model)
		return;
	table_free(model->processes); /* first: its callback empties the other two */
	table_free(model->connections);
	table_free(model->apps);
	statement_done(model);
	free(model->overflow.crash_ns);
	free(model->graves);
	free(model);
}

static void say(struct model *model, const struct notice *notice)
{
	if (model->fn)
		model->fn(model->context, notice);
}

void model_say(struct model *model, enum notice_type type, uint64_t time_ns, struct process_state *process)
{
	say(model,
	    &(struct notice){
		    .type = type, .time_ns = time_ns, .process = &process->pub, .status = process->status});
}

void model_say_crash(struct model *model, enum notice_type type, uint64_t time_ns,
		     struct process_state *process)
{
	say(model, &(struct notice){.type = type,
				    .time_ns = time_ns,
				    .process = &process->pub,
				    .crash = process->crash,
				    .status = process->crash->status});
}

void model_rate(struct model *model, uint64_t time_ns, uint32_t queries, uint32_t errors,
		uint32_t availability)
{
	uint64_t second = time_ns / SECOND_NS;
	struct rate_second *slot = &model->rate[second % RATE_SECONDS];
	if (slot->second > second)
		return; /* a straggler from a minute ago */
	if (slot->second != second)
		*slot = (struct rate_second){.second = second};
	slot->queries += queries;
	slot->errors += errors;
	slot->availability += availability;
}

void model_rate_sum(const struct model *model, struct rate_second *sum)
{
	uint64_t now = model->now_ns / SECOND_NS;
	memset(sum, 0, sizeof(*sum));
	for (int i = 0; i < RATE_SECONDS; i++) {
		const struct rate_second *slot = &model->rate[i];
		if (slot->second + RATE_SECONDS <= now)
			continue;
		sum->queries += slot->queries;
		sum->errors += slot->errors;
		sum->availability += slot->availability;
	}
}

static void tick_one(void *context, const void *key, void *value)
{
	struct model *model = context;
	struct process_state *process = value;
	(void)key;
	connection_tick(model, process);
	if (process->buried)
		return;
	process_tick(model, process);
	fault_tick(model, process);
}

static void gap(struct model *model, const struct ev_gap *ev)
{
	model->gaps[model->gap_count++ % GAPS_KEPT] = *ev;
	say(model, &(struct notice){.type = NOTICE_GAP, .time_ns = ev->head.time_ns, .gap = ev});
}

/* What the agent did or found out by itself belongs to a scope, and the last of them to a process as well. */
static void own_doing(struct model *model, const struct ev_head *ev)
{
	struct notice notice = {.time_ns = ev->time_ns};
	const struct ev_scope *scope;
	struct process_state *process = NULL;
	if (ev->type == EV_PROBE) {
		notice.type = NOTICE_PROBE;
		notice.probe = (const void *)ev;
		scope = &notice.probe->scope;
	} else if (ev->type == EV_BREAKER) {
		notice.type = NOTICE_BREAKER;
		notice.breaker = (const void *)ev;
		scope = &notice.breaker->scope;
	} else {
		notice.type = NOTICE_ACTION;
		notice.action = (const void *)ev;
		scope = &notice.action->scope;
		process = ev->tgid ? process_find(model, ev->tgid, ev->start_ns) : NULL;
	}
	if (process && !(process->buried && process->judged)) {
		flight_note(model, process, ev);
		notice.process = &process->pub;
		if (notice.action && strcmp(notice.action->action, "worker.restart") == 0)
			process_ordered(process, notice.action);
	}
	if (notice.action && notice.action->outcome == ACTION_SENT)
		return; /* its outcome is told */
	struct app_state *app = app_find(model, scope);
	if (app && notice.probe)
		recovery_probe(app, notice.probe);
	notice.app = app ? &app->pub : NULL;
	say(model, &notice);
}

/* Whatever shows that a watched process exists makes it known; flow records come too late for that. */
static struct process_state *subject(struct model *model, const struct ev_head *ev)
{
	const struct ev_exit *end = (const void *)ev;
	switch (ev->type) {
	case EV_WATCH:
	case EV_FORK:
		return process_birth(model, (const void *)ev);
	case EV_FAULT:
		return process_need(model, ev, ((const struct ev_fault *)(const void *)ev)->comm);
	case EV_INFO:
		return process_need(model, ev, ((const struct ev_info *)(const void *)ev)->comm);
	case EV_CONFIRM:
	case EV_FATAL:
	case EV_CONN:
		return process_need(model, ev, NULL);
	case EV_EXIT:
		if (end->oom || fault_signal(end->status & 0x7f))
			return process_need(model, ev, NULL);
		break;
	default:
		break;
	}
	return process_find(model, ev->tgid, ev->start_ns);
}

/* What may still be said of a process that has ended: its fault and who it was. */
static bool is_late_news(const struct process_state *process, uint16_t type)
{
	return !process->judged &&
	       (type == EV_FAULT || type == EV_CONFIRM || type == EV_INFO || type == EV_FATAL);
}

static void dispatch(struct model *model, struct process_state *process, const struct ev_head *ev)
{
	const void *any = ev;
	switch (ev->type) {
	case EV_EXEC:
		death_exec(model, process, any);
		break;
	case EV_EXIT:
		death_exit(model, process, any);
		break;
	case EV_FATAL:
		fault_fatal(model, process, any);
		break;
	case EV_CONFIRM:
		fault_confirm(model, process, any);
		break;
	case EV_FAULT:
		fault_apply(model, process, any);
		break;
	case EV_CONN:
		connection_event(model, process, any);
		break;
	case EV_QUERY_START:
		connection_query_start(model, process, any);
		break;
	case EV_QUERY_END:
		connection_query_end(model, process, any);
		break;
	case EV_INFO:
		process_info(model, process, any);
		break;
	case EV_HELLO:
		process_hello(model, process, any);
		break;
	case EV_STATE:
		process_state_told(process, any);
		break;
	case EV_SAMPLE:
		process_sample(process, any);
		break;
	default: /* EV_KILL: for the flight recorder alone */
		break;
	}
}

static void apply_process(struct model *model, const struct ev_head *ev)
{
	struct process_state *process = subject(model, ev);
	if (!process || (process->buried && !is_late_news(process, ev->type)))
		return;
	if (ev->type != EV_INFO)
		flight_note(model, process, ev);
	if (ev->type == EV_FORK) {
		const struct ev_birth *birth = (const void *)ev;
		struct process_state *parent =
			process_find(model, birth->parent_tgid, birth->parent_start_ns);
		if (parent)
			flight_note(model, parent, ev);
	}
	dispatch(model, process, ev);
}

void model_apply(struct model *model, const struct ev_head *ev, notice_fn fn, void *context)
{
	const struct ev_begin *begin = (const void *)ev;
	model->fn = fn;
	model->context = context;
	if (ev->time_ns > model->now_ns)
		model->now_ns = ev->time_ns;
	switch (ev->type) {
	case EV_BEGIN:
		model->wall_offset_ns = begin->wall_ns;
		break;
	case EV_TICK:
		model->tick++;
		table_each(model->processes, tick_one, model);
		death_tick(model);
		break;
	case EV_GAP:
		gap(model, (const void *)ev);
		break;
	case EV_LOCATION:
		model->location = *(const struct ev_location *)(const void *)ev;
		break;
	case EV_PROBE:
	case EV_BREAKER:
	case EV_ACTION:
		own_doing(model, ev);
		break;
	default:
		apply_process(model, ev);
		break;
	}
	model->fn = NULL;
}

uint64_t model_wall_ns(const struct model *model, uint64_t time_ns)
{
	return time_ns + model->wall_offset_ns;
}

uint64_t model_now(const struct model *model)
{
	return model->now_ns;
}

uint64_t model_evicted(const struct model *model)
{
	return table_evicted(model->processes) + table_evicted(model->connections) +
	       table_evicted(model->apps);
}

struct each_process {
	void (*fn)(void *context, const struct process *process);
	void *context;
	const struct process **list;
	size_t count;
};

static void collect_process(void *context, const void *key, void *value)
{
	struct each_process *each = context;
	const struct process_state *process = value;
	(void)key;
	if (!process->buried)
		each->list[each->count++] = &process->pub;
}

static int by_identity(const void *a, const void *b)
{
	const struct process *left = *(const struct process *const *)a,
			     *right = *(const struct process *const *)b;
	if (left->id.tgid != right->id.tgid)
		return left->id.tgid < right->id.tgid ? -1 : 1;
	return (left->id.start_ns > right->id.start_ns) - (left->id.start_ns < right->id.start_ns);
}

/* In order of pid: the table's own order changes with every record. */
void model_each_process(const struct model *model, void (*fn)(void *, const struct process *), void *context)
{
	struct each_process each = {fn, context, calloc(table_count(model->processes) + 1, sizeof(void *)),
				    0};
	if (!each.list)
		return;
	table_each(model->processes, collect_process, &each);
	qsort(each.list, each.count, sizeof(*each.list), by_identity);
	for (size_t i = 0; i < each.count; i++)
		fn(context, each.list[i]);
	free(each.list);
}

struct each_app {
	void (*fn)(void *context, const struct app *app);
	void *context;
};

static void call_app(void *context, const void *key, void *value)
{
	const struct each_app *each = context;
	(void)key;
	each->fn(each->context, &((const struct app_state *)value)->pub);
}

void model_each_app(const struct model *model, void (*fn)(void *, const struct app *), void *context)
{
	table_each(model->apps, call_app, &(struct each_app){fn, context});
	if (model->overflow.processes)
		fn(context, &model->overflow.pub);
}
