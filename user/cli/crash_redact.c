// SPDX-License-Identifier: Apache-2.0
/*
 * What a crash report may take to strangers. Out goes what the process itself had or said: raw memory (the
 * stack, and the registers, words of the same kind), statements, what it wrote, names that it gave its
 * threads; and the host's name. In stay addresses, mapped files and their versions, symbols, Ruby methods
 * with file and line, code bytes, cause, blame, times: what its authors need. The faulting address stays
 * also where it is a wild value. The result is a report of the same schema, and says what it lacks.
 */
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/crash.h"
#include "user/cli/crash_places.h"

static const char *const redacted[] = {
	"stack.bin: the process's memory",
	"registers: their words; register_places says what they pointed at",
	"stderr.txt: what the process wrote",
	"sql, and the statements in events.jsonl",
	"host",
	"fault.thread_name",
};

static const char why[] = "redacted";

/* Replaces what is there; a report that never had it gets none. */
static void put(cJSON *object, const char *key, cJSON *value)
{
	if (!cJSON_HasObjectItem(object, key) || !cJSON_ReplaceItemInObjectCaseSensitive(object, key, value))
		cJSON_Delete(value);
}

static cJSON *missing(void)
{
	cJSON *state = cJSON_CreateObject();

	cJSON_AddStringToObject(state, "state", "missing");
	cJSON_AddStringToObject(state, "why", why);
	return state;
}

static void redact_registers(cJSON *report, const struct places *places)
{
	const cJSON *one, *registers = report_part(report, "registers");
	cJSON *words;
	char text[160];
	uint64_t value;

	if (!cJSON_IsObject(registers))
		return;
	words = cJSON_CreateObject();
	cJSON_ArrayForEach(one, registers)
	{
		if (!report_hex(registers, one->string, &value))
			continue;
		place_text(places, value, text, sizeof(text));
		if (place_class(places, value) == PLACE_SMALL || !*text) /* a number may be anything */
			text_copy(text, sizeof(text), place_class_name(place_class(places, value)));
		text_clean(text);
		cJSON_AddStringToObject(words, one->string, text);
	}
	cJSON_DeleteItemFromObject(report, "register_places");
	cJSON_AddItemToObject(report, "register_places", words);
	put(report, "registers", cJSON_CreateNull());
}

static void redact_stderr(cJSON *report)
{
	cJSON *state = missing();

	cJSON_AddNullToObject(state, "file");
	cJSON_AddNumberToObject(state, "bytes", 0);
	put(report, "stderr", state);
}

cJSON *crash_redact(const struct bundle_files *bundle)
{
	cJSON *report = cJSON_Duplicate(bundle->report, 1), *list;
	cJSON *parts = cJSON_GetObjectItemCaseSensitive(report, "parts");
	struct places places;

	if (!report || places_init(&places, bundle)) {
		cJSON_Delete(report);
		return NULL;
	}
	redact_registers(report, &places);
	places_done(&places);
	put(cJSON_GetObjectItemCaseSensitive(report, "memory"), "stack", cJSON_CreateNull());
	put(cJSON_GetObjectItemCaseSensitive(report, "fault"), "thread_name", cJSON_CreateNull());
	put(report, "sql", cJSON_CreateNull());
	put(report, "host", cJSON_CreateNull());
	redact_stderr(report);
	put(parts, "registers", missing());
	put(parts, "stack", missing());
	put(parts, "stderr", missing());
	put(parts, "core", missing());
	cJSON_DeleteItemFromObject(report, "redacted");
	list = cJSON_AddArrayToObject(report, "redacted");
	for (size_t i = 0; i < sizeof(redacted) / sizeof(*redacted); i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(redacted[i]));
	return report;
}

/* A line without its statement; what does not parse could hold one, and goes. */
static char *event_line(const char *line, size_t size)
{
	cJSON *event = cJSON_ParseWithLength(line, size);
	char *text = NULL;

	if (event) {
		put(event, "sql", cJSON_CreateNull());
		text = cJSON_PrintUnformatted(event);
	}
	cJSON_Delete(event);
	return text;
}

char *crash_redact_events(const char *events)
{
	size_t room = strlen(events) + 1,
	       used = 0; /* never longer than it was: null is shorter than any text */
	char *out = malloc(room);

	while (out && *events) {
		size_t size = strcspn(events, "\n"), length;
		char *line = size ? event_line(events, size) : NULL;

		length = line ? strlen(line) : 0;
		if (line && used + length + 1 < room) {
			memcpy(out + used, line, length);
			used += length;
			out[used++] = '\n';
		}
		cJSON_free(line);
		events += size + (events[size] == '\n');
	}
	if (out)
		out[used] = '\0';
	return out;
}
