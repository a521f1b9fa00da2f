/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breakers: closed, open, half-open for each (scope, target, connect | query). Pure: time is an argument,
 * effects are callbacks, jitter comes from the seed.
 *
 * What opens one is a decision of the rules (minimum volume, availability alone) or an operator. While it is
 * open there is no traffic to judge by, so something must try: the prober, or one client's marked trial.
 *
 *   closed ──open──▶ open ──the prober succeeded `successes` times in a row──▶ closed
 *                     │ └──its wait is over and the prober cannot judge──▶ half-open: one peer gets a trial
 * id │                    trial ok ──▶ closed     trial failed or unanswered ──▶ open, longer wait
 *                     └──max_open_ms after it opened, or nobody renewed its lease──▶ closed (fail open)
 *
 * A breaker that opened again within `calm_ms` is not closed by the prober before its first wait is over
 * (hysteresis: a database that lets the prober in and turns the app away would make it flap).
 *
 * The lease is renewed only by evidence younger than one lease: a probe that failed although this prober has
 * reached this target before (`reached`), a fresh availability error of the scope, or the trial that is
 * out. A prober that never reached the target says nothing. Before a wait for a trial is over the wait itself
 * counts as evidence. Each opening within `calm_ms` of the last closing doubles the wait, up to
 * `wait_max_ms`, each with ±25 % of jitter.
 */
#ifndef LAPIDARY_BREAKER_H
#define LAPIDARY_BREAKER_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include "user/act/scope.h"

/*
 * Who opens it. What a statement of the app's own broke (BREAKER_BY_STATEMENT) no probe mends: such a one
 * waits `wait_max_ms` and is closed by a trial, by hand or by its time, however well the database does.
 */
enum breaker_by { BREAKER_BY_RULE, BREAKER_BY_OPERATOR, BREAKER_BY_STATEMENT };

struct breaker_settings {
	uint32_t lease_ms;     /* 3000 */
	uint32_t max_open_ms;  /* 60000 */
	uint32_t wait_ms;      /* 2000: first wait before a trial */
	uint32_t wait_max_ms;  /* 20000 */
	uint32_t trial_ms;     /* 2000: a trial's time to answer */
	uint32_t successes;    /* 2 probes in a row close */
	uint32_t calm_ms;      /* 60000 */
	uint32_t breakers_max; /* 4096 */
};

struct breaker {
	struct ev_scope scope;
	char target[SCOPE_TARGET_SIZE];
	enum breaker_kind kind;
	enum breaker_state state;
	bool by_operator;  /* opened by hand: closes by hand, by its time, never by a probe */
	bool of_statement; /* by crashes in a statement: a test of the database says nothing of that */
	uint32_t seq;      /* grows with every change of state or lease */
	uint64_t opened_ns, changed_ns;
	uint64_t end_ns;        /* when it closes whatever happens: max_open_ms, or what the operator said */
	uint64_t lease_end_ns;  /* 0 when closed */
	uint64_t next_trial_ns; /* open: when the wait is over */
	uint32_t openings;      /* that doubled the wait */
	uint64_t trial_peer;    /* half-open: who has the trial, 0: nobody yet */
	char trial_id[40];      /* 16 hex digits, not guessable from earlier ones; "": no trial is out */
	char id[20];            /* of the order: new at each opening */
	char incident[20];
	char reason[256]; /* of the latest change, for a person */
};

/* None of these may open or close breakers; a peer may leave (breakers_peer_left). */
struct breakers_events {
	void *context;
	/* State changed: page, peers, EV_BREAKER, audit. `was` is the state before. */
	void (*changed)(void *context, const struct breaker *breaker, enum breaker_state was);
	/* Only the lease did: page and ping. */
	void (*renewed)(void *context, const struct breaker *breaker);
	/* Half-open: choose a peer of the scope other than `but` (one that failed; any when it is alone) for
	 * the trial and tell it; returns its id, 0 when the scope has none. */
	uint64_t (*trial)(void *context, const struct breaker *breaker, uint64_t but);
};

struct breakers;
/* seed 0: ids by the kernel's chance (dice.h), as it must be outside of tests. */
struct breakers *breakers_new(const struct breaker_settings *settings, uint64_t seed,
			      const struct breakers_events *events);
void breakers_free(struct breakers *breakers);

/* An order to open; one that is open already takes it as evidence. hold_ms 0: the settings' ways to close;
 * else (an operator's --for) it closes after that, at most max_open_ms. An operator's order opens anew what
 * is open. 0; -EINVAL: no target, or too long a one; -ENOSPC. */
int breakers_open(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		  enum breaker_kind kind, const char *reason, const char *incident, enum breaker_by by,
		  uint32_t hold_ms, uint64_t now_ns);
/* -ENOENT: it is closed. */
int breakers_close(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		   enum breaker_kind kind, const char *reason, uint64_t now_ns);
/*
 * Whether an availability error says something of that kind. A connect that is refused, and 53300, leave the
 * connections that run alone: they concern `connect` only. One that is lost concerns `query` only.
 */
bool breakers_concerns(enum breaker_kind kind, enum conn_reason reason, const char *sqlstate);
/* A fresh availability error of the scope at the target. */
void breakers_evidence(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		       enum breaker_kind kind, uint64_t now_ns);
/* The prober's word: for both kinds, but 53300 judges `connect` alone. */
void breakers_probe(struct breakers *breakers, const struct ev_scope *scope, const char *target,
		    enum probe_result result, const char *sqlstate, bool reached, uint64_t now_ns);
/* A peer's word on its trial. False: not its trial (any other id is ignored). */
bool breakers_outcome(struct breakers *breakers, uint64_t peer, const char *trial_id, bool ok,
		      uint64_t now_ns);
void breakers_peer_left(struct breakers *breakers, uint64_t peer, uint64_t now_ns);
void breakers_tick(struct breakers *breakers, uint64_t now_ns); /* call every 100 ms or so */
/* Closes all at once (actions pause, stop). */
void breakers_release(struct breakers *breakers, const char *reason, uint64_t now_ns);

/* NULL: closed and unknown. */
const struct breaker *breakers_find(const struct breakers *breakers, const struct ev_scope *scope,
				    const char *target, enum breaker_kind kind);
/* Those that are not closed, and the ones that were within the last hour. */
void breakers_each(const struct breakers *breakers, void (*fn)(void *context, const struct breaker *breaker),
		   void *context);
size_t breakers_open_count(const struct breakers *breakers);

#endif
