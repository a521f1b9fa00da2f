// SPDX-License-Identifier: Apache-2.0
/*
 * Breakers, holds and restarts on the loop: their clocks, and what becomes of their changes. A change of a
 * breaker goes to the state page first, since that is what a busy thread reads, then over the socket, and
 * only then into records and logs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "user/act/signals.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/acting.h"

enum { FINE_MS = 50 };

uint64_t mono_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void scope_of_app(const struct app *app, struct ev_scope *out)
{
	scope_set(out, app->uid, app->netns, app->cgroup_id, app->name);
}

void acting_order_id(const struct breaker *breaker, char out[40])
{
	snprintf(out, 40, "%s-%u", breaker->id, breaker->seq);
}

/* --- breakers --------------------------------------------------------------------------------------- */

static struct line_breaker line_of(struct agent *agent, const struct breaker *breaker, const char *id)
{
	struct page *page = pages_of(agent, &breaker->scope, false);
	uint64_t now = mono_now();

	return (struct line_breaker){
		.id = id,
		.target = breaker->target,
		.reason = breaker->reason,
		.incident = breaker->incident,
		.epoch = agent->acting->epoch,
		.seq = breaker->seq,
		.lease_ms =
			breaker->lease_end_ns > now ? (uint32_t)((breaker->lease_end_ns - now) / 1000000) : 0,
		.slot = page ? page_slot(page, breaker->target) : -1,
		.kind = breaker->kind,
		.state = breaker->state,
	};
}

static uint32_t tell_peers(struct agent *agent, const struct breaker *breaker, const char *id)
{
	struct line_breaker words = line_of(agent, breaker, id);
	char *line = protocol_breaker(&words);
	size_t told =
		line ? app_socket_tell_scope(agent->acting->socket, &breaker->scope, ACCEPTS_BREAKER, line, 0)
		     : 0;

	free(line);
	agent->ordered = agent->ordered || told;
	return (uint32_t)told;
}

/* A closing that nobody ordered is an action as well: who reads the audit wants to see the end of the story.
 */
static void audit_closing(struct agent *agent, const struct breaker *breaker, const char *wire_id,
			  uint32_t told)
{
	struct gate_request request =
		consent_request(agent, &breaker->scope, "breaker.close", ACCEPTS_BREAKER);
	struct gate_pass pass;

	request.target = breaker->target;
	request.breaker = protocol_kind_name(breaker->kind);
	request.incident = breaker->incident;
	request.reason = breaker->reason;
	gate_decide(agent->acting->gate, &request, mono_now(), &pass);
	orders_audit(agent, pass.audit);
	if (pass.outcome == ACTION_SENT && told == 0)
		orders_outcome(agent, pass.id, ACTION_DONE, orders_nobody_to_tell);
	else if (pass.outcome == ACTION_SENT)
		orders_tell(agent, &breaker->scope, pass.id, wire_id, told);
}

static void breaker_changed(void *context, const struct breaker *breaker, enum breaker_state was)
{
	struct agent *agent = context;
	struct acting *acting = agent->acting;
	char id[40];
	uint32_t told;

	pages_set(agent, breaker);
	acting_order_id(breaker, id);
	told = tell_peers(agent, breaker, id);
	probes_urgent(acting->probes, &breaker->scope, breaker->target, breaker->state != BREAKER_CLOSED,
		      mono_now());
	if (acting->opening) {
		text_copy(acting->opening_order, sizeof(acting->opening_order), id);
		acting->opening_told = told;
	}
	orders_change(agent, breaker, was, told);
	if (breaker->state == BREAKER_CLOSED && !acting->opening)
		audit_closing(agent, breaker, id, told);
	acting_wake(agent);
}

static void breaker_renewed(void *context, const struct breaker *breaker)
{
	pages_set(context, breaker);
}

/* One marked trial: the peer with the fewest requests in flight is as good as any, so the first that may. */
struct candidate {
	const struct breaker *breaker;
	uint64_t but, best, spare;
};

static void consider(void *context, const struct peer *peer)
{
	struct candidate *candidate = context;

	if (!scope_equal(&peer->scope, &candidate->breaker->scope) ||
	    !(peer->hello.accepts & ACCEPTS_BREAKER) ||
	    (peer->state != APP_SERVING && peer->state != APP_SILENT))
		return;
	if (peer->hello.role == APP_MASTER) /* it serves nobody, so it would not try */
		return;
	if (peer->id == candidate->but)
		candidate->spare = peer->id;
	else if (!candidate->best)
		candidate->best = peer->id;
}

