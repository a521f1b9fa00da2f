/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values come as text (variable, flag) or as JSON (file), and both ways end in the same check of bounds, so
 * that no source can set what another may not. A message never says just "invalid": it quotes the value
 * and says what is allowed.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/cli/setting.h"

const struct setting settings[SETTING_COUNT] = {
#define SETTING(key, type, low, high, choices, fallback, variable, flag, help)                               \
	[SETTING_##key] = {#key,                                                                             \
			   TYPE_##type,                                                                      \
			   low,                                                                              \
			   high,                                                                             \
			   choices,                                                                          \
			   fallback,                                                                         \
			   variable,                                                                         \
			   flag,                                                                             \
			   help,                                                                             \
			   offsetof(struct config, key),                                                     \
			   sizeof(((struct config *)0)->key)},
#include "user/cli/settings.def"
#undef SETTING
};

/* What a person needs to know of a type: its name, its unit, an example of how it is written. */
static const struct type_words {
	const char *name, *unit, *form;
} type_words[] = {
	[TYPE_PATH] = {"path", "characters", "a text"},
	[TYPE_NAMES] = {"names", "", "a text"},
	[TYPE_UIDS] = {"uids", "", "a text"},
	[TYPE_CHOICE] = {"choice", "", "a text"},
	[TYPE_SIZE] = {"size", "bytes", "a number of bytes, or a text like \"16M\""},
	[TYPE_RING] = {"size", "bytes, a power of two", "a number of bytes, or a text like \"16M\""},
	[TYPE_DURATION] = {"duration", "ms", "a number of milliseconds, or a text like \"30s\""},
	[TYPE_NUMBER] = {"number", "", "a whole number"},
	[TYPE_SWITCH] = {"switch", "", "true or false"},
};

const char *setting_type_name(const struct setting *setting)
{
	return type_words[setting->type].name;
}

bool setting_is_choice(const char *choices, const char *text)
{
	size_t size = strlen(text);

	for (const char *at = choices; size && *at;) {
		size_t word = strcspn(at, " ");

		if (word == size && !memcmp(at, text, size))
			return true;
		at += word;
		at += *at == ' ';
	}
	return false;
}

void setting_allowed(const struct setting *setting, char *out, size_t size)
{
	const char *unit = type_words[setting->type].unit;
	size_t used = 0;

	out[0] = '\0';
	if (setting->type == TYPE_CHOICE) {
		for (const char *at = setting->choices; *at;) {
			size_t word = strcspn(at, " ");

			text_add(out, size, &used, "%s%.*s", used ? ", " : "", (int)word, at);
			at += word;
			at += *at == ' ';
		}
		return;
	}
	if (setting->type == TYPE_SWITCH)
		text_add(out, size, &used, "on, off");
	else if (setting->type == TYPE_NAMES)
		text_add(out, size, &used, "names of apps with commas, or all");
	else if (setting->type == TYPE_UIDS)
		text_add(out, size, &used, "user ids from 0 to 4294967294, with commas");
	else
		text_add(out, size, &used, "%llu to %llu%s%s", (unsigned long long)setting->low,
			 (unsigned long long)setting->high, *unit ? " " : "", unit);
}

/* "VALUE is …; allowed: …", with the value cut and made printable. */
static bool refuse(const struct setting *setting, const char *value, const char *is, char *why,
		   size_t why_size)
{
	char shown[64], allowed[160];

	text_copy(shown, sizeof(shown), value);
	text_clean(shown);
	setting_allowed(setting, allowed, sizeof(allowed));
	snprintf(why, why_size, "%s is %s; allowed: %s", shown, is, allowed);
	return false;
}

static bool store_text(const struct setting *setting, const char *text, struct config *out, char *why,
		       size_t why_size)
{
	char *field = (char *)out + setting->offset, quoted[66];
	size_t length = strlen(text);
	const char *problem;

	snprintf(quoted, sizeof(quoted), "\"%.60s\"", text);
	if (setting->type == TYPE_CHOICE) {
		if (!setting_is_choice(setting->choices, text))
			return refuse(setting, quoted, "not known", why, why_size);
	} else if (setting->type == TYPE_NAMES && (problem = config_names_problem(text))) {
		return refuse(setting, quoted, problem, why, why_size);
	} else if (setting->type == TYPE_UIDS && (problem = config_uids_problem(text))) {
		return refuse(setting, quoted, problem, why, why_size);
	} else if (length < setting->low || length > setting->high || length >= setting->size) {
		return refuse(setting, quoted, length ? "too long" : "empty", why, why_size);
	}
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return refuse(setting, quoted, "not printable", why, why_size);
	text_copy(field, setting->size, text);
	return true;
}

