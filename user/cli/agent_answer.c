// SPDX-License-Identifier: Apache-2.0
/* The control socket's commands: workers [APP], health, probes, status, doctor PID. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"
#include "user/model/view.h"

static cJSON *answer_workers(struct agent *agent, const char *argument)
{
	return view_workers(pipeline_model(agent->pipeline), *argument ? argument : NULL);
}

static cJSON *answer_health(struct agent *agent, const char *argument)
{
	(void)argument;
	cJSON *answer = view_health(pipeline_model(agent->pipeline)), *message;
	struct store_stats stats;

	store_stats(agent->store, &stats);
	if (stats.lost > 0) {
		message = cJSON_CreateString(
			"the state directory was removed while the agent runs: the crashes "
			"and the audit that it held are gone");
		cJSON_AddItemToArray(cJSON_GetObjectItem(answer, "diagnostic_messages"), message);
	}
	return answer;
}

static const char *const site_names[SITE_COUNT] = {
	"ruby start",
	"ruby bug",
	"ruby fatal",
	"ruby no memory",
	"ruby assertion",
	"ruby crash handler",
	"query",
	"query with parameters",
	"prepare",
	"prepared query",
	"result",
	"connect",
	"connect return",
	"finish",
	"connection error",
};

/* How the frames of a Ruby are come by when it dies, or why not. */
static const char *frames_of(const struct ruby_layout *ruby)
{
	static const char *const how[RUBY_CONTEXT_END] = {
		[RUBY_CONTEXT_UNKNOWN] = "no: its execution context is not found in this file",
		[RUBY_CONTEXT_GLOBAL] = "yes, by the context of who holds the GVL",
		[RUBY_CONTEXT_MODULE] = "yes, by the library's thread-local context",
		[RUBY_CONTEXT_OFFSET] = "yes, by the thread-local context at its fixed offset",
		[RUBY_CONTEXT_PROGRAM] = "yes, by the program's thread-local context",
	};

	if (ruby->column == RUBY_NONE || ruby->column >= RUBY_COLUMNS)
		return "no: this version's offsets are not known";
	return ruby->how < RUBY_CONTEXT_END ? how[ruby->how] : how[RUBY_CONTEXT_UNKNOWN];
}

static void add_file(void *context, const char *path, const struct library *library, uint32_t users)
{
	cJSON *file = cJSON_CreateObject(), *sites = cJSON_CreateArray();
	char build_id[41];

	text_hex(library->build_id, library->build_id_len, build_id);
	cJSON_AddStringToObject(file, "path", path);
	cJSON_AddStringToObject(file, "kind", library->kind == LIBRARY_RUBY ? "ruby" : "libpq");
	json_add_text(file, "version", library->version);
	json_add_text(file, "build_id", build_id);
	json_add_count(file, "processes", users);
	json_add_text(file, "problem", library->problem);
	if (library->kind == LIBRARY_RUBY)
		cJSON_AddStringToObject(file, "ruby_frames", frames_of(&library->ruby));
	for (uint32_t i = 0; i < library->site_count; i++) {
		const struct library_site *site = &library->sites[i];
		cJSON *row = cJSON_CreateObject();

		cJSON_AddStringToObject(row, "probe", site->site < SITE_COUNT ? site_names[site->site] : "?");
		cJSON_AddStringToObject(row, "function", site->function);
		json_add_hex(row, "entry", site->entry);
		json_add_hex(row, "offset", site->offset);
		cJSON_AddStringToObject(row, "instruction", site->instruction);
		cJSON_AddBoolToObject(row, "emulated", site->emulated != 0);
		cJSON_AddItemToArray(sites, row);
	}
	cJSON_AddItemToObject(file, "sites", sites);
	cJSON_AddItemToArray(context, file);
}

static cJSON *answer_probes(struct agent *agent, const char *argument)
{
	cJSON *answer = cJSON_CreateObject(), *files = cJSON_AddArrayToObject(answer, "probes");

	(void)argument;
	targets_each(agent->targets, add_file, files);
	return answer;
}

static void add_lanes(struct agent *agent, cJSON *answer)
{
	cJSON *lanes = cJSON_AddArrayToObject(answer, "lanes");
	struct counters counters;

	if (probe_counters(agent->probe, &counters) != 0)
		return;
	for (uint8_t lane = 0; lane < LANE_USER; lane++) {
		cJSON *row = cJSON_CreateObject();

		cJSON_AddStringToObject(row, "lane", lane_name(lane));
		json_add_count(row, "records", counters.records[lane]);
		json_add_count(row, "dropped", counters.dropped[lane]);
		json_add_count(row, "lost", gaps_lost(agent->gaps, lane));
		cJSON_AddItemToArray(lanes, row);
	}
	json_add_count(answer, "faults_suppressed", counters.suppressed);
	json_add_count(answer, "hits_ignored", counters.ignored);
	json_add_count(answer, "unreadable", counters.unreadable);
	cJSON *hits = cJSON_AddObjectToObject(answer, "hits");
	for (int site = 0; site < SITE_COUNT; site++)
		json_add_count(hits, site_names[site], counters.hits[site]);
}

