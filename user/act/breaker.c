// SPDX-License-Identifier: Apache-2.0
/*
 * One rule keeps the leases honest: a lease always ends one lease after the latest evidence, or at the cap
 * if that is sooner. `refresh` is the only place that sets it, so nothing renews by being asked often, and
 * every call first closes what ran out, so nothing is revived after the apps went back to normal.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/breaker.h"
#include "user/act/dice.h"
#include "user/base/table.h"
#include "user/base/text.h"

enum { MS = 1000000, OPENINGS_MAX = 16 };

#define FORGET_NS 3600000000000ull

struct key {
	struct ev_scope scope;
	char target[SCOPE_TARGET_SIZE];
	uint64_t kind;
};

struct entry {
	struct breaker breaker; /* first: what others see is the entry */
	uint64_t end_ns;        /* closes then, whatever happens */
	uint64_t evidence_ns;   /* the latest */
	uint64_t closed_ns;     /* of the last closing, 0: never */
	uint64_t judged_ns;     /* the prober's latest word that says something, 0: none */
	uint32_t successes;     /* of the prober, in a row */
	uint64_t trial_end_ns;
	uint64_t failed_peer; /* that had the last trial */
};

struct breakers {
	struct breaker_settings settings;
	struct breakers_events events;
	struct dice dice;
	struct table *table;  /* struct key to struct entry */
	struct table *trials; /* trial_id to struct entry *: outcomes come as fast as a peer likes */
	uint32_t seq;
	uint64_t now_ns; /* time never goes back here */
	size_t open;
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
	breakers->table =
		table_new(sizeof(struct key), sizeof(struct entry), settings->breakers_max, NULL, NULL);
	breakers->trials = table_new(sizeof(breaker->trial_id), sizeof(struct entry *),
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

static uint64_t advance(struct breakers *breakers, uint64_t now_ns)
{
	if (now_ns > breakers->now_ns)
		breakers->now_ns = now_ns;
	return breakers->now_ns;
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

static struct entry *find(const struct breakers *breakers, const struct ev_scope *scope, const char *target,
			  enum breaker_kind kind)
{
	struct key key;

	return set_key(&key, scope, target, kind) ? table_peek(breakers->table, &key) : NULL;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Sets the lease's end by the evidence; small steps are saved up, so that a flood of errors is no flood of
 * renewals. */
static void refresh(struct breakers *breakers, struct entry *entry, bool tell)
{
	uint64_t lease_ns = (uint64_t)breakers->settings.lease_ms * MS;
	uint64_t end_ns = earlier(entry->evidence_ns + lease_ns, entry->end_ns);

	if (end_ns <= entry->breaker.lease_end_ns)
		return;
	if (tell && end_ns - entry->breaker.lease_end_ns < lease_ns / 4 && end_ns < entry->end_ns &&
	    entry->breaker.lease_end_ns > breakers->now_ns + lease_ns / 2)
		return;
	entry->breaker.lease_end_ns = end_ns;
	entry->breaker.seq = ++breakers->seq;
	if (tell)
		breakers->events.renewed(breakers->events.context, &entry->breaker);
}

static void end_trial(struct breakers *breakers, struct entry *entry)
{
	if (entry->breaker.trial_id[0])
		table_delete(breakers->trials, entry->breaker.trial_id);
	memset(entry->breaker.trial_id, 0, sizeof(entry->breaker.trial_id));
	entry->breaker.trial_peer = 0;
}

static void change(struct breakers *breakers, struct entry *entry, enum breaker_state state,
		   const char *reason)
{
	enum breaker_state was = entry->breaker.state;

	breakers->open += (state != BREAKER_CLOSED) - (was != BREAKER_CLOSED);
	entry->breaker.state = state;
	entry->breaker.changed_ns = breakers->now_ns;
	entry->breaker.seq = ++breakers->seq;
	text_copy(entry->breaker.reason, sizeof(entry->breaker.reason), reason);
	breakers->events.changed(breakers->events.context, &entry->breaker, was);
}

static void shut_down(struct breakers *breakers, struct entry *entry, const char *reason)
{
	end_trial(breakers, entry);
	entry->breaker.lease_end_ns = 0;
	entry->closed_ns = breakers->now_ns;
	change(breakers, entry, BREAKER_CLOSED, reason);
}

/* True when it is not closed and may stay so; what ran out is closed here. */
static bool lasts(struct breakers *breakers, struct entry *entry)
{
	if (!entry || entry->breaker.state == BREAKER_CLOSED)
		return false;
	if (breakers->now_ns >= entry->end_ns)
		shut_down(breakers, entry, "it was open as long as it may be");
	else if (breakers->now_ns >= entry->breaker.lease_end_ns)
		shut_down(breakers, entry,
			  "nothing renewed its lease: no prober, trial or error spoke for it");
	else
		return true;
	return false;
}

static void begin_wait(struct breakers *breakers, struct entry *entry)
{
	const struct breaker_settings *settings = &breakers->settings;
	uint64_t wait = (uint64_t)settings->wait_ms << entry->breaker.openings;

	wait = earlier(wait, settings->wait_max_ms);
	entry->breaker.next_trial_ns =
		breakers->now_ns + (uint64_t)dice_jitter(&breakers->dice, (uint32_t)wait, 25, 50) * MS;
}

static void lengthen_wait(struct entry *entry)
{
	if (entry->breaker.openings < OPENINGS_MAX)
		entry->breaker.openings++;
}

/* --- trials ----------------------------------------------------------------------------------------- */

/* Offers the trial; where nobody takes it, it stays on offer until the lease is over. */
static void offer_trial(struct breakers *breakers, struct entry *entry)
{
	struct entry **known;

	dice_id(&breakers->dice, entry->breaker.trial_id);
	entry->breaker.trial_peer =
		breakers->events.trial(breakers->events.context, &entry->breaker, entry->failed_peer);
	known = entry->breaker.trial_peer ? table_put(breakers->trials, entry->breaker.trial_id, NULL) : NULL;
	if (!known) {
		entry->breaker.trial_peer = 0;
		entry->breaker.trial_id[0] = '\0';
		return;
	}
	*known = entry;
	entry->trial_end_ns = breakers->now_ns + (uint64_t)breakers->settings.trial_ms * MS;
	entry->evidence_ns = breakers->now_ns;
	refresh(breakers, entry, true);
}

static void fail_trial(struct breakers *breakers, struct entry *entry, const char *reason)
{
	entry->failed_peer = entry->breaker.trial_peer;
	end_trial(breakers, entry);
	lengthen_wait(entry);
	begin_wait(breakers, entry);
	entry->evidence_ns = breakers->now_ns;
	refresh(breakers, entry, false);
	change(breakers, entry, BREAKER_OPEN, reason);
}

bool breakers_outcome(struct breakers *breakers, uint64_t peer, const char *trial_id, bool ok,
		      uint64_t now_ns)
{
	char id[sizeof(((struct breaker *)NULL)->trial_id)] = "";
	struct entry **known, *entry;

	advance(breakers, now_ns);
	if (peer == 0 || text_copy(id, sizeof(id), trial_id) == 0)
		return false;
	known = table_peek(breakers->trials, id);
	entry = known ? *known : NULL;
	if (!lasts(breakers, entry) || entry->breaker.trial_peer != peer ||
	    breakers->now_ns >= entry->trial_end_ns)
		return false;
	if (ok)
		shut_down(breakers, entry, "one client's trial succeeded");
	else
		fail_trial(breakers, entry, "one client's trial failed");
	return true;
}

/* --- evidence --------------------------------------------------------------------------------------- */

static void take_evidence(struct breakers *breakers, struct entry *entry)
{
	if (entry->breaker.by_operator)
		return;
	entry->evidence_ns = breakers->now_ns;
	refresh(breakers, entry, true);
}

void breakers_evidence(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		       enum breaker_kind kind, uint64_t now_ns)
{
	struct entry *entry = find(breakers, scope, target, kind);

	advance(breakers, now_ns);
	if (lasts(breakers, entry))
		take_evidence(breakers, entry);
}

enum verdict { SAYS_NOTHING, SAYS_WELL, SAYS_ILL };

/*
 * What a probe's answer says of one kind. Refused connects and 53300 leave running connections alone, so
 * they are no word on queries; a server that turned the prober away for the prober's own fault (a password,
 * a database's name) serves others.
 */
static enum verdict judge(enum breaker_kind kind, enum probe_result result, const char *sqlstate,
			  bool reached)
{
	bool of_connect = result == PROBE_REFUSED || strcmp(sqlstate, "53300") == 0;
	bool availability = strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "53", 2) == 0 ||
			    strncmp(sqlstate, "57P", 3) == 0;

	if (result == PROBE_OK)
		return SAYS_WELL;
	if (!reached || result == PROBE_NOT_RUN || (kind == BREAKER_QUERY && of_connect) ||
	    (result == PROBE_REJECTED && !availability))
		return SAYS_NOTHING;
	return SAYS_ILL;
}

static void hear_prober(struct breakers *breakers, struct entry *entry, enum verdict verdict)
{
	char reason[128];

	entry->judged_ns = breakers->now_ns;
	if (verdict == SAYS_ILL) {
		entry->successes = 0;
		take_evidence(breakers, entry);
		return;
	}
	entry->successes++;
	if (entry->breaker.by_operator || entry->successes < breakers->settings.successes ||
	    (entry->breaker.openings > 0 && breakers->now_ns < entry->breaker.next_trial_ns))
		return;
	snprintf(reason, sizeof(reason), "the prober succeeded %u times in a row", entry->successes);
	shut_down(breakers, entry, reason);
}

void breakers_probe(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		    enum probe_result result, const char *sqlstate, bool reached, uint64_t now_ns)
{
	advance(breakers, now_ns);
	for (int kind = 0; kind < BREAKER_KINDS; kind++) {
		struct entry *entry = find(breakers, scope, target, (enum breaker_kind)kind);
		enum verdict verdict =
			judge((enum breaker_kind)kind, result, sqlstate ? sqlstate : "", reached);

		if (verdict != SAYS_NOTHING && lasts(breakers, entry))
			hear_prober(breakers, entry, verdict);
	}
}

/* --- orders ----------------------------------------------------------------------------------------- */

struct oldest {
	const void *key;
	uint64_t closed_ns;
};

static void find_oldest(void *context, const void *key, void *value)
{
	struct oldest *oldest = context;
	const struct entry *entry = value;

	if (entry->breaker.state == BREAKER_CLOSED && (!oldest->key || entry->closed_ns < oldest->closed_ns))
		*oldest = (struct oldest){key, entry->closed_ns};
}

/* The entry, made where there is none; a closed one makes room for it, an open one never. */
static struct entry *put(struct breakers *breakers, const struct key *key)
{
	struct entry *entry = table_peek(breakers->table, key);
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

static void open_anew(struct breakers *breakers, struct entry *entry, const char *reason,
		      const char *incident, uint32_t hold_ms)
{
	struct breaker *breaker = &entry->breaker;
	uint64_t calm_ns = (uint64_t)breakers->settings.calm_ms * MS;
	uint32_t cap_ms = breakers->settings.max_open_ms;

	if (entry->closed_ns && breakers->now_ns - entry->closed_ns < calm_ns)
		lengthen_wait(entry);
	else
		breaker->openings = 0;
	end_trial(breakers, entry);
	entry->successes = 0;
	entry->judged_ns = 0;
	entry->failed_peer = 0;
	breaker->opened_ns = breakers->now_ns;
	entry->end_ns = breakers->now_ns + earlier(hold_ms ? hold_ms : cap_ms, cap_ms) * MS;
	entry->evidence_ns = breakers->now_ns;
	breaker->lease_end_ns = 0;
	refresh(breakers, entry, false);
	begin_wait(breakers, entry);
	dice_id(&breakers->dice, breaker->id);
	text_copy(breaker->incident, sizeof(breaker->incident), incident);
	change(breakers, entry, BREAKER_OPEN, reason);
}

int breakers_open(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		  enum breaker_kind kind, const char *reason, const char *incident, bool by_operator,
		  uint32_t hold_ms, uint64_t now_ns)
{
	struct entry *entry;
	struct key key;

	advance(breakers, now_ns);
	if (!set_key(&key, scope, target, kind))
		return -EINVAL;
	entry = put(breakers, &key);
	if (!entry)
		return -ENOSPC;
	if (lasts(breakers, entry) && !by_operator) {
		take_evidence(breakers, entry);
		return 0;
	}
	entry->breaker.by_operator = by_operator;
	open_anew(breakers, entry, reason, incident, hold_ms);
	return 0;
}

int breakers_close(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		   enum breaker_kind kind, const char *reason, uint64_t now_ns)
{
	struct entry *entry = find(breakers, scope, target, kind);

	advance(breakers, now_ns);
	if (!lasts(breakers, entry))
		return -ENOENT;
	shut_down(breakers, entry, reason);
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
	struct entry *entry = value;

	(void)key;
	if (entry->breaker.state != BREAKER_CLOSED)
		shut_down(visit->breakers, entry, visit->reason);
}

void breakers_release(struct breakers *breakers, const char *reason, uint64_t now_ns)
{
	struct visit visit = {.breakers = breakers, .reason = reason};

	advance(breakers, now_ns);
	table_each(breakers->table, close_one, &visit);
}

/* --- time and peers --------------------------------------------------------------------------------- */

/* The prober judges while its last word is younger than a lease; less a tenth, so that a trial can still go
 * out before the lease ends. */
static bool prober_judges(const struct breakers *breakers, const struct entry *entry)
{
	uint64_t word_ns = (uint64_t)breakers->settings.lease_ms * (MS / 10) * 9;

	return entry->judged_ns && breakers->now_ns - entry->judged_ns < word_ns;
}

static void step(struct breakers *breakers, struct entry *entry)
{
	struct breaker *breaker = &entry->breaker;

	if (breaker->by_operator ||
	    (breaker->state == BREAKER_OPEN && breakers->now_ns < breaker->next_trial_ns)) {
		entry->evidence_ns = breakers->now_ns; /* a hand, or the wait */
	} else if (breaker->state == BREAKER_OPEN) {
		if (prober_judges(breakers, entry))
			return;
		change(breakers, entry, BREAKER_HALF_OPEN, "its wait is over: one client may try");
		offer_trial(breakers, entry);
		return;
	} else if (!breaker->trial_peer) {
		offer_trial(breakers, entry);
		return;
	} else if (breakers->now_ns >= entry->trial_end_ns) {
		fail_trial(breakers, entry, "one client's trial was not answered in time");
		return;
	} else {
		entry->evidence_ns = breakers->now_ns; /* the trial that is out */
	}
	refresh(breakers, entry, true);
}

static void tick_one(void *context, const void *key, void *value)
{
	struct breakers *breakers = context;
	struct entry *entry = value;

	if (lasts(breakers, entry))
		step(breakers, entry);
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
	struct entry *entry = value;

	(void)key;
	if (entry->breaker.state == BREAKER_CLOSED || entry->breaker.trial_peer != visit->peer ||
	    !lasts(visit->breakers, entry))
		return;
	end_trial(visit->breakers, entry);
	offer_trial(visit->breakers, entry);
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
	const struct entry *entry = find(breakers, scope, target, kind);

	return entry ? &entry->breaker : NULL;
}

static void show(void *context, const void *key, void *value)
{
	const struct visit *visit = context;

	(void)key;
	visit->fn(visit->context, &((const struct entry *)value)->breaker);
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
