/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a series asks for, and when: at the moment its incident opens, and with repeat_s once more while it
 * lasts, for which the notices since the last time must be a volume of their own. So a breaker that closed is
 * opened again by new failures alone, and a storm asks a bounded number of times. A person is told once.
 *
 * The share is of the workers that were there in the window: those alive now and not crashing, plus those
 * that crashed in it. A crashing worker that was replaced counts as two, which errs towards calm.
 */
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/rules/series.h"
#include <string.h>

struct tally tally_of(const struct series *series, const struct notice *notice)
{
	const struct app *app = notice->process ? notice->process->app : notice->app;
	return (struct tally){
		.total = series->incident ? series->incident->count : series->window.count,
		.count = series->window.count,
		.window_s = series->rule->window_s,
		.threshold = series->rule->count,
		.workers = app ? app->workers : 0,
	};
}

static bool is_volume(const struct rule *rule, uint32_t count, uint32_t workers)
{
	uint64_t there = (uint64_t)workers + count;
	return count >= rule->count && count * 100ull >= there * rule->share_percent;
}

bool decide_due(const struct series *series, const struct notice *notice, const struct tally *tally)
{
	const struct rule *rule = series->rule;
	if (!series->incident)
		return is_volume(rule, tally->count, tally->workers);
	return rule->repeat_s &&
	       (!series->asked_ns || notice->time_ns >= series->asked_ns + rule->repeat_s * SECOND_NS) &&
	       is_volume(rule, window_fresh(&series->window), tally->workers);
}

/* The value that decisions ask to be the same, as a digest; 0: there is none. */
static uint64_t same_of(const struct rule *rule, const struct notice *notice)
{
	char value[FIELD_SIZE];
	field_value(rule->same, notice, value);
	return *value ? digest_text(DIGEST_START, value) | 1 : 0;
}

static bool wanted(const struct series *series, unsigned index, const struct notice *notice)
{
	const struct rule_decision *asked = &series->rule->decisions[index];
	uint32_t marked = window_marked(&series->window, index);
	switch (asked->quantifier) {
	case EVERY:
		return marked == series->window.count;
	case SOME:
		/* a target of the latest notice must be one that the condition speaks of */
		return marked >= asked->at_least &&
		       (!asked->of_latest || conditions_hold(&asked->when, notice));
	case SAME: {
		uint64_t same = same_of(series->rule, notice);
		return same && window_same(&series->window, same) >= asked->at_least;
	}
	default:
		return true;
	}
}

static void add_id(const struct series *series, const struct rule_decision *asked, char out[17])
{
	uint64_t id = digest_text(DIGEST_START, series->incident->id);
	id = digest_text(digest_text(id, asked->action), asked->scope);
	digest_hex(digest_mix(digest_fnv(id, &series->asked, sizeof(series->asked))), out);
}

static void ask(const struct series *series, const struct rule_decision *asked, const struct notice *notice,
		const struct tally *tally, const struct rules_sink *sink)
{
	struct decision decision = {.time_ns = notice->time_ns,
				    .of_crash = notice->type == NOTICE_CRASH,
				    .count = tally->count,
				    .window_ms = tally->window_s * 1000,
				    .live_workers = tally->workers,
				    .healthy_workers = tally->healthy,
				    .threshold = tally->threshold};
	template_fill(asked->target, notice, tally, decision.target, sizeof(decision.target));
	if (asked->needs_a_target && *asked->target && !*decision.target)
		return;
	add_id(series, asked, decision.id);
	text_copy(decision.incident, sizeof(decision.incident), series->incident->id);
	text_copy(decision.rule, sizeof(decision.rule), series->rule->name);
	text_copy(decision.action, sizeof(decision.action), asked->action);
	text_copy(decision.scope, sizeof(decision.scope), asked->scope);
	text_copy(decision.app, sizeof(decision.app), series->incident->app);
	template_fill(asked->reason, notice, tally, decision.reason, sizeof(decision.reason));
	notice_scope(notice, &decision.scope_of);
	if (notice->process)
		decision.process = notice->process->id;
	if (sink && sink->decision)
		sink->decision(sink->context, &decision);
}

/* One order is enough, however many of a rule's conditions ask for it. */
static bool asked_before(const struct rule *rule, unsigned index, uint32_t asked)
{
	const struct rule_decision *now = &rule->decisions[index], *then = rule->decisions;
	for (unsigned i = 0; i < index; i++, then++)
		if ((asked >> i & 1) && strcmp(now->action, then->action) == 0 &&
		    strcmp(now->scope, then->scope) == 0 && strcmp(now->target, then->target) == 0)
			return true;
	return false;
}

void decide(struct series *series, const struct notice *notice, const struct tally *tally,
	    const struct rules_sink *sink)
{
	const struct rule *rule = series->rule;
	uint32_t asked = 0;
	for (unsigned i = 0; i < rule->decision_count; i++) {
		bool told = series->asked && strcmp(rule->decisions[i].action, "alert") == 0;
		if (told || !wanted(series, i, notice) || asked_before(rule, i, asked))
			continue;
		ask(series, &rule->decisions[i], notice, tally, sink);
		asked |= 1u << i;
	}
	series->asked++;
	series->asked_ns = notice->time_ns;
	window_spend(&series->window);
}

void decide_entry(const struct rule *rule, const struct notice *notice, struct window_entry *out)
{
	*out = (struct window_entry){.time_ns = notice->time_ns};
	for (unsigned i = 0; i < rule->decision_count; i++)
		out->marks |= (uint32_t)conditions_hold(&rule->decisions[i].when, notice) << i;
	if (rule->same)
		out->same = same_of(rule, notice);
}
