// SPDX-License-Identifier: Apache-2.0
/*
 * Decisions on their way to the app: what the gate must know of consent and workers, what it lets through,
 * and the acks that come back. An order counts as done only when its ack has come; who does not answer within
 * ACK_MS is counted as silent, and the audit line says how many.
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
	uint64_t heard[PEERS_OF_UID]; /* the peers that have answered, and count once */
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

void orders_outcome(struct agent *agent, const char *id, enum action_outcome outcome, const char *reason)
{
	cJSON *audit = gate_outcome(agent->acting->gate, id, outcome, reason,
				    agent_wall(agent, when_boot_now()), mono_now());
	struct outcome_record *record;

	if (!audit)
		return;
	log_say(outcome == ACTION_DONE ? LOG_INFO : LOG_WARN, "action", "%s of %s: %s: %s",
		json_text(audit, "action"), json_text(audit, "app"), gate_outcome_name(outcome), reason);
	record = agent_later(agent, sizeof(*record), record_outcome);
	if (record) {
		*record = (struct outcome_record){.ev = {.outcome = outcome},
						  .tgid = (uint32_t)json_number(audit, "pid", 0)};
		text_copy(record->ev.id, sizeof(record->ev.id), id);
		text_copy(record->ev.action, sizeof(record->ev.action), json_text(audit, "action"));
		text_copy(record->ev.scope.app, sizeof(record->ev.scope.app), json_text(audit, "app"));
	}
	orders_audit(agent, audit);
}

/* --- consent ---------------------------------------------------------------------------------------- */

struct consent {
	const struct ev_scope *scope;
	const struct agent *agent;
	bool configured;
};

/* An entry of the configuration counts for a scope when it names a process of it. */
static void find_configured(void *context, const struct process *process)
{
	struct consent *consent = context;
	const struct watched *watched;
	struct ev_scope scope;

	if (consent->configured)
		return;
	scope_of_app(process->app, &scope);
	if (!scope_equal(&scope, consent->scope))
		return;
	watched = watch_find(consent->agent, process->id.tgid, process->id.start_ns);
	if (watched)
		consent->configured = config_acts(&consent->agent->config,
						  config_app_of(&consent->agent->config, watched->info.uid,
								watched->info.cgroup, watched->info.comm,
								watched->info.title),
						  consent->scope->app);
}

struct gate_request orders_request(struct agent *agent, const struct ev_scope *scope, const char *action,
				   uint32_t accepts)
{
	struct consent consent = {.scope = scope, .agent = agent};
	bool accepted = accepts && peers_of(agent, scope, accepts) > 0;

	if (accepted && accepts == ACCEPTS_BREAKER)
		; /* nothing else could make a difference, and somebody waits for this one */
	else if (config_acts(&agent->config, NULL, scope->app))
		consent.configured = true;
	else
		model_each_process(pipeline_model(agent->pipeline), find_configured, &consent);
	return (struct gate_request){
		.decision = "",
		.incident = "",
		.action = action,
		.target = "",
		.reason = "",
		.breaker = "",
		.scope = *scope,
		.accepted = accepted,
		.configured = consent.configured,
		.wall_ns = agent_wall(agent, when_boot_now()),
	};
}

struct serving {
	const struct ev_scope *scope;
	uint32_t role, count;
};

static void count_serving(void *context, const struct peer *peer)
{
	struct serving *serving = context;

	if (peer->hello.role == serving->role && peer->state == APP_SERVING &&
	    scope_equal(&peer->scope, serving->scope))
		serving->count++;
}

/*
 * Whoever has children looks like a master and they like workers, also a server that forked a helper. What
 * its library says of itself may protect a process, and never make it an easier prey: it is a worker when
 * either says so, and the fewer living ones count, by the model or of its own kind among the peers (what a
 * server alone forks is a helper). A master gets no order: it would end the whole app; it is rolled by its
 * server's signal.
 */
static void judge_roles(struct agent *agent, struct gate_request *request, const struct process *process,
			const struct peer *peer)
{
	struct serving serving = {.scope = &request->scope, .role = peer ? peer->hello.role : APP_WORKER};
	bool says_master = peer && peer->hello.role == APP_MASTER;

	request->is_worker = process->role != ROLE_MASTER || (peer && !says_master);
	request->accepted = peer && !says_master && (peer->hello.accepts & ACCEPTS_RESTART);
	request->live_workers = process->app->workers;
	app_socket_each(agent->acting->socket, count_serving, &serving);
	if (peer && !says_master && serving.count < request->live_workers)
		request->live_workers = serving.count;
}

const struct process *orders_process(struct agent *agent, struct gate_request *request, uint32_t tgid,
				     uint64_t start_ns)
{
	const struct process *process = model_process(pipeline_model(agent->pipeline), tgid, start_ns);
	const struct peer *peer;

	if (!process)
		return NULL;
	scope_of_app(process->app, &request->scope);
	peer = app_socket_peer_of(agent->acting->socket, tgid, start_ns);
	request->pid = tgid;
	request->start_ns = start_ns;
	judge_roles(agent, request, process, peer);
	return process;
}