static bool store_number(const struct setting *setting, uint64_t value, const char *shown, struct config *out,
			 char *why, size_t why_size)
{
	char *field = (char *)out + setting->offset;
	uint32_t narrow = (uint32_t)value;

	if (value < setting->low || value > setting->high || (setting->size == 4 && value > UINT32_MAX))
		return refuse(setting, shown, "out of range", why, why_size);
	if (setting->type == TYPE_RING && (value & (value - 1)))
		return refuse(setting, shown, "not a power of two", why, why_size);
	if (setting->size == sizeof(narrow))
		memcpy(field, &narrow, sizeof(narrow));
	else
		memcpy(field, &value, sizeof(value));
	return true;
}

static bool store_switch(const struct setting *setting, bool value, struct config *out)
{
	memcpy((char *)out + setting->offset, &value, sizeof(value));
	return true;
}

bool setting_read_text(const struct setting *setting, const char *text, struct config *out, char *why,
		       size_t why_size)
{
	uint64_t value;
	bool on;

	switch (setting->type) {
	case TYPE_PATH:
	case TYPE_NAMES:
	case TYPE_UIDS:
	case TYPE_CHOICE:
		return store_text(setting, text, out, why, why_size);
	case TYPE_SIZE:
	case TYPE_RING:
		if (!parse_size(text, &value))
			return refuse(setting, text, "no size like 4096, 512K, 16M", why, why_size);
		break;
	case TYPE_DURATION:
		if (!parse_duration_ms(text, &value))
			return refuse(setting, text, "no duration like 250ms, 30s, 5m", why, why_size);
		break;
	case TYPE_NUMBER:
		if (!parse_u64(text, &value))
			return refuse(setting, text, "no whole number", why, why_size);
		break;
	case TYPE_SWITCH:
		if (!parse_bool(text, &on))
			return refuse(setting, text, "neither on nor off", why, why_size);
		return store_switch(setting, on, out);
	default:
		return false;
	}
	return store_number(setting, value, text, out, why, why_size);
}

bool setting_read_json(const struct setting *setting, const cJSON *value, struct config *out, char *why,
		       size_t why_size)
{
	bool text_fits = setting->type != TYPE_NUMBER && setting->type != TYPE_SWITCH;
	bool number_fits = setting->type == TYPE_SIZE || setting->type == TYPE_RING ||
			   setting->type == TYPE_DURATION || setting->type == TYPE_NUMBER;
	char shown[32], allowed[160];

	if (cJSON_IsString(value) && text_fits)
		return setting_read_text(setting, value->valuestring, out, why, why_size);
	if (cJSON_IsBool(value) && setting->type == TYPE_SWITCH)
		return store_switch(setting, cJSON_IsTrue(value), out);
	if (!cJSON_IsNumber(value) || !number_fits) {
		setting_allowed(setting, allowed, sizeof(allowed));
		snprintf(why, why_size, "has the wrong type, %s is wanted; allowed: %s",
			 type_words[setting->type].form, allowed);
		return false;
	}
	snprintf(shown, sizeof(shown), "%.17g", value->valuedouble);
	if (!(value->valuedouble >= 0) || value->valuedouble > 9007199254740992.0)
		return refuse(setting, shown, "out of range", why, why_size);
	if (value->valuedouble != (double)(uint64_t)value->valuedouble)
		return refuse(setting, shown, "no whole number", why, why_size);
	return store_number(setting, (uint64_t)value->valuedouble, shown, out, why, why_size);
}

cJSON *setting_value(const struct setting *setting, const struct config *config)
{
	const char *field = (const char *)config + setting->offset;
	uint64_t wide;
	uint32_t narrow;
	bool on;

	switch (setting->type) {
	case TYPE_PATH:
	case TYPE_NAMES:
	case TYPE_UIDS:
	case TYPE_CHOICE:
		return cJSON_CreateString(field);
	case TYPE_SWITCH:
		memcpy(&on, field, sizeof(on));
		return cJSON_CreateBool(on);
	default:
		if (setting->size == sizeof(narrow)) {
			memcpy(&narrow, field, sizeof(narrow));
			return cJSON_CreateNumber(narrow);
		}
		memcpy(&wide, field, sizeof(wide));
		return cJSON_CreateNumber((double)wide);
	}
}
