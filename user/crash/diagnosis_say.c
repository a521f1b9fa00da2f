/* SPDX-License-Identifier: Apache-2.0 */
/* What a pattern that fits says: its words filled with this crash's own, best pattern first. */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/crash/diagnosis_match.h"

enum { VALUE = 256, TEXT = 1400 };

static void put(char *out, const char *text)
{
	text_copy(out, VALUE, text);
}

static void get_gem(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->blame->gem);
}

static void get_id(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->input->crash->id);
}

static void get_version(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->blame->version);
}

static void get_module(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, strcmp(facts->blame->confidence, "none") ? text_base(facts->blame->module) : "");
}

static void get_rebuild(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	rebuild_command(facts->input, facts->blame->module, facts->blame->gem, facts->blame->version, out,
			VALUE);
}

static void get_app(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->input->crash->app);
}

static void get_ruby(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->input->ruby && *facts->input->ruby ? facts->input->ruby : facts->abi->running);
}

static void get_pid(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	snprintf(out, VALUE, "%u", facts->input->crash->process.tgid);
}

static void get_signal(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->signal);
}

static void get_cause(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, cause_name(facts->cause));
}

static void get_message(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->input->crash->fatal.kind ? facts->input->crash->fatal.message : "");
}

static void get_method(const struct facts *facts, const struct matched *matched, char *out)
{
	const struct ev_ruby *ruby = facts->input->ruby_stack;

	(void)matched;
	out[0] = '\0';
	if (ruby && ruby->count)
		text_copy_bytes(out, VALUE, ruby->frames[0].label, sizeof(ruby->frames[0].label));
}

static void get_target(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->input->crash->target);
}

static void get_loaded(const struct facts *facts, const struct matched *matched, char *out)
{
	size_t used = 0;

	(void)facts;
	out[0] = '\0';
	for (size_t i = 0; i < matched->count; i++)
		text_add(out, VALUE, &used, "%s%s", i ? ", " : "", matched->names[i]);
}

static void get_abi(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->abi->gem.abi);
}

static void get_abi_gem(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->abi->gem.name);
}

static void get_abi_version(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, facts->abi->gem.version);
}

static void get_abi_module(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	put(out, text_base(facts->abi->path));
}

static void get_abi_rebuild(const struct facts *facts, const struct matched *matched, char *out)
{
	(void)matched;
	rebuild_command(facts->input, facts->abi->path, facts->abi->gem.name, facts->abi->gem.version, out,
			VALUE);
}

static const struct {
	const char *name;
	void (*get)(const struct facts *facts, const struct matched *matched, char *out);
} fields[] = {
	{"id", get_id},
	{"gem", get_gem},
	{"version", get_version},
	{"module", get_module},
	{"rebuild", get_rebuild},
	{"app", get_app},
	{"ruby", get_ruby},
	{"pid", get_pid},
	{"signal", get_signal},
	{"cause", get_cause},
	{"message", get_message},
	{"method", get_method},
	{"target", get_target},
	{"loaded", get_loaded},
	{"abi", get_abi},
	{"abi_gem", get_abi_gem},
	{"abi_version", get_abi_version},
	{"abi_module", get_abi_module},
	{"abi_rebuild", get_abi_rebuild},
};

enum { FIELDS = sizeof(fields) / sizeof(*fields) };

/* Its index; FIELDS: there is none of that name. */
static size_t field_named(const char *name, size_t length)
{
	size_t i = 0;

	while (i < FIELDS && (strlen(fields[i].name) != length || strncmp(fields[i].name, name, length) != 0))
		i++;
	return i;
}

bool diagnosis_template_good(const char *template, const char **unknown)
{
	for (const char *open = strchr(template, '{'); open; open = strchr(open + 1, '{')) {
		const char *close = strchr(open, '}');

		*unknown = open;
		if (!close || field_named(open + 1, (size_t)(close - open - 1)) == FIELDS)
			return false;
	}
	return true;
}

bool diagnosis_fill(const struct facts *facts, const struct matched *matched, const char *template, char *out,
		    size_t size)
{
	bool known = true;
	size_t used = 0;

	out[0] = '\0';
	while (*template) {
		size_t plain = strcspn(template, "{");
		char value[VALUE] = "";
		const char *close;
		size_t field;

		text_add(out, size, &used, "%.*s", (int)plain, template);
		template += plain;
		close = *template ? strchr(template, '}') : NULL;
		if (!close)
			break;
		field = field_named(template + 1, (size_t)(close - template - 1));
		if (field < FIELDS)
			fields[field].get(facts, matched, value);
		known = known && value[0];
		text_add(out, size, &used, "%s", value[0] ? value : "?");
		template = close + 1;
	}
	text_clean(out);
	return known;
}

static void add_filled(cJSON *json, const char *key, const struct facts *facts, const struct matched *matched,
		       const char *template)
{
	char text[TEXT];

	diagnosis_fill(facts, matched, template, text, sizeof(text));
	cJSON_AddStringToObject(json, key, text);
}

static cJSON *say(const cJSON *document, const struct facts *facts, const struct matched *matched)
{
	cJSON *json = cJSON_CreateObject(), *remedies;
	const cJSON *remedy;
	char text[TEXT];

	cJSON_AddStringToObject(json, "rule", json_text(document, "name"));
	add_filled(json, "title", facts, matched, json_text(document, "title"));
	add_filled(json, "explanation", facts, matched, json_text(document, "explanation"));
	cJSON_AddStringToObject(json, "confidence", json_text(document, "confidence"));
	remedies = cJSON_AddArrayToObject(json, "remedies");
	cJSON_ArrayForEach(remedy, cJSON_GetObjectItem(document, "remedies"))
	{
		if (diagnosis_fill(facts, matched, remedy->valuestring, text, sizeof(text)))
			cJSON_AddItemToArray(remedies, cJSON_CreateString(text));
	}
	cJSON_AddItemToObject(json, "references",
			      cJSON_Duplicate(cJSON_GetObjectItem(document, "references"), true));
	return json;
}

cJSON *diagnose(const struct diagnoses *diagnoses, struct facts *facts)
{
	static const char *const order[] = {"high", "medium", "low"};
	cJSON *list = cJSON_CreateArray();

	if (!list || !diagnoses_count(diagnoses))
		return list;
	if (facts_read(facts) == 0)
		for (size_t level = 0; level < 3; level++)
			for (size_t i = 0; i < diagnoses_count(diagnoses); i++) {
				const cJSON *document = diagnoses_at(diagnoses, i);
				struct matched matched = {0};

				if (!strcmp(json_text(document, "confidence"), order[level]) &&
				    condition_holds(facts, cJSON_GetObjectItem(document, "match"), &matched))
					cJSON_AddItemToArray(list, say(document, facts, &matched));
			}
	facts_done(facts);
	return list;
}
