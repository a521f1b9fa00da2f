// SPDX-License-Identifier: Apache-2.0
/*
 * One breaker: its states and its lease. One rule keeps the leases honest: a lease always ends one lease
 * after the latest evidence, or at the cap if that is sooner. `refresh` is the only place that sets it, so
 * nothing renews by being asked often, and every call first closes what ran out, so nothing is revived after
 * the apps went back to normal.
 */
#include <stdio.h>
#include <string.h>
#include "user/act/breaker_private.h"
#include "user/base/text.h"

enum { MS = 1000000, OPENINGS_MAX = 16 };

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Sets the lease's end by the evidence; small steps are saved up, so that a flood of errors is no flood of
 * renewals. */
static void refresh(struct breakers *breakers, struct breaker_entry *entry, bool tell)
{
	uint64_t lease_ns = (uint64_t)breakers->settings.lease_ms * MS;
	uint64_t end_ns = earlier(entry->evidence_ns + lease_ns, entry->breaker.end_ns);

	if (end_ns <= entry->breaker.lease_end_ns)
		return;
	if (tell && end_ns - entry->breaker.lease_end_ns < lease_ns / 4 && end_ns < entry->breaker.end_ns &&
	    entry->breaker.lease_end_ns > breakers->now_ns + lease_ns / 2)
		return;
	entry->breaker.lease_end_ns = end_ns;
	entry->breaker.seq = ++breakers->seq;
	if (tell)
		breakers->events.renewed(breakers->events.context, &entry->breaker);
}

static void end_trial(struct breakers *breakers, struct breaker_entry *entry)
{
	if (entry->breaker.trial_id[0])
		table_delete(breakers->trials, entry->breaker.trial_id);
	memset(entry->breaker.trial_id, 0, sizeof(entry->breaker.trial_id));
	entry->breaker.trial_peer = 0;
}

