// SPDX-License-Identifier: Apache-2.0
/* What the pipeline says, to those whom it concerns: gate, store, terminal. */
#include <string.h>
#include <sys/wait.h>
#include "user/act/gate.h"
#include "user/base/json.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"

static const char *role_name(enum role role)
{
	static const char *const names[] = {"single", "master", "worker"};

	return names[role];
}

static void store_row(struct agent *agent, const struct process *process, uint64_t ended_ns, int32_t status)
{
	cJSON *row = cJSON_CreateObject();

	json_add_count(row, "pid", process->id.tgid);
	json_add_time(row, "start_time", agent_wall(agent, process->id.start_ns));
	json_add_text(row, "app", process->app->name);
	json_add_text(row, "comm", process->comm);
	json_add_text(row, "role", role_name(process->role));
	json_add_count(row, "uid", process->app->uid);
	json_add_count(row, "parent_pid", process->parent.tgid);
	json_add_time(row, "end_time", ended_ns ? agent_wall(agent, ended_ns) : 0);
	if (ended_ns)
		cJSON_AddNumberToObject(row, "status", status);
	else
		cJSON_AddNullToObject(row, "status");
	store_process(agent->store, row);
}

static void tell_end(const struct process *process, int32_t status)
{
	if (WIFSIGNALED(status))
		log_say(LOG_INFO, "end", "%s: %s %u ended by %s", process->app->name, process->comm,
			process->id.tgid, strsignal(WTERMSIG(status)));
	else
		log_say(LOG_INFO, "end", "%s: %s %u exited with %d", process->app->name, process->comm,
			process->id.tgid, WEXITSTATUS(status));
}

/* The report takes milliseconds, and the orders that follow from the crash must not wait for it. */
struct late_crash {
	struct crash crash;
	uint64_t time_ns;
	char server[16];
};

static struct late_crash crash_copy(const struct notice *notice)
{
	struct late_crash copy = {.crash = *notice->crash, .time_ns = notice->time_ns};

	if (notice->process)
		text_copy(copy.server, sizeof(copy.server), notice->process->app->server);
	return copy;
}

static void tell_crash(struct agent *agent, void *payload)
{
	const struct late_crash *late = payload;

	agent_calm(agent);
	crash_confirmed(agent, &late->crash, late->server);
}

static void on_notice(void *context, const struct notice *notice)
{
	struct agent *agent = context;
	const struct process *process = notice->process;
	struct late_crash *later;

	acting_notice(agent, notice);

	switch (notice->type) {
	case NOTICE_WATCHED:
	case NOTICE_FORKED:
		store_row(agent, process, 0, 0);
		break;
	case NOTICE_LEFT:
		log_say(LOG_DEBUG, "left", "%u executed another program and is no longer watched",
			process->id.tgid);
		break;
	case NOTICE_GONE:
		store_row(agent, process, notice->time_ns, notice->status);
		tell_end(process, notice->status);
		break;
	case NOTICE_CRASH:
		later = agent_later(agent, sizeof(*later), tell_crash);
		if (later)
			*later = crash_copy(notice);
		break;
	case NOTICE_CRASH_END:
		crash_ended(agent, notice);
		break;
	case NOTICE_DB_ERROR:
		log_say(LOG_WARN, "database", "%s: %s: %s", notice->db_error->app,
			notice->db_error->target[0] ? notice->db_error->target : "a connection",
			notice->db_error->sqlstate[0] ? notice->db_error->sqlstate
						      : "the connection failed or broke");
		break;
	case NOTICE_FATAL:
		log_say(LOG_ERROR, "fatal", "%s: %s %u reports a fatal VM error", process->app->name,
			process->comm, process->id.tgid);
		break;
	case NOTICE_DB_OK:
	case NOTICE_GAP:
	case NOTICE_PROBE:
	case NOTICE_BREAKER:
	case NOTICE_ACTION:
		break;
	}
}

static void tell_incident(struct agent *agent, void *payload)
{
	const struct incident *incident = payload;

	if (incident->count == 1 || incident->state == INCIDENT_CLOSED ||
	    incident->opened_ns == incident->updated_ns)
		log_say(incident->state == INCIDENT_CLOSED ? LOG_INFO : LOG_WARN, "incident", "%s %s: %s%s%s",
			incident->state == INCIDENT_CLOSED ? "closed" : "opened", incident->id,
			incident->title, incident->remedy[0] ? "; " : "", incident->remedy);
	store_incident(agent->store, incident_json(incident, pipeline_model(agent->pipeline)));
}

static void on_incident(void *context, const struct incident *incident)
{
	struct incident *copy = agent_later(context, sizeof(*copy), tell_incident);

	if (copy)
		*copy = *incident;
}

static void tell_decision(struct agent *agent, void *payload)
{
	struct acted *acted = payload;

	log_say(LOG_INFO, "decision", "%s for %s: %s (%s)", acted->decision.action, acted->decision.app,
		acted->decision.reason, gate_outcome_name(acted->pass.outcome));
	store_decision(agent->store, decision_json(&acted->decision, pipeline_model(agent->pipeline)));
	acting_audit(agent, acted);
}

/* First what the app waits for, then what is kept of it: outcomes that are known at once come after this. */
static void on_decision(void *context, const struct decision *decision)
{
	struct acted *acted = agent_later(context, sizeof(*acted), tell_decision);

	if (!acted)
		return; /* no memory: what cannot be told is not done */
	acted->decision = *decision;
	acting_decision(context, acted);
}

void decide_wire(struct agent *agent)
{
	agent->sink = (struct pipeline_sink){
		.notice = on_notice,
		.rules = {.incident = on_incident, .decision = on_decision, .context = agent},
		.context = agent,
	};
}