/* --- carrying out ----------------------------------------------------------------------------------- */

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

	if (!scope_equal(&order->scope, &peer->scope) || answers >= PEERS_OF_UID)
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

void orders_breaker(struct agent *agent, const struct gate_pass *pass, const struct ev_scope *scope,
		    const char *target, enum breaker_kind kind, bool open, const char *reason,
		    const char *incident, bool by_operator, uint32_t for_ms)
{
	struct acting *acting = agent->acting;
	int err;

	acting->opening = pass->id;
	acting->opening_order[0] = '\0';
	err = open ? breakers_open(acting->breakers, scope, target, kind, reason, incident, by_operator,
				   for_ms, mono_now())
		   : breakers_close(acting->breakers, scope, target, kind, reason, mono_now());
	acting->opening = NULL;
	if (err == -ENOENT)
		orders_outcome(agent, pass->id, ACTION_DONE, "it was closed already");
	else if (err)
		orders_outcome(agent, pass->id, ACTION_FAILED, strerror(-err));
	else if (!acting->opening_order[0])
		orders_outcome(agent, pass->id, ACTION_DONE, "it was open already: taken as evidence");
	else if (!open && acting->opening_told == 0)
		orders_outcome(agent, pass->id, ACTION_DONE, orders_nobody_to_tell);
	else
		orders_tell(agent, scope, pass->id, acting->opening_order, acting->opening_told);
}

static enum server server_of(struct agent *agent, uint32_t tgid, uint64_t start_ns, enum app_role role)
{
	const struct watched *watched = watch_find(agent, tgid, start_ns);
	enum server mapped = SERVER_UNKNOWN;
	const struct maps_region *regions;
	size_t count;

	regions = maps_regions(agent->maps, tgid, start_ns, &count);
	for (size_t i = 0; i < count && mapped == SERVER_UNKNOWN; i++)
		mapped = server_of_file(text_base(regions[i].path));
	return server_recognise(watched ? watched->info.server : "", mapped, role);
}

static enum app_role role_of(const struct process *process)
{
	static const enum app_role roles[] = {
		[ROLE_SINGLE] = APP_SINGLE, [ROLE_MASTER] = APP_MASTER, [ROLE_WORKER] = APP_WORKER};

	return roles[process->role];
}

void orders_restart(struct agent *agent, const struct gate_pass *pass, const struct gate_request *request,
		    bool now)
{
	const struct process *process =
		model_process(pipeline_model(agent->pipeline), request->pid, request->start_ns);
	enum app_role role = process ? role_of(process) : APP_SINGLE;
	struct restart_request restart = {
		.id = pass->id,
		.incident = request->incident,
		.reason = request->reason,
		.scope = request->scope,
		.tgid = request->pid,
		.start_ns = request->start_ns,
		.server = server_of(agent, request->pid, request->start_ns, role),
		.role = role,
		.now = now,
		.by_socket = request->accepted,
		.signals_allowed = request->configured || request->by_operator,
	};
	char why[300] = "";

	if (restarts_begin(agent->acting->restarts, &restart, mono_now(), why, sizeof(why)) != 0)
		orders_outcome(agent, pass->id, ACTION_FAILED, why);
	acting_wake(agent);
}

static void tell_all(struct agent *agent, const struct gate_pass *pass, const struct gate_request *request,
		     uint32_t accepts)
{
	char *line = accepts == ACCEPTS_DRAIN
			     ? protocol_drain(pass->id, agent->config.restart_deadline_ms, request->reason)
			     : protocol_degrade(pass->id, "reduced", request->reason);
	size_t told =
		line ? app_socket_tell_scope(agent->acting->socket, &request->scope, accepts, line, 0) : 0;

	free(line);
	orders_tell(agent, &request->scope, pass->id, pass->id, (uint32_t)told);
}

static void begin_hold(struct agent *agent, const struct gate_pass *pass, const struct gate_request *request)
{
	bool lasts = holds_find(agent->acting->holds, &request->scope) != NULL;
	int err = holds_begin(agent->acting->holds, &request->scope, request->reason, request->incident,
			      mono_now());
	const struct hold *hold = holds_find(agent->acting->holds, &request->scope);
	char reason[160];

	if (err || !hold) {
		orders_outcome(agent, pass->id, ACTION_FAILED,
			       err ? strerror(-err) : "holds are switched off");
		return;
	}
	snprintf(reason, sizeof(reason), "%s: the next boot waits up to %u ms, longer after each crash",
		 lasts ? "the hold goes on" : "boots wait from now on", hold->wait_ms);
	orders_outcome(agent, pass->id, ACTION_DONE, reason);
}

/* --- decisions of the rules ------------------------------------------------------------------------- */

