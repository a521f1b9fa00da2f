/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breakers under random schedules: openings, probes, errors, trials that are answered, lost, replayed or
 * forged, peers that come and go, an agent that stands still. After every step each breaker is held to its
 * promises, by an oracle that keeps only times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "tests/breaker_watcher.h"
#include "tests/draw.h"

enum { CASES = 200, STEPS = 400, SCOPES = 2, TARGETS = 2, ALL = SCOPES * TARGETS * BREAKER_KINDS, IDS = 64 };

/* What the oracle knows of one breaker. */
struct known {
	uint64_t opened_ns, hold_ns, spoken_ns, settled_ns; /* spoken_ns: latest evidence there could be */
	uint32_t successes;
	bool by_operator;
	uint64_t trial_peer; /* who has it, by the calls that gave it */
	uint64_t trial_end_ns;
};

struct world {
	struct breaker_watcher watcher; /* first: callbacks get it */
	struct known known[ALL];
	struct breaker snapshot[ALL];
	char old_ids[IDS][40]; /* trials that are over */
	unsigned old_count;
	uint64_t seed, next_peer;
	unsigned step;
	bool closed_by_word; /* one of the prober's calls closed something */
};

static struct world world;
static struct ev_scope scopes[SCOPES];
static const char *const targets[TARGETS] = {"postgres://127.0.0.1:5432/shop", "postgres://db:5432/shop"};

#define HOLDS(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			fail_msg("seed %llu, step %u: %s", (unsigned long long)world.seed, world.step,       \
				 #condition);                                                                \
	} while (0)

static unsigned index_of(const struct breaker *breaker)
{
	unsigned scope = scope_equal(&breaker->scope, &scopes[0]) ? 0 : 1;
	unsigned target = strcmp(breaker->target, targets[0]) == 0 ? 0 : 1;

	return (scope * TARGETS + target) * BREAKER_KINDS + breaker->kind;
}

static const struct breaker *breaker_at(unsigned i)
{
	return breakers_find(world.watcher.breakers, &scopes[i / BREAKER_KINDS / TARGETS],
			     targets[i / BREAKER_KINDS % TARGETS], i % BREAKER_KINDS);
}

static enum breaker_state state_at(unsigned i)
{
	const struct breaker *breaker = breaker_at(i);

	return breaker ? breaker->state : BREAKER_CLOSED;
}

static void on_change(struct breaker_watcher *watcher, const struct breaker *breaker)
{
	struct known *known = &world.known[index_of(breaker)];

	HOLDS(breaker->state != watcher->was || breaker->by_operator);
	if (breaker->state != BREAKER_HALF_OPEN)
		known->trial_peer = 0;
	if (breaker->state == BREAKER_CLOSED)
		HOLDS(breaker->lease_end_ns == 0);
}

static bool is_old(const char *id)
{
	for (unsigned i = 0; i < IDS && i < world.old_count; i++)
		if (strcmp(world.old_ids[i], id) == 0)
			return true;
	return false;
}

static void on_trial(struct breaker_watcher *watcher, const struct breaker *breaker, uint64_t peer)
{
	struct known *known = &world.known[index_of(breaker)];

	HOLDS(breaker->state == BREAKER_HALF_OPEN);
	HOLDS(known->trial_peer == 0); /* one at a time */
	if (!peer)
		return;
	HOLDS(!is_old(breaker->trial_id));
	memcpy(world.old_ids[world.old_count++ % IDS], breaker->trial_id, sizeof(breaker->trial_id));
	known->trial_peer = peer;
	known->trial_end_ns = watcher->now_ns + watcher->settings.trial_ms * MS_NS;
	known->spoken_ns = watcher->now_ns;
}

static void take_snapshot(void)
{
	memset(world.snapshot, 0, sizeof(world.snapshot));
	for (unsigned i = 0; i < ALL; i++)
		if (breaker_at(i))
			world.snapshot[i] = *breaker_at(i);
}

