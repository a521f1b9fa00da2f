/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model as WorkerProcessStatus and SystemHealthStatus. A field that cannot be judged is null, and
 * diagnostic_messages says why: a made-up true is worse than nothing.
 */
#include "user/model/view.h"
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/model/state.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_RATE_PERCENT = 5 }; /* of the last minute's queries and connection attempts */

struct worker_walk {
	const struct model *model;
	const char *app;
	cJSON *list;
};

static const char *const healths[] = {
	[WORKER_HEALTHY] = "running",   [WORKER_BOOTING] = "booting",       [WORKER_HELD] = "held",
	[WORKER_DRAINING] = "draining", [WORKER_RESTARTING] = "restarting", [WORKER_CRASHING] = "crashing",
};
static const char *const role_names[] = {"single", "master", "worker"};

static cJSON *error_history(const struct model *model, const struct process_state *process)
{
	cJSON *list = cJSON_CreateArray();
	uint32_t kept = process->trouble_count < TROUBLE_MAX ? process->trouble_count : TROUBLE_MAX;
	for (uint32_t i = process->trouble_count - kept; i < process->trouble_count; i++) {
		const struct trouble *trouble = &process->troubles[i % TROUBLE_MAX];
		cJSON *entry = cJSON_CreateObject();
		json_add_time(entry, "time", model_wall_ns(model, trouble->time_ns));
		cJSON_AddStringToObject(entry, "error", trouble->what);
		cJSON_AddItemToArray(list, entry);
	}
	return list;
}

static void add_memory(cJSON *worker, const struct process *process)
{
	uint64_t bytes = process->pss_bytes ? process->pss_bytes : process->rss_bytes;
	if (bytes)
		cJSON_AddNumberToObject(worker, "memory_usage_mb", (double)(bytes * 10 / 1048576) / 10);
	else
		cJSON_AddNullToObject(worker, "memory_usage_mb"); /* no sample yet */
}

static void add_worker(void *context, const struct process *process)
{
	const struct worker_walk *walk = context;
	const struct process_state *state = (const struct process_state *)process;
	char id[96];
	if (walk->app && strcmp(walk->app, process->app->name) != 0)
		return;
	cJSON *worker = cJSON_CreateObject();
	snprintf(id, sizeof(id), "%s:%u", process->app->name, process->id.tgid);
	cJSON_AddStringToObject(worker, "worker_id", id);
	json_add_count(worker, "process_id", process->id.tgid);
	add_memory(worker, process);
	json_add_count(worker, "crash_count", process->worker_crashes + (state->crash ? 1 : 0));
	json_add_time(worker, "last_restart_time", model_wall_ns(walk->model, process->id.start_ns));
	cJSON_AddStringToObject(worker, "health_status", healths[model_worker_health(walk->model, process)]);
	cJSON_AddItemToObject(worker, "error_history", error_history(walk->model, state));
	cJSON_AddStringToObject(worker, "app", process->app->name);
	cJSON_AddStringToObject(worker, "role", role_names[process->role]);
	cJSON_AddStringToObject(worker, "comm", process->comm);
	json_add_text(worker, "title", process->title);
	json_add_text(worker, "ruby", process->app->ruby);
	json_add_text(worker, "server", process->app->server);
	json_add_count(worker, "parent_process_id", process->parent.tgid);
	json_add_count(worker, "connections", process->connections);
	json_add_count(worker, "queries", process->queries);
	json_add_count(worker, "errors", process->errors);
	json_add_count(worker, "user_faults", process->user_faults);
	cJSON_AddItemToArray(walk->list, worker);
}

cJSON *view_workers(const struct model *model, const char *app)
{
	cJSON *root = cJSON_CreateObject();
	struct worker_walk walk = {model, app, cJSON_AddArrayToObject(root, "workers")};
	if (walk.list)
		model_each_process(model, add_worker, &walk);
	return root;
}

struct health_walk {
	uint32_t processes, connections;
};

static void count_process(void *context, const struct process *process)
{
	struct health_walk *walk = context;
	walk->processes++;
	walk->connections += process->connections;
}

static void say(cJSON *messages, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(cJSON *messages, const char *format, ...)
{
	char text[192];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	cJSON_AddItemToArray(messages, cJSON_CreateString(text));
}

static void add_unjudged(cJSON *health, cJSON *messages)
{
	cJSON_AddNullToObject(health, "ruby_version_consistent");
	cJSON_AddNullToObject(health, "native_extensions_healthy");
	say(messages,
	    "ruby_version_consistent and native_extensions_healthy: not judged, this version does not "
	    "check installed gems");
}

static void add_database(cJSON *health, cJSON *messages, const struct health_walk *walk,
			 const struct rate_second *rate)
{
	if (!walk->connections && !rate->availability) {
		cJSON_AddNullToObject(health, "database_connections_stable");
		say(messages, "database_connections_stable: not judged, no database connection is known");
		return;
	}
	cJSON_AddBoolToObject(health, "database_connections_stable", rate->availability == 0);
	if (rate->availability)
		say(messages, "%u database availability error(s) in the last %u s", rate->availability,
		    (unsigned)RATE_SECONDS);
}

static void add_processes(const struct model *model, cJSON *health, cJSON *messages,
			  const struct health_walk *walk)
{
	uint64_t age = model->now_ns - model->last_crash_ns;
	bool crashed = model->last_crash_ns && age < RATE_SECONDS * SECOND_NS;
	if (!walk->processes && !crashed) {
		cJSON_AddNullToObject(health, "worker_processes_healthy");
		say(messages, "worker_processes_healthy: not judged, no Ruby process is watched");
		return;
	}
	cJSON_AddBoolToObject(health, "worker_processes_healthy", !crashed);
	if (crashed)
		say(messages, "a worker crashed %u s ago: see lapidary crashes", (unsigned)(age / SECOND_NS));
}

static void add_rate(cJSON *health, cJSON *messages, const struct rate_second *rate)
{
	cJSON *detail = cJSON_CreateObject();
	if (rate->queries) {
		cJSON_AddBoolToObject(health, "error_rate_acceptable",
				      (uint64_t)rate->errors * 100 <=
					      (uint64_t)rate->queries * ERROR_RATE_PERCENT);
	} else {
		cJSON_AddNullToObject(health, "error_rate_acceptable");
		say(messages, "error_rate_acceptable: not judged, no query in the last %u s",
		    (unsigned)RATE_SECONDS);
	}
	json_add_count(detail, "numerator", rate->errors);
	json_add_count(detail, "denominator", rate->queries);
	json_add_count(detail, "window_ms", RATE_SECONDS * 1000);
	json_add_count(detail, "threshold_percent", ERROR_RATE_PERCENT);
	cJSON_AddItemToObject(health, "error_rate", detail);
}

cJSON *view_health(const struct model *model)
{
	cJSON *health = cJSON_CreateObject(), *messages = cJSON_CreateArray();
	struct health_walk walk = {0};
	struct rate_second rate;
	model_each_process(model, count_process, &walk);
	model_rate_sum(model, &rate);
	add_unjudged(health, messages);
	add_database(health, messages, &walk, &rate);
	add_processes(model, health, messages, &walk);
	add_rate(health, messages, &rate);
	json_add_time(health, "last_stability_check", model_wall_ns(model, model->now_ns));
	cJSON_AddItemToObject(health, "diagnostic_messages", messages);
	return health;
}
