/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rule from its document. The schema has checked types, ranges and known keys; what it cannot say is
 * checked here: whether the fields exist for the notice that the rule matches.
 */
#include "user/rules/rule.h"
#include "user/base/json.h"
#include "user/base/text.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	enum notice_type type;
} notice_names[] = {
	{"crash", NOTICE_CRASH}, {"db_error", NOTICE_DB_ERROR}, {"fatal", NOTICE_FATAL},
	{"gone", NOTICE_GONE},   {"probe", NOTICE_PROBE},
};

static const cJSON *child(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static int read_template(const struct rule *rule, const cJSON *object, const char *pointer, const char *key,
			 const char **out, char *why, size_t why_size)
{
	char what[128];
	const cJSON *item = child(object, key);
	*out = item ? item->valuestring : "";
	if (template_check(*out, rule->notice, what, sizeof(what)))
		return 0;
	snprintf(why, why_size, "%s/%s: %s", pointer, key, what);
	return -EBADMSG;
}

static int read_match(struct rule *rule, const cJSON *match, char *why, size_t why_size)
{
	const char *name = json_text(match, "notice");
	for (size_t i = 0; i < sizeof(notice_names) / sizeof(*notice_names); i++)
		if (strcmp(name, notice_names[i].name) == 0)
			rule->notice = notice_names[i].type;
	return conditions_read(child(match, "where"), "/match/where", rule->notice, &rule->where, why,
			       why_size);
}

static int read_per(struct rule *rule, const cJSON *per, char *why, size_t why_size)
{
	const cJSON *item;
	cJSON_ArrayForEach(item, per)
	{
		const struct field *field =
			field_named(item->valuestring, strlen(item->valuestring), rule->notice);
		if (!field) {
			snprintf(why, why_size, "/per/%zu: \"%s\" is no field of this kind of notice",
				 rule->per_count, item->valuestring);
			return -EBADMSG;
		}
		rule->per_app |= strcmp(item->valuestring, "app") == 0;
		rule->per_target |= strcmp(item->valuestring, "target") == 0;
		rule->per[rule->per_count++] = field;
		if (rule->per_count == PER_MAX)
			break;
	}
	return 0;
}

static int read_remedies(struct rule *rule, const cJSON *array, char *why, size_t why_size)
{
	const cJSON *item;
	char pointer[48];
	cJSON_ArrayForEach(item, array)
	{
		struct rule_remedy *remedy = &rule->remedies[rule->remedy_count];
		snprintf(pointer, sizeof(pointer), "/incident/remedies/%zu", rule->remedy_count);
		int err = read_template(rule, item, pointer, "text", &remedy->text, why, why_size);
		strcat(pointer, "/where");
		err = err ? err
			  : conditions_read(child(item, "where"), pointer, rule->notice, &remedy->where, why,
					    why_size);
		if (err)
			return err;
		if (++rule->remedy_count == REMEDIES_MAX)
			break; /* never with more to come: see the schema */
	}
	return 0;
}

static int read_incident(struct rule *rule, const cJSON *incident, char *why, size_t why_size)
{
	int err;
	rule->kind = json_text(incident, "kind");
	rule->severity = json_text(incident, "severity");
	if ((err = read_template(rule, incident, "/incident", "subject", &rule->subject, why, why_size)) ||
	    (err = read_template(rule, incident, "/incident", "title", &rule->title, why, why_size)) ||
	    (err = read_template(rule, incident, "/incident", "title_many", &rule->title_many, why,
				 why_size)))
		return err;
	return read_remedies(rule, child(incident, "remedies"), why, why_size);
}

static int read_same(struct rule *rule, const cJSON *name, const char *pointer, char *why, size_t why_size)
{
	const struct field *field = field_named(name->valuestring, strlen(name->valuestring), rule->notice);
	if (!field)
		snprintf(why, why_size, "%s/same: \"%s\" is no field of this kind of notice", pointer,
			 name->valuestring);
	else if (rule->same && rule->same != field)
		snprintf(why, why_size, "%s/same: another decision of this rule asks it of another field",
			 pointer);
	else
		rule->same = field;
	return field && rule->same == field ? 0 : -EBADMSG;
}

static int read_when(struct rule *rule, const cJSON *when, char *pointer, struct rule_decision *out,
		     char *why, size_t why_size)
{
	const cJSON *same = child(when, "same"), *every = child(when, "every"), *some = child(when, "some");
	strcat(pointer, "/when");
	out->at_least = (uint32_t)json_number(when, "at_least", same ? 2 : 1);
	if (same) {
		out->quantifier = SAME;
		return read_same(rule, same, pointer, why, why_size);
	}
	out->quantifier = every ? EVERY : SOME;
	strcat(pointer, every ? "/every" : "/some");
	return conditions_read(every ? every : some, pointer, rule->notice, &out->when, why, why_size);
}

static int read_decision(struct rule *rule, const cJSON *item, struct rule_decision *out, char *why,
			 size_t why_size)
{
	char pointer[48];
	int err;
	const cJSON *when = child(item, "when");
	snprintf(pointer, sizeof(pointer), "/decisions/%zu", rule->decision_count);
	out->action = json_text(item, "action");
	out->scope = json_text(item, "scope");
	out->needs_a_target = strncmp(out->action, "breaker.", 8) == 0;
	if ((err = read_template(rule, item, pointer, "target", &out->target, why, why_size)) ||
	    (err = read_template(rule, item, pointer, "reason", &out->reason, why, why_size)) || !when)
		return err;
	out->of_latest = !rule->per_target && strstr(out->target, "{target}");
	return read_when(rule, when, pointer, out, why, why_size);
}

int rule_read(cJSON *document, struct rule *rule, char *why, size_t why_size)
{
	const cJSON *item;
	int err;
	memset(rule, 0, sizeof(*rule));
	text_copy(rule->name, sizeof(rule->name), json_text(document, "name"));
	rule->count = (uint32_t)json_number(document, "count", 1);
	rule->window_s = (uint32_t)json_number(document, "window_s", 1);
	rule->quiet_s = (uint32_t)json_number(document, "quiet_s", 300);
	rule->repeat_s = (uint32_t)json_number(document, "repeat_s", 0);
	rule->share_percent = (uint32_t)json_number(child(document, "share"), "percent", 0);
	if ((err = read_match(rule, child(document, "match"), why, why_size)) ||
	    (err = read_per(rule, child(document, "per"), why, why_size)) ||
	    (err = read_incident(rule, child(document, "incident"), why, why_size)))
		return err;
	if (rule->quiet_s < rule->window_s) {
		snprintf(why, why_size, "/quiet_s: %u is shorter than window_s (%u)", rule->quiet_s,
			 rule->window_s);
		return -EBADMSG;
	}
	cJSON_ArrayForEach(item, child(document, "decisions"))
	{
		struct rule_decision *decision = &rule->decisions[rule->decision_count];
		if ((err = read_decision(rule, item, decision, why, why_size)))
			return err;
		if (++rule->decision_count == DECISIONS_MAX)
			break;
	}
	rule->document = document;
	return 0;
}

void rule_done(struct rule *rule)
{
	cJSON_Delete(rule->document);
}
