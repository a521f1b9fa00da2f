/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that act share. Inner header of agent_act.c, agent_carry.c, agent_consent.c,
 * agent_operator.c, agent_orders.c, agent_pages.c, agent_peers.c and agent_tests.c; the rest of the agent
 * knows `struct acting` by name alone.
 *
 * Two clocks: the model and its events count CLOCK_BOOTTIME, leases and everything in user/act
 * CLOCK_MONOTONIC, which the app reads as well.
 */
#ifndef LAPIDARY_ACTING_H
#define LAPIDARY_ACTING_H

#include "user/act/app_socket.h"
#include "user/act/breaker.h"
#include "user/act/gate.h"
#include "user/act/hold.h"
#include "user/act/page.h"
#include "user/act/probes.h"
#include "user/act/restart.h"
#include "user/act/uses.h"
#include "user/cli/agent.h"

struct acting {
	struct gate *gate;
	struct breakers *breakers;
	struct holds *holds;
	struct restarts *restarts;
	struct probes *probes;
	struct app_socket *socket;
	struct table *pages;  /* struct ev_scope → struct page * */
	struct table *peers;  /* peer's id → struct seated */
	struct table *orders; /* id on the wire → struct order: acks are out */
	struct uses *uses;
	uint64_t refresh_ns;    /* when uses are taken from open connections again */
	uint64_t configured_ns; /* and from the configuration */
	struct table *tests;    /* token → struct test *: probers at work */
	uint64_t epoch;
	const char *opening;         /* id of the action that a breaker changes for, NULL: by itself */
	char opening_order[40];      /* the order that this change became */
	uint32_t opening_told;       /* and the processes it was sent to */
	struct line_breaker *listed; /* the breakers of the welcome that is being made */
	char (*listed_ids)[40];
	char hold_reason[256];
	uint32_t hold_ms;  /* of the welcome that was made last */
	char problem[112]; /* of the prober, told last */
	uint64_t problem_ns;
	uint64_t talk_second; /* what peers make the agent print, in this second */
	uint32_t talk_lines, talk_hidden;
	uv_timer_t fine, beat;
	bool timers, closing;
};

uint64_t mono_now(void);

/* agent_act.c */
void acting_order_id(const struct breaker *breaker, char out[40]);
void acting_wake(struct agent *agent); /* something has a deadline: the fine timer runs */

/* agent_pages.c */
int pages_new(struct agent *agent);
struct page *pages_of(struct agent *agent, const struct ev_scope *scope, bool make); /* NULL: none */
void pages_set(struct agent *agent, const struct breaker *breaker);
void pages_tick(struct agent *agent); /* those without a peer go */

/* agent_consent.c */
/* A request about a scope, with what the agent knows of consent filled in. */
struct gate_request consent_request(struct agent *agent, const struct ev_scope *scope, const char *action,
				    uint32_t accepts);
/* Facts of a process for the gate: its scope and role, who stays, whether its library takes the order.
 */
const struct process *consent_process(struct agent *agent, struct gate_request *request, uint32_t tgid,
				      uint64_t start_ns);

/* agent_carry.c: carries out what the gate let through */
void carry_breaker(struct agent *agent, const struct gate_pass *pass, const struct ev_scope *scope,
		   const char *target, enum breaker_kind kind, bool open, const char *reason,
		   const char *incident, enum breaker_by by, uint32_t for_ms);
void carry_restart(struct agent *agent, const struct gate_pass *pass, const struct gate_request *request,
		   bool now);

/* agent_orders.c */
extern const char orders_nobody_to_tell[];
int orders_new(struct agent *agent);
/* Audit lines to the store, outcomes to the model and the log. */
void orders_audit(struct agent *agent, cJSON *audit);
/* Tells the model that a process is ordered to go, until the outcome comes. */
void orders_sent(struct agent *agent, const char *id, const char *action, const struct ev_scope *scope,
		 uint32_t tgid, uint64_t start_ns);
void orders_outcome(struct agent *agent, const char *id, enum action_outcome outcome, const char *reason);
/* The same of an action upon a process. */
void orders_ended(struct agent *agent, const char *id, uint64_t start_ns, enum action_outcome outcome,
		  const char *reason);
/* What became of a breaker, to the log and the model; inside a step when that is over. */
void orders_change(struct agent *agent, const struct breaker *breaker, enum breaker_state was, uint32_t told);
void orders_tell(struct agent *agent, const struct ev_scope *scope, const char *action_id,
		 const char *wire_id, uint32_t told);
void orders_ack(struct agent *agent, const struct peer *peer, const struct app_ack *ack);
void orders_tick(struct agent *agent, uint64_t now_ns);

/* agent_peers.c */
void peers_wire(struct agent *agent, struct app_socket_events *events);
int peers_new(struct agent *agent);
uint32_t peers_of(struct agent *agent, const struct ev_scope *scope, uint32_t accepts);
void peers_beat(struct agent *agent);
void peers_tick(struct agent *agent); /* what a peer said and was not told to the model yet */

/* agent_tests.c */
int tests_new(struct agent *agent);
void tests_free(struct agent *agent);
void tests_close(struct agent *agent); /* the loop's handles */
void tests_used(struct agent *agent, const struct process *process, const char *target, uint64_t now_ns);
void tests_tick(struct agent *agent, uint64_t now_ns);
void tests_joined(struct agent *agent, const struct ev_scope *scope);
void tests_gone(struct agent *agent, const struct process *process);
bool tests_knows(struct agent *agent, const struct ev_scope *scope, const char *target);
void tests_each(struct agent *agent, const struct ev_scope *scope,
		void (*fn)(void *context, const struct ev_scope *scope, const char *target), void *context);

void scope_of_app(const struct app *app, struct ev_scope *out);

#endif
