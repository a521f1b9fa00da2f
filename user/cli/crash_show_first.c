// SPDX-License-Identifier: Apache-2.0
/*
 * The first screen of `lapidary crash show`, in the order of the questions asked at night: what died, where
 * and why, since when and how often, what to do. At most 40 lines at 100 columns: each text has its share,
 * and what does not fit stands in full further down.
 */
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/crash_show.h"
#include "user/cli/listing.h"

enum { REMEDIES_SHOWN = 4, REMEDIES_COMPARED = 64 };

static void ago(const char *time, char out[32])
{
	uint64_t then, now = when_wall_now();
	char span[24];

	out[0] = '\0';
	if (when_parse(time, &then) && then <= now)
		snprintf(out, 32, ", %s ago", span_text(now - then, span));
}

static void print_what(const struct story *story)
{
	const cJSON *report = story->report, *parent = report_part(report, "parent");
	const cJSON *fault = report_part(report, "fault"), *end = report_part(report, "exit");
	const char *app = json_text(report, "app"), *thread = json_text(fault, "thread_name");
	char when[32], text[256];

	page_raw(&story->page, TINT_RED, "%s: %s of %s (%s), process %.0f", json_text(report, "id"),
		 *json_text(report, "signal") ? json_text(report, "signal") : "death",
		 *app ? app : "no known app", json_text(report, "comm"), json_number(report, "pid", 0));
	ago(json_text(report, "time"), when);
	page_text(&story->page, "when", 1, "%s%s", json_text(report, "time"), when);
	page_text(&story->page, "process", 1, "%s of user %.0f, started %s, parent %.0f",
		  json_text(report, "role"), json_number(report, "uid", 0), json_text(report, "start_time"),
		  json_number(parent, "pid", 0));
	text[0] = '\0';
	if (json_number(fault, "thread", 0) > 0 &&
	    json_number(fault, "thread", 0) != json_number(report, "pid", 0))
		snprintf(text, sizeof(text), ", thread %.0f%s%s", json_number(fault, "thread", 0),
			 *thread ? " " : "", thread);
	page_text(&story->page, "runs", 1, "%s%s%s%s%s%s%s", *json_text(report, "ruby") ? "Ruby " : "",
		  json_text(report, "ruby"), *json_text(report, "server") ? " under " : "",
		  json_text(report, "server"), *json_text(report, "host") ? " on " : "",
		  json_text(report, "host"), text);
	page_text(&story->page, "known by", 1, "%s%s%s", json_text(report, "confirmed_by"),
		  *json_text(end, "signal") ? ", ended by " : "", json_text(end, "signal"));
	page_text(&story->page, "bundle", 1, "%s", story->bundle->place);
}

/* The failing instruction: in which function, of which file, what it was. */
static void print_where(const struct story *story)
{
	const cJSON *report = story->report, *location = report_part(report, "location");
	struct frame_line frame = {.how = ""};

	bool named = *json_text(cJSON_GetArrayItem(report_part(report, "native_frames"), 0), "symbol");

	if (frame_count(report))
		frame_line(report, 0, &frame);
	if (*json_text(location, "module"))
		page_text(&story->page, "where", 2, "%s%s%s + %s (build-id %.12s)", named ? frame.what : "",
			  named ? ", " : "", json_text(location, "module"), json_text(location, "offset"),
			  *json_text(location, "build_id") ? json_text(location, "build_id") : "unknown");
	else if (cJSON_IsObject(location))
		page_text(&story->page, "where", 1, "%s, in no known file", json_text(location, "address"));
	page_text(&story->page, "instruction", 1, "%s",
		  json_text(report_part(report, "code_bytes"), "instruction"));
}

static void print_ruby(const struct story *story)
{
	const cJSON *ruby;
	char path[160];

	cJSON_ArrayForEach(ruby, report_part(story->report, "ruby_frames"))
	{
		if (!*json_text(ruby, "path"))
			continue;
		path_tail(json_text(ruby, "path"), 60, path, sizeof(path));
		page_text(&story->page, "in Ruby", 1, "%s:%.0f in '%s'", path, json_number(ruby, "line", 0),
			  json_text(ruby, "method"));
		return;
	}
}

/* What the check of gems knew of the blamed file; of its evidence what speaks against it. */
static void print_verdict(const struct story *story, const cJSON *verdict)
{
	const cJSON *evidence = report_part(verdict, "evidence"), *one;
	const char *says = json_text(cJSON_GetArrayItem(evidence, 0), "says");

	if (!cJSON_IsObject(verdict))
		return;
	cJSON_ArrayForEach(one, evidence)
	{
		if (json_true(one, "against")) {
			says = json_text(one, "says");
			break;
		}
	}
	page_text(&story->page, "checked", 2, "%s (confidence %s)%s%s",
		  json_text(verdict, "compatibility_status"), json_text(verdict, "confidence"),
		  *says ? ": " : "", says);
}

