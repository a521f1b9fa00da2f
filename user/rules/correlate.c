/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices to incidents. Each rule counts the notices it matches in series, one a key; when count and share
 * hold, the series opens an incident and asks for its decisions once. While the incident is open further
 * notices only update it, and when none has come for quiet_s it closes: a storm is one incident and one
 * decision, not a storm of decisions.
 *
 * The share is of the workers that were there in the window: those alive now and not crashing, plus those
 * that crashed in it. A crashing worker that was replaced counts as two, which errs towards calm.
 */
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/rules/rule.h"
#include <stdlib.h>
#include <string.h>

#define SECOND_NS 1000000000ull
#define LATE_NS   (10 * SECOND_NS) /* a death is judged some ticks after it: its window must still be there */
#define TOUCH_NS  (10 * SECOND_NS) /* a loss this close to an incident is shown on it */

struct series {
	const struct rule *rule;
	uint64_t key; /* its own, for ids */
	struct window window;
	struct incident *incident; /* NULL: none open */
};

struct loss {
	uint64_t from_ns, to_ns, lost;
};

struct rules_state {
	const struct rules *rules;
	struct table *series;
	struct loss losses[LOSSES_KEPT];
	uint32_t loss_count;
};

static void series_gone(void *context, const void *key, void *value)
{
	struct series *series = value;
	(void)context;
	(void)key;
	window_done(&series->window);
	free(series->incident);
}

struct rules_state *rules_state_new(const struct rules *rules, uint64_t seed)
{
	struct rules_state *state = calloc(1, sizeof(*state));
	(void)seed; /* for waits with jitter, which no action has yet; ids come from content alone */
	if (!state)
		return NULL;
	state->rules = rules;
	state->series = table_new(sizeof(uint64_t), sizeof(struct series), SERIES_MAX, series_gone, state);
	if (!state->series) {
		free(state);
		return NULL;
	}
	return state;
}

void rules_state_free(struct rules_state *state)
{
	if (!state)
		return;
	table_free(state->series);
	free(state);
}

static void tell(const struct rules_sink *sink, const struct incident *incident)
{
	if (sink && sink->incident)
		sink->incident(sink->context, incident);
}

static void close_incident(struct series *series, uint64_t now_ns, const struct rules_sink *sink)
{
	series->incident->state = INCIDENT_CLOSED;
	series->incident->closed_ns = now_ns;
	tell(sink, series->incident);
	free(series->incident);
	series->incident = NULL;
}

struct victim {
	const uint64_t *any, *idle;
	struct series *series;
};

static void find_victim(void *context, const void *key, void *value)
{
	struct victim *victim = context;
	struct series *series = value;
	if (!victim->any) {
		victim->any = key;
		victim->series = series;
	}
	if (!victim->idle && !series->incident)
		victim->idle = key;
}

/* A full table gives up the oldest series without an incident; if all have one, the oldest is closed. */
static void make_room(struct rules_state *state, uint64_t now_ns, const struct rules_sink *sink)
{
	struct victim victim = {0};
	uint64_t key;
	if (table_count(state->series) < SERIES_MAX)
		return;
	table_each(state->series, find_victim, &victim);
	if (!victim.idle)
		close_incident(victim.series, now_ns, sink);
	memcpy(&key, victim.idle ? victim.idle : victim.any, sizeof(key));
	table_delete(state->series, &key);
}

static struct series *series_for(struct rules_state *state, const struct rule *rule,
				 const struct notice *notice, const struct rules_sink *sink)
{
	char value[FIELD_SIZE];
	uint64_t key = digest_text(DIGEST_START, rule->name);
	for (size_t i = 0; i < rule->per_count; i++) {
		field_value(rule->per[i], notice, value);
		key = digest_text(key, value);
	}
	if (rule->per_app && notice->process) { /* nothing joins two scopes, not even the same name */
		const struct app *app = notice->process->app;
		key = digest_fnv(key, &app->uid, sizeof(app->uid));
		key = digest_fnv(key, &app->cgroup_id, sizeof(app->cgroup_id));
	}
	struct series *series = table_get(state->series, &key);
	if (series)
		return series;
	make_room(state, notice->time_ns, sink);
	series = table_put(state->series, &key, NULL);
	if (series) {
		series->rule = rule;
		series->key = key;
	}
	return series;
}

