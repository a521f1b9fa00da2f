/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lapidary replay: a recording through the same model and rules as the agent's, and what comes of it on
 * stdout, one line each in the order in which it came. With --json a line is one document
 * {"event": "crash" | "crash_end" | "incident" | "decision", …}. Neither the clock nor the host's state
 * is asked, so the same file and rules give the same bytes anywhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/commands.h"
#include "user/cli/config.h"
#include "user/cli/help.h"
#include "user/crash/bundle.h"
#include "user/probe/record.h"
#include "user/rules/pipeline.h"

static const struct help replay_help = {
	.synopsis = "replay FILE [--json] [--rules DIR]",
	.text = "Runs a recording (lapidary agent --record FILE) through model and rules, without root, and\n"
		"prints crashes, incidents and decisions as they come: the same bytes for the same input.\n"
		"Exit status 1 when the file is damaged; what lies before the damage is printed.\n",
	.options = "  --json            one JSON document a line\n"
		   "  --rules DIR       other rules than the installed ones\n",
	.examples =
		"  lapidary replay night.rec\n"
		"  lapidary replay night.rec --json --rules ./rules | jq 'select(.event == \"decision\")'\n",
};

struct replay {
	struct pipeline *pipeline;
	const struct rules *rules;
	struct pipeline_sink sink;
	bool json;
};

static void print_time(const struct replay *replay, uint64_t time_ns)
{
	char text[WHEN_SIZE];
	when_rfc3339(model_wall_ns(pipeline_model(replay->pipeline), time_ns), text);
	printf("%s ", text);
}

/* Takes the document. */
static void print_document(const char *event, cJSON *document)
{
	cJSON *named = cJSON_CreateObject();
	cJSON_AddStringToObject(named, "event", event);
	while (document->child) {
		cJSON *item = cJSON_DetachItemViaPointer(document, document->child);
		cJSON_AddItemToObject(named, item->string, item);
	}
	char *text = cJSON_PrintUnformatted(named);
	if (text)
		puts(text);
	free(text);
	cJSON_Delete(named);
	cJSON_Delete(document);
}

static void crash_signal_text(const struct crash *crash, char out[12])
{
	if (crash->has_fault)
		signal_name((int)crash->fault.signal, out);
	else if (crash->status >= 0)
		signal_name(WTERMSIG(crash->status), out);
	else
		text_copy(out, 12, "");
}

static const char *confirmation_name(enum confirmation confirmation)
{
	static const char *const names[] = {"nothing", "handler", "death", "oom", "default_action"};
	return names[confirmation];
}

static cJSON *crash_json(const struct replay *replay, const struct crash *crash, const char *signal)
{
	const struct model *model = pipeline_model(replay->pipeline);
	cJSON *out = cJSON_CreateObject();
	cJSON_AddStringToObject(out, "id", crash->id);
	json_add_time(out, "time", model_wall_ns(model, crash->time_ns));
	cJSON_AddStringToObject(out, "app", crash->app);
	json_add_count(out, "pid", crash->process.tgid);
	json_add_time(out, "start_time", model_wall_ns(model, crash->process.start_ns));
	cJSON_AddStringToObject(out, "comm", crash->comm);
	json_add_text(out, "signal", signal);
	if (crash->has_fault) {
		cJSON_AddNumberToObject(out, "code", crash->fault.code);
		json_add_hex(out, "fault_address", crash->fault.address);
	} else {
		cJSON_AddNullToObject(out, "code");
		cJSON_AddNullToObject(out, "fault_address");
	}
	json_add_text(out, "module", crash->location.module);
	if (crash->location.what == LOCATION_NONE)
		cJSON_AddNullToObject(out, "offset");
	else
		json_add_hex(out, "offset", crash->location.offset);
	json_add_text(out, "sql", crash->sql);
	cJSON_AddBoolToObject(out, "sql_in_flight", crash->sql_in_flight);
	json_add_text(out, "target", crash->target);
	cJSON_AddStringToObject(out, "confirmed_by", confirmation_name(crash->confirmed_by));
	if (crash->status >= 0)
		cJSON_AddNumberToObject(out, "status", crash->status);
	else
		cJSON_AddNullToObject(out, "status");
	json_add_count(out, "live_workers", crash->live_workers);
	json_add_count(out, "lost_records", crash->lost_records);
	return out;
}

static void print_crash(const struct replay *replay, const struct crash *crash, const char *event)
{
	char signal[12];
	crash_signal_text(crash, signal);
	if (replay->json) {
		print_document(event, crash_json(replay, crash, signal));
		return;
	}
	print_time(replay, crash->time_ns);
	printf("%s %s %s: %s %u, %s in %s+0x%" PRIx64 ", confirmed by %s", event, crash->id, crash->app,
	       crash->comm, crash->process.tgid, *signal ? signal : "unknown signal",
	       *crash->location.module ? crash->location.module : "?", (uint64_t)crash->location.offset,
	       confirmation_name(crash->confirmed_by));
	if (*crash->sql)
		printf(", sql%s: %s", crash->sql_in_flight ? " in flight" : "", crash->sql);
	putchar('\n');
}