/* Property 11: nothing but `first` and, where given, `second` is other than in the snapshot. */
static void nothing_else_changed(unsigned first, unsigned second)
{
	for (unsigned i = 0; i < ALL; i++)
		if (i != first && i != second && breaker_at(i))
			HOLDS(memcmp(&world.snapshot[i], breaker_at(i), sizeof(struct breaker)) == 0);
}

static void open_one(unsigned i)
{
	struct breaker_watcher *w = &world.watcher;
	struct known *known = &world.known[i];
	bool by_operator = draw(4) == 0, was_closed = state_at(i) == BREAKER_CLOSED;
	uint32_t hold_ms = by_operator && draw(2) ? 1 + draw(90000) : 0;
	uint64_t cap_ns = w->settings.max_open_ms * MS_NS, wait_ns, width_ms;

	HOLDS(breakers_open(w->breakers, &scopes[i / BREAKER_KINDS / TARGETS],
			    targets[i / BREAKER_KINDS % TARGETS], i % BREAKER_KINDS, "drawn", "incident",
			    by_operator, hold_ms, w->now_ns) == 0);
	known->spoken_ns = w->now_ns;
	if (!was_closed && !by_operator)
		return;
	HOLDS(state_at(i) == BREAKER_OPEN);
	known->by_operator = by_operator;
	known->opened_ns = w->now_ns;
	known->hold_ns = hold_ms && hold_ms * MS_NS < cap_ns ? hold_ms * MS_NS : cap_ns;
	known->successes = 0;
	known->settled_ns = breaker_at(i)->openings ? breaker_at(i)->next_trial_ns : 0;
	wait_ns = breaker_at(i)->next_trial_ns - w->now_ns;
	width_ms = (uint64_t)w->settings.wait_ms << breaker_at(i)->openings;
	width_ms = width_ms < w->settings.wait_max_ms ? width_ms : w->settings.wait_max_ms;
	HOLDS(wait_ns >= width_ms * 3 / 4 * MS_NS && wait_ns <= (width_ms * 5 / 4 + 1) * MS_NS);
}

/* -1: its failure counts for that kind, 1: its success, 0: neither. */
static int word_of(enum probe_result result, const char *sqlstate, bool reached, unsigned kind)
{
	if (result == PROBE_OK)
		return 1;
	if (!reached || result == PROBE_NOT_RUN || strcmp(sqlstate, "28P01") == 0)
		return 0;
	if (kind == BREAKER_QUERY && strcmp(sqlstate, "53300") == 0)
		return 0;
	return -1;
}

static void hear(unsigned i, int word)
{
	struct breaker_watcher *w = &world.watcher;
	struct known *known = &world.known[i];
	bool was_open = world.snapshot[i].state != BREAKER_CLOSED;

	if (!was_open)
		return;
	if (word == 0) {
		HOLDS(memcmp(&world.snapshot[i], breaker_at(i), sizeof(struct breaker)) == 0);
	} else if (word < 0) {
		known->successes = 0;
		if (!known->by_operator)
			known->spoken_ns = w->now_ns;
		HOLDS(state_at(i) == world.snapshot[i].state);
	} else {
		known->successes++;
		HOLDS((state_at(i) == BREAKER_CLOSED) ==
		      (!known->by_operator && known->successes >= w->settings.successes &&
		       w->now_ns >= known->settled_ns));
	}
}

static void probe_one(unsigned i)
{
	static const char *const codes[] = {"53300", "57P03", "28P01"};
	enum probe_result result = draw(3) ? 1 + draw(PROBE_RESULT_END - 1) : PROBE_OK;
	const char *code = result == PROBE_REJECTED ? codes[draw(3)] : "";
	bool reached = result == PROBE_OK || draw(2);
	unsigned first = i / BREAKER_KINDS * BREAKER_KINDS;

	breakers_probe(world.watcher.breakers, &scopes[i / BREAKER_KINDS / TARGETS],
		       targets[i / BREAKER_KINDS % TARGETS], result, code, reached, world.watcher.now_ns);
	for (unsigned kind = 0; kind < BREAKER_KINDS; kind++)
		hear(first + kind, word_of(result, code, reached, kind));
	nothing_else_changed(first, first + 1);
}

