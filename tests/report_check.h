/* SPDX-License-Identifier: Apache-2.0 */
/* A report as a document: parsed, held against its schema, and printed on one line. Run from the top. */
#ifndef LAPIDARY_TESTS_REPORT_CHECK_H
#define LAPIDARY_TESTS_REPORT_CHECK_H

#include "tests/crash_make.h"
#include "user/base/json.h"
#include "user/base/schema.h"

static cJSON *check_schema;
static struct diagnoses *check_diagnoses;

/* One document of the schema; printed on one line it is one line, and the same document. */
static inline cJSON *check_document(const struct crash_report *report, int number)
{
	cJSON *json = cJSON_Parse(report->report_json), *again;
	char why[512], *line;

	assert_non_null(json);
	if (schema_check(check_schema, json, why, sizeof(why)))
		fail_msg("case %d: %s\n%s", number, why, report->report_json);
	line = cJSON_PrintUnformatted(json);
	assert_null(strchr(line, '\n'));
	again = cJSON_Parse(line);
	assert_true(cJSON_Compare(json, again, true));
	cJSON_Delete(again);
	cJSON_free(line);
	return json;
}

static inline int check_start(void)
{
	char why[512];

	if (json_read("rules/schema/report.schema.json", 1 << 20, &check_schema, why, sizeof(why)))
		fail_msg("%s", why);
	if (diagnoses_load("rules", &check_diagnoses, why, sizeof(why)))
		fail_msg("%s", why);
	return 0;
}

static inline int check_finish(void **state)
{
	(void)state;
	cJSON_Delete(check_schema);
	diagnoses_free(check_diagnoses);
	return 0;
}

#endif