static uint64_t breaker_trial(void *context, const struct breaker *breaker, uint64_t but)
{
	struct agent *agent = context;
	struct candidate candidate = {.breaker = breaker, .but = but};
	struct line_breaker words;
	uint64_t chosen;
	char id[40], *line;

	app_socket_each(agent->acting->socket, consider, &candidate);
	chosen = candidate.best ? candidate.best : candidate.spare;
	if (!chosen)
		return 0;
	snprintf(id, sizeof(id), "%s-%u-t", breaker->id, breaker->seq);
	words = line_of(agent, breaker, id);
	words.trial_id = breaker->trial_id;
	line = protocol_breaker(&words);
	if (!line || app_socket_tell_peer(agent->acting->socket, chosen, ACCEPTS_BREAKER, line) != 0)
		chosen = 0;
	free(line);
	return chosen;
}

/* --- restarts --------------------------------------------------------------------------------------- */

static int restart_order(void *context, const struct restart *restart)
{
	struct agent *agent = context;
	const struct peer *peer = app_socket_peer_of(agent->acting->socket, restart->tgid, restart->start_ns);
	char *line;
	int err;

	if (!peer)
		return -ENOENT;
	line = protocol_restart(restart->id, restart->now, restart->deadline_ms, restart->reason,
				restart->incident);
	err = line ? app_socket_tell_peer(agent->acting->socket, peer->id, ACCEPTS_RESTART, line) : -ENOMEM;
	free(line);
	return err;
}

static int restart_signal(void *context, const struct restart *restart, int signal, char *why,
			  size_t why_size)
{
	struct agent *agent = context;
	const struct config_app *app = watch_entry(agent, restart->tgid, restart->start_ns);
	struct signal_order order = {.tgid = restart->tgid,
				     .start_ns = restart->start_ns,
				     .uid = restart->scope.uid,
				     .cgroup_id = restart->scope.cgroup_id,
				     .signal = signal,
				     .init_allowed = app && app->signal_init};

	log_say(LOG_INFO, "signal", "%s: %s to %u: %s", restart->scope.app, strsignal(signal), restart->tgid,
		restart->reason);
	return signals_send(&order, why, why_size);
}

static void restart_finished(void *context, const struct restart *restart, enum action_outcome outcome,
			     const char *reason, uint64_t now_ns)
{
	(void)now_ns;
	orders_ended(context, restart->id, restart->start_ns, outcome, reason);
}

/* --- clocks ----------------------------------------------------------------------------------------- */

static void count_restart(void *context, const struct restart *restart)
{
	(void)restart;
	++*(size_t *)context;
}

static bool is_idle(const struct acting *acting)
{
	size_t restarts = 0;

	restarts_each(acting->restarts, count_restart, &restarts);
	return !restarts && !breakers_open_count(acting->breakers) && !table_count(acting->orders);
}

static void fine_tick(uv_timer_t *timer)
{
	struct agent *agent = timer->data;
	struct acting *acting = agent->acting;
	uint64_t now = mono_now();

	breakers_tick(acting->breakers, now);
	restarts_tick(acting->restarts, now);
	orders_tick(agent, now);
	tests_tick(agent, now);
	if (is_idle(acting))
		uv_timer_stop(timer);
}

void acting_wake(struct agent *agent)
{
	struct acting *acting = agent->acting;

	if (acting->timers && !acting->closing && !uv_is_active((uv_handle_t *)&acting->fine))
		uv_timer_start(&acting->fine, fine_tick, FINE_MS, FINE_MS);
}

static void beat(uv_timer_t *timer)
{
	peers_beat(timer->data);
}

void acting_tick(struct agent *agent)
{
	struct acting *acting = agent->acting;
	uint64_t now = mono_now();

	breakers_tick(acting->breakers, now);
	restarts_tick(acting->restarts, now);
	holds_tick(acting->holds, now);
	tests_tick(agent, now);
	pages_tick(agent);
	peers_tick(agent);
	if (!is_idle(acting))
		acting_wake(agent);
}

