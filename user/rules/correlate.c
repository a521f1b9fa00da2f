/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices to incidents. Each rule counts the notices it matches in series, one a key; when count and share
 * hold, the series opens an incident and asks for its decisions. While the incident is open further notices
 * update it, and when none has come for quiet_s it closes: a storm is one incident, not a storm of them.
 */
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/rules/series.h"
#include <stdlib.h>
#include <string.h>

#define LATE_NS  (10 * SECOND_NS) /* a death is judged some ticks after it: its window must still be there */
#define TOUCH_NS (10 * SECOND_NS) /* a loss this close to an incident is shown on it */

struct loss {
	uint64_t from_ns, to_ns, lost;
};

struct rules_state {
	const struct rules *rules;
	struct table *series;
	struct loss losses[LOSSES_KEPT];
	uint32_t loss_count;
};

struct rules_state *rules_state_new(const struct rules *rules, uint64_t seed)
{
	struct rules_state *state = calloc(1, sizeof(*state));
	(void)seed; /* nothing here is left to chance yet: ids come from content alone */
	if (!state)
		return NULL;
	state->rules = rules;
	state->series = series_table_new();
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
	series_calm(series);
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
	uint64_t key = series_key(rule, notice);
	struct series *series = table_get(state->series, &key);
	if (series)
		return series;
	make_room(state, notice->time_ns, sink);
	return series_new(state->series, key, rule, notice);
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

static uint32_t healthy_of(const struct model *model, const struct notice *notice)
{
	const struct app *app = notice->process ? notice->process->app : notice->app;

	return model && app ? model_workers(model, app, NULL, NULL, NULL).healthy : 0;
}

static void apply_rule(struct rules_state *state, const struct model *model, const struct rule *rule,
		       const struct notice *notice, const struct rules_sink *sink)
{
	struct window_entry entry;
	struct series *series = series_for(state, rule, notice, sink);
	if (!series)
		return;
	decide_entry(rule, notice, &entry);
	window_add(&series->window, &entry, rule->window_s * SECOND_NS);
	if (series->incident)
		series->incident->count++;
	struct tally tally = tally_of(series, notice);
	bool due = decide_due(series, notice, &tally);
	if (!series->incident && (!due || !open_incident(state, series, notice, &tally)))
		return;
	describe(series, notice, &tally);
	tell(sink, series->incident);
	if (!due)
		return;
	tally.healthy = healthy_of(model, notice);
	decide(series, notice, &tally, sink);
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
	if (notice->type == NOTICE_GAP)
		apply_gap(state, notice->gap, sink);
	if (notice->type == NOTICE_BREAKER && notice->breaker->state == BREAKER_CLOSED)
		series_begin_anew(state->series, notice->breaker);
	for (size_t i = 0; i < state->rules->count; i++) {
		const struct rule *rule = &state->rules->list[i];
		if (rule->notice == notice->type && conditions_hold(&rule->where, notice))
			apply_rule(state, model, rule, notice, sink);
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
