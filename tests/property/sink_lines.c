/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever a process was when it died, what the store says of it is one parseable line that fits its schema,
 * and says the same as the bundle. LAPIDARY_SEED repeats a run. Run from the top of the tree.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/crash_draw.h"
#include "tests/sink_place.h"
#include "user/base/json.h"
#include "user/base/schema.h"

enum { CASES = 120 };

static void write_cases(void)
{
	struct store_options options = {.state_dir = place};
	struct store_start found;
	static struct made made;
	struct store *store;
	char why[256];

	if (store_open(&options, place_time(1), &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
	for (unsigned i = 1; i <= CASES; i++) {
		struct crash_report *report;

		draw_crash(&made);
		snprintf(made.crash.id, sizeof(made.crash.id), "%016x", i);
		made.crash.time_ns = i * MADE_SECOND;
		/* one of each kind would soon fill the share of its group, and no bundle is kept then */
		snprintf(made.crash.app, sizeof(made.crash.app), "app%u", i);
		made.crash.fatal.kind = 0;
		assert_int_equal(crash_report_new(&made.input, &report), 0);
		assert_int_equal(store_crash(store, report), 0);
	}
	assert_true(place_written(store, CASES));
	assert_int_equal(store_close(store, 10000), 0);
}

static void check_line(const cJSON *schema, const cJSON *crash)
{
	cJSON *list = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(list, "crashes");
	char *line = cJSON_PrintUnformatted(crash), why[512];

	cJSON_AddItemToArray(array, cJSON_Parse(line));
	assert_null(strchr(line, '\n'));
	if (schema_check(schema, list, why, sizeof(why)))
		fail_msg("%s: %s", line, why);
	cJSON_free(line);
	cJSON_Delete(list);
}

static void check_bundle(struct store_reader *reader, const cJSON *crash)
{
	static const char *const same[] = {"time", "signal", "code", "fault_address", "cause", "fingerprint"};
	cJSON *report = NULL;
	char bundle[4608];
	int err = store_report(reader, json_text(crash, "id"), &report, bundle, sizeof(bundle));

	if (err == -ESTALE) /* its group has enough of them */
		return;
	assert_int_equal(err, 0);
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		assert_string_equal(json_text(crash, same[i]), json_text(report, same[i]));
	assert_string_equal(json_text(cJSON_GetObjectItem(crash, "blame"), "gem"),
			    json_text(cJSON_GetObjectItem(report, "blame"), "gem"));
	cJSON_Delete(report);
}

static void test_lines(void **state)
{
	struct store_filter filter = {.limit = 1000};
	struct store_reader *reader;
	cJSON *schema, *all;
	const cJSON *crash;
	char why[512];

	(void)state;
	write_cases();
	if (json_read("rules/schema/crashes.schema.json", 1 << 20, &schema, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_reader_open(place, &reader, why, sizeof(why)), 0);
	assert_int_equal(store_crashes(reader, &filter, &all), 0);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "crashes")), CASES);
	cJSON_ArrayForEach(crash, cJSON_GetObjectItem(all, "crashes"))
	{
		check_line(schema, crash);
		check_bundle(reader, crash);
	}
	store_reader_close(reader);
	cJSON_Delete(all);
	cJSON_Delete(schema);
}

static int start(void **state)
{
	draw_start();
	return place_make(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 19: a crash is one parseable line of its schema, and says what its bundle says",
		 test_lines, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, start, place_remove);
}
