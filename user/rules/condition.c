/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions on a notice's fields. Everything is compared as text; true and numbers are written out. */
#include "user/rules/rule.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int conditions_read(const cJSON *array, const char *pointer, enum notice_type type, struct conditions *out,
		    char *why, size_t why_size)
{
	const cJSON *item;
	out->count = 0;
	cJSON_ArrayForEach(item, array)
	{
		const char *name = cJSON_GetObjectItemCaseSensitive(item, "field")->valuestring;
		struct condition *condition = &out->list[out->count];
		condition->field = field_named(name, strlen(name), type);
		if (!condition->field) {
			snprintf(why, why_size, "%s/%zu/field: \"%s\" is no field of this kind of notice",
				 pointer, out->count, name);
			return -EBADMSG;
		}
		condition->is = cJSON_GetObjectItemCaseSensitive(item, "is");
		condition->in = cJSON_GetObjectItemCaseSensitive(item, "in");
		condition->not_in = cJSON_GetObjectItemCaseSensitive(item, "not_in");
		condition->prefix = cJSON_GetObjectItemCaseSensitive(item, "prefix");
		if (!condition->is + !condition->in + !condition->not_in + !condition->prefix != 3) {
			snprintf(why, why_size, "%s/%zu: needs exactly one of is, in, not_in, prefix",
				 pointer, out->count);
			return -EBADMSG;
		}
		if (++out->count == CONDITIONS_MAX)
			break; /* the schema allows no more */
	}
	return 0;
}

static bool equal(const cJSON *wanted, const char *value)
{
	char number[32];
	if (cJSON_IsBool(wanted))
		return strcmp(value, cJSON_IsTrue(wanted) ? "true" : "false") == 0;
	if (cJSON_IsNumber(wanted)) {
		snprintf(number, sizeof(number), "%.0f", wanted->valuedouble);
		return strcmp(value, number) == 0;
	}
	return cJSON_IsString(wanted) && strcmp(value, wanted->valuestring) == 0;
}

static bool any(const cJSON *array, const char *value)
{
	const cJSON *item;
	cJSON_ArrayForEach(item, array) if (equal(item, value)) return true;
	return false;
}

bool conditions_hold(const struct conditions *conditions, const struct notice *notice)
{
	char value[FIELD_SIZE];
	for (size_t i = 0; i < conditions->count; i++) {
		const struct condition *condition = &conditions->list[i];
		field_value(condition->field, notice, value);
		if ((condition->is && !equal(condition->is, value)) ||
		    (condition->in && !any(condition->in, value)) ||
		    (condition->not_in && any(condition->not_in, value)) ||
		    (condition->prefix && strncmp(value, condition->prefix->valuestring,
						  strlen(condition->prefix->valuestring)) != 0))
			return false;
	}
	return true;
}