/* --- from start to stop ----------------------------------------------------------------------------- */

static int new_parts(struct agent *agent)
{
	struct acting *acting = agent->acting;
	const struct config *config = &agent->config;
	struct gate_settings gate = {.restarts_per_minute = config->restarts_per_minute,
				     .host_restarts_per_minute = 30,
				     .restarting_max = 1,
				     .breakers_per_minute = 30};
	struct breaker_settings breaker = {.lease_ms = config->lease_ms,
					   .max_open_ms = config->breaker_max_open_ms,
					   .wait_ms = config->breaker_wait_ms,
					   .wait_max_ms = config->breaker_wait_max_ms,
					   .trial_ms = 2000,
					   .successes = 2,
					   .calm_ms = 60000,
					   .breakers_max = 4096};
	struct breakers_events breakers = {.context = agent,
					   .changed = breaker_changed,
					   .renewed = breaker_renewed,
					   .trial = breaker_trial};
	struct hold_settings hold = {.first_ms = 1000, .max_ms = config->hold_max_ms, .calm_ms = 60000};
	struct restart_settings restart = {
		.ack_ms = 1000, .deadline_ms = config->restart_deadline_ms, .kill_ms = 5000};
	struct restarts_events restarts = {.context = agent,
					   .order = restart_order,
					   .signal = restart_signal,
					   .finished = restart_finished};

	acting->gate = gate_new(&gate, 0);
	acting->breakers = breakers_new(&breaker, 0, &breakers);
	acting->holds = holds_new(&hold, agent->started_ns);
	acting->restarts = restarts_new(&restart, &restarts);
	return acting->gate && acting->breakers && acting->holds && acting->restarts ? 0 : -ENOMEM;
}

int acting_new(struct agent *agent)
{
	int err;

	agent->acting = calloc(1, sizeof(*agent->acting));
	if (!agent->acting)
		return -ENOMEM;
	agent->acting->epoch = when_wall_now() / 1000000; /* a later agent's is greater, and JSON holds it */
	err = new_parts(agent);
	if (!err)
		err = pages_new(agent);
	if (!err)
		err = orders_new(agent);
	if (!err)
		err = peers_new(agent);
	if (!err)
		err = tests_new(agent);
	return err;
}

int acting_keep(struct agent *agent)
{
	return app_socket_keep(agent->acting->socket);
}

int acting_listen(struct agent *agent)
{
	struct acting *acting = agent->acting;
	struct app_socket_events events = {.context = agent};
	char why[512] = "";
	uint64_t beat_ms = agent->config.lease_ms / 3;

	peers_wire(agent, &events);
	if (app_socket_listen(&agent->loop, agent->config.run_dir, &events, &acting->socket, why,
			      sizeof(why)) != 0) {
		log_say(LOG_ERROR, "socket", "%s", why);
		return -EIO;
	}
	acting->fine.data = acting->beat.data = agent;
	uv_timer_init(&agent->loop, &acting->fine);
	uv_timer_init(&agent->loop, &acting->beat);
	uv_timer_start(&acting->beat, beat, beat_ms, beat_ms);
	acting->timers = true;
	return 0;
}

void acting_close(struct agent *agent)
{
	struct acting *acting = agent->acting;
	uint64_t now = mono_now();

	if (!acting || acting->closing)
		return;
	if (acting->socket) { /* what was ordered ends here and not with its lease */
		restarts_release(acting->restarts, "the agent stops", now);
		breakers_release(acting->breakers, "the agent stops", now);
		holds_release(acting->holds);
	}
	acting->closing = true;
	if (acting->timers) {
		uv_close((uv_handle_t *)&acting->fine, NULL);
		uv_close((uv_handle_t *)&acting->beat, NULL);
	}
	tests_close(agent);
	app_socket_close(acting->socket);
}

void acting_free(struct agent *agent)
{
	struct acting *acting = agent->acting;

	if (!acting)
		return;
	tests_free(agent);
	app_socket_free(acting->socket);
	table_free(acting->orders);
	table_free(acting->peers);
	table_free(acting->pages);
	restarts_free(acting->restarts);
	holds_free(acting->holds);
	breakers_free(acting->breakers);
	gate_free(acting->gate);
	free(acting->listed);
	free(acting->listed_ids);
	free(acting);
	agent->acting = NULL;
}
