// SPDX-License-Identifier: Apache-2.0
/*
 * One function a keyword, a table that names them all. The path grows and shrinks as the walk descends;
 * the first fault found is reported and ends it.
 */
#include <errno.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include "user/base/schema.h"
#include "user/base/text.h"

enum { DEPTH_MAX = 64 };

struct walk {
	const cJSON *root;
	char path[512];
	size_t path_length;
	int depth;
	char *why;
	size_t why_size;
};

static int check(struct walk *walk, const cJSON *schema, const cJSON *item);

static int refuse(struct walk *walk, int err, const char *what, const char *detail)
{
	snprintf(walk->why, walk->why_size, "%s: %s%s", walk->path_length ? walk->path : "/", what, detail);
	return err;
}

/* Checks a child with its name appended to the path. */
static int check_child(struct walk *walk, const cJSON *schema, const cJSON *item, const char *name)
{
	size_t before = walk->path_length;
	int err;

	text_add(walk->path, sizeof(walk->path), &walk->path_length, "/%s", name);
	err = check(walk, schema, item);
	walk->path_length = before;
	walk->path[before] = '\0';
	return err;
}

static bool is_type(const cJSON *item, const char *type)
{
	if (strcmp(type, "integer") == 0)
		return cJSON_IsNumber(item) && item->valuedouble == floor(item->valuedouble);
	return (strcmp(type, "object") == 0 && cJSON_IsObject(item)) ||
	       (strcmp(type, "array") == 0 && cJSON_IsArray(item)) ||
	       (strcmp(type, "string") == 0 && cJSON_IsString(item)) ||
	       (strcmp(type, "number") == 0 && cJSON_IsNumber(item)) ||
	       (strcmp(type, "boolean") == 0 && cJSON_IsBool(item)) ||
	       (strcmp(type, "null") == 0 && cJSON_IsNull(item));
}

static int check_type(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	char allowed[128] = "";
	size_t used = 0;
	const cJSON *one;

	(void)schema;
	if (cJSON_IsString(rule))
		return is_type(item, rule->valuestring)
			       ? 0
			       : refuse(walk, -EBADMSG, "must be of type ", rule->valuestring);
	cJSON_ArrayForEach(one, rule)
	{
		if (cJSON_IsString(one) && is_type(item, one->valuestring))
			return 0;
		text_add(allowed, sizeof(allowed), &used, "%s%s", used ? " or " : "", one->valuestring);
	}
	return refuse(walk, -EBADMSG, "must be of type ", allowed);
}

static int check_properties(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	const cJSON *one;

	(void)schema;
	cJSON_ArrayForEach(one, rule)
	{
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, one->string);
		int err = value ? check_child(walk, one, value, one->string) : 0;

		if (err)
			return err;
	}
	return 0;
}

static int check_required(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	const cJSON *name;

	(void)schema;
	cJSON_ArrayForEach(name, rule)
	{
		if (cJSON_IsObject(item) && !cJSON_GetObjectItemCaseSensitive(item, name->valuestring))
			return refuse(walk, -EBADMSG, "lacks ", name->valuestring);
	}
	return 0;
}

static int check_additional(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	const cJSON *known = cJSON_GetObjectItemCaseSensitive(schema, "properties"), *value;
	int err = 0;

	if (!cJSON_IsObject(item) || cJSON_IsTrue(rule))
		return 0;
	cJSON_ArrayForEach(value, item)
	{
		if (known && cJSON_GetObjectItemCaseSensitive(known, value->string))
			continue;
		if (cJSON_IsFalse(rule))
			return refuse(walk, -EBADMSG, "unknown key ", value->string);
		err = check_child(walk, rule, value, value->string);
		if (err)
			break;
	}
	return err;
}

static int check_items(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	const cJSON *value;
	int index = 0, err = 0;
	char name[16];

	(void)schema;
	if (!cJSON_IsArray(item))
		return 0;
	cJSON_ArrayForEach(value, item)
	{
		snprintf(name, sizeof(name), "%d", index++);
		err = check_child(walk, rule, value, name);
		if (err)
			break;
	}
	return err;
}

static int check_enum(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	char allowed[256] = "";
	size_t used = 0;
	const cJSON *one;

	(void)schema;
	cJSON_ArrayForEach(one, rule)
	{
		if (cJSON_Compare(one, item, 1))
			return 0;
		text_add(allowed, sizeof(allowed), &used, "%s%s", used ? ", " : "",
			 cJSON_IsString(one) ? one->valuestring : "?");
	}
	return refuse(walk, -EBADMSG, "must be one of ", allowed);
}

static int check_const(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	(void)schema;
	return cJSON_Compare(rule, item, 1) ? 0 : refuse(walk, -EBADMSG, "is not the one value allowed", "");
}

