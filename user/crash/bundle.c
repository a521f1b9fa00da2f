/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "user/crash/bundle.h"

void crash_report_free(struct crash_report *report)
{
	if (!report)
		return;
	free(report->report_json);
	free(report->maps_txt);
	free(report->events_jsonl);
	free(report->stack);
	free(report);
}

size_t crash_report_memory(const struct crash_report *report)
{
	size_t size = sizeof(*report) + report->stack_size;

	size += report->report_json ? strlen(report->report_json) : 0;
	size += report->maps_txt ? strlen(report->maps_txt) : 0;
	size += report->events_jsonl ? strlen(report->events_jsonl) : 0;
	return size;
}

cJSON *crash_exit(int32_t status)
{
	char name[12];
	cJSON *json;

	if (status < 0)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	cJSON_AddNumberToObject(json, "status", status);
	if (WIFSIGNALED(status)) {
		signal_name(WTERMSIG(status), name);
		cJSON_AddStringToObject(json, "signal", name);
		cJSON_AddNullToObject(json, "code");
	} else {
		cJSON_AddNullToObject(json, "signal");
		cJSON_AddNumberToObject(json, "code", WEXITSTATUS(status));
	}
	return json;
}
