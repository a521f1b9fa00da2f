// SPDX-License-Identifier: Apache-2.0
/* Which breaker is meant, and all of them together; breaker_state.c has what becomes of one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/breaker_private.h"
#include "user/base/text.h"

#define FORGET_NS 3600000000000ull

struct key {
	struct ev_scope scope;
	char target[SCOPE_TARGET_SIZE];
	uint64_t kind;
};

struct breakers *breakers_new(const struct breaker_settings *settings, uint64_t seed,
			      const struct breakers_events *events)
{
	struct breakers *breakers = calloc(1, sizeof(*breakers));
	struct breaker *breaker;

	if (!breakers)
		return NULL;
	breakers->settings = *settings;
	breakers->events = *events;
	breakers->dice.seed = seed;
	breakers->table = table_new(sizeof(struct key), sizeof(struct breaker_entry), settings->breakers_max,
				    NULL, NULL);
	breakers->trials = table_new(sizeof(breaker->trial_id), sizeof(struct breaker_entry *),
				     settings->breakers_max, NULL, NULL);
	if (!breakers->table || !breakers->trials) {
		breakers_free(breakers);
		return NULL;
	}
	return breakers;
}

void breakers_free(struct breakers *breakers)
{
	if (!breakers)
		return;
	table_free(breakers->trials);
	table_free(breakers->table);
	free(breakers);
}

static void advance(struct breakers *breakers, uint64_t now_ns)
{
	if (now_ns > breakers->now_ns)
		breakers->now_ns = now_ns;
}

static bool set_key(struct key *key, const struct ev_scope *scope, const char *target, enum breaker_kind kind)
{
	memset(key, 0, sizeof(*key));
	key->scope = *scope;
	key->kind = kind;
	if (!target || !target[0] || strlen(target) >= sizeof(key->target) || kind >= BREAKER_KINDS)
		return false;
	text_copy(key->target, sizeof(key->target), target);
	return true;
}

static struct breaker_entry *find(const struct breakers *breakers, const struct ev_scope *scope,
				  const char *target, enum breaker_kind kind)
{
	struct key key;

	return set_key(&key, scope, target, kind) ? table_peek(breakers->table, &key) : NULL;
}

bool breakers_outcome(struct breakers *breakers, uint64_t peer, const char *trial_id, bool ok,
		      uint64_t now_ns)
{
	char id[sizeof(((struct breaker *)NULL)->trial_id)] = "";
	struct breaker_entry **known, *entry;

	advance(breakers, now_ns);
	if (peer == 0 || text_copy(id, sizeof(id), trial_id) == 0)
		return false;
	known = table_peek(breakers->trials, id);
	entry = known ? *known : NULL;
	if (!entry || !breaker_lasts(breakers, entry) || entry->breaker.trial_peer != peer ||
	    breakers->now_ns >= entry->trial_end_ns)
		return false;
	if (ok)
		breaker_close(breakers, entry, "one client's trial succeeded");
	else
		breaker_fail(breakers, entry, "one client's trial failed");
	return true;
}

bool breakers_concerns(enum breaker_kind kind, enum conn_reason reason, const char *sqlstate)
{
	bool turned_away = strcmp(sqlstate, "53300") == 0 || reason == REASON_REFUSED ||
			   reason == REASON_NO_SOCKET || reason == REASON_TOO_MANY;
	bool connecting = turned_away || reason == REASON_TIMEOUT || reason == REASON_NO_HOST ||
			  reason == REASON_STARTING;

	return kind == BREAKER_CONNECT ? connecting : !turned_away;
}

void breakers_evidence(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		       enum breaker_kind kind, uint64_t now_ns)
{
	struct breaker_entry *entry = find(breakers, scope, target, kind);

	advance(breakers, now_ns);
	if (breaker_lasts(breakers, entry))
		breaker_evidence(breakers, entry);
}

void breakers_probe(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		    enum probe_result result, const char *sqlstate, bool reached, uint64_t now_ns)
{
	advance(breakers, now_ns);
	for (int kind = 0; kind < BREAKER_KINDS; kind++) {
		struct breaker_entry *entry = find(breakers, scope, target, (enum breaker_kind)kind);
		enum breaker_verdict verdict =
			breaker_judge((enum breaker_kind)kind, result, sqlstate ? sqlstate : "", reached);

		if (verdict != SAYS_NOTHING && breaker_lasts(breakers, entry))
			breaker_hear(breakers, entry, verdict);
	}
}

struct oldest {
	const void *key;
	uint64_t closed_ns;
};

static void find_oldest(void *context, const void *key, void *value)
{
	struct oldest *oldest = context;
	const struct breaker_entry *entry = value;

	if (entry->breaker.state == BREAKER_CLOSED && (!oldest->key || entry->closed_ns < oldest->closed_ns))
		*oldest = (struct oldest){key, entry->closed_ns};
}

/* The entry, made where there is none; a closed one makes room for it, an open one never. */
static struct breaker_entry *put(struct breakers *breakers, const struct key *key)
{
	struct breaker_entry *entry = table_peek(breakers->table, key);
	struct oldest oldest = {0};