static struct tally tally_of(const struct series *series, const struct notice *notice)
{
	return (struct tally){
		.total = series->incident ? series->incident->count : series->window.count,
		.count = series->window.count,
		.window_s = series->rule->window_s,
		.threshold = series->rule->count,
		.workers = notice->process ? notice->process->app->workers : 0,
	};
}

static bool threshold_passed(const struct rule *rule, const struct tally *tally)
{
	uint64_t there = (uint64_t)tally->workers + tally->count;
	return tally->count >= rule->count && tally->count * 100ull >= there * rule->share_percent;
}

static uint64_t losses_since(const struct rules_state *state, uint64_t from_ns)
{
	uint32_t kept = state->loss_count < LOSSES_KEPT ? state->loss_count : LOSSES_KEPT;
	uint64_t lost = 0;
	for (uint32_t i = 0; i < kept; i++)
		if (state->losses[i].to_ns >= from_ns)
			lost += state->losses[i].lost;
	return lost;
}

static const char *remedy_for(const struct rule *rule, const struct notice *notice)
{
	for (size_t i = 0; i < rule->remedy_count; i++)
		if (conditions_hold(&rule->remedies[i].where, notice))
			return rule->remedies[i].text;
	return "";
}

/* Words and links follow the latest notice; identity stays. */
static void describe(struct series *series, const struct notice *notice, const struct tally *tally)
{
	const struct rule *rule = series->rule;
	struct incident *incident = series->incident;
	const char *title = incident->count > 1 && *rule->title_many ? rule->title_many : rule->title;
	template_fill(rule->subject, notice, tally, incident->subject, sizeof(incident->subject));
	template_fill(title, notice, tally, incident->title, sizeof(incident->title));
	template_fill(remedy_for(rule, notice), notice, tally, incident->remedy, sizeof(incident->remedy));
	if (notice->crash)
		text_copy(incident->crash_id, sizeof(incident->crash_id), notice->crash->id);
	if (notice->time_ns > incident->updated_ns)
		incident->updated_ns = notice->time_ns;
}

static struct incident *open_incident(const struct rules_state *state, struct series *series,
				      const struct notice *notice, const struct tally *tally)
{
	struct incident *incident = calloc(1, sizeof(*incident));
	if (!incident)
		return NULL;
	uint64_t first_ns = series->window.entries[0].time_ns;
	series->incident = incident;
	digest_hex(digest_mix(digest_fnv(series->key, &notice->time_ns, sizeof(notice->time_ns))),
		   incident->id);
	text_copy(incident->kind, sizeof(incident->kind), series->rule->kind);
	text_copy(incident->severity, sizeof(incident->severity), series->rule->severity);
	text_copy(incident->rule, sizeof(incident->rule), series->rule->name);
	template_fill("{app}", notice, tally, incident->app, sizeof(incident->app));
	incident->opened_ns = notice->time_ns;
	incident->count = tally->count;
	incident->lost_records = losses_since(state, first_ns > TOUCH_NS ? first_ns - TOUCH_NS : 0);
	return incident;
}

static bool wanted(const struct series *series, unsigned index)
{
	uint32_t marked = window_marked(&series->window, index);
	switch (series->rule->decisions[index].quantifier) {
	case EVERY:
		return marked == series->window.count;
	case SOME:
		return marked > 0;
	default:
		return true;
	}
}

