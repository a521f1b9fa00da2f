// SPDX-License-Identifier: Apache-2.0
#include "user/gems/report.h"
#include "user/base/json.h"

static void add_evidence(cJSON *report, const struct extension_verdict *verdict)
{
	cJSON *list = cJSON_AddArrayToObject(report, "evidence");

	for (size_t i = 0; i < verdict->evidence_count; i++) {
		cJSON *one = cJSON_CreateObject();

		json_add_text(one, "kind", evidence_name(verdict->evidence[i].kind));
		cJSON_AddBoolToObject(one, "against", verdict->evidence[i].against);
		json_add_text(one, "says", verdict->evidence[i].says);
		cJSON_AddItemToArray(list, one);
	}
}

static void add_matrix(cJSON *report, const struct matrix_answer *matrix, size_t count)
{
	cJSON *list = cJSON_AddArrayToObject(report, "matrix");

	for (size_t i = 0; i < count; i++) {
		cJSON *one = cJSON_CreateObject();

		json_add_text(one, "id", matrix[i].id);
		json_add_text(one, "rating", matrix_rating_name(matrix[i].rating));
		json_add_text(one, "says", matrix[i].says);
		json_add_text(one, "fixed_in", matrix[i].fixed_in);
		json_add_text(one, "reference", matrix[i].at);
		json_add_text(one, "title", matrix[i].title);
		cJSON_AddItemToArray(list, one);
	}
}

/*
 * Required is what is shown to be wrong. For a suspect a command is told as well: compiling it is the one way
 * to know, but nothing says that it must be.
 */
static void add_remedy(cJSON *report, enum verdict verdict, const struct remedy *remedy)
{
	bool wrong = verdict == VERDICT_INCOMPATIBLE || verdict == VERDICT_BROKEN;
	bool told = remedy && (wrong || verdict == VERDICT_SUSPECT);

	cJSON_AddBoolToObject(report, "recompilation_required", wrong);
	json_add_text(report, "recompilation_command", told ? remedy->command : "");
	json_add_text(report, "recompilation_refused", told ? remedy->refused : "");
	json_add_text(report, "recompilation_note", told ? remedy->note : "");
	cJSON_AddBoolToObject(report, "recompilation_as_root", told && remedy->as_root);
	json_add_text(report, "restart", told ? remedy->restart : "");
	json_add_text(report, "image", told ? remedy->image : "");
}

cJSON *gem_report(const struct extension_found *found, const struct ruby_runtime *ruby,
		  const struct extension_verdict *verdict, const struct matrix_answer *matrix,
		  size_t matrix_count, const struct remedy *remedy)
{
	cJSON *report = cJSON_CreateObject();

	if (!report)
		return NULL;
	json_add_text(report, "gem_name", found->gem.name);
	json_add_text(report, "installed_version", found->gem.version);
	json_add_text(report, "ruby_version_compiled_for", verdict->built_for);
	json_add_text(report, "current_ruby_version", ruby ? ruby->version : "");
	json_add_text(report, "compatibility_status", verdict_name(verdict->verdict));
	add_remedy(report, verdict->verdict, remedy);
	json_add_text(report, "path", found->path);
	json_add_text(report, "platform", found->gemspec_platform);
	json_add_text(report, "ruby_path", ruby ? ruby->path : "");
	json_add_text(report, "confidence", confidence_name(verdict->confidence));
	add_evidence(report, verdict);
	add_matrix(report, matrix, matrix_count);
	return report;
}