static const struct {
	const char *action;
	uint32_t accepts;
} needs[] = {
	{"breaker.open", ACCEPTS_BREAKER},   {"breaker.close", ACCEPTS_BREAKER},
	{"worker.restart", ACCEPTS_RESTART}, {"worker.hold", ACCEPTS_HOLD},
	{"app.drain", ACCEPTS_DRAIN},        {"app.degrade", ACCEPTS_DEGRADE},
};

static void carry_out(struct agent *agent, const struct decision *decision, const struct gate_pass *pass,
		      const struct gate_request *request, uint32_t accepts)
{
	enum breaker_kind kind = strcmp(decision->scope, "connect") == 0 ? BREAKER_CONNECT : BREAKER_QUERY;

	switch (accepts) {
	case ACCEPTS_BREAKER:
		orders_breaker(agent, pass, &request->scope, decision->target, kind,
			       strcmp(decision->action, "breaker.open") == 0, decision->reason,
			       decision->incident, false, 0);
		break;
	case ACCEPTS_RESTART:
		orders_restart(agent, pass, request, false);
		break;
	case ACCEPTS_HOLD:
		begin_hold(agent, pass, request);
		break;
	default:
		tell_all(agent, pass, request, accepts);
		break;
	}
}

enum action_outcome acting_decision(struct agent *agent, const struct decision *decision, cJSON **audit)
{
	const struct ev_scope *of = &decision->scope_of;
	struct ev_scope scope;
	struct gate_request request;
	struct gate_pass pass;
	uint32_t accepts = 0;

	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (strcmp(needs[i].action, decision->action) == 0)
			accepts = needs[i].accepts;
	scope_set(&scope, of->uid, of->netns, of->cgroup_id, decision->app);
	request = orders_request(agent, &scope, decision->action, accepts);
	request.decision = decision->id;
	request.incident = decision->incident;
	request.target = decision->target;
	request.reason = decision->reason;
	request.live_workers = decision->live_workers;
	request.breaker = decision->scope;
	request.count = decision->count;
	request.window_ms = decision->window_ms;
	request.threshold = decision->threshold;
	if (accepts == ACCEPTS_RESTART &&
	    !orders_process(agent, &request, decision->process.tgid, decision->process.start_ns))
		request.accepted = request.configured = false; /* it is gone, so nobody consents for it */
	if (accepts != ACCEPTS_RESTART)
		request.pid = accepts ? 0 : decision->process.tgid;
	gate_decide(agent->acting->gate, &request, mono_now(), &pass);
	*audit = NULL;
	if (pass.outcome == ACTION_SENT) {
		orders_audit(agent, pass.audit); /* before its outcome, which has the same id */
		carry_out(agent, decision, &pass, &request, accepts);
	} else {
		*audit = pass.audit;
	}
	return pass.outcome;
}

/* --- what the model noticed ------------------------------------------------------------------------- */

static void note_error(struct agent *agent, const struct db_error *error, const struct process *process)
{
	static const enum conn_reason connecting[] = {REASON_REFUSED,   REASON_TIMEOUT,  REASON_NO_HOST,
						      REASON_NO_SOCKET, REASON_TOO_MANY, REASON_STARTING};
	bool connect = strcmp(error->sqlstate, "53300") == 0;
	struct ev_scope scope;

	scope_of_app(process->app, &scope);
	for (size_t i = 0; i < sizeof(connecting) / sizeof(connecting[0]); i++)
		connect = connect || error->reason == connecting[i];
	if (connect)
		breakers_evidence(agent->acting->breakers, &scope, error->target, BREAKER_CONNECT,
				  mono_now());
	breakers_evidence(agent->acting->breakers, &scope, error->target, BREAKER_QUERY, mono_now());
}

void acting_notice(struct agent *agent, const struct notice *notice)
{
	const struct process *process = notice->process;
	struct ev_scope scope;

	switch (notice->type) {
	case NOTICE_CRASH:
		if (process) {
			scope_of_app(process->app, &scope);
			holds_crash(agent->acting->holds, &scope, mono_now());
		}
		break;
	case NOTICE_GONE:
	case NOTICE_LEFT:
		restarts_ended(agent->acting->restarts, process->id.tgid, process->id.start_ns,
			       notice->type == NOTICE_GONE ? notice->status : -1, mono_now());
		tests_gone(agent, process);
		app_socket_process_gone(agent->acting->socket, process->id.tgid, process->id.start_ns);
		break;
	case NOTICE_DB_ERROR:
		if (process && notice->db_error->target[0])
			tests_used(agent, process, notice->db_error->target);
		if (process && notice->db_error->availability && notice->db_error->target[0])
			note_error(agent, notice->db_error, process);
		break;
	case NOTICE_DB_OK:
		if (process && notice->db_error && notice->db_error->target[0])
			tests_used(agent, process, notice->db_error->target);
		break;
	default:
		break;
	}
}
