// SPDX-License-Identifier: Apache-2.0
/*
 * Places for tests are few, and a database that hangs keeps one until its test times out. So places are given
 * scope by scope: whoever has the fewest tests running and waited longest comes next, and no scope takes more
 * than half of them. A scope with five hundred targets that all hang then slows its own tests and nobody
 * else's.
 *
 * Within a scope the test that is due longest comes first, one that a breaker waits for counts as due an
 * interval earlier: before the others, but not instead of them for ever.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/probes_private.h"
#include "user/base/digest.h"
#include "user/base/text.h"

#define MS         UINT64_C(1000000)
#define REACHED_NS (3600 * 1000 * MS) /* for so long one answer says that the prober can reach a target */
#define LOST_NS    (120 * 1000 * MS)  /* twice the longest test: an answer that did not come will not */

enum {
	JITTER_PERCENT = 20,
	EAGER_FAILURES = 10, /* so many in a row are followed closely without a breaker's wish */
	LATER_MS = 100,
};

struct probes *probes_new(const struct probes_settings *settings, uint64_t seed,
			  const struct probes_events *events)
{
	struct probes *probes = calloc(1, sizeof(*probes));

	if (!probes)
		return NULL;
	probes->settings = *settings;
	probes->events = *events;
	probes->random = seed;
	if (!probes_list_init(probes)) {
		probes_free(probes);
		return NULL;
	}
	return probes;
}

void probes_free(struct probes *probes)
{
	if (!probes)
		return;
	probes_list_done(probes);
	free(probes);
}

static uint64_t jitter(struct probes *probes, uint32_t ms)
{
	uint64_t part = digest_mix(probes->random += UINT64_C(0x9e3779b97f4a7c15));

	return ms * MS / 100 * (100 - JITTER_PERCENT + part % (2 * JITTER_PERCENT + 1));
}

/* A new one is tested soon, so that it is known early whether the prober can reach it; not with all others.
 */
static struct entry *need(struct probes *probes, const struct ev_scope *scope, const char *target,
			  bool urgent, uint64_t now_ns)
{
	bool fresh;
	struct entry *entry;

	if (probes->settings.interval_ms == 0 || !*target || strlen(target) >= SCOPE_TARGET_SIZE)
		return NULL;
	entry = probes_list_need(probes, scope, target, urgent, &fresh);
	if (entry && fresh) {
		entry->used_ns = now_ns;
		entry->due_ns = now_ns + jitter(probes, probes->settings.urgent_ms);
	}
	return entry;
}

void probes_used(struct probes *probes, const struct ev_scope *scope, const char *target, uint32_t tgid,
		 uint64_t start_ns, uint64_t now_ns)
{
	struct entry *entry = need(probes, scope, target, false, now_ns);
	struct place *place = entry ? entry->place : table_peek(probes->places, scope);
	if (entry)
		entry->used_ns = now_ns;
	if (place && tgid)
		probes_list_hold(probes, place, tgid, start_ns);
}

void probes_reach(struct probes *probes, const struct ev_scope *scope, uint32_t tgid, uint64_t start_ns)
{
	struct place *place = table_peek(probes->places, scope);

	if (place && tgid)
		probes_list_hold(probes, place, tgid, start_ns);
}

struct leaving {
	struct probes *probes;
	struct holder holder;
};

static void let_go(void *context, const void *key, void *value)
{
	const struct leaving *leaving = context;
	struct place *place = value;

	(void)key;
	if (place->tgid == leaving->holder.tgid && place->start_ns == leaving->holder.start_ns)
		probes_list_hold(leaving->probes, place, 0, 0);
}

void probes_process_gone(struct probes *probes, uint32_t tgid, uint64_t start_ns)
{
	struct leaving leaving = {probes, {.start_ns = start_ns, .tgid = tgid}};

	if (table_peek(probes->holders, &leaving.holder))
		table_each(probes->places, let_go, &leaving);
}

void probes_urgent(struct probes *probes, const struct ev_scope *scope, const char *target, bool urgent,
		   uint64_t now_ns)
{
	struct entry *entry =
		urgent ? need(probes, scope, target, true, now_ns) : probes_list_find(probes, scope, target);

	if (!entry)
		return;
	if (urgent && !entry->urgent)
		entry->due_ns = now_ns;
	entry->urgent = urgent;
}

struct search {
	const struct probes *probes;
	struct entry *found;
	uint64_t now_ns, token;
};

/* --- answers ---------------------------------------------------------------------------------------- */

static bool failed(enum probe_result result)
{
	return result != PROBE_OK && result != PROBE_NOT_RUN;
}