static void decide(const struct series *series, const struct notice *notice, const struct tally *tally,
		   const struct rules_sink *sink)
{
	const struct rule *rule = series->rule;
	for (unsigned i = 0; i < rule->decision_count; i++) {
		const struct rule_decision *asked = &rule->decisions[i];
		struct decision decision = {.time_ns = notice->time_ns,
					    .count = tally->count,
					    .window_ms = tally->window_s * 1000,
					    .live_workers = tally->workers,
					    .threshold = tally->threshold};
		if (!wanted(series, i))
			continue;
		uint64_t id = digest_text(DIGEST_START, series->incident->id);
		id = digest_text(digest_text(id, asked->action), asked->scope);
		digest_hex(digest_mix(id), decision.id);
		text_copy(decision.incident, sizeof(decision.incident), series->incident->id);
		text_copy(decision.rule, sizeof(decision.rule), rule->name);
		text_copy(decision.action, sizeof(decision.action), asked->action);
		text_copy(decision.scope, sizeof(decision.scope), asked->scope);
		text_copy(decision.app, sizeof(decision.app), series->incident->app);
		template_fill(asked->target, notice, tally, decision.target, sizeof(decision.target));
		template_fill(asked->reason, notice, tally, decision.reason, sizeof(decision.reason));
		if (notice->process)
			decision.process = notice->process->id;
		if (sink && sink->decision)
			sink->decision(sink->context, &decision);
	}
}

static uint32_t marks_of(const struct rule *rule, const struct notice *notice)
{
	uint32_t marks = 0;
	for (unsigned i = 0; i < rule->decision_count; i++)
		marks |= (uint32_t)conditions_hold(&rule->decisions[i].when, notice) << i;
	return marks;
}

static void apply_rule(struct rules_state *state, const struct rule *rule, const struct notice *notice,
		       const struct rules_sink *sink)
{
	struct series *series = series_for(state, rule, notice, sink);
	if (!series)
		return;
	window_add(&series->window, notice->time_ns, marks_of(rule, notice), rule->window_s * SECOND_NS);
	if (series->incident)
		series->incident->count++;
	struct tally tally = tally_of(series, notice);
	if (series->incident) {
		describe(series, notice, &tally);
		tell(sink, series->incident);
	} else if (threshold_passed(rule, &tally) && open_incident(state, series, notice, &tally)) {
		describe(series, notice, &tally);
		tell(sink, series->incident);
		decide(series, notice, &tally, sink);
	}
}

struct walk {
	struct rules_state *state;
	const struct rules_sink *sink;
	const struct ev_gap *gap;
	uint64_t now_ns;
};

static void touch(void *context, const void *key, void *value)
{
	const struct walk *walk = context;
	struct incident *incident = ((struct series *)value)->incident;
	(void)key;
	if (!incident || walk->gap->to_ns + TOUCH_NS < incident->opened_ns ||
	    walk->gap->from_ns > incident->updated_ns + TOUCH_NS)
		return;
	incident->lost_records += walk->gap->lost;
	tell(walk->sink, incident);
}

static void apply_gap(struct rules_state *state, const struct ev_gap *gap, const struct rules_sink *sink)
{
	struct walk walk = {state, sink, gap, 0};
	state->losses[state->loss_count++ % LOSSES_KEPT] = (struct loss){gap->from_ns, gap->to_ns, gap->lost};
	table_each(state->series, touch, &walk);
}

void rules_notice(struct rules_state *state, const struct model *model, const struct notice *notice,
		  const struct rules_sink *sink)
{
	(void)model;
	if (notice->type == NOTICE_GAP)
		apply_gap(state, notice->gap, sink);
	for (size_t i = 0; i < state->rules->count; i++) {
		const struct rule *rule = &state->rules->list[i];
		if (rule->notice == notice->type && conditions_hold(&rule->where, notice))
			apply_rule(state, rule, notice, sink);
	}
}

static void tick_series(void *context, const void *key, void *value)
{
	const struct walk *walk = context;
	struct series *series = value;
	uint64_t latest = window_latest(&series->window);
	uint64_t own = series->key;
	(void)key;
	if (series->incident &&
	    series->incident->updated_ns + series->rule->quiet_s * SECOND_NS < walk->now_ns)
		close_incident(series, walk->now_ns, walk->sink);
	if (!series->incident && latest + series->rule->window_s * SECOND_NS + LATE_NS < walk->now_ns)
		table_delete(walk->state->series, &own);
}

void rules_tick(struct rules_state *state, const struct model *model, uint64_t now_ns,
		const struct rules_sink *sink)
{
	struct walk walk = {state, sink, NULL, now_ns};
	(void)model;
	table_each(state->series, tick_series, &walk);
}
