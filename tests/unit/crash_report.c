/* SPDX-License-Identifier: Apache-2.0 */
/* What a report says, and that it says it in the words of its schema. Run from the top of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/crash_make.h"
#include "user/base/json.h"
#include "user/base/schema.h"

static struct made made;
static struct crash_report *report;
static cJSON *json;

static int before(void **state)
{
	(void)state;
	crash_make(&made, "a1b2");
	return 0;
}

static int after(void **state)
{
	(void)state;
	crash_report_free(report);
	cJSON_Delete(json);
	report = NULL;
	json = NULL;
	return 0;
}

static void report_now(void)
{
	cJSON *schema = NULL;
	char why[512] = "";

	after(NULL);
	assert_int_equal(crash_report_new(&made.input, &report), 0);
	json = cJSON_Parse(report->report_json);
	assert_non_null(json);
	if (json_read("rules/schema/report.schema.json", 1 << 20, &schema, why, sizeof(why)))
		fail_msg("%s", why);
	if (schema_check(schema, json, why, sizeof(why)))
		fail_msg("%s\n%s", why, report->report_json);
	cJSON_Delete(schema);
}

static const cJSON *at(const char *first, const char *second)
{
	const cJSON *item = cJSON_GetObjectItem(json, first);

	return second ? cJSON_GetObjectItem(item, second) : item;
}

static void says(const char *first, const char *second, const char *text)
{
	const cJSON *item = at(first, second);

	assert_non_null(item);
	if (!text)
		assert_true(cJSON_IsNull(item));
	else
		assert_string_equal(cJSON_GetStringValue(item), text);
}

static const char *part_state(const char *part)
{
	return json_text(at("parts", part), "state");
}

static void test_whole(void **state)
{
	(void)state;
	report_now();
	says("time", NULL, "2023-11-14T22:14:20.000000000Z");
	says("start_time", NULL, "2023-11-14T22:13:25.000000000Z");
	says("signal", NULL, "SIGSEGV");
	says("code", NULL, "SEGV_MAPERR");
	says("fault_address", NULL, "0x18");
	says("cause", NULL, "null");
	says("blame", "gem", "pg");
	says("location", "module", PG_PATH);
	says("location", "offset", "0x7123");
	says("location", "build_id", "abababababababababababababababababababab");
	says("registers", "rsp", "0x7ffc00001000");
	says("sql", "statement", "select $1");
	says("exit", NULL, NULL);
	assert_string_equal(json_text(cJSON_GetArrayItem(at("native_frames", NULL), 0), "how"), "registers");
	assert_int_equal(cJSON_GetArraySize(at("gems", NULL)), 1);
	assert_string_equal(part_state("registers"), "complete");
	assert_string_equal(part_state("stack"), "complete");
	assert_string_equal(part_state("maps"), "partial");
	assert_string_equal(part_state("ruby_frames"), "missing");
	/* the columns are what the document says */
	assert_string_equal(report->id, "a1b2");
	assert_string_equal(report->cause, "null");
	assert_string_equal(report->fault_address, "0x18");
	assert_string_equal(report->fingerprint, json_text(json, "fingerprint"));
	assert_int_equal(report->stack_size, MADE_STACK);
	assert_string_equal(report->events_jsonl, "{}\n");
}

static void test_what_is_not_there(void **state)
{
	(void)state;
	made.input.regions = NULL;
	made.input.region_count = 0;
	made.input.maps_source = MAPS_NONE;
	made.input.stack = NULL;
	made.input.stack_size = 0;
	made.input.flight = NULL;
	made.input.server = made.input.ruby = NULL;
	made.crash.sql[0] = '\0';
	made.crash.app[0] = '\0';
	report_now();
	says("sql", NULL, NULL);
	says("app", NULL, NULL);
	says("ruby", NULL, NULL);
	says("memory", "stack", NULL);
	assert_string_equal(part_state("stack"), "missing");
	assert_string_equal(part_state("maps"), "missing");
	assert_string_equal(part_state("events"), "missing");
	assert_null(report->maps_txt);
	assert_null(report->stack);
}

static void test_oom_without_fault(void **state)
{
	(void)state;
	memset(&made.crash.fault, 0, sizeof(made.crash.fault));
	memset(&made.crash.location, 0, sizeof(made.crash.location));
	made.crash.has_fault = false;
	made.crash.oom = true;
	made.crash.confirmed_by = CONFIRMED_OOM;
	made.crash.status = SIGKILL;
	made.input.stack = NULL;
	made.input.stack_size = 0;
	report_now();
	says("signal", NULL, "SIGKILL");
	says("code", NULL, NULL);
	says("cause", NULL, "oom");
	says("confirmed_by", NULL, "oom");
	says("registers", NULL, NULL);
	says("fault", NULL, NULL);
	says("exit", "signal", "SIGKILL");
	assert_int_equal(cJSON_GetArraySize(at("native_frames", NULL)), 0);
	assert_string_equal(part_state("registers"), "missing");
}

