// SPDX-License-Identifier: Apache-2.0
/*
 * From a decision to what is done: what the model noticed and the rules decided goes through the gate, and
 * what the gate lets through to breakers, holds, restarts or, as a line, to the app.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/cli/acting.h"

/* --- carrying out ----------------------------------------------------------------------------------- */

void carry_breaker(struct agent *agent, const struct gate_pass *pass, const struct ev_scope *scope,
		   const char *target, enum breaker_kind kind, bool open, const char *reason,
		   const char *incident, enum breaker_by by, uint32_t for_ms)
{
	struct acting *acting = agent->acting;
	int err;

	acting->opening = pass->id;
	acting->opening_order[0] = '\0';
	err = open ? breakers_open(acting->breakers, scope, target, kind, reason, incident, by, for_ms,
				   mono_now())
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

void carry_restart(struct agent *agent, const struct gate_pass *pass, const struct gate_request *request,
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

	orders_sent(agent, pass->id, "worker.restart", &request->scope, request->pid, request->start_ns);
	if (restarts_begin(agent->acting->restarts, &restart, mono_now(), why, sizeof(why)) != 0)
		orders_ended(agent, pass->id, request->start_ns, ACTION_FAILED, why);
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
		carry_breaker(agent, pass, &request->scope, decision->target, kind,
			      strcmp(decision->action, "breaker.open") == 0, decision->reason,
			      decision->incident, decision->of_crash ? BREAKER_BY_STATEMENT : BREAKER_BY_RULE,
			      0);
		break;
	case ACCEPTS_RESTART:
		carry_restart(agent, pass, request, false);
		break;
	case ACCEPTS_HOLD:
		begin_hold(agent, pass, request);
		break;
	default:
		tell_all(agent, pass, request, accepts);
		break;
	}
}

static uint32_t accepts_for(const char *action)
{
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (strcmp(needs[i].action, action) == 0)
			return needs[i].accepts;
	return 0;
}

/* Borrows the decision's words. */
static struct gate_request request_for(struct agent *agent, const struct decision *decision, uint32_t accepts)
{
	const struct ev_scope *of = &decision->scope_of;
	struct gate_request request;
	struct ev_scope scope;

	scope_set(&scope, of->uid, of->netns, of->cgroup_id, decision->app);
	request = consent_request(agent, &scope, decision->action, accepts);
	request.decision = decision->id;
	request.incident = decision->incident;
	request.target = decision->target;
	request.reason = decision->reason;
	request.live_workers = decision->live_workers;
	request.healthy_workers = decision->healthy_workers;
	request.breaker = decision->scope;
	request.count = decision->count;
	request.window_ms = decision->window_ms;
	request.threshold = decision->threshold;
	if (accepts == ACCEPTS_RESTART &&
	    !consent_process(agent, &request, decision->process.tgid, decision->process.start_ns))
		request.accepted = request.configured = false; /* it is gone, so nobody consents for it */
	if (accepts != ACCEPTS_RESTART)
		request.pid = accepts ? 0 : decision->process.tgid;
	return request;
}

void acting_decision(struct agent *agent, struct acted *acted)
{
	const struct decision *decision = &acted->decision;
	uint32_t accepts = accepts_for(decision->action);

	acted->request = request_for(agent, decision, accepts);
	gate_judge(agent->acting->gate, &acted->request, mono_now(), &acted->pass);
	if (acted->pass.outcome == ACTION_SENT)
		carry_out(agent, decision, &acted->pass, &acted->request, accepts);
}

void acting_audit(struct agent *agent, struct acted *acted)
{
	gate_audit(agent->acting->gate, &acted->request, &acted->pass);
	orders_audit(agent, acted->pass.audit);
}

/* --- what the model noticed ------------------------------------------------------------------------- */

static void note_error(struct agent *agent, const struct db_error *error, const struct process *process)
{
	struct ev_scope scope;

	scope_of_app(process->app, &scope);
	for (int kind = 0; kind < BREAKER_KINDS; kind++)
		if (breakers_concerns((enum breaker_kind)kind, error->reason, error->sqlstate))
			breakers_evidence(agent->acting->breakers, &scope, error->target,
					  (enum breaker_kind)kind, mono_now());
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
			tests_used(agent, process, notice->db_error->target, mono_now());
		if (process && notice->db_error->availability && notice->db_error->target[0])
			note_error(agent, notice->db_error, process);
		break;
	case NOTICE_DB_OK:
		if (process && notice->db_error && notice->db_error->target[0])
			tests_used(agent, process, notice->db_error->target, mono_now());
		break;
	default:
		break;
	}
}