static void add_store(struct agent *agent, cJSON *answer)
{
	cJSON *row = cJSON_AddObjectToObject(answer, "store");
	struct store_stats stats;

	store_stats(agent->store, &stats);
	json_add_count(row, "written", stats.written);
	json_add_count(row, "queued", stats.queue_items);
	json_add_count(row, "queued_bytes", stats.queue_bytes);
	json_add_count(row, "dropped", stats.dropped_items);
	json_add_count(row, "dropped_stacks", stats.dropped_stacks);
	json_add_count(row, "errors", stats.errors);
	json_add_count(row, "folder_lost", stats.lost);
	json_add_text(row, "last_error", stats.last_error);
}

static cJSON *answer_status(struct agent *agent, const char *argument)
{
	cJSON *answer = cJSON_CreateObject();
	struct targets_stats targets;
	size_t ring_bytes, map_bytes;

	(void)argument;
	targets_stats(agent->targets, &targets);
	probe_memory(agent->probe, &ring_bytes, &map_bytes);
	cJSON_AddStringToObject(answer, "version", LAPIDARY_VERSION);
	json_add_time(answer, "started", agent_wall(agent, agent->started_ns));
	cJSON_AddBoolToObject(answer, "ready", !watch_busy(agent));
	json_add_count(answer, "processes", watch_count(agent));
	json_add_count(answer, "probed_files", targets.attached);
	json_add_count(answer, "files_examined", targets.examined);
	json_add_count(answer, "files_failed", targets.failed);
	json_add_count(answer, "mappings_not_looked_at", targets.overflowed);
	json_add_count(answer, "files_refused", targets.refused);
	json_add_count(answer, "examiner_deaths", targets.examiner_deaths);
	cJSON_AddBoolToObject(answer, "can_probe_new_files", !targets.spawner_lost);
	cJSON_AddStringToObject(answer, "wakes_by", urgency_name(agent->urgency.means));
	json_add_count(answer, "urgency_cut", agent->urgency.cut);
	json_add_count(answer, "records_refused", agent->bad_records);
	json_add_count(answer, "model_evicted", model_evicted(pipeline_model(agent->pipeline)));
	json_add_count(answer, "ring_bytes", ring_bytes);
	json_add_count(answer, "map_bytes", map_bytes);
	json_add_count(answer, "maps_bytes", maps_memory(agent->maps));
	cJSON_AddItemToObject(answer, "acting", acting_status(agent));
	add_lanes(agent, answer);
	add_store(agent, answer);
	return answer;
}

static void explain(struct agent *agent, uint32_t tgid, cJSON *out)
{
	const struct watched *watched = watch_find(agent, tgid, 0);
	struct ruby_layout ruby;
	uint64_t start_ns;
	bool alive = watched && !watched->gone_ns;

	json_add_count(out, "pid", tgid);
	cJSON_AddBoolToObject(out, "watched", alive);
	if (alive) {
		cJSON_AddStringToObject(out, "why",
					"it maps a file that exports rb_define_method, so it is a Ruby");
		json_add_text(out, "app", watched->info.app);
		json_add_text(out, "title", watched->info.title);
		json_add_text(out, "ruby", watched->ruby);
		json_add_text(out, "server", watched->info.server);
		json_add_count(out, "uid", watched->uid);
		json_add_time(out, "start_time", agent_wall(agent, watched->start_ns));
		cJSON_AddStringToObject(out, "ruby_frames",
					probe_read_place(agent->probe, tgid, watched->start_ns, &ruby) == 0
						? frames_of(&ruby)
						: "no: where its Ruby lies in memory is not known");
		return;
	}
	start_ns = watch_start_of(agent, tgid);
	cJSON_AddStringToObject(out, "why",
				watched ? "it has ended"
				: !start_ns && kill((pid_t)tgid, 0) != 0 && errno == ESRCH
					? "there is no such process on this host"
				: watch_excluded(agent, tgid, start_ns)
					? "the configuration excludes it (apps[].exclude)"
					: "none of its mapped files exports rb_define_method: it is no Ruby");
}

static cJSON *answer_doctor(struct agent *agent, const char *argument)
{
	cJSON *answer = cJSON_CreateObject();
	uint64_t tgid;

	if (!parse_u64(argument, &tgid) || tgid == 0 || tgid > INT32_MAX)
		cJSON_AddStringToObject(answer, "error",
					"doctor: a process id is needed, as in: lapidary doctor 1234");
	else
		explain(agent, (uint32_t)tgid, answer);
	return answer;
}

static cJSON *answer_breakers(struct agent *agent, const char *argument)
{
	(void)argument;
	return acting_breakers(agent);
}

static cJSON *answer_acting(struct agent *agent, const char *argument)
{
	(void)argument;
	return acting_status(agent);
}

cJSON *agent_answer(void *context, const char *command, const char *argument)
{
	static const struct {
		const char *name;
		cJSON *(*answer)(struct agent *agent, const char *argument);
	} commands[] = {
		{"workers", answer_workers}, {"health", answer_health},     {"probes", answer_probes},
		{"status", answer_status},   {"doctor", answer_doctor},     {"breakers", answer_breakers},
		{"acting", answer_acting},   {"breaker", operator_breaker}, {"restart", operator_restart},
		{"pause", operator_pause},   {"resume", operator_resume},
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(command, commands[i].name) == 0)
			return commands[i].answer(context, argument);
	return NULL;
}