/* minimum, maximum and the counting keywords: a measure of the item against the rule's number. */
static int check_bound(struct walk *walk, const cJSON *rule, double measure, int at_least, const char *what)
{
	char bound[64];

	if (at_least ? measure >= rule->valuedouble : measure <= rule->valuedouble)
		return 0;
	snprintf(bound, sizeof(bound), "%s%s %.15g", what, at_least ? "must be at least" : "must be at most",
		 rule->valuedouble);
	return refuse(walk, -EBADMSG, bound, "");
}

#define BOUND(name, applies, measure, at_least, what)                                                        \
	static int check_##name(struct walk *walk, const cJSON *rule, const cJSON *schema,                   \
				const cJSON *item)                                                           \
	{                                                                                                    \
		(void)schema;                                                                                \
		return applies(item) ? check_bound(walk, rule, measure, at_least, what) : 0;                 \
	}

BOUND(minimum, cJSON_IsNumber, item->valuedouble, 1, "")
BOUND(maximum, cJSON_IsNumber, item->valuedouble, 0, "")
BOUND(min_items, cJSON_IsArray, cJSON_GetArraySize(item), 1, "the number of entries ")
BOUND(max_items, cJSON_IsArray, cJSON_GetArraySize(item), 0, "the number of entries ")
BOUND(min_length, cJSON_IsString, (double)strlen(item->valuestring), 1, "the length ")
BOUND(max_length, cJSON_IsString, (double)strlen(item->valuestring), 0, "the length ")

static int check_pattern(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	regex_t regex;
	int mismatch;

	(void)schema;
	if (!cJSON_IsString(item))
		return 0;
	if (regcomp(&regex, rule->valuestring, REG_EXTENDED | REG_NOSUB) != 0)
		return refuse(walk, -EINVAL, "the schema's pattern does not compile: ", rule->valuestring);
	mismatch = regexec(&regex, item->valuestring, 0, NULL, 0);
	regfree(&regex);
	return mismatch ? refuse(walk, -EBADMSG, "must match ", rule->valuestring) : 0;
}

static int check_any_of(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	const cJSON *one;
	int err = -EINVAL;

	(void)schema;
	cJSON_ArrayForEach(one, rule)
	{
		err = check(walk, one, item);
		if (err != -EBADMSG)
			return err;
	}
	return err;
}

static int check_ref(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	static const char prefix[] = "#/$defs/";
	const cJSON *target;

	(void)schema;
	if (strncmp(rule->valuestring, prefix, sizeof(prefix) - 1) != 0)
		return refuse(walk, -EINVAL, "the schema refers outside itself: ", rule->valuestring);
	target = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(walk->root, "$defs"),
						  rule->valuestring + sizeof(prefix) - 1);
	return target ? check(walk, target, item)
		      : refuse(walk, -EINVAL, "the schema has no ", rule->valuestring);
}

static int check_annotation(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	(void)walk, (void)rule, (void)schema, (void)item;
	return 0;
}

static const struct {
	const char *name;
	int (*check)(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item);
} keywords[] = {
	{"type", check_type},
	{"properties", check_properties},
	{"required", check_required},
	{"additionalProperties", check_additional},
	{"items", check_items},
	{"enum", check_enum},
	{"const", check_const},
	{"minimum", check_minimum},
	{"maximum", check_maximum},
	{"minItems", check_min_items},
	{"maxItems", check_max_items},
	{"minLength", check_min_length},
	{"maxLength", check_max_length},
	{"pattern", check_pattern},
	{"anyOf", check_any_of},
	{"$ref", check_ref},
	{"$schema", check_annotation},
	{"$id", check_annotation},
	{"$defs", check_annotation},
	{"$comment", check_annotation},
	{"title", check_annotation},
	{"description", check_annotation},
	{"default", check_annotation},
	{"examples", check_annotation},
	{"format", check_annotation},
};

static int check_keyword(struct walk *walk, const cJSON *rule, const cJSON *schema, const cJSON *item)
{
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		if (strcmp(rule->string, keywords[i].name) == 0)
			return keywords[i].check(walk, rule, schema, item);
	return refuse(walk, -EINVAL, "the schema uses an unknown keyword: ", rule->string);
}

static int check(struct walk *walk, const cJSON *schema, const cJSON *item)
{
	const cJSON *rule;
	int err = 0;

	if (cJSON_IsTrue(schema))
		return 0;
	if (++walk->depth > DEPTH_MAX)
		return refuse(walk, -EBADMSG, "is nested too deeply", "");
	cJSON_ArrayForEach(rule, schema)
	{
		err = check_keyword(walk, rule, schema, item);
		if (err)
			break;
	}
	walk->depth--;
	return err;
}

int schema_check(const cJSON *schema, const cJSON *document, char *why, size_t why_size)
{
	struct walk walk = {.root = schema, .why = why, .why_size = why_size};

	return check(&walk, schema, document);
}
