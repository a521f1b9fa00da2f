// SPDX-License-Identifier: Apache-2.0
/*
 * Orders that are out: the audit line of each action, whom it was told, and the acks that come back. An order
 * counts as done only when its ack has come; who does not answer within ACK_MS is counted as silent, and the
 * audit line says how many.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/acting.h"

enum { ORDERS = 1024, ACK_MS = 1000 };

/* Orders to all processes of a scope; a restart, which goes to one, has its own keeper (user/act/restart.h).
 */
struct order {
	char action[20]; /* its id at the gate */
	struct ev_scope scope;
	uint64_t heard[PEERS_OF_CGROUP]; /* the peers that have answered, and count once */
	uint32_t told, done, refused, failed;
	uint64_t begun_ns;
	char detail[PROTOCOL_DETAIL_SIZE]; /* of the last that did not do it */
};

const char orders_nobody_to_tell[] =
	"the lease has ended; no process is connected that would have to be told";

struct order_key {
	char id[40];
};

static struct order_key order_key(const char *id)
{
	struct order_key key = {{0}};

	text_copy(key.id, sizeof(key.id), id);
	return key;
}

int orders_new(struct agent *agent)
{
	agent->acting->orders = table_new(sizeof(struct order_key), sizeof(struct order), ORDERS, NULL, NULL);
	return agent->acting->orders ? 0 : -ENOMEM;
}

/* --- the audit -------------------------------------------------------------------------------------- */

struct outcome_record {
	struct ev_action ev;
	uint32_t tgid;
	uint64_t start_ns;
};

static void record_outcome(struct agent *agent, void *payload)
{
	struct outcome_record *record = payload;

	agent_make(agent, &record->ev.head, EV_ACTION, sizeof(record->ev), record->tgid, record->start_ns);
}

static void keep_audit(struct agent *agent, void *payload)
{
	store_action(agent->store, *(cJSON **)payload);
}

/* Waking the store's thread takes longer than the order itself: inside a step it comes after the order. */
void orders_audit(struct agent *agent, cJSON *audit)
{
	cJSON **later = audit && agent->stepping ? agent_later(agent, sizeof(audit), keep_audit) : NULL;

	if (later)
		*later = audit;
	else if (audit)
		store_action(agent->store, audit);
}

static void record_later(struct agent *agent, const struct outcome_record *ready)
{
	struct outcome_record *record = agent_later(agent, sizeof(*record), record_outcome);

	if (record)
		*record = *ready;
}

void orders_sent(struct agent *agent, const char *id, const char *action, const struct ev_scope *scope,
		 uint32_t tgid, uint64_t start_ns)
{
	struct outcome_record ready = {
		.ev = {.scope = *scope, .outcome = ACTION_SENT}, .tgid = tgid, .start_ns = start_ns};

	text_copy(ready.ev.id, sizeof(ready.ev.id), id);
	text_copy(ready.ev.action, sizeof(ready.ev.action), action);
	if (agent->stepping)
		record_later(agent, &ready);
	else
		record_outcome(agent, &ready); /* nobody is told of it, so nothing nests */
}

static void settle(struct agent *agent, const char *id, uint64_t start_ns, enum action_outcome outcome,
		   const char *reason)
{
	cJSON *audit = gate_outcome(agent->acting->gate, id, outcome, reason,
				    agent_wall(agent, when_boot_now()), mono_now());
	struct outcome_record ready = {.ev = {.outcome = outcome}, .start_ns = start_ns};

	if (!audit)
		return;
	log_say(outcome == ACTION_DONE ? LOG_INFO : LOG_WARN, "action", "%s of %s: %s: %s",
		json_text(audit, "action"), json_text(audit, "app"), gate_outcome_name(outcome), reason);
	ready.tgid = (uint32_t)json_number(audit, "pid", 0);
	text_copy(ready.ev.id, sizeof(ready.ev.id), id);
	text_copy(ready.ev.action, sizeof(ready.ev.action), json_text(audit, "action"));
	text_copy(ready.ev.scope.app, sizeof(ready.ev.scope.app), json_text(audit, "app"));
	record_later(agent, &ready);
	orders_audit(agent, audit);
}

struct late_outcome {
	char id[20];
	uint64_t start_ns;
	enum action_outcome outcome;
	char reason[400];
};

static void tell_outcome(struct agent *agent, void *payload)
{
	const struct late_outcome *late = payload;

	settle(agent, late->id, late->start_ns, late->outcome, late->reason);
}

/* Inside a step it comes after the step, and so after the audit line that it ends. */
void orders_ended(struct agent *agent, const char *id, uint64_t start_ns, enum action_outcome outcome,
		  const char *reason)
{
	struct late_outcome *late = agent->stepping ? agent_later(agent, sizeof(*late), tell_outcome) : NULL;

	if (!late) {
		settle(agent, id, start_ns, outcome, reason);
		return;
	}
	late->outcome = outcome;
	late->start_ns = start_ns;
	text_copy(late->id, sizeof(late->id), id);
	text_copy(late->reason, sizeof(late->reason), reason);
}

void orders_outcome(struct agent *agent, const char *id, enum action_outcome outcome, const char *reason)
{
	orders_ended(agent, id, 0, outcome, reason);
}