	if (entry)
		return entry;
	if (table_count(breakers->table) >= breakers->settings.breakers_max) {
		table_each(breakers->table, find_oldest, &oldest);
		if (!oldest.key)
			return NULL;
		table_delete(breakers->table, oldest.key);
	}
	entry = table_put(breakers->table, key, NULL);
	if (entry) {
		entry->breaker.scope = key->scope;
		text_copy(entry->breaker.target, sizeof(entry->breaker.target), key->target);
		entry->breaker.kind = (enum breaker_kind)key->kind;
	}
	return entry;
}

int breakers_open(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		  enum breaker_kind kind, const char *reason, const char *incident, enum breaker_by by,
		  uint32_t hold_ms, uint64_t now_ns)
{
	struct breaker_entry *entry;
	struct key key;

	advance(breakers, now_ns);
	if (!set_key(&key, scope, target, kind))
		return -EINVAL;
	entry = put(breakers, &key);
	if (!entry)
		return -ENOSPC;
	if (breaker_lasts(breakers, entry) && by != BREAKER_BY_OPERATOR) {
		breaker_evidence(breakers, entry);
		if (by == BREAKER_BY_STATEMENT)
			breaker_poison(breakers, entry);
		return 0;
	}
	entry->breaker.by_operator = by == BREAKER_BY_OPERATOR;
	entry->breaker.of_statement = by == BREAKER_BY_STATEMENT;
	breaker_open(breakers, entry, reason, incident, hold_ms);
	return 0;
}

int breakers_close(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		   enum breaker_kind kind, const char *reason, uint64_t now_ns)
{
	struct breaker_entry *entry = find(breakers, scope, target, kind);

	advance(breakers, now_ns);
	if (!breaker_lasts(breakers, entry))
		return -ENOENT;
	breaker_close(breakers, entry, reason);
	return 0;
}

struct visit {
	struct breakers *breakers;
	uint64_t peer;
	const char *reason;
	void (*fn)(void *context, const struct breaker *breaker);
	void *context;
};

static void close_one(void *context, const void *key, void *value)
{
	struct visit *visit = context;
	struct breaker_entry *entry = value;

	(void)key;
	if (entry->breaker.state != BREAKER_CLOSED)
		breaker_close(visit->breakers, entry, visit->reason);
}

void breakers_release(struct breakers *breakers, const char *reason, uint64_t now_ns)
{
	struct visit visit = {.breakers = breakers, .reason = reason};

	advance(breakers, now_ns);
	table_each(breakers->table, close_one, &visit);
}

static void tick_one(void *context, const void *key, void *value)
{
	struct breakers *breakers = context;
	struct breaker_entry *entry = value;

	if (breaker_lasts(breakers, entry))
		breaker_step(breakers, entry);
	else if (breakers->now_ns - entry->closed_ns >= FORGET_NS)
		table_delete(breakers->table, key);
}

void breakers_tick(struct breakers *breakers, uint64_t now_ns)
{
	advance(breakers, now_ns);
	table_each(breakers->table, tick_one, breakers);
}

static void take_back(void *context, const void *key, void *value)
{
	const struct visit *visit = context;
	struct breaker_entry *entry = value;

	(void)key;
	if (entry->breaker.state == BREAKER_CLOSED || entry->breaker.trial_peer != visit->peer ||
	    !breaker_lasts(visit->breakers, entry))
		return;
	breaker_take_back(visit->breakers, entry);
}

void breakers_peer_left(struct breakers *breakers, uint64_t peer, uint64_t now_ns)
{
	struct visit visit = {.breakers = breakers, .peer = peer};

	advance(breakers, now_ns);
	if (peer && breakers->open)
		table_each(breakers->table, take_back, &visit);
}

const struct breaker *breakers_find(const struct breakers *breakers, const struct ev_scope *scope,
				    const char *target, enum breaker_kind kind)
{
	const struct breaker_entry *entry = find(breakers, scope, target, kind);

	return entry ? &entry->breaker : NULL;
}

static void show(void *context, const void *key, void *value)
{
	const struct visit *visit = context;

	(void)key;
	visit->fn(visit->context, &((const struct breaker_entry *)value)->breaker);
}

void breakers_each(const struct breakers *breakers, void (*fn)(void *context, const struct breaker *breaker),
		   void *context)
{
	struct visit visit = {.fn = fn, .context = context};

	table_each(breakers->table, show, &visit);
}

size_t breakers_open_count(const struct breakers *breakers)
{
	return breakers->open;
}
