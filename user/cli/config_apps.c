/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "apps": which processes make up an app, and which are not watched at all. The first entry that matches
 * counts, so an exclusion stands before the wider entry it is cut from.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/setting.h"

static bool refuse(char *why, size_t why_size, size_t index, const char *key, const char *problem)
{
	char name[48];

	text_copy(name, sizeof(name), key);
	text_clean(name);
	snprintf(why, why_size, "/apps/%zu/%s: %s", index, name, problem);
	return false;
}

bool config_read_text(const cJSON *value, char *out, size_t size, const char **problem)
{
	*problem = "must be a text";
	if (!cJSON_IsString(value))
		return false;
	*problem = "is empty or too long";
	if (!*value->valuestring || strlen(value->valuestring) >= size)
		return false;
	text_copy(out, size, value->valuestring);
	*problem = "is not printable";
	return text_clean(out) == 0;
}

bool config_key_repeats(const cJSON *value)
{
	const cJSON *first = value;

	while (first->prev && first->prev->next) /* the first one's prev is the last, whose next is NULL */
		first = first->prev;
	for (; first != value; first = first->next)
		if (!strcmp(first->string, value->string))
			return true;
	return false;
}

bool config_name_is_good(const char *name, size_t length)
{
	return length > 0 && length < sizeof(((struct config_app *)0)->name) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") >= length;
}

static bool read_name(const cJSON *value, struct config_app *app, const char **problem)
{
	if (!config_read_text(value, app->name, sizeof(app->name), problem))
		return false;
	*problem = "may have letters, digits, '.', '_' and '-' alone";
	if (!config_name_is_good(app->name, strlen(app->name)))
		return false;
	*problem = "may not be \"all\", which stands for every app in the setting act";
	return strcmp(app->name, "all") != 0;
}

static bool read_uid(const cJSON *value, struct config_app *app, const char **problem)
{
	*problem = "must be a user id; allowed: 0 to 4294967294";
	if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0) || value->valuedouble > 4294967294.0)
		return false;
	app->uid = (int64_t)value->valuedouble;
	return value->valuedouble == (double)app->uid;
}

static bool read_cgroup(const cJSON *value, struct config_app *app, const char **problem)
{
	return config_read_text(value, app->cgroup, sizeof(app->cgroup), problem);
}

static bool read_command(const cJSON *value, struct config_app *app, const char **problem)
{
	return config_read_text(value, app->command, sizeof(app->command), problem);
}

static bool read_capture(const cJSON *value, struct config_app *app, const char **problem)
{
	if (config_read_text(value, app->capture, sizeof(app->capture), problem) &&
	    setting_is_choice(settings[SETTING_capture].choices, app->capture))
		return true;
	*problem = "is not known; allowed: none, registers, stack";
	return false;
}

static bool read_exclude(const cJSON *value, struct config_app *app, const char **problem)
{
	*problem = "must be true or false";
	app->exclude = cJSON_IsTrue(value);
	return cJSON_IsBool(value);
}

static bool read_act(const cJSON *value, struct config_app *app, const char **problem)
{
	*problem = "must be true or false";
	app->act = cJSON_IsTrue(value);
	return cJSON_IsBool(value);
}

static bool read_signal_init(const cJSON *value, struct config_app *app, const char **problem)
{
	*problem = "must be true or false";
	app->signal_init = cJSON_IsTrue(value);
	return cJSON_IsBool(value);
}

static bool read_why(const cJSON *value, struct config_app *app, const char **problem)
{
	(void)app;
	*problem = "must be a text";
	return cJSON_IsString(value);
}

static const struct {
	const char *key;
	bool (*read)(const cJSON *value, struct config_app *app, const char **problem);
} app_keys[] = {
	{"name", read_name},       {"uid", read_uid},
	{"cgroup", read_cgroup},   {"command", read_command},
	{"capture", read_capture}, {"exclude", read_exclude},
	{"act", read_act},         {"signal_init", read_signal_init},
	{"why", read_why},
};

