// SPDX-License-Identifier: Apache-2.0
/*
 * What the gate must know and cannot: who consents, and what a process is to its app. Nothing that a process
 * says of itself takes protection away from it or from others.
 */
#include "user/base/when.h"
#include "user/cli/acting.h"

struct consent {
	const struct ev_scope *scope;
	const struct agent *agent;
	bool configured;
};

/* An entry of the configuration counts for a scope when it names a process of it. */
static void find_configured(void *context, const struct process *process)
{
	struct consent *consent = context;
	struct ev_scope scope;

	if (consent->configured)
		return;
	scope_of_app(process->app, &scope);
	if (!scope_equal(&scope, consent->scope))
		return;
	consent->configured = config_acts(&consent->agent->config,
					  watch_entry(consent->agent, process->id.tgid, process->id.start_ns),
					  consent->scope->app);
}

struct gate_request consent_request(struct agent *agent, const struct ev_scope *scope, const char *action,
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

static bool is_under_way(void *context, const struct process *process)
{
	return restarts_find(context, process->id.tgid, process->id.start_ns) != NULL;
}

/*
 * Whoever has children looks like a master and they like workers, also a server that forked a helper. What
 * its library says of itself may protect a process, and never make it an easier prey: it is a worker when
 * either says so, and only those of its own kind can stay in its place (user/model/health.c). A master gets
 * no order: it would end the whole app; it is rolled by its server's signal.
 */
static void judge_roles(struct agent *agent, struct gate_request *request, const struct process *process,
			const struct peer *peer)
{
	bool says_master = peer && peer->hello.role == APP_MASTER;
	const struct model *model = pipeline_model(agent->pipeline);
	struct workers workers =
		model_workers(model, process->app, process, is_under_way, agent->acting->restarts);

	request->is_worker = process->role != ROLE_MASTER || (peer && !says_master);
	request->accepted = peer && !says_master && (peer->hello.accepts & ACCEPTS_RESTART);
	request->live_workers = workers.living;
	request->healthy_workers = workers.healthy;
	request->is_healthy = model_worker_health(model, process) == WORKER_HEALTHY;
}

const struct process *consent_process(struct agent *agent, struct gate_request *request, uint32_t tgid,
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
