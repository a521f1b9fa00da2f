/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key of a series is the rule with the values of its `per` fields, and with `app` among them the whole
 * scope (uid, network namespace, cgroup), because a name is what a process may choose.
 */
#include "user/rules/series.h"
#include "user/base/digest.h"
#include "user/base/text.h"
#include <stdlib.h>
#include <string.h>

static void series_gone(void *context, const void *key, void *value)
{
	struct series *series = value;
	(void)context;
	(void)key;
	window_done(&series->window);
	free(series->incident);
}

struct table *series_table_new(void)
{
	return table_new(sizeof(uint64_t), sizeof(struct series), SERIES_MAX, series_gone, NULL);
}

void notice_scope(const struct notice *notice, struct ev_scope *out)
{
	const struct app *app = notice->process ? notice->process->app : NULL;
	memset(out, 0, sizeof(*out));
	if (notice->probe) {
		*out = notice->probe->scope;
	} else if (notice->breaker) {
		*out = notice->breaker->scope;
	} else if (notice->action) {
		*out = notice->action->scope;
	} else if (app) {
		out->cgroup_id = app->cgroup_id;
		out->uid = app->uid;
		out->netns = app->netns;
		text_copy(out->app, sizeof(out->app), app->name);
	}
}

static uint64_t add_scope(uint64_t key, const struct ev_scope *scope)
{
	key = digest_fnv(key, &scope->uid, sizeof(scope->uid));
	key = digest_fnv(key, &scope->netns, sizeof(scope->netns));
	return digest_fnv(key, &scope->cgroup_id, sizeof(scope->cgroup_id));
}

static uint64_t place_of(const struct ev_scope *scope, const char *target)
{
	return digest_text(digest_text(add_scope(DIGEST_START, scope), scope->app), target);
}

uint64_t series_key(const struct rule *rule, const struct notice *notice)
{
	char value[FIELD_SIZE];
	struct ev_scope scope;
	uint64_t key = digest_text(DIGEST_START, rule->name);
	for (size_t i = 0; i < rule->per_count; i++) {
		field_value(rule->per[i], notice, value);
		key = digest_text(key, value);
	}
	notice_scope(notice, &scope);
	return rule->per_app ? add_scope(key, &scope) : key;
}

struct series *series_new(struct table *table, uint64_t key, const struct rule *rule,
			  const struct notice *notice)
{
	struct series *series = table_put(table, &key, NULL);
	if (!series)
		return NULL;
	series->rule = rule;
	series->key = key;
	if (rule->per_app && rule->per_target) {
		char target[FIELD_SIZE];
		struct ev_scope scope;
		notice_scope(notice, &scope);
		field_value(field_named("target", 6, rule->notice), notice, target);
		series->place = place_of(&scope, target);
	}
	return series;
}

void series_calm(struct series *series)
{
	free(series->incident);
	series->incident = NULL;
	series->asked = 0;
	series->asked_ns = 0;
}

static void begin_anew(void *context, const void *key, void *value)
{
	struct series *series = value;
	(void)key;
	if (series->place != *(const uint64_t *)context)
		return;
	window_empty(&series->window);
	series->asked_ns = 0; /* what was asked for has ended: the volume alone decides when it comes again */
}

void series_begin_anew(struct table *table, const struct ev_breaker *breaker)
{
	uint64_t place = place_of(&breaker->scope, breaker->target);
	table_each(table, begin_anew, &place);
}
