/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts that patterns ask for and that no other part of a report needs: which files are mapped, each once,
 * and what the flight recorder says of the connection that the thread was using.
 *
 * "finished" needs a register or the last statement to name a PGconn whose last event in this process is its
 * PQfinish. "inherited" needs a recorder that is whole from the fork on: it begins with the fork of
 * this process, and the connection of the last statement was not opened since.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/crash/diagnosis_match.h"

enum { CONNECTIONS = 64 };

struct connection_seen {
	uint64_t conn;
	bool open;
};

struct recorder {
	struct connection_seen list[CONNECTIONS];
	size_t count;
	bool from_birth;
};

static void note_connection(struct recorder *recorder, uint64_t conn, const char *what)
{
	size_t i = 0;

	while (i < recorder->count && recorder->list[i].conn != conn)
		i++;
	if (i == CONNECTIONS)
		return;
	recorder->list[i] = (struct connection_seen){conn, strcmp(what, "finish") != 0};
	recorder->count += i == recorder->count;
}

static void read_line(struct recorder *recorder, const char *line, size_t size, bool first)
{
	cJSON *json = cJSON_ParseWithLength(line, size);
	const char *event = json_text(json, "event");

	if (first)
		recorder->from_birth = !strcmp(event, "fork") && !cJSON_GetObjectItem(json, "child");
	if (!strcmp(event, "conn"))
		note_connection(recorder, strtoull(json_text(json, "conn"), NULL, 16),
				json_text(json, "what"));
	cJSON_Delete(json);
}

static void read_flight(const struct crash_input *input, struct recorder *recorder)
{
	const char *at = input->flight, *end = at ? at + input->flight_size : NULL;

	for (bool first = true; at && at < end; first = false) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((newline ? newline : end) - at);

		read_line(recorder, at, size, first);
		at += size + 1;
	}
}

static bool is_finished(const struct recorder *recorder, uint64_t conn)
{
	for (size_t i = 0; conn && i < recorder->count; i++)
		if (recorder->list[i].conn == conn)
			return !recorder->list[i].open;
	return false;
}

static bool is_known(const struct recorder *recorder, uint64_t conn)
{
	for (size_t i = 0; i < recorder->count; i++)
		if (recorder->list[i].conn == conn)
			return true;
	return false;
}

static void read_connections(struct facts *facts)
{
	const struct crash *crash = facts->input->crash;
	struct recorder recorder = {0};

	if (!crash->has_fault)
		return;
	read_flight(facts->input, &recorder);
	facts->connection_finished = is_finished(&recorder, crash->fault.conn);
	for (int i = 0; i <= REG_DI_ && !facts->input->no_registers; i++)
		facts->connection_finished |= is_finished(&recorder, crash->fault.regs[i]);
	facts->connection_inherited = recorder.from_birth && crash->fault.conn &&
				      recorder.count < CONNECTIONS && !is_known(&recorder, crash->fault.conn);
}

static void add_loaded(struct facts *facts, const char *path)
{
	const char *base = text_base(path);

	for (size_t i = 0; i < facts->loaded_count; i++)
		if (!strcmp(facts->paths[i], path))
			return;
	facts->loaded[facts->loaded_count] = base;
	facts->paths[facts->loaded_count++] = path;
}

int facts_read(struct facts *facts)
{
	const struct crash_input *input = facts->input;

	facts->loaded_count = 0;
	facts->loaded = calloc(input->region_count + 1, sizeof(*facts->loaded));
	facts->paths = calloc(input->region_count + 1, sizeof(*facts->paths));
	if (!facts->loaded || !facts->paths)
		return -ENOMEM;
	for (size_t i = 0; i < input->region_count; i++)
		if (input->regions[i].path && input->regions[i].path[0] == '/')
			add_loaded(facts, input->regions[i].path);
	if (crash_signal(input->crash))
		signal_name(crash_signal(input->crash), facts->signal);
	read_connections(facts);
	return 0;
}

void facts_done(struct facts *facts)
{
	free(facts->loaded);
	free(facts->paths);
	facts->loaded = facts->paths = NULL;
}
