// SPDX-License-Identifier: Apache-2.0
/*
 * What the process did before it died, from the flight recorder (events.jsonl): its last statements with
 * when they began and how long they took, connections that opened and broke, signals and orders. And what
 * it wrote as it died.
 */
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/crash_show.h"
#include "user/probe/reason.h"

enum { EVENTS_MAX = 512, EVENTS_SHOWN = 14, EVENTS_MORE = 256, TAIL_LINES = 14 };

struct events {
	cJSON *list[EVENTS_MAX]; /* the last ones, oldest first */
	size_t count, bad;
};

static void events_keep(struct events *events, cJSON *one)
{
	if (events->count == EVENTS_MAX) {
		cJSON_Delete(events->list[0]);
		memmove(events->list, events->list + 1, (EVENTS_MAX - 1) * sizeof(*events->list));
		events->count--;
	}
	events->list[events->count++] = one;
}

static void events_read(const char *text, struct events *events)
{
	events->count = events->bad = 0;
	while (text && *text) {
		size_t size = strcspn(text, "\n");
		cJSON *one = size ? cJSON_ParseWithLength(text, size) : NULL;

		if (one)
			events_keep(events, one);
		else
			events->bad += size > 0;
		text += size + (text[size] == '\n');
	}
}

static bool is(const cJSON *event, const char *name)
{
	return !strcmp(json_text(event, "event"), name);
}

/* "-12.4 ms", "-3.2 s" against the crash. */
static void relative(const struct story *story, const cJSON *event, char out[24])
{
	uint64_t crash, at;
	double ms;

	if (!when_parse(json_text(story->report, "time"), &crash) ||
	    !when_parse(json_text(event, "time"), &at)) {
		text_copy(out, 24, "?");
		return;
	}
	ms = at > crash ? (double)(at - crash) / 1e6 : -((double)(crash - at) / 1e6);
	if (ms > -0.0005 && ms < 0.0005)
		text_copy(out, 24, "at the fault");
	else if (ms > -1000 && ms < 1000)
		snprintf(out, 24, "%+.3f ms", ms);
	else
		snprintf(out, 24, "%+.1f s", ms / 1000);
}

/* How a statement ended: the next end on its connection. */
static void query_end(const struct events *events, size_t start, char *out, size_t size)
{
	const char *conn = json_text(events->list[start], "conn");
	uint64_t begin, end;

	snprintf(out, size, "still in flight");
	for (size_t i = start + 1; i < events->count; i++) {
		const cJSON *at = events->list[i];

		if (strcmp(json_text(at, "conn"), conn) != 0)
			continue;
		if (is(at, "query_start")) /* sent in a row, as in a pipeline */
			continue;
		if (!is(at, "query_end"))
			return;
		if (!when_parse(json_text(events->list[start], "time"), &begin) ||
		    !when_parse(json_text(at, "time"), &end) || end < begin)
			begin = end = 0;
		snprintf(out, size, "%s after %.3f ms",
			 *json_text(at, "sqlstate") ? json_text(at, "sqlstate") : "ended",
			 (double)(end - begin) / 1e6);
		return;
	}
}

/* False: nothing that a person would miss. */
static bool describe(const struct events *events, size_t i, char *out, size_t size)
{
	const cJSON *at = events->list[i];
	char end[48];

	if (is(at, "query_start")) {
		query_end(events, i, end, sizeof(end));
		snprintf(out, size, "%s (%s)", *json_text(at, "sql") ? json_text(at, "sql") : "a statement",
			 end);
	} else if (is(at, "conn")) {
		double reason = json_number(at, "reason", 0);

		snprintf(out, size, "connection: %s%s%s", json_text(at, "what"), reason > 0 ? ", " : "",
			 reason > 0 && reason < 256 ? reason_name((uint32_t)reason) : "");
	} else if (is(at, "fault")) {
		snprintf(out, size, "signal %.0f, code %.0f, address %s", json_number(at, "signal", 0),
			 json_number(at, "code", 0), json_text(at, "address"));
	} else if (is(at, "kill")) {
		snprintf(out, size, "signal %.0f from process %.0f", json_number(at, "signal", 0),
			 json_number(at, "sender", 0));
	} else if (is(at, "action")) {
		snprintf(out, size, "%s: %s", json_text(at, "action"), json_text(at, "outcome"));
	} else if (is(at, "fork")) {
		snprintf(out, size, "forked process %.0f", json_number(at, "child", 0));
	} else if (is(at, "fatal") || is(at, "hello") || is(at, "confirm") || is(at, "exec")) {
		snprintf(out, size, "%s", json_text(at, "event"));
	} else {
		return false;
	}
	return true;
}

static void last_statement(const struct story *story)
{
	const cJSON *sql = report_part(story->report, "sql");

	if (!cJSON_IsObject(sql))
		return;
	page_line(&story->page, "statement", "%s", json_text(sql, "statement"));
	page_line(&story->page, "to", "%s", json_text(sql, "target"));
}

void story_events(const struct story *story)
{
	struct events *events = malloc(sizeof(*events));
	size_t most = story->memory ? EVENTS_MORE : EVENTS_SHOWN, from, shown = 0;
	char text[2048], when[24];

	if (!events)
		return;
	events_read(story->bundle->files[BUNDLE_EVENTS].bytes, events);
	if (events->count || cJSON_IsObject(report_part(story->report, "sql")))
		page_head(&story->page, "Before it died: statements and events");
	last_statement(story);
	/* the last ones that are shown at all */
	for (from = events->count; from > 0 && shown < most; from--)
		shown += describe(events, from - 1, text, sizeof(text));
	for (size_t i = from; i < events->count; i++) {
		if (!describe(events, i, text, sizeof(text)))
			continue;
		relative(story, events->list[i], when);
		page_text(&story->page, when, 1, "%s", text);
	}
	if (events->bad)
		page_line(&story->page, "", "%zu lines of events.jsonl did not parse", events->bad);
	for (size_t i = 0; i < events->count; i++)
		cJSON_Delete(events->list[i]);
	free(events);
}

/* Where the last lines begin. */
static const char *tail_of(const char *text, size_t size, int lines)
{
	const char *at = text + size;

	while (at > text && (at[-1] == '\n' || at[-1] == ' '))
		at--;
	for (; at > text; at--)
		if (at[-1] == '\n' && !--lines)
			break;
	return at;
}

void story_stderr(const struct story *story)
{
	const cJSON *state = report_part(story->report, "stderr");
	const char *text = story->bundle->files[BUNDLE_STDERR].bytes;
	size_t size = story->bundle->files[BUNDLE_STDERR].size;
	char line[400];

	if (!text || !size)
		return;
	page_head(&story->page, "What it wrote as it died (the end of stderr.txt)");
	if (strcmp(json_text(state, "state"), "complete") != 0)
		page_line(&story->page, json_text(state, "state"), "%s", json_text(state, "why"));
	for (const char *at = tail_of(text, size, TAIL_LINES), *end = text + size; at < end;) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));

		stop = stop ? stop : end;
		text_copy_bytes(line, sizeof(line), at, (size_t)(stop - at));
		page_raw(&story->page, TINT_DIM, "  %s", line);
		at = stop + 1;
	}
}