static void change(struct breakers *breakers, struct breaker_entry *entry, enum breaker_state state,
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

void breaker_close(struct breakers *breakers, struct breaker_entry *entry, const char *reason)
{
	end_trial(breakers, entry);
	entry->breaker.lease_end_ns = 0;
	entry->closed_ns = breakers->now_ns;
	change(breakers, entry, BREAKER_CLOSED, reason);
}

/* True when it is not closed and may stay so; what ran out is closed here. */
bool breaker_lasts(struct breakers *breakers, struct breaker_entry *entry)
{
	if (!entry || entry->breaker.state == BREAKER_CLOSED)
		return false;
	if (breakers->now_ns >= entry->breaker.end_ns)
		breaker_close(breakers, entry, "it was open as long as it may be");
	else if (breakers->now_ns >= entry->breaker.lease_end_ns)
		breaker_close(breakers, entry,
			      "nothing renewed its lease: no prober, trial or error spoke for it");
	else
		return true;
	return false;
}

static void begin_wait(struct breakers *breakers, struct breaker_entry *entry)
{
	const struct breaker_settings *settings = &breakers->settings;
	uint64_t wait = (uint64_t)settings->wait_ms << entry->breaker.openings;

	wait = entry->breaker.of_statement ? settings->wait_max_ms : earlier(wait, settings->wait_max_ms);
	entry->breaker.next_trial_ns =
		breakers->now_ns + (uint64_t)dice_jitter(&breakers->dice, (uint32_t)wait, 25, 50) * MS;
}

static void lengthen_wait(struct breaker_entry *entry)
{
	if (entry->breaker.openings < OPENINGS_MAX)
		entry->breaker.openings++;
}

/* Offers the trial; where nobody takes it, it stays on offer until the lease is over. */
static void offer_trial(struct breakers *breakers, struct breaker_entry *entry)
{
	struct breaker_entry **known;

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

void breaker_fail(struct breakers *breakers, struct breaker_entry *entry, const char *reason)
{
	entry->failed_peer = entry->breaker.trial_peer;
	end_trial(breakers, entry);
	lengthen_wait(entry);
	begin_wait(breakers, entry);
	entry->evidence_ns = breakers->now_ns;
	refresh(breakers, entry, false);
	change(breakers, entry, BREAKER_OPEN, reason);
}

void breaker_take_back(struct breakers *breakers, struct breaker_entry *entry)
{
	end_trial(breakers, entry);
	offer_trial(breakers, entry);
}

void breaker_poison(struct breakers *breakers, struct breaker_entry *entry)
{
	if (entry->breaker.by_operator || entry->breaker.of_statement)
		return;
	entry->breaker.of_statement = true;
	begin_wait(breakers, entry);
}

void breaker_evidence(struct breakers *breakers, struct breaker_entry *entry)
{
	if (entry->breaker.by_operator)
		return;
	entry->evidence_ns = breakers->now_ns;
	refresh(breakers, entry, true);
}

/*
 * What a probe's answer says of one kind. 53300 leaves running connections alone, so it is no word on
 * queries; where nobody listens any more, nobody answers queries either; a server that turned the prober away
 * for the prober's own fault (a password, a database's name) serves others.
 */
enum breaker_verdict breaker_judge(enum breaker_kind kind, enum probe_result result, const char *sqlstate,
				   bool reached)
{
	bool of_connect = strcmp(sqlstate, "53300") == 0;
	bool availability = strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "53", 2) == 0 ||
			    strncmp(sqlstate, "57P", 3) == 0;

	if (result == PROBE_OK)
		return SAYS_WELL;
	if (!reached || result == PROBE_NOT_RUN || (kind == BREAKER_QUERY && of_connect) ||
	    (result == PROBE_REJECTED && !availability))
		return SAYS_NOTHING;
	return SAYS_ILL;
}

void breaker_hear(struct breakers *breakers, struct breaker_entry *entry, enum breaker_verdict verdict)
{
	char reason[128];

	if (verdict == SAYS_WELL && entry->breaker.of_statement)
		return;
	entry->judged_ns = breakers->now_ns;
	if (verdict == SAYS_ILL) {
		entry->successes = 0;
		breaker_evidence(breakers, entry);
		return;
	}
	entry->successes++;
	if (entry->breaker.by_operator || entry->successes < breakers->settings.successes ||
	    breakers->now_ns < entry->settled_ns)
		return;
	snprintf(reason, sizeof(reason), "the prober succeeded %u times in a row", entry->successes);
	breaker_close(breakers, entry, reason);
}

void breaker_open(struct breakers *breakers, struct breaker_entry *entry, const char *reason,
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
	entry->breaker.end_ns = breakers->now_ns + earlier(hold_ms ? hold_ms : cap_ms, cap_ms) * MS;
	entry->evidence_ns = breakers->now_ns;
	breaker->lease_end_ns = 0;
	refresh(breakers, entry, false);
	begin_wait(breakers, entry);
	entry->settled_ns = breaker->openings > 0 ? breaker->next_trial_ns : 0;
	dice_id(&breakers->dice, breaker->id);
	text_copy(breaker->incident, sizeof(breaker->incident), incident);
	change(breakers, entry, BREAKER_OPEN, reason);
}

/* The prober judges while its last word is younger than a lease; less a tenth, so that a trial can still go
 * out before the lease ends. */
static bool prober_judges(const struct breakers *breakers, const struct breaker_entry *entry)
{
	uint64_t word_ns = (uint64_t)breakers->settings.lease_ms * (MS / 10) * 9;

	return entry->judged_ns && breakers->now_ns - entry->judged_ns < word_ns;
}

void breaker_step(struct breakers *breakers, struct breaker_entry *entry)
{
	struct breaker *breaker = &entry->breaker;
	bool waits = breaker->state == BREAKER_OPEN && breakers->now_ns < breaker->next_trial_ns;

	if (breaker->by_operator || waits) {
		entry->evidence_ns = breakers->now_ns; /* a hand's, or the wait's */
	} else if (breaker->state == BREAKER_OPEN && !prober_judges(breakers, entry)) {
		change(breakers, entry, BREAKER_HALF_OPEN, "its wait is over: one client may try");
		offer_trial(breakers, entry);
	} else if (breaker->state == BREAKER_HALF_OPEN && !breaker->trial_peer) {
		offer_trial(breakers, entry);
	} else if (breaker->state == BREAKER_HALF_OPEN && breakers->now_ns >= entry->trial_end_ns) {
		breaker_fail(breakers, entry, "one client's trial was not answered in time");
	} else if (breaker->state == BREAKER_HALF_OPEN) {
		entry->evidence_ns = breakers->now_ns; /* the trial that is out */
	}
	refresh(breakers, entry, true);
}