static void print_why(const struct story *story)
{
	const cJSON *report = story->report, *blame = report_part(report, "blame");
	const cJSON *vm = report_part(report, "vm_error");
	const cJSON *diagnosis = cJSON_GetArrayItem(report_part(report, "diagnosis"), 0);

	page_head(&story->page, "Why");
	page_text(&story->page, "cause", 2, "%s: %s", json_text(report, "cause"),
		  json_text(report, "cause_evidence"));
	print_where(story);
	print_ruby(story);
	page_text(&story->page, "blame", 2, "%s%s%s%s%s, confidence %s", json_text(blame, "gem"),
		  *json_text(blame, "version") ? " " : "", json_text(blame, "version"),
		  *json_text(blame, "gem") ? ", " : "", json_text(blame, "module"),
		  json_text(blame, "confidence"));
	page_text(&story->page, "because", 2, "%s", json_text(blame, "how"));
	print_verdict(story, report_part(blame, "verdict"));
	if (cJSON_IsObject(vm))
		page_text(&story->page, "Ruby said", 2, "%s: %s", json_text(vm, "function"),
			  json_text(vm, "message"));
	page_text(&story->page, "known as", 1, "%s%s%s%s", json_text(diagnosis, "title"),
		  *json_text(diagnosis, "title") ? " (confidence " : "", json_text(diagnosis, "confidence"),
		  *json_text(diagnosis, "title") ? ")" : "");
	page_text(&story->page, "", 3, "%s", json_text(diagnosis, "explanation"));
	page_text(&story->page, "SQL", 1, "%s%s",
		  !cJSON_IsObject(report_part(report, "sql"))          ? ""
		  : json_true(report_part(report, "sql"), "in_flight") ? "in flight: "
								       : "finished before: ",
		  json_text(report_part(report, "sql"), "statement"));
}

static void join(const cJSON *names, char *out, size_t size)
{
	const cJSON *one;
	size_t used = 0;

	out[0] = '\0';
	cJSON_ArrayForEach(one, names) if (cJSON_IsString(one))
		text_add(out, size, &used, "%s%s", used ? ", " : "", one->valuestring);
}

/* Like crashes in the store, and since when. */
static void print_history(const struct story *story, const cJSON *group)
{
	double count = json_number(group, "count", 0), hidden = json_number(group, "suppressed", 0);
	char first[24], last[24], apps[160], hosts[160], counted[64] = "";

	page_head(&story->page, "Since when, how often");
	page_text(&story->page, "fingerprint", 1, "%s", json_text(story->report, "fingerprint"));
	if (count < 1) {
		page_text(&story->page, "seen", 1, "how often is known where its store is");
		return;
	}
	if (hidden > 0)
		snprintf(counted, sizeof(counted), ", %.0f of them counted only", hidden);
	page_text(&story->page, "seen", 1, "%.0f time%s%s, first %s, last %s UTC", count,
		  count == 1 ? "" : "s", counted, time_short(json_text(group, "first"), first),
		  time_short(json_text(group, "last"), last));
	join(report_part(group, "apps"), apps, sizeof(apps));
	join(report_part(group, "hosts"), hosts, sizeof(hosts));
	if (*apps)
		page_text(&story->page, "in", 1, "%s%s%s", apps, *hosts ? " on " : "", hosts);
}

static bool said_before(const cJSON *list, const char *text)
{
	int left = REMEDIES_COMPARED;
	const cJSON *one;

	cJSON_ArrayForEach(one, list)
	{
		if (!left--)
			break;
		if (cJSON_IsString(one) && !strcmp(one->valuestring, text))
			return true;
	}
	return false;
}

/* Those of the known pattern first, then those of cause and gem. */
static void print_remedies(const struct story *story)
{
	const cJSON *diagnosis = cJSON_GetArrayItem(report_part(story->report, "diagnosis"), 0), *one;
	const cJSON *lists[] = {report_part(diagnosis, "remedies"), report_part(story->report, "remedies")};
	int number = 0, left = 0;
	char mark[16];

	page_head(&story->page, "What to do");
	for (int i = 0; i < 2; i++) {
		cJSON_ArrayForEach(one, lists[i])
		{
			if (!cJSON_IsString(one) || (i && said_before(lists[0], one->valuestring)))
				continue;
			if (number == REMEDIES_SHOWN) {
				left++;
				continue;
			}
			snprintf(mark, sizeof(mark), "%d.", ++number);
			page_text(&story->page, mark, number < 3 ? 2 : 1, "%s", one->valuestring);
		}
	}
	if (left)
		page_text(&story->page, "", 1, "… %d more: below, or --json", left);
}

void story_first(const struct story *story, const cJSON *group)
{
	print_what(story);
	print_why(story);
	print_history(story, group);
	print_remedies(story);
}
