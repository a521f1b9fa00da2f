// SPDX-License-Identifier: Apache-2.0
/*
 * What two crashes have in common and where they part: particulars side by side, both stacks aligned by what
 * a frame is rather than where it lay (symbol or offset, module, method), registers by what they point at,
 * gems by version. Addresses are never compared: they differ between any two processes.
 */
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/crash_diff.h"
#include "user/cli/crash_show.h"

enum { FRAMES = 128, GEMS = 512 };

/* One particular of a report as text; "" for none. */
struct particular {
	const char *name;
	void (*text)(const struct places *places, char *out, size_t size);
	const char *outer, *key; /* instead of text: a member, in this object or at the top */
};

static void blame_text(const struct places *places, char *out, size_t size)
{
	const cJSON *blame = report_part(places->report, "blame");
	const char *gem = json_text(blame, "gem"), *module = json_text(blame, "module");

	snprintf(out, size, "%s%s%s (%s)", *gem ? gem : text_base(module),
		 *json_text(blame, "version") ? " " : "", json_text(blame, "version"),
		 json_text(blame, "confidence"));
}

static void address_text(const struct places *places, char *out, size_t size)
{
	uint64_t address;

	if (!report_hex(places->report, "fault_address", &address))
		return;
	if (place_class(places, address) == PLACE_SMALL)
		text_copy(out, size, json_text(places->report, "fault_address"));
	else
		text_copy(out, size, place_class_name(place_class(places, address)));
}

static void diagnosis_text(const struct places *places, char *out, size_t size)
{
	text_copy(out, size,
		  json_text(cJSON_GetArrayItem(report_part(places->report, "diagnosis"), 0), "rule"));
}

static const struct particular particulars[] = {
	{"fingerprint", NULL, NULL, "fingerprint"},
	{"cause", NULL, NULL, "cause"},
	{"blame", blame_text, NULL, NULL},
	{"known as", diagnosis_text, NULL, NULL},
	{"signal", NULL, NULL, "signal"},
	{"code", NULL, NULL, "code"},
	{"address", address_text, NULL, NULL},
	{"instruction", NULL, "code_bytes", "instruction"},
	{"app", NULL, NULL, "app"},
	{"role", NULL, NULL, "role"},
	{"host", NULL, NULL, "host"},
	{"Ruby", NULL, NULL, "ruby"},
	{"server", NULL, NULL, "server"},
	{"SQL", NULL, "sql", "statement"},
	{"database", NULL, "sql", "target"},
};

static void particular_text(const struct particular *one, const struct places *places, char *out, size_t size)
{
	out[0] = '\0';
	if (one->text)
		one->text(places, out, size);
	else
		text_copy(out, size,
			  json_text(one->outer ? report_part(places->report, one->outer) : places->report,
				    one->key));
	text_clean(out);
}

static void add_pair(cJSON *list, const char *name, const char *a, const char *b)
{
	cJSON *pair = cJSON_CreateObject();

	cJSON_AddStringToObject(pair, "name", name);
	json_add_text(pair, "a", a);
	json_add_text(pair, "b", b);
	cJSON_AddItemToArray(list, pair);
}

static void compare_particulars(cJSON *out, const struct places *a, const struct places *b)
{
	cJSON *equal = cJSON_AddArrayToObject(out, "equal"),
	      *different = cJSON_AddArrayToObject(out, "different");
	char left[1024], right[1024];

	for (size_t i = 0; i < sizeof(particulars) / sizeof(*particulars); i++) {
		particular_text(&particulars[i], a, left, sizeof(left));
		particular_text(&particulars[i], b, right, sizeof(right));
		if (strcmp(left, right) != 0)
			add_pair(different, particulars[i].name, left, right);
		else if (*left)
			add_pair(equal, particulars[i].name, left, right);
	}
}

static void compare_registers(cJSON *out, const struct places *a, const struct places *b)
{
	const cJSON *left = report_part(a->report, "registers"), *right = report_part(b->report, "registers"),
		    *one;
	cJSON *list = cJSON_AddArrayToObject(out, "registers");
	char text_a[160], text_b[160];

	cJSON_ArrayForEach(one, left)
	{
		uint64_t va, vb;
		enum place_class ca, cb;

		if (!one->string || !strcmp(one->string, "eflags") || !report_hex(left, one->string, &va) ||
		    !report_hex(right, one->string, &vb))
			continue;
		ca = place_class(a, va);
		cb = place_class(b, vb);
		if (ca == cb && (ca != PLACE_FILE || !strcmp(place_file(a, va), place_file(b, vb))))
			continue;
		snprintf(text_a, sizeof(text_a), "%s%s%s", place_class_name(ca), ca == PLACE_FILE ? " " : "",
			 ca == PLACE_FILE ? place_file(a, va) : "");
		snprintf(text_b, sizeof(text_b), "%s%s%s", place_class_name(cb), cb == PLACE_FILE ? " " : "",
			 cb == PLACE_FILE ? place_file(b, vb) : "");
		add_pair(list, one->string, text_a, text_b);
	}
}

