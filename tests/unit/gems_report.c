/* SPDX-License-Identifier: Apache-2.0 */
/* GemCompatibilityReport: the names that it must have, null where nothing is known, and its schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "user/base/json.h"
#include "user/base/schema.h"
#include "user/gems/report.h"

static cJSON *schema;

static int set_up(void **state)
{
	char why[256];

	(void)state;
	return json_read("rules/schema/gem_report.schema.json", 1 << 16, &schema, why, sizeof(why));
}

static int tear_down(void **state)
{
	(void)state;
	cJSON_Delete(schema);
	return 0;
}

static struct extension_found found = {.path = "/srv/gems/pg-1.5.4/lib/pg_ext.so",
				       .gem = {.name = "pg", .version = "1.5.4"},
				       .gemspec_platform = "ruby"};
static const struct ruby_runtime ruby = {.path = "/usr/bin/ruby3.1", .version = "3.1.7", .abi = "3.1.0"};

static cJSON *make(const struct extension_verdict *verdict, const struct matrix_answer *matrix, size_t count,
		   const struct remedy *remedy)
{
	cJSON *report = gem_report(&found, &ruby, verdict, matrix, count, remedy);
	char why[256];

	assert_non_null(report);
	if (schema_check(schema, report, why, sizeof(why)))
		fail_msg("%s", why);
	return report;
}

static void one_that_is_wrong(void **state)
{
	struct extension_verdict verdict = {
		.verdict = VERDICT_INCOMPATIBLE,
		.confidence = CONFIDENCE_HIGH,
		.built_for = "3.3.0",
		.evidence_count = 1,
		.evidence = {{EVIDENCE_NEEDED_LIBRUBY, true, "asks for libruby.so.3.3"}}};
	const struct matrix_answer matrix = {.rating = MATRIX_RISK,
					     .id = "pg-type-map-array",
					     .says = "does not verify the array",
					     .fixed_in = "1.6.0",
					     .title = "Fix missing array input verification",
					     .at = "ged/ruby-pg#620"};
	struct remedy remedy;
	cJSON *report;

	(void)state;
	remedy_make(&(struct remedy_facts){.gem = "pg", .version = "1.5.4", .ruby_path = "/usr/bin/ruby3.1"},
		    &remedy);
	report = make(&verdict, &matrix, 1, &remedy);
	assert_string_equal(json_text(report, "gem_name"), "pg");
	assert_string_equal(json_text(report, "installed_version"), "1.5.4");
	assert_string_equal(json_text(report, "ruby_version_compiled_for"), "3.3.0");
	assert_string_equal(json_text(report, "current_ruby_version"), "3.1.7");
	assert_string_equal(json_text(report, "compatibility_status"), "incompatible");
	assert_true(json_true(report, "recompilation_required"));
	assert_string_equal(json_text(report, "recompilation_command"),
			    "/usr/bin/gem3.1 pristine pg --version 1.5.4 --extensions");
	assert_string_equal(json_text(report, "confidence"), "high");
	assert_string_equal(json_text(cJSON_GetArrayItem(cJSON_GetObjectItem(report, "evidence"), 0), "kind"),
			    "needed_libruby");
	assert_string_equal(
		json_text(cJSON_GetArrayItem(cJSON_GetObjectItem(report, "matrix"), 0), "reference"),
		"ged/ruby-pg#620");
	cJSON_Delete(report);
}

static void what_is_not_known(void **state)
{
	struct extension_verdict verdict = {.verdict = VERDICT_SUSPECT, .confidence = CONFIDENCE_LOW};
	struct remedy remedy;
	cJSON *report;

	(void)state;
	remedy_make(&(struct remedy_facts){.gem = "pg"}, &remedy);
	report = make(&verdict, NULL, 0, &remedy);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(report, "ruby_version_compiled_for")));
	assert_false(json_true(report, "recompilation_required"));
	assert_string_equal(json_text(report, "recompilation_command"), "gem pristine pg --extensions");
	cJSON_Delete(report);
	/* nothing to mend: no command */
	verdict.verdict = VERDICT_COMPATIBLE;
	report = make(&verdict, NULL, 0, &remedy);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(report, "recompilation_command")));
	cJSON_Delete(report);
	/* none that can be told: why */
	verdict.verdict = VERDICT_BROKEN;
	remedy_make(&(struct remedy_facts){.gem = "--pre"}, &remedy);
	report = make(&verdict, NULL, 0, &remedy);
	assert_true(json_true(report, "recompilation_required"));
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(report, "recompilation_command")));
	assert_non_null(strstr(json_text(report, "recompilation_refused"), "--pre"));
	cJSON_Delete(report);
	report = gem_report(&found, NULL, &verdict, NULL, 0, NULL);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(report, "current_ruby_version")));
	cJSON_Delete(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_is_wrong),
		cmocka_unit_test(what_is_not_known),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
