// SPDX-License-Identifier: Apache-2.0
#include "user/base/json.h"
#include "user/crash/abi.h"
#include "user/crash/report_parts.h"

cJSON *part_extension_verdict(const struct crash_input *input, const char *path)
{
	const struct crash_extension *known = extension_known(input, path);
	const struct extension_verdict *verdict = known ? known->verdict : NULL;
	cJSON *json, *evidence;

	if (!verdict)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	json_add_text(json, "compatibility_status", verdict_name(verdict->verdict));
	json_add_text(json, "confidence", confidence_name(verdict->confidence));
	json_add_text(json, "ruby_version_compiled_for", verdict->built_for);
	evidence = cJSON_AddArrayToObject(json, "evidence");
	for (size_t i = 0; i < verdict->evidence_count; i++) {
		cJSON *one = cJSON_CreateObject();

		json_add_text(one, "kind", evidence_name(verdict->evidence[i].kind));
		cJSON_AddBoolToObject(one, "against", verdict->evidence[i].against);
		json_add_text(one, "says", verdict->evidence[i].says);
		cJSON_AddItemToArray(evidence, one);
	}
	return json;
}
