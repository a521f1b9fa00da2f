/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Incidents and decisions as documents, keys in a fixed order and numbers as integers: the same bytes live
 * and replayed.
 */
#include "user/base/json.h"
#include "user/rules/rules.h"

static void add_time(cJSON *object, const char *key, const struct model *model, uint64_t time_ns)
{
	json_add_time(object, key, time_ns ? model_wall_ns(model, time_ns) : 0);
}

cJSON *incident_json(const struct incident *incident, const struct model *model)
{
	cJSON *out = cJSON_CreateObject();
	cJSON_AddStringToObject(out, "id", incident->id);
	cJSON_AddStringToObject(out, "kind", incident->kind);
	cJSON_AddStringToObject(out, "state", incident->state == INCIDENT_OPEN ? "open" : "closed");
	cJSON_AddStringToObject(out, "severity", incident->severity);
	cJSON_AddStringToObject(out, "rule", incident->rule);
	cJSON_AddStringToObject(out, "app", incident->app);
	cJSON_AddStringToObject(out, "subject", incident->subject);
	cJSON_AddStringToObject(out, "title", incident->title);
	json_add_text(out, "remedy", incident->remedy);
	add_time(out, "opened", model, incident->opened_ns);
	add_time(out, "updated", model, incident->updated_ns);
	add_time(out, "closed", model, incident->closed_ns);
	json_add_count(out, "count", incident->count);
	json_add_count(out, "lost_records", incident->lost_records);
	json_add_text(out, "crash", incident->crash_id);
	return out;
}

cJSON *decision_json(const struct decision *decision, const struct model *model)
{
	cJSON *out = cJSON_CreateObject();
	cJSON_AddStringToObject(out, "id", decision->id);
	cJSON_AddStringToObject(out, "incident", decision->incident);
	cJSON_AddStringToObject(out, "rule", decision->rule);
	cJSON_AddStringToObject(out, "action", decision->action);
	json_add_text(out, "scope", decision->scope);
	cJSON_AddStringToObject(out, "app", decision->app);
	json_add_count(out, "uid", decision->scope_of.uid);
	json_add_count(out, "netns", decision->scope_of.netns);
	json_add_hex(out, "cgroup", decision->scope_of.cgroup_id);
	json_add_text(out, "target", decision->target);
	json_add_count(out, "pid", decision->process.tgid);
	add_time(out, "start_time", model, decision->process.start_ns);
	add_time(out, "time", model, decision->time_ns);
	json_add_count(out, "count", decision->count);
	json_add_count(out, "window_ms", decision->window_ms);
	json_add_count(out, "threshold", decision->threshold);
	json_add_count(out, "live_workers", decision->live_workers);
	json_add_count(out, "healthy_workers", decision->healthy_workers);
	cJSON_AddStringToObject(out, "reason", decision->reason);
	return out;
}
