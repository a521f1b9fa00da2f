/* SPDX-License-Identifier: Apache-2.0 */
/* Breakers with simulated time: what they say is kept, and trials go to made-up peers. */
#ifndef LAPIDARY_TESTS_BREAKER_WATCHER_H
#define LAPIDARY_TESTS_BREAKER_WATCHER_H

#include <string.h>
#include "user/act/breaker.h"

enum { WATCHED_PEERS = 8, WATCHED_BREAKERS = 64 };

#define MS_NS 1000000ull

struct breaker_watcher {
	struct breakers *breakers;
	struct breaker_settings settings;
	uint64_t now_ns;
	uint64_t peers[WATCHED_PEERS]; /* 0: none */
	uint32_t changes, renewals, trials;
	struct breaker last; /* that changed */
	enum breaker_state was;
	uint64_t trial_but, trial_peer; /* of the latest trial */
	char trial_id[40];
	void (*on_change)(struct breaker_watcher *watcher, const struct breaker *breaker);
	void (*on_trial)(struct breaker_watcher *watcher, const struct breaker *breaker, uint64_t peer);
};

static inline void watch_changed(void *context, const struct breaker *breaker, enum breaker_state was)
{
	struct breaker_watcher *watcher = context;

	watcher->changes++;
	watcher->last = *breaker;
	watcher->was = was;
	if (watcher->on_change)
		watcher->on_change(watcher, breaker);
}

static inline void watch_renewed(void *context, const struct breaker *breaker)
{
	struct breaker_watcher *watcher = context;

	(void)breaker;
	watcher->renewals++;
}

static inline uint64_t watch_trial(void *context, const struct breaker *breaker, uint64_t but)
{
	struct breaker_watcher *watcher = context;
	uint64_t chosen = 0;

	for (int i = 0; i < WATCHED_PEERS; i++)
		if (watcher->peers[i] && (!chosen || chosen == but))
			chosen = watcher->peers[i];
	watcher->trial_but = but;
	watcher->trial_peer = chosen;
	if (chosen) {
		watcher->trials++;
		memcpy(watcher->trial_id, breaker->trial_id, sizeof(watcher->trial_id));
	}
	if (watcher->on_trial)
		watcher->on_trial(watcher, breaker, chosen);
	return chosen;
}

static inline void breaker_watcher_init(struct breaker_watcher *watcher, uint64_t seed)
{
	const struct breakers_events events = {watcher, watch_changed, watch_renewed, watch_trial};

	watcher->now_ns = 1000000 * MS_NS;
	watcher->breakers = breakers_new(&watcher->settings, seed, &events);
}

/* Time passes in steps of at most 100 ms, as the agent's clock ticks. */
static inline void breaker_watcher_pass(struct breaker_watcher *watcher, uint64_t ms)
{
	for (uint64_t step; ms > 0; ms -= step) {
		step = ms < 100 ? ms : 100;
		watcher->now_ns += step * MS_NS;
		breakers_tick(watcher->breakers, watcher->now_ns);
	}
}

#endif
