/* SPDX-License-Identifier: Apache-2.0 */
/* One setting of the table: how its value is read, bounded, and written out again. Inside the configuration.
 */
#ifndef LAPIDARY_SETTING_H
#define LAPIDARY_SETTING_H

#include "user/cli/config.h"

enum setting_type {
	TYPE_PATH,
	TYPE_NAMES, /* of apps, with commas, or "all" */
	TYPE_UIDS,  /* with commas */
	TYPE_CHOICE,
	TYPE_SIZE,
	TYPE_RING,
	TYPE_DURATION,
	TYPE_NUMBER,
	TYPE_SWITCH
};

struct setting {
	const char *key;
	enum setting_type type;
	uint64_t low, high;
	const char *choices; /* separated by blanks */
	const char *fallback, *variable, *flag, *help;
	size_t offset, size; /* of the field in struct config */
};

extern const struct setting settings[SETTING_COUNT];

/*
 * Reads a value and stores it in its field. False: `why` gets what is wrong and what is allowed, in words
 * that follow the place ("STACK is out of range; allowed: …"), and the field is untouched.
 */
bool setting_read_text(const struct setting *setting, const char *text, struct config *out, char *why,
		       size_t why_size);
bool setting_read_json(const struct setting *setting, const cJSON *value, struct config *out, char *why,
		       size_t why_size);
cJSON *setting_value(const struct setting *setting, const struct config *config);
/* "0 to 131072 bytes", "text, json": what is allowed, for a person. */
void setting_allowed(const struct setting *setting, char *out, size_t size);
const char *setting_type_name(const struct setting *setting);
/* Whether `text` is one of the blank-separated words. */
bool setting_is_choice(const char *choices, const char *text);

/* What is wrong with a list of names or of user ids, in the words of setting_read_text; NULL: nothing. */
const char *config_names_problem(const char *list);
const char *config_uids_problem(const char *list);
/* Settings that contradict each other, whatever their sources. */
bool config_check_relations(const struct config *config, char *why, size_t why_size);

/* The "apps" array of the file. False: `why` has pointer and reason ("/apps/0/uid: …"). */
bool config_read_apps(const cJSON *array, struct config *out, char *why, size_t why_size);
/* apps[index].databases. False: `why` has pointer and reason ("/apps/0/databases/1/target: …"). */
bool config_read_databases(const cJSON *array, size_t index, struct config_app *app, char *why,
			   size_t why_size);
/* A printable text of 1 to size - 1 bytes. */
bool config_read_text(const cJSON *value, char *out, size_t size, const char **problem);
bool config_name_is_good(const char *name, size_t length); /* of an app */
/* Whether the same key stands before this one in its object. */
bool config_key_repeats(const cJSON *value);

#endif