static void on_notice(void *context, const struct notice *notice)
{
	if (notice->type == NOTICE_CRASH)
		print_crash(context, notice->crash, "crash");
	else if (notice->type == NOTICE_CRASH_END)
		print_crash(context, notice->crash, "crash_end");
}

static void on_incident(void *context, const struct incident *incident)
{
	const struct replay *replay = context;
	if (replay->json) {
		print_document("incident", incident_json(incident, pipeline_model(replay->pipeline)));
		return;
	}
	print_time(replay, incident->state == INCIDENT_OPEN ? incident->updated_ns : incident->closed_ns);
	printf("incident %s %s %s (%u): %s%s%s\n", incident->id, incident->kind,
	       incident->state == INCIDENT_OPEN ? "open" : "closed", incident->count, incident->title,
	       *incident->remedy ? "; " : "", incident->remedy);
}

static void on_decision(void *context, const struct decision *decision)
{
	const struct replay *replay = context;
	if (replay->json) {
		print_document("decision", decision_json(decision, pipeline_model(replay->pipeline)));
		return;
	}
	print_time(replay, decision->time_ns);
	printf("decision %s %s%s%s for %s: %s\n", decision->id, decision->action, *decision->scope ? " " : "",
	       decision->scope, decision->app, decision->reason);
}

static void begin(struct replay *replay, const struct ev_begin *ev)
{
	if (memcmp(ev->rules_digest, rules_digest(replay->rules), sizeof(ev->rules_digest)) != 0)
		fprintf(stderr, "lapidary: replay: the rules are not those of the recording; decisions may "
				"differ; --rules DIR names others\n");
	pipeline_free(replay->pipeline); /* an agent that was started again knew nothing of before */
	replay->pipeline = pipeline_new(replay->rules, ev->seed, NULL);
}

static int replay_file(struct replay *replay, const char *path, struct recording *recording)
{
	struct ev_head *ev = malloc(EV_RECORD_MAX);
	const char *why = "";
	uint64_t where = 0;
	int got = ev ? 0 : -1;
	while (ev && (got = recording_next(recording, ev, &why, &where)) == 1) {
		if (ev->type == EV_BEGIN)
			begin(replay, (const struct ev_begin *)(const void *)ev);
		if (!replay->pipeline)
			break;
		pipeline_step(replay->pipeline, ev, &replay->sink);
	}
	free(ev);
	fflush(stdout);
	if (!ev || !replay->pipeline)
		return command_error(EXIT_INTERNAL, "replay: out of memory");
	if (got < 0)
		return command_error(EXIT_PROBLEMS,
				     "%s: damaged at byte %" PRIu64 ": %s; what lies before it was replayed",
				     path, where, why);
	return ferror(stdout) ? command_error(EXIT_PROBLEMS, "replay: cannot write the output") : EXIT_FINE;
}

/* Leaves the file's name in *path; the configuration's flags are gone from argv already. */
static int parse_words(int argc, char **argv, struct replay *replay, const char **path)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			replay->json = true;
		else if (argv[i][0] == '-' && argv[i][1])
			return usage_error("replay: %s: no such option; lapidary replay --help lists them",
					   argv[i]);
		else if (*path)
			return usage_error("replay: %s: one recording at a time", argv[i]);
		else
			*path = argv[i];
	}
	return *path ? 0 : usage_error("replay: which recording? lapidary replay FILE");
}

static int replay_run(struct replay *replay, const char *path, const char *rules_dir)
{
	struct rules *rules = NULL;
	struct recording *recording = NULL;
	char why[512];
	const char *what = "";
	if (rules_load(rules_dir, &rules, why, sizeof(why)) != 0)
		return command_error(EXIT_USAGE, "rules: %s", why);
	int code, err = recording_open(path, &recording, &what);
	if (err) {
		code = err == -EBADMSG ? command_error(EXIT_PROBLEMS, "%s: damaged at byte 0: %s", path, what)
		       : err == -EPROTO ? command_error(EXIT_PROBLEMS, "%s: %s", path, what)
					: command_error(EXIT_PROBLEMS, "%s: %s", path, strerror(-err));
	} else {
		replay->rules = rules;
		replay->pipeline = pipeline_new(rules, 0, NULL);
		code = replay_file(replay, path, recording);
	}
	pipeline_free(replay->pipeline);
	recording_close(recording);
	rules_free(rules);
	return code;
}

int cmd_replay(int argc, char **argv)
{
	struct config config;
	char why[512];
	const char *path = NULL;
	struct replay replay = {.sink = {.notice = on_notice, .context = &replay}};
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return help_print(&replay_help);
	if (config_load(&argc, argv, &config, why, sizeof(why)) != 0)
		return usage_error("%s", why);
	replay.sink.rules = (struct rules_sink){on_incident, on_decision, &replay};
	int code = parse_words(argc, argv, &replay, &path);
	return code ? code : replay_run(&replay, path, config.rules_dir);
}
