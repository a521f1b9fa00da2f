// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/base/when.h"

/* cJSON parses recursively up to CJSON_NESTING_LIMIT (1000) levels, so depth is bounded there. */
int json_parse(const char *name, const char *text, cJSON **out, char *why, size_t why_size)
{
	const char *end = text;
	unsigned line = 1, column = 1;
	cJSON *json = cJSON_ParseWithOpts(text, &end, 1);

	if (json) {
		*out = json;
		return 0;
	}
	for (const char *at = text; at < end && *at; at++) {
		column = *at == '\n' ? 1 : column + 1;
		line += *at == '\n';
	}
	snprintf(why, why_size, "%s:%u:%u: not valid JSON", name, line, column);
	return -EBADMSG;
}

int json_read(const char *path, size_t limit, cJSON **out, char *why, size_t why_size)
{
	char *text;
	int err = file_read(path, limit, &text, NULL);

	if (err) {
		snprintf(why, why_size, "%s: %s", path, strerror(-err));
		return err;
	}
	err = json_parse(path, text, out, why, why_size);
	free(text);
	return err;
}

const char *json_text(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

double json_number(const cJSON *object, const char *key, double missing)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(item) ? item->valuedouble : missing;
}

bool json_true(const cJSON *object, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}

void json_add_hex(cJSON *object, const char *key, uint64_t value)
{
	char text[20];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	cJSON_AddStringToObject(object, key, text);
}

void json_add_time(cJSON *object, const char *key, uint64_t wall_ns)
{
	char text[WHEN_SIZE] = "";

	if (wall_ns)
		when_rfc3339(wall_ns, text);
	json_add_text(object, key, text);
}

void json_add_text(cJSON *object, const char *key, const char *text)
{
	if (text && *text)
		cJSON_AddStringToObject(object, key, text);
	else
		cJSON_AddNullToObject(object, key);
}

void json_add_count(cJSON *object, const char *key, uint64_t value)
{
	cJSON_AddNumberToObject(object, key, (double)value);
}