static const char *gem_version(const cJSON *report, const char *name)
{
	const cJSON *gem;

	cJSON_ArrayForEach(gem, report_part(report, "gems"))
	{
		if (!strcmp(json_text(gem, "name"), name))
			return *json_text(gem, "version") ? json_text(gem, "version") : "of no version";
	}
	return "";
}

static bool listed(const cJSON *list, const char *name)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, list) if (!strcmp(json_text(one, "name"), name)) return true;
	return false;
}

static void compare_gems(cJSON *out, const cJSON *a, const cJSON *b)
{
	const cJSON *sides[] = {report_part(a, "gems"), report_part(b, "gems")}, *gem;
	cJSON *list = cJSON_AddArrayToObject(out, "gems");

	for (int i = 0; i < 2; i++) {
		int left_to_do = GEMS; /* more than any process maps: a forged report may have any number */

		cJSON_ArrayForEach(gem, sides[i])
		{
			const char *name = json_text(gem, "name"), *left = gem_version(a, name);
			const char *right = gem_version(b, name);

			if (!left_to_do--)
				break;
			if (*name && strcmp(left, right) != 0 && !listed(list, name))
				add_pair(list, name, left, right);
		}
	}
}

struct aligned {
	struct frame_line a[FRAMES], b[FRAMES];
	uint16_t common[FRAMES + 1][FRAMES + 1]; /* of what follows: the longest common part */
};

static void add_frame(cJSON *list, const char *side, const struct frame_line *line)
{
	cJSON *frame = cJSON_CreateObject();
	char text[300];

	bool named = *line->where && strncmp(line->where, "0x", 2) != 0; /* addresses are no news here */

	snprintf(text, sizeof(text), "%s%s%s%s", line->what, named ? " (" : "", named ? line->where : "",
		 named ? ")" : "");
	text_clean(text);
	cJSON_AddStringToObject(frame, "in", side);
	cJSON_AddStringToObject(frame, "frame", *text ? text : "?");
	cJSON_AddItemToArray(list, frame);
}

static int frames_of(const cJSON *report, struct frame_line out[FRAMES])
{
	int count = frame_count(report) < FRAMES ? frame_count(report) : FRAMES;

	for (int i = 0; i < count; i++)
		frame_line(report, i, &out[i]);
	return count;
}

static int compare_frames(cJSON *out, const cJSON *a, const cJSON *b)
{
	struct aligned *both = calloc(1, sizeof(*both));
	cJSON *list = cJSON_AddArrayToObject(out, "frames");
	int count_a, count_b, i = 0, k = 0;

	if (!both)
		return -1;
	count_a = frames_of(a, both->a);
	count_b = frames_of(b, both->b);
	for (int m = count_a - 1; m >= 0; m--)
		for (int n = count_b - 1; n >= 0; n--) {
			uint16_t left = both->common[m + 1][n], right = both->common[m][n + 1];

			both->common[m][n] = !strcmp(both->a[m].key, both->b[n].key)
						     ? (uint16_t)(both->common[m + 1][n + 1] + 1)
					     : left > right ? left
							    : right;
		}
	while (i < count_a || k < count_b) {
		if (i < count_a && k < count_b && !strcmp(both->a[i].key, both->b[k].key)) {
			add_frame(list, "both", &both->a[i]);
			i++;
			k++;
		} else if (k == count_b ||
			   (i < count_a && both->common[i + 1][k] >= both->common[i][k + 1])) {
			add_frame(list, "a", &both->a[i++]);
		} else {
			add_frame(list, "b", &both->b[k++]);
		}
	}
	free(both);
	return 0;
}

static void add_times(cJSON *out, const cJSON *a, const cJSON *b)
{
	uint64_t first, second;

	cJSON_AddStringToObject(out, "a", json_text(a, "id"));
	cJSON_AddStringToObject(out, "b", json_text(b, "id"));
	json_add_text(out, "time_a", json_text(a, "time"));
	json_add_text(out, "time_b", json_text(b, "time"));
	if (when_parse(json_text(a, "time"), &first) && when_parse(json_text(b, "time"), &second))
		cJSON_AddNumberToObject(out, "between_ms",
					second >= first ? (double)(second - first) / 1e6
							: -((double)(first - second) / 1e6));
	else
		cJSON_AddNullToObject(out, "between_ms");
}

cJSON *crash_compare(const struct bundle_files *a, const struct bundle_files *b)
{
	cJSON *out = cJSON_CreateObject();
	struct places left, right;
	int err;

	if (!out || places_init(&left, a)) {
		cJSON_Delete(out);
		return NULL;
	}
	err = places_init(&right, b);
	if (!err) {
		add_times(out, a->report, b->report);
		compare_particulars(out, &left, &right);
		err = compare_frames(out, a->report, b->report);
		compare_registers(out, &left, &right);
		compare_gems(out, a->report, b->report);
		places_done(&right);
	}
	places_done(&left);
	if (err) {
		cJSON_Delete(out);
		return NULL;
	}
	return out;
}
