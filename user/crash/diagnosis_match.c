/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function a key of the schema, and a table that names them all. A key that asks for what is not known
 * does not hold, so that a pattern never claims more than the report shows.
 */
#include <ctype.h>
#include <fnmatch.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/crash/diagnosis_match.h"
#include "user/gems/version.h"

static bool fits(const cJSON *globs, const char *text)
{
	const cJSON *glob;

	if (!text || !*text)
		return false;
	cJSON_ArrayForEach(glob, globs)
	{
		if (fnmatch(glob->valuestring, text, 0) == 0)
			return true;
	}
	return false;
}

static void note(struct matched *matched, const char *name)
{
	for (size_t i = 0; i < matched->count; i++)
		if (!strcmp(matched->names[i], name))
			return;
	if (matched->count < MATCHED_MAX)
		matched->names[matched->count++] = name;
}

static bool in_range(const cJSON *range, const char *version)
{
	const char *from = json_text(range, "from"), *below = json_text(range, "below");

	if (!version || !isdigit((unsigned char)*version))
		return false;
	return (!*from || version_compare(version, from) >= 0) &&
	       (!*below || version_compare(version, below) < 0);
}

static bool holds_cause(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return fits(value, cause_name(facts->cause));
}

static bool holds_signal(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return fits(value, facts->signal);
}

static bool holds_gem(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return fits(value, facts->blame->gem);
}

static bool holds_gem_version(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return in_range(value, facts->blame->version);
}

static bool holds_blame_confidence(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return fits(value, facts->blame->confidence);
}

static bool holds_module(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return fits(value, text_base(facts->blame->module));
}

static bool holds_module_path(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return fits(value, facts->blame->module);
}

static bool holds_failing_module(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return facts->frames->count && fits(value, text_base(facts->frames->list[0].path));
}

static bool holds_ruby(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	const char *ruby = facts->input->ruby;

	(void)matched;
	return in_range(value, ruby && *ruby ? ruby : facts->abi->running);
}

static bool holds_abi(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	static const char *const wheres[] = {"", "mapped", "stack", "stack"};

	(void)matched;
	return fits(value, wheres[facts->abi->where]);
}

static bool holds_signal_sender(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	const struct crash *crash = facts->input->crash;
	bool itself = crash->fault.flags & FAULT_SELF || crash->fault.sender_tgid == crash->process.tgid;

	(void)matched;
	return crash->has_fault && crash->fault.code <= 0 &&
	       !strcmp(value->valuestring, itself ? "itself" : "another");
}

static bool holds_message(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return facts->input->crash->fatal.kind && fits(value, facts->input->crash->fatal.message);
}

static bool holds_method(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	const struct ev_ruby *ruby = facts->input->ruby_stack;
	char label[EV_RUBY_LABEL + 1];

	(void)matched;
	if (!ruby || !ruby->count)
		return false;
	text_copy_bytes(label, sizeof(label), ruby->frames[0].label, sizeof(ruby->frames[0].label));
	return fits(value, label);
}

static bool holds_forked(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return (facts->input->crash->role == ROLE_WORKER) == cJSON_IsTrue(value);
}

static bool holds_in_flight(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return facts->input->crash->sql_in_flight == cJSON_IsTrue(value);
}

static bool holds_connection(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	return (facts->connection_finished && fits(value, "finished")) ||
	       (facts->connection_inherited && fits(value, "inherited"));
}

static bool holds_stack_module(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	for (size_t i = 0; i < facts->frames->count; i++) {
		const struct frame *frame = &facts->frames->list[i];

		if (frame->how != UNWIND_SCANNED && fits(value, text_base(frame->path))) {
			note(matched, text_base(frame->path));
			return true;
		}
	}
	return false;
}

static bool holds_stack_symbol(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	(void)matched;
	for (size_t i = 0; i < facts->frames->count; i++)
		if (facts->frames->list[i].how != UNWIND_SCANNED &&
		    fits(value, facts->frames->list[i].symbol))
			return true;
	return false;
}

static bool holds_loaded(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	for (size_t i = 0; i < facts->loaded_count; i++)
		if (fits(value, facts->loaded[i])) {
			note(matched, facts->loaded[i]);
			return true;
		}
	return false;
}

static bool holds_loaded_path(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	for (size_t i = 0; i < facts->loaded_count; i++)
		if (fits(value, facts->paths[i])) {
			note(matched, facts->loaded[i]);
			return true;
		}
	return false;
}

static bool holds_loaded_together(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	const cJSON *globs;

	cJSON_ArrayForEach(globs, value)
	{
		if (!holds_loaded(facts, globs, matched))
			return false;
	}
	return true;
}

static bool holds_loaded_gem(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	const cJSON *names = cJSON_GetObjectItem(value, "name");
	struct gem_path gem;

	for (size_t i = 0; i < facts->loaded_count; i++)
		if (gem_path_parse(facts->paths[i], &gem) && fits(names, gem.name) &&
		    ((!*json_text(value, "from") && !*json_text(value, "below")) ||
		     in_range(value, gem.version))) {
			note(matched, facts->loaded[i]);
			return true;
		}
	return false;
}

static bool holds_any(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, value)
	{
		if (condition_holds(facts, one, matched))
			return true;
	}
	return false;
}

static bool holds_none(const struct facts *facts, const cJSON *value, struct matched *matched)
{
	struct matched unused = {0};

	(void)matched;
	return !holds_any(facts, value, &unused);
}

/* Cheap ones first: most patterns fall at their cause. */
static const struct {
	const char *name;
	bool (*holds)(const struct facts *, const cJSON *, struct matched *);
} keys[] = {
	{"cause", holds_cause},
	{"signal", holds_signal},
	{"gem", holds_gem},
	{"gem_version", holds_gem_version},
	{"blame_confidence", holds_blame_confidence},
	{"module", holds_module},
	{"module_path", holds_module_path},
	{"failing_module", holds_failing_module},
	{"ruby", holds_ruby},
	{"abi", holds_abi},
	{"signal_sender", holds_signal_sender},
	{"message", holds_message},
	{"method", holds_method},
	{"forked", holds_forked},
	{"in_flight", holds_in_flight},
	{"connection", holds_connection},
	{"stack_module", holds_stack_module},
	{"stack_symbol", holds_stack_symbol},
	{"loaded", holds_loaded},
	{"loaded_path", holds_loaded_path},
	{"loaded_together", holds_loaded_together},
	{"loaded_gem", holds_loaded_gem},
	{"none", holds_none},
	{"any", holds_any},
};

bool condition_holds(const struct facts *facts, const cJSON *match, struct matched *matched)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(match, keys[i].name);

		if (value && !keys[i].holds(facts, value, matched))
			return false;
	}
	return true;
}