struct change {
	struct ev_breaker ev;
	enum breaker_state was;
	uint32_t told;
	char reason[sizeof(((struct breaker *)NULL)->reason)];
};

static void tell_change(const struct change *change)
{
	log_say(LOG_WARN, "breaker", "%s: %s of %s: %s, was %s (%s); %u processes told", change->ev.scope.app,
		protocol_kind_name(change->ev.kind), change->ev.target, protocol_state_name(change->ev.state),
		protocol_state_name(change->was), change->reason, change->told);
}

static void record_change(struct agent *agent, void *payload)
{
	struct change *change = payload;

	agent_make(agent, &change->ev.head, EV_BREAKER, sizeof(change->ev), 0, 0);
}

static void tell_and_record(struct agent *agent, void *payload)
{
	tell_change(payload);
	record_change(agent, payload);
}

/* Inside a step both wait until it is over, and whom the order woke has run; else the record alone does. */
void orders_change(struct agent *agent, const struct breaker *breaker, enum breaker_state was, uint32_t told)
{
	struct change *change =
		agent_later(agent, sizeof(*change), agent->stepping ? tell_and_record : record_change);

	if (!change)
		return;
	*change = (struct change){.ev = {.scope = breaker->scope,
					 .kind = breaker->kind,
					 .state = breaker->state,
					 .seq = breaker->seq},
				  .was = was,
				  .told = told};
	text_copy(change->ev.target, sizeof(change->ev.target), breaker->target);
	text_copy(change->reason, sizeof(change->reason), breaker->reason);
	if (!agent->stepping)
		tell_change(change);
}

/* --- told and acknowledged --------------------------------------------------------------------------- */

void orders_tell(struct agent *agent, const struct ev_scope *scope, const char *action_id,
		 const char *wire_id, uint32_t told)
{
	struct order_key key = order_key(wire_id);
	struct order *order;

	if (told == 0) {
		orders_outcome(agent, action_id, ACTION_FAILED,
			       "no process of the app is connected that takes this order");
		return;
	}
	order = table_put(agent->acting->orders, &key, NULL);
	if (!order)
		return;
	text_copy(order->action, sizeof(order->action), action_id);
	order->scope = *scope;
	order->told = told;
	order->begun_ns = mono_now();
	acting_wake(agent);
}

static void finish_order(struct agent *agent, const struct order_key *key, const struct order *order)
{
	uint32_t silent = order->told - order->done - order->refused - order->failed;
	char reason[400], action[20];
	size_t used = 0;

	text_copy(action, sizeof(action), order->action);
	text_add(reason, sizeof(reason), &used, "%u of %u processes did it", order->done, order->told);
	if (order->refused)
		text_add(reason, sizeof(reason), &used, ", %u refused", order->refused);
	if (order->failed)
		text_add(reason, sizeof(reason), &used, ", %u failed", order->failed);
	if (silent)
		text_add(reason, sizeof(reason), &used, ", %u did not answer", silent);
	if (order->detail[0])
		text_add(reason, sizeof(reason), &used, " (%s)", order->detail);
	orders_outcome(agent, action, order->done ? ACTION_DONE : ACTION_FAILED, reason);
	table_delete(agent->acting->orders, key);
}

/* False: it has answered already, or the order went to another scope. A scope is one uid's, so there is room.
 */
static bool hear(struct order *order, const struct peer *peer)
{
	uint32_t answers = order->done + order->refused + order->failed;

	if (!scope_equal(&order->scope, &peer->scope) || answers >= PEERS_OF_CGROUP)
		return false;
	for (uint32_t i = 0; i < answers; i++)
		if (order->heard[i] == peer->id)
			return false;
	order->heard[answers] = peer->id;
	return true;
}

void orders_ack(struct agent *agent, const struct peer *peer, const struct app_ack *ack)
{
	struct order_key key = order_key(ack->id);
	struct order *order = table_peek(agent->acting->orders, &key);

	restarts_ack(agent->acting->restarts, peer->tgid, peer->start_ns, ack->id, ack->result == ACK_DONE,
		     ack->detail, mono_now());
	if (!order || !hear(order, peer))
		return; /* no order, one that is over, or not this peer's to answer (again) */
	if (ack->result == ACK_DONE)
		order->done++;
	else if (ack->result == ACK_REFUSED)
		order->refused++;
	else
		order->failed++;
	if (ack->result != ACK_DONE)
		text_copy(order->detail, sizeof(order->detail), ack->detail);
	if (order->done + order->refused + order->failed >= order->told)
		finish_order(agent, &key, order);
}

struct overdue {
	struct agent *agent;
	uint64_t now_ns;
};

static void end_overdue(void *context, const void *key, void *value)
{
	struct overdue *overdue = context;
	struct order_key copy = *(const struct order_key *)key;
	const struct order *order = value;

	/* one that was told in this very tick began after its clock was read */
	if (overdue->now_ns > order->begun_ns && overdue->now_ns - order->begun_ns > ACK_MS * 1000000ull)
		finish_order(overdue->agent, &copy, order);
}

void orders_tick(struct agent *agent, uint64_t now_ns)
{
	table_each(agent->acting->orders, end_overdue, &(struct overdue){agent, now_ns});
}