static void answer_one(unsigned i)
{
	struct breaker_watcher *w = &world.watcher;
	const struct breaker *breaker = breaker_at(i);
	uint64_t peer = w->peers[draw(WATCHED_PEERS)];
	const char *id = world.old_count ? world.old_ids[draw(world.old_count < IDS ? world.old_count : IDS)]
					 : "0123456789abcdef";
	bool ok = draw(2), mine = false;

	if (draw(2) && breaker && breaker->trial_peer) {
		peer = breaker->trial_peer;
		id = breaker->trial_id;
	}
	for (unsigned k = 0; k < ALL; k++)
		mine = mine || (breaker_at(k) && breaker_at(k)->trial_peer == peer && peer &&
				strcmp(breaker_at(k)->trial_id, id) == 0);
	if (!mine) { /* forged, replayed or another's */
		HOLDS(!breakers_outcome(w->breakers, peer, id, ok, w->now_ns));
		nothing_else_changed(ALL, ALL);
		return;
	}
	for (unsigned k = 0; k < ALL; k++) {
		if (!breaker_at(k) || strcmp(breaker_at(k)->trial_id, id) != 0)
			continue;
		world.known[k].spoken_ns = w->now_ns;
		HOLDS(breakers_outcome(w->breakers, peer, id, ok, w->now_ns));
		HOLDS(state_at(k) == (ok ? BREAKER_CLOSED : BREAKER_OPEN));
		nothing_else_changed(k, k);
		break;
	}
}

static void move_peer(unsigned slot)
{
	struct breaker_watcher *w = &world.watcher;
	uint64_t gone = w->peers[slot];

	w->peers[slot] = gone ? 0 : ++world.next_peer;
	if (!gone)
		return;
	for (unsigned i = 0; i < ALL; i++)
		if (world.known[i].trial_peer == gone)
			world.known[i].trial_peer = 0;
	breakers_peer_left(w->breakers, gone, w->now_ns);
}

/* After a tick: the promises to whoever asks the breaker. */
static void hold_promises(void)
{
	struct breaker_watcher *w = &world.watcher;
	uint64_t lease_ns = w->settings.lease_ms * MS_NS, now_ns = w->now_ns;
	size_t open = 0;

	for (unsigned i = 0; i < ALL; i++) {
		const struct breaker *breaker = breaker_at(i);
		struct known *known = &world.known[i];

		if (!breaker || breaker->state == BREAKER_CLOSED)
			continue;
		open++;
		HOLDS(now_ns < known->opened_ns + known->hold_ns);
		HOLDS(breaker->lease_end_ns > now_ns);
		HOLDS(breaker->lease_end_ns <= now_ns + lease_ns);
		HOLDS(breaker->lease_end_ns <= known->opened_ns + known->hold_ns);
		HOLDS(breaker->trial_peer == known->trial_peer);
		if (breaker->state == BREAKER_OPEN)
			HOLDS(breaker->trial_peer == 0 && breaker->trial_id[0] == '\0');
		if (breaker->trial_peer) {
			HOLDS(now_ns < known->trial_end_ns);
			known->spoken_ns = now_ns;
		}
		if (breaker->by_operator ||
		    (breaker->state == BREAKER_OPEN && now_ns < breaker->next_trial_ns))
			known->spoken_ns = now_ns;
		/* a wait speaks until it is over, which lies between two ticks */
		if (breaker->next_trial_ns > known->spoken_ns && breaker->next_trial_ns <= now_ns)
			known->spoken_ns = breaker->next_trial_ns;
		HOLDS(breaker->lease_end_ns <= known->spoken_ns + lease_ns);
	}
	HOLDS(open == breakers_open_count(w->breakers));
}