static void test_missing_pages(void **state)
{
	(void)state;
	made.crash.fault.missing[0] = 2; /* the second of two */
	report_now();
	assert_string_equal(part_state("stack"), "partial");
	assert_string_equal(json_text(at("parts", "stack"), "why"), "1 of 2 pages could not be read");
	assert_int_equal(
		cJSON_GetArrayItem(cJSON_GetObjectItem(at("memory", "stack"), "missing"), 0)->valueint, 1);
}

static void test_windows(void **state)
{
	static const struct ev_window windows[WINDOW_COUNT] = {
		[WINDOW_FIRST] = {MADE_SP + 0x100f00, 4096, 2}};
	const cJSON *window;

	(void)state;
	made.input.stack_size = 4096;
	made.input.windows = windows;
	report_now();
	assert_int_equal(report->stack_size, 8192); /* both, in one file */
	assert_memory_equal(report->stack, made.stack, 8192);
	assert_string_equal(part_state("stack"), "partial");
	assert_string_equal(json_text(at("parts", "stack"), "why"), "1 of 3 pages could not be read");
	assert_int_equal(json_number(at("memory", "stack"), "size", 0), 4096);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(at("memory", "stack"), "missing")), 0);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(at("memory", "stack"), "windows")), 1);
	window = cJSON_GetArrayItem(cJSON_GetObjectItem(at("memory", "stack"), "windows"), 0);
	assert_string_equal(json_text(window, "what"), "first_frames");
	assert_string_equal(json_text(window, "address"), "0x7ffc00101f00");
	assert_int_equal(json_number(window, "size", 0), 4096);
	assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(window, "missing"), 0)->valueint, 1);
}

static void test_hostile_names(void **state)
{
	(void)state;
	snprintf(made.crash.comm, sizeof(made.crash.comm), "a\"\n\033[31m");
	snprintf(made.crash.location.module, sizeof(made.crash.location.module), "/tmp/\xff\xfe\n.so");
	made.regions[3].path = "/tmp/x\nforged";
	report_now();
	says("comm", NULL, "a\"??[31m");
	says("location", "module", "/tmp/???.so");
	assert_non_null(strstr(report->maps_txt, "/tmp/x\\012forged\n"));
}

static void test_maps_text(void **state)
{
	(void)state;
	report_now();
	assert_int_equal(
		strncmp(report->maps_txt,
			"7f0000000000-7f0000155000 r-xp 00026000 08:01 1 /usr/lib/x86_64-linux-gnu/libc.so.6"
			" build-id:0102\n",
			96),
		0);
}

static void test_memory(void **state)
{
	(void)state;
	report_now();
	assert_true(crash_report_memory(report) > MADE_STACK + strlen(report->report_json));
	crash_report_free(NULL);
}

/* An ABI crash names the gem as its cause, with what the check knew of it and the command for its app. */
static void test_verdict_of_the_blamed(void **state)
{
	static const char command[] = "cd /srv/shop && /usr/bin/bundle3.3 pristine pg";
	struct extension_verdict verdict = {
		.verdict = VERDICT_INCOMPATIBLE,
		.confidence = CONFIDENCE_MEDIUM,
		.built_for = "3.1.0",
		.evidence_count = 1,
		.evidence = {{EVIDENCE_BUILD_LOG, true, "its build log names Ruby 3.1.0"}}};
	const struct crash_extension known = {PG_PATH, &verdict, command};
	const cJSON *told, *remedy;
	bool found = false;

	(void)state;
	report_now();
	assert_true(cJSON_IsNull(at("blame", "verdict")));
	made.input.ruby = "3.3.8";
	made.input.extensions = &known;
	made.input.extension_count = 1;
	report_now();
	says("cause", NULL, "abi_mismatch");
	says("blame", "gem", "pg");
	told = at("blame", "verdict");
	assert_string_equal(json_text(told, "compatibility_status"), "incompatible");
	assert_string_equal(json_text(told, "confidence"), "medium");
	assert_string_equal(json_text(told, "ruby_version_compiled_for"), "3.1.0");
	assert_string_equal(json_text(cJSON_GetObjectItem(told, "evidence")->child, "kind"), "build_log");
	cJSON_ArrayForEach(remedy, at("remedies", NULL))
	{
		found |= strstr(remedy->valuestring, command) != NULL;
		assert_null(strstr(remedy->valuestring, "gem pristine"));
	}
	assert_true(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, before, after),
		cmocka_unit_test_setup_teardown(test_what_is_not_there, before, after),
		cmocka_unit_test_setup_teardown(test_oom_without_fault, before, after),
		cmocka_unit_test_setup_teardown(test_missing_pages, before, after),
		cmocka_unit_test_setup_teardown(test_windows, before, after),
		cmocka_unit_test_setup_teardown(test_hostile_names, before, after),
		cmocka_unit_test_setup_teardown(test_maps_text, before, after),
		cmocka_unit_test_setup_teardown(test_memory, before, after),
		cmocka_unit_test_setup_teardown(test_verdict_of_the_blamed, before, after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