/* A test that was not run says nothing about the target, so it changes no count and makes no haste. */
static void settle(struct probes *probes, struct entry *entry, enum probe_result result, const char *sqlstate,
		   uint32_t ms, uint64_t now_ns)
{
	struct probes_answer *latest = &entry->latest;
	bool haste;

	if (result == PROBE_OK || result == PROBE_REJECTED) {
		entry->was_reached = true;
		entry->reached_ns = now_ns;
	}
	if (result != PROBE_NOT_RUN)
		entry->failures = failed(result) ? entry->failures + 1 : 0;
	haste = entry->urgent || (failed(result) && entry->failures <= EAGER_FAILURES);
	entry->due_ns =
		now_ns + jitter(probes, haste ? probes->settings.urgent_ms : probes->settings.interval_ms);
	entry->tested = true;
	latest->result = result;
	latest->ms = ms;
	latest->reached = entry->was_reached && now_ns - entry->reached_ns < REACHED_NS;
	latest->tested_ns = now_ns;
	text_copy(latest->sqlstate, sizeof(latest->sqlstate), sqlstate);
	if (probes->events.answered) {
		struct probes_answer copy = *latest; /* the callback may make the entry go */

		probes->events.answered(probes->events.context, &copy);
	}
}

static void end_running(struct probes *probes, struct entry *entry)
{
	entry->token = 0;
	entry->place->running--;
	probes->running--;
}

static void find_token(void *context, const void *key, void *value)
{
	struct search *search = context;
	struct entry *entry = value;

	(void)key;
	if (entry->token == search->token)
		search->found = entry;
}

void probes_answer(struct probes *probes, uint64_t token, enum probe_result result, const char *sqlstate,
		   uint32_t ms, uint64_t now_ns)
{
	struct search search = {.token = token};

	if (token == 0)
		return;
	table_each(probes->entries, find_token, &search);
	if (!search.found)
		return;
	end_running(probes, search.found);
	settle(probes, search.found, result, sqlstate, ms, now_ns);
}

/* --- the tick --------------------------------------------------------------------------------------- */

/* Deletes what is idle; finds one whose answer is lost. */
static void look_over(void *context, const void *key, void *value)
{
	struct search *search = context;
	struct entry *entry = value;

	if (entry->token) {
		if (search->now_ns - entry->asked_ns >= LOST_NS)
			search->found = entry;
	} else if (!entry->urgent &&
		   search->now_ns - entry->used_ns >= search->probes->settings.idle_ms * MS) {
		table_delete(search->probes->entries, key);
	}
}

static bool comes_before(const struct probes *probes, const struct entry *a, const struct entry *b)
{
	uint64_t ahead = probes->settings.interval_ms * MS;

	if (a->place != b->place)
		return a->place->running != b->place->running ? a->place->running < b->place->running
							      : a->place->served < b->place->served;
	return a->due_ns + (a->urgent ? 0 : ahead) < b->due_ns + (b->urgent ? 0 : ahead);
}

static void find_next(void *context, const void *key, void *value)
{
	struct search *search = context;
	struct entry *entry = value;
	uint32_t share = (search->probes->settings.running_max + 1) / 2;

	(void)key;
	if (entry->token || entry->due_ns > search->now_ns || !entry->place->tgid ||
	    entry->place->running >= share)
		return;
	if (!search->found || comes_before(search->probes, entry, search->found))
		search->found = entry;
}

/* False: the prober takes no more at present. */
static bool ask(struct probes *probes, struct entry *entry, uint64_t now_ns)
{
	struct probes_question question = {.token = ++probes->tokens,
					   .scope = entry->place->scope,
					   .tgid = entry->place->tgid,
					   .start_ns = entry->place->start_ns};
	int err;

	text_copy(question.target, sizeof(question.target), entry->latest.target);
	err = probes->events.ask(probes->events.context, &question);
	if (err == -EAGAIN) {
		entry->due_ns = now_ns + LATER_MS * MS;
		return false;
	}
	entry->place->served = ++probes->served;
	if (err) {
		settle(probes, entry, PROBE_NOT_RUN, "", 0, now_ns);
		return true;
	}
	entry->token = question.token;
	entry->asked_ns = now_ns;
	entry->place->running++;
	probes->running++;
	return true;
}

void probes_tick(struct probes *probes, uint64_t now_ns)
{
	struct search search = {.probes = probes, .now_ns = now_ns};

	if (probes->settings.interval_ms == 0)
		return;
	do {
		search.found = NULL;
		table_each(probes->entries, look_over, &search);
		if (search.found)
			probes_answer(probes, search.found->token, PROBE_NOT_RUN, "", 0, now_ns);
	} while (search.found);
	while (probes->running < probes->settings.running_max) {
		search.found = NULL;
		table_each(probes->entries, find_next, &search);
		if (!search.found || !ask(probes, search.found, now_ns))
			break;
	}
}

/* --- for others to see ------------------------------------------------------------------------------ */

bool probes_latest(const struct probes *probes, const struct ev_scope *scope, const char *target,
		   struct probes_answer *out)
{
	const struct entry *entry = probes_list_find(probes, scope, target);

	if (!entry || !entry->tested)
		return false;
	*out = entry->latest;
	return true;
}

struct listing {
	void (*fn)(void *context, const struct probes_answer *answer);
	void *context;
};

static void list(void *context, const void *key, void *value)
{
	const struct listing *listing = context;
	const struct entry *entry = value;

	(void)key;
	if (entry->tested)
		listing->fn(listing->context, &entry->latest);
}

void probes_each(const struct probes *probes, void (*fn)(void *context, const struct probes_answer *answer),
		 void *context)
{
	struct listing listing = {fn, context};

	table_each(probes->entries, list, &listing);
}