static void pass(uint64_t ms)
{
	struct breaker_watcher *w = &world.watcher;

	for (uint64_t part; ms > 0; ms -= part) {
		part = ms < 100 ? ms : 100;
		breaker_watcher_pass(w, part);
		hold_promises();
	}
}

/* The agent stands still: nothing may be open when it goes on after a lease. */
static void stand_still(void)
{
	struct breaker_watcher *w = &world.watcher;

	w->now_ns += (w->settings.lease_ms + draw(120000)) * MS_NS;
	breakers_tick(w->breakers, w->now_ns);
	HOLDS(breakers_open_count(w->breakers) == 0);
	for (unsigned i = 0; i < ALL; i++)
		world.known[i].trial_peer = 0;
}

static void step_once(void)
{
	unsigned i = (unsigned)draw(ALL);

	take_snapshot();
	switch (draw(20)) {
	case 0:
	case 1:
	case 2:
		open_one(i);
		nothing_else_changed(i, i);
		break;
	case 3:
		breakers_close(world.watcher.breakers, &scopes[i / BREAKER_KINDS / TARGETS],
			       targets[i / BREAKER_KINDS % TARGETS], i % BREAKER_KINDS, "by hand",
			       world.watcher.now_ns);
		HOLDS(state_at(i) == BREAKER_CLOSED);
		nothing_else_changed(i, i);
		break;
	case 4:
		breakers_evidence(world.watcher.breakers, &scopes[i / BREAKER_KINDS / TARGETS],
				  targets[i / BREAKER_KINDS % TARGETS], i % BREAKER_KINDS,
				  world.watcher.now_ns);
		if (!world.known[i].by_operator)
			world.known[i].spoken_ns = world.watcher.now_ns;
		nothing_else_changed(i, i);
		break;
	case 5:
	case 6:
		move_peer((unsigned)draw(WATCHED_PEERS));
		break;
	case 7:
		if (draw(6) == 0)
			stand_still();
		break;
	case 8:
	case 9:
	case 10:
		answer_one(i);
		break;
	case 11:
	case 12:
	case 13:
	case 14:
		probe_one(i);
		break;
	default:
		pass(draw(8) ? draw(1500) : draw(8000));
		break;
	}
}

/* All falls silent and everybody leaves: what is open ends with its wait or its lease. */
static void end_in_silence(void)
{
	struct breaker_watcher *w = &world.watcher;
	uint64_t latest_ns = w->now_ns;

	for (unsigned i = 0; i < WATCHED_PEERS; i++)
		if (w->peers[i])
			move_peer(i);
	for (unsigned i = 0; i < ALL; i++) {
		uint64_t end_ns = w->now_ns;

		if (state_at(i) == BREAKER_CLOSED)
			continue;
		if (breaker_at(i)->by_operator)
			end_ns = world.known[i].opened_ns + world.known[i].hold_ns;
		else if (breaker_at(i)->state == BREAKER_OPEN && breaker_at(i)->next_trial_ns > end_ns)
			end_ns = breaker_at(i)->next_trial_ns;
		latest_ns = end_ns > latest_ns ? end_ns : latest_ns;
	}
	while (w->now_ns < latest_ns + w->settings.lease_ms * MS_NS)
		pass(100);
	HOLDS(breakers_open_count(w->breakers) == 0);
}

static void draw_settings(struct breaker_settings *settings)
{
	settings->lease_ms = 1000 + (uint32_t)draw(5000);
	settings->max_open_ms = 5000 + (uint32_t)draw(60000);
	settings->wait_ms = 200 + (uint32_t)draw(4000);
	settings->wait_max_ms = settings->wait_ms + (uint32_t)draw(20000);
	settings->trial_ms = 500 + (uint32_t)draw(4000);
	settings->successes = 1 + (uint32_t)draw(4);
	settings->calm_ms = (uint32_t)draw(60000);
	settings->breakers_max = 64;
}

