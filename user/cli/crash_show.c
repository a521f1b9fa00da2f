// SPDX-License-Identifier: Apache-2.0
/*
 * `lapidary crash show ID`: one crash for a person. The first screen answers, the evidence stands below: both
 * stacks as one, registers, memory, statements, mappings, gems, and what of the report is whole.
 */
#include <errno.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/crash.h"
#include "user/cli/crash_show.h"

static const struct help show_help = {
	"crash show ID [--memory] [--json]",
	"Shows one crash in full: what, where, why, since when, how often, what to do; then stacks,\n"
	"registers, memory, statements, gems. The first letters of its id suffice while they fit no other.\n"
	"Of an exported file or a bundle's folder it needs neither an agent nor a store.\n",
	"  --from PATH   an exported file, or a bundle's folder (ID may be such a path as well)\n"
	"  --memory      more of the memory around the stack pointer, and more events\n"
	"  --json        report.json as it is in the bundle\n",
	"  lapidary crash show 3f2a\n"
	"  lapidary crash show 3f2a --json | jq .registers\n"
	"  lapidary crash show --from crash-3f2a.tar.gz\n",
};

void story_diagnosis(const struct story *story)
{
	const cJSON *one, *item;
	char mark[24];

	if (!cJSON_GetArraySize(report_part(story->report, "diagnosis")))
		return;
	page_head(&story->page, "Known patterns that it fits");
	cJSON_ArrayForEach(one, report_part(story->report, "diagnosis"))
	{
		page_text(&story->page, json_text(one, "confidence"), 2, "%s (rule %s)",
			  json_text(one, "title"), json_text(one, "rule"));
		page_text(&story->page, "", 8, "%s", json_text(one, "explanation"));
		cJSON_ArrayForEach(item, report_part(one, "remedies"))
		{
			if (cJSON_IsString(item))
				page_text(&story->page, "  do", 6, "%s", item->valuestring);
		}
		cJSON_ArrayForEach(item, report_part(one, "references"))
		{
			snprintf(mark, sizeof(mark), "  see");
			page_text(&story->page, mark, 2, "%s: %s", json_text(item, "title"),
				  json_text(item, "at"));
		}
	}
}

void story_gems(const struct story *story)
{
	char text[2048] = "", seen[160];
	const cJSON *gem;
	size_t used = 0;

	cJSON_ArrayForEach(gem, report_part(story->report, "gems"))
	{
		snprintf(seen, sizeof(seen), "%.64s%s%.40s", json_text(gem, "name"),
			 *json_text(gem, "version") ? " " : "", json_text(gem, "version"));
		if (!strstr(text, seen))
			text_add(text, sizeof(text), &used, "%s%s", used ? ", " : "", seen);
	}
	if (!used)
		return;
	page_head(&story->page, "Native gems loaded");
	page_text(&story->page, "", 12, "%s", text);
}

void story_parts(const struct story *story)
{
	const cJSON *one, *redacted = report_part(story->report, "redacted");
	double took = json_number(report_part(story->report, "capture"), "took_ns", 0);

	page_head(&story->page, "Parts of this report");
	cJSON_ArrayForEach(one, report_part(story->report, "parts"))
		page_text(&story->page, one->string, 2, "%s%s%s", json_text(one, "state"),
			  *json_text(one, "why") ? ": " : "", json_text(one, "why"));
	if (took > 0)
		page_text(&story->page, "captured in", 1, "%.1f us of the dying thread's time", took / 1000);
	if (json_number(story->report, "lost_records", 0) > 0)
		page_text(&story->page, "lost", 1, "%.0f records in the 10 s before",
			  json_number(story->report, "lost_records", 0));
	cJSON_ArrayForEach(one, redacted) if (cJSON_IsString(one))
		page_text(&story->page, "redacted", 2, "%s", one->valuestring);
}

int story_print(FILE *out, bool colour, const struct bundle_files *bundle, const cJSON *group, bool memory)
{
	struct story story = {.page = {out, colour, page_width(out)},
			      .bundle = bundle,
			      .report = bundle->report,
			      .memory = memory};
	int err = places_init(&story.places, bundle);

	if (err)
		return err;
	story_first(&story, group);
	story_stack(&story);
	story_registers(&story);
	story_memory(&story);
	story_events(&story);
	story_maps(&story);
	story_gems(&story);
	story_stderr(&story);
	story_diagnosis(&story);
	story_parts(&story);
	places_done(&story.places);
	return 0;
}

/* The group of like crashes; NULL where there is no store or it knows none. The caller deletes it. */
static cJSON *group_of(const struct listing *listing, const cJSON *report)
{
	struct store_filter filter = {.fingerprint = json_text(report, "fingerprint")};
	struct store_reader *reader = NULL;
	cJSON *all = NULL, *group = NULL;

	if (!*filter.fingerprint || listing_store(listing, "crash show", &reader) >= 0)
		return NULL;
	if (!store_groups(reader, &filter, &all))
		group = cJSON_DetachItemFromArray(cJSON_GetObjectItem(all, "groups"), 0);
	cJSON_Delete(all);
	store_reader_close(reader);
	return group;
}

static int show(const struct listing *listing, const struct bundle_files *bundle, bool stored, bool memory)
{
	cJSON *group;
	int err;

	if (listing->json)
		return print_json(bundle->report);
	group = stored ? group_of(listing, bundle->report) : NULL;
	err = story_print(stdout, listing->colour, bundle, group, memory);
	cJSON_Delete(group);
	return err ? command_error(EXIT_INTERNAL, "crash show: out of memory") : EXIT_FINE;
}

int crash_show(int argc, char **argv)
{
	bool memory = option_take(&argc, argv, "--memory"), place;
	struct bundle_files bundle = {0};
	struct listing listing;
	const char *from = NULL;
	int code = option_value(&argc, argv, "--from", "an exported file or a bundle's folder", &from);

	if (code < 0)
		code = listing_start(&listing, argc, argv, &show_help, 0, 1);
	if (code >= 0)
		return code;
	place = from || (listing.count == 1 && bundle_is_place(listing.words[0]));
	if (listing.count + (from != NULL) != 1)
		code = usage_error("crash show: which? as in: lapidary crash show ID");
	else if (place)
		code = bundle_read_place(from ? from : listing.words[0], &bundle);
	else
		code = bundle_read_id(&listing, listing.words[0], &bundle);
	if (code < 0) {
		code = show(&listing, &bundle, !place, memory);
		bundle_files_done(&bundle);
	}
	listing_done(&listing);
	return code;
}