/*
 * Only what the kernel vouches for may choose where a database's credentials go: a command is the process's
 * own to choose, and a pattern of nothing but wildcards chooses nothing.
 */
static bool is_identified(const struct config_app *app)
{
	return app->uid >= 0 || app->cgroup[strspn(app->cgroup, "*?/")];
}

/* What an entry as a whole lacks, or has too much. */
static bool check_app(const struct config_app *app, size_t index, char *why, size_t why_size)
{
	if (!app->name[0] && !app->exclude)
		return refuse(why, why_size, index, "name",
			      "is missing (only an entry with \"exclude\" may have none)");
	if (app->exclude && app->uid < 0 && !app->cgroup[0] && !app->command[0])
		return refuse(why, why_size, index, "exclude", "needs a uid, cgroup or command to exclude");
	if (app->exclude && (app->act || app->signal_init || app->database_count))
		return refuse(
			why, why_size, index, "exclude",
			"stands beside act, signal_init or databases; what is not watched is not acted on");
	if (app->database_count && !is_identified(app))
		return refuse(
			why, why_size, index, "databases",
			"needs a uid or cgroup in this entry; a command is the process's own to choose");
	return true;
}

static bool read_app(const cJSON *entry, size_t index, struct config_app *app, char *why, size_t why_size)
{
	const cJSON *value;

	*app = (struct config_app){.uid = -1};
	if (!cJSON_IsObject(entry)) {
		snprintf(why, why_size, "/apps/%zu: must be an object", index);
		return false;
	}
	cJSON_ArrayForEach(value, entry)
	{
		const char *problem =
			"unknown key; allowed: name, uid, cgroup, command, capture, exclude, act, "
			"signal_init, databases, why";
		size_t key = 0, keys = sizeof(app_keys) / sizeof(*app_keys);

		while (key < keys && strcmp(app_keys[key].key, value->string))
			key++;
		if (!strcmp(value->string, "databases")) {
			if (!config_read_databases(value, index, app, why, why_size))
				return false;
		} else if (key == keys || !app_keys[key].read(value, app, &problem)) {
			return refuse(why, why_size, index, value->string, problem);
		}
		if (config_key_repeats(value))
			return refuse(why, why_size, index, value->string, "is there twice");
	}
	return check_app(app, index, why, why_size);
}

bool config_read_apps(const cJSON *array, struct config *out, char *why, size_t why_size)
{
	const cJSON *entry;
	size_t count = 0;

	if (!cJSON_IsArray(array)) {
		snprintf(why, why_size, "/apps: must be a list");
		return false;
	}
	cJSON_ArrayForEach(entry, array)
	{
		if (count == CONFIG_APPS) {
			snprintf(why, why_size, "/apps: has more than %d entries", CONFIG_APPS);
			return false;
		}
		if (!read_app(entry, count, &out->apps[count], why, why_size))
			return false;
		count++;
	}
	out->app_count = count;
	return true;
}

/* The n-th blank-separated word of a title, "" when there is none. */
static void word_of(const char *title, int n, char *out, size_t size)
{
	for (; n > 0 && *title; n--) {
		title += strcspn(title, " ");
		title += strspn(title, " ");
	}
	text_copy_bytes(out, size, title, strcspn(title, " "));
}

const struct config_app *config_app_of(const struct config *config, uint32_t uid, const char *cgroup,
				       const char *comm, const char *title)
{
	char program[128], script[128];

	word_of(title, 0, program, sizeof(program));
	word_of(title, 1, script, sizeof(script));
	for (size_t i = 0; i < config->app_count; i++) {
		const struct config_app *app = &config->apps[i];

		if (app->uid >= 0 && app->uid != uid)
			continue;
		if (app->cgroup[0] && fnmatch(app->cgroup, cgroup, 0))
			continue;
		if (app->command[0] && fnmatch(app->command, comm, 0) &&
		    fnmatch(app->command, text_base(program), 0) &&
		    fnmatch(app->command, text_base(script), 0))
			continue;
		return app;
	}
	return NULL;
}