static void test_promises(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	uint64_t changes = 0, trials = 0;

	for (unsigned i = 0; i < SCOPES; i++) /* one name and one target in two network namespaces */
		scope_set(&scopes[i], 1000, 4026531840 + i, 1, "shop");
	for (uint64_t i = 0; i < CASES; i++) {
		memset(&world, 0, sizeof(world));
		world.seed = first + i;
		draw_seed(first + i);
		draw_settings(&world.watcher.settings);
		breaker_watcher_init(&world.watcher, first + i + 1);
		world.watcher.on_change = on_change;
		world.watcher.on_trial = on_trial;
		for (world.step = 0; world.step < STEPS; world.step++) {
			step_once();
			breakers_tick(world.watcher.breakers, world.watcher.now_ns);
			hold_promises();
		}
		end_in_silence();
		changes += world.watcher.changes;
		trials += world.watcher.trials;
		breakers_free(world.watcher.breakers);
	}
	print_message("# %llu changes, %llu trials\n", (unsigned long long)changes,
		      (unsigned long long)trials);
	assert_true(changes > CASES && trials > CASES);
}

/*
 * A database that fails and comes back, with a prober or with clients alone: shut soon after the order,
 * opened again soon after the recovery, and in between no client gets through but by a trial.
 */
static void test_recovery(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	static struct breaker_watcher w;

	for (uint64_t i = 0; i < CASES; i++) {
		uint64_t down_ms, recovered_ns, limit_ms;
		bool prober;

		draw_seed(first + i);
		memset(&w, 0, sizeof(w));
		draw_settings(&w.settings);
		w.settings.max_open_ms = 600000;
		breaker_watcher_init(&w, first + i + 1);
		prober = draw(2);
		w.peers[0] = 1;
		w.peers[1] = draw(2) ? 2 : 0;
		down_ms = 1000 + draw(60000);
		breakers_open(w.breakers, &scopes[0], targets[0], BREAKER_CONNECT, "r", "i", false, 0,
			      w.now_ns);
		recovered_ns = w.now_ns + down_ms * MS_NS;
		/* the longest wait, its trial, and the prober's turns */
		limit_ms = w.settings.wait_max_ms * 5 / 4 + w.settings.trial_ms + 200 +
			   500ull * w.settings.successes;
		for (uint32_t answered = 0, turn = 0; breakers_open_count(w.breakers) > 0; turn++) {
			bool up = w.now_ns >= recovered_ns;

			if (w.now_ns > recovered_ns + limit_ms * MS_NS)
				fail_msg("seed %llu: still open", (unsigned long long)(first + i));
			if (prober && turn % 5 == 0)
				breakers_probe(w.breakers, &scopes[0], targets[0],
					       up ? PROBE_OK : PROBE_TIMEOUT, "", true, w.now_ns);
			if (w.trials > answered) {
				answered = w.trials;
				assert_false(prober);
				assert_true(
					breakers_outcome(w.breakers, w.trial_peer, w.trial_id, up, w.now_ns));
			}
			breaker_watcher_pass(&w, 100);
		}
		if (w.now_ns < recovered_ns)
			fail_msg("seed %llu: closed %llu ms before the recovery",
				 (unsigned long long)(first + i),
				 (unsigned long long)((recovered_ns - w.now_ns) / MS_NS));
		breakers_free(w.breakers);
	}
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 9 and 11: a breaker keeps its promises whatever happens, and alone", test_promises,
		 NULL, NULL, &seed},
		{"Property 9: it stays shut through an outage and closes after the recovery", test_recovery,
		 NULL, NULL, &seed},
	};

	return cmocka_run_group_tests_name("act: breakers", tests, NULL, NULL);
}
