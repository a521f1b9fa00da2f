// SPDX-License-Identifier: Apache-2.0
/*
 * Lines of the app. Which fields a message has is a table; one reader per kind of field checks type and
 * range, and writes into the struct at the table's offset. What the table does not know is passed over. A
 * known field that appears twice is refused, since two readers might choose differently.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "user/act/protocol.h"
#include "user/act/protocol_sound.h"
#include "user/base/text.h"

enum field_kind {
	FIELD_NAME,   /* an app's name */
	FIELD_ID,     /* whole, printable */
	FIELD_TEXT,   /* for a person: cleaned, cut */
	FIELD_WORD,   /* one of `words`, as its index */
	FIELD_WORDS,  /* a list of them, as bits; others are passed over */
	FIELD_FLAG,   /* bool */
	FIELD_COUNT,  /* uint32_t */
	FIELD_COUNT64 /* uint64_t, up to 2^53 */
};

struct field {
	const char *name;
	enum field_kind kind;
	bool required;
	size_t offset, size;
	const char *const *words;
};

#define FIELD(name, kind, required, member, words)                                                           \
	{                                                                                                    \
		name, kind, required, offsetof(struct app_message, member),                                  \
			sizeof(((struct app_message *)0)->member), words                                     \
	}

static const char *const role_words[] = {
	[APP_SINGLE] = "single", [APP_MASTER] = "master", [APP_WORKER] = "worker", NULL};
static const char *const accepts_words[] = {"breaker", "restart", "hold", "drain", "degrade", NULL};
static const char *const result_words[] = {
	[ACK_DONE] = "done", [ACK_REFUSED] = "refused", [ACK_FAILED] = "failed", NULL};
static const char *const state_words[] = {[APP_SILENT] = "", /* no word for it */
					  [APP_BOOTING] = "booting",
					  [APP_SERVING] = "serving",
					  [APP_DRAINING] = "draining",
					  [APP_STOPPED] = "stopped",
					  NULL};

_Static_assert(ACCEPTS_BREAKER == 1 && ACCEPTS_DEGRADE == 1 << 4, "accepts_words stand in the bits' order");

static const struct field hello_fields[] = {
	FIELD("app", FIELD_NAME, true, hello.app, NULL),
	FIELD("role", FIELD_WORD, false, hello.role, role_words),
	FIELD("accepts", FIELD_WORDS, false, hello.accepts, accepts_words),
	FIELD("server", FIELD_TEXT, false, hello.server, NULL),
	FIELD("ruby", FIELD_TEXT, false, hello.ruby, NULL),
	FIELD("state", FIELD_WORD, false, hello.state, state_words),
	{NULL},
};
static const struct field ack_fields[] = {
	FIELD("id", FIELD_ID, true, ack.id, NULL),
	FIELD("result", FIELD_WORD, true, ack.result, result_words),
	FIELD("detail", FIELD_TEXT, false, ack.detail, NULL),
	{NULL},
};
static const struct field pool_fields[] = {
	FIELD("target", FIELD_ID, true, pool.target, NULL),
	FIELD("size", FIELD_COUNT, false, pool.size, NULL),
	FIELD("active", FIELD_COUNT, false, pool.active, NULL),
	FIELD("idle", FIELD_COUNT, false, pool.idle, NULL),
	FIELD("waiting", FIELD_COUNT, false, pool.waiting, NULL),
	FIELD("timeouts", FIELD_COUNT64, false, pool.timeouts, NULL),
	FIELD("stale_replaced", FIELD_COUNT64, false, pool.stale_replaced, NULL),
	FIELD("wait_ms", FIELD_COUNT64, false, pool.wait_ms, NULL),
	{NULL},
};
static const struct field outcome_fields[] = {
	FIELD("trial_id", FIELD_ID, true, outcome.trial_id, NULL),
	FIELD("target", FIELD_ID, true, outcome.target, NULL),
	FIELD("ok", FIELD_FLAG, true, outcome.ok, NULL),
	FIELD("ms", FIELD_COUNT, false, outcome.ms, NULL),
	FIELD("error", FIELD_TEXT, false, outcome.error, NULL),
	{NULL},
};
static const struct field state_fields[] = {
	FIELD("state", FIELD_WORD, true, state.state, state_words),
	FIELD("in_flight", FIELD_COUNT, false, state.in_flight, NULL),
	{NULL},
};
static const struct field error_fields[] = {
	FIELD("code", FIELD_TEXT, false, error.code, NULL),
	FIELD("message", FIELD_TEXT, false, error.message, NULL),
	{NULL},
};

static const struct {
	const char *name;
	const struct field *fields;
} messages[] = {
	[MESSAGE_HELLO] = {"hello", hello_fields}, [MESSAGE_ACK] = {"ack", ack_fields},
	[MESSAGE_POOL] = {"pool", pool_fields},    [MESSAGE_OUTCOME] = {"outcome", outcome_fields},
	[MESSAGE_STATE] = {"state", state_fields}, [MESSAGE_ERROR] = {"error", error_fields},
};

/* --- one reader a kind: NULL, or what is wrong ----------------------------------------------------- */

static const char *read_name(const cJSON *item, char *out, size_t size)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t length = cJSON_IsString(item) ? strlen(item->valuestring) : 0;

	if (length == 0 || length >= size || strspn(item->valuestring, allowed) != length)
		return "must be 1 to 63 letters, digits, '.', '_' or '-'";
	text_copy(out, size, item->valuestring);
	return NULL;
}

static const char *read_id(const cJSON *item, char *out, size_t size)
{
	if (!cJSON_IsString(item) || !*item->valuestring || strlen(item->valuestring) >= size)
		return "must be a text, not empty and not so long";
	text_copy(out, size, item->valuestring);
	return text_clean(out) ? "must be printable" : NULL;
}

static const char *read_text(const cJSON *item, char *out, size_t size)
{
	if (!cJSON_IsString(item))
		return "must be a text";
	text_copy(out, size, item->valuestring);
	text_clean(out);
	return NULL;
}

/* The word's place in the list; -1: not in it. */
static int word_index(const cJSON *item, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (cJSON_IsString(item) && *words[i] && strcmp(item->valuestring, words[i]) == 0)
			return i;
	return -1;
}

static const char *read_word(const cJSON *item, void *out, const char *const *words)
{
	uint32_t value = (uint32_t)word_index(item, words);

	if (word_index(item, words) < 0)
		return "is not one of the words allowed";
	memcpy(out, &value, sizeof(value));
	return NULL;
}

static const char *read_words(const cJSON *item, void *out, const char *const *words)
{
	uint32_t bits = 0;
	const cJSON *one;

	if (!cJSON_IsArray(item))
		return "must be a list of words";
	cJSON_ArrayForEach(one, item)
	{
		int index = word_index(one, words);

		if (!cJSON_IsString(one))
			return "must be a list of words";
		bits |= index < 0 ? 0 : 1u << index;
	}
	memcpy(out, &bits, sizeof(bits));
	return NULL;
}

static const char *read_flag(const cJSON *item, void *out)
{
	bool value = cJSON_IsTrue(item);

	if (!cJSON_IsBool(item))
		return "must be true or false";
	memcpy(out, &value, sizeof(value));
	return NULL;
}

static const char *read_count(const cJSON *item, void *out, size_t size)
{
	const double limit = size == sizeof(uint32_t) ? (double)UINT32_MAX : 9007199254740992.0;
	double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
	uint32_t small;
	uint64_t large;

	if (!(value >= 0 && value <= limit) || value != floor(value)) /* so written, NaN fails too */
		return "must be a whole number, not negative and not so large";
	small = (uint32_t)(size == sizeof(small) ? value : 0);
	large = (uint64_t)value;
	memcpy(out, size == sizeof(small) ? (void *)&small : (void *)&large, size);
	return NULL;
}

static const char *read_value(const struct field *field, const cJSON *item, void *out)
{
	switch (field->kind) {
	case FIELD_NAME:
		return read_name(item, out, field->size);
	case FIELD_ID:
		return read_id(item, out, field->size);
	case FIELD_TEXT:
		return read_text(item, out, field->size);
	case FIELD_WORD:
		return read_word(item, out, field->words);
	case FIELD_WORDS:
		return read_words(item, out, field->words);
	case FIELD_FLAG:
		return read_flag(item, out);
	default:
		return read_count(item, out, field->size);
	}
}

/* --- the message ----------------------------------------------------------------------------------- */

/* The field's value, NULL when absent or null; *twice when there is more than one. */
static const cJSON *find(const cJSON *object, const char *name, bool *twice)
{
	const cJSON *item, *found = NULL;

	cJSON_ArrayForEach(item, object)
	{
		if (strcmp(item->string, name) != 0)
			continue;
		*twice = found != NULL;
		found = item;
		if (*twice)
			break;
	}
	return found && !cJSON_IsNull(found) ? found : NULL;
}

static const char *read_field(const cJSON *object, const struct field *field, struct app_message *out)
{
	bool twice = false;
	const cJSON *item = find(object, field->name, &twice);

	if (twice)
		return "appears twice";
	if (!item)
		return field->required ? "is missing" : NULL;
	return read_value(field, item, (char *)out + field->offset);
}

static int refuse(const char **code, const char *word, char *why, size_t why_size, const char *where,
		  const char *what)
{
	*code = word;
	snprintf(why, why_size, "%s %s", where, what);
	return -EINVAL;
}

static int read_message(const cJSON *object, struct app_message *out, const char **code, char *why,
			size_t why_size)
{
	bool twice = false;
	const cJSON *type = find(object, "type", &twice), *version = find(object, "protocol", &twice);
	const char *wrong;
	size_t i;

	if (twice || !cJSON_IsString(type))
		return refuse(code, "bad_field", why, why_size, "type", "must be one text");
	for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		if (strcmp(type->valuestring, messages[i].name) == 0)
			break;
	if (i == sizeof(messages) / sizeof(messages[0]))
		return refuse(code, "unknown_type", why, why_size, "this agent does not know", "the type");
	out->type = (enum app_message_type)i;
	if (out->type == MESSAGE_HELLO && !(cJSON_IsNumber(version) && version->valuedouble == 1.0))
		return refuse(code, "protocol", why, why_size, "protocol", "must be 1");
	for (const struct field *field = messages[i].fields; field->name; field++) {
		wrong = read_field(object, field, out);
		if (wrong)
			return refuse(code, "bad_field", why, why_size, field->name, wrong);
	}
	return 0;
}

/* True when nothing but blanks is left. */
static bool is_rest(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
		at++;
	return at == end;
}

int protocol_read(const char *line, size_t size, struct app_message *out, const char **code, char *why,
		  size_t why_size)
{
	struct app_message message;
	const char *what = "not JSON", *end = line;
	size_t place = 0;
	cJSON *object;
	int err;

	if (size > PROTOCOL_LINE_MAX) {
		*code = "long_line";
		snprintf(why, why_size, "a line of more than %d bytes", PROTOCOL_LINE_MAX);
		return -EBADMSG;
	}
	if (!protocol_sound(line, size, code, &what, &place)) {
		snprintf(why, why_size, "byte %zu: %s", place, what);
		return -EBADMSG;
	}
	object = cJSON_ParseWithLengthOpts(line, size, &end, 0);
	if (!cJSON_IsObject(object) || !is_rest(end, line + size)) {
		*code = "bad_json";
		snprintf(why, why_size, "byte %zu: not JSON", (size_t)(end - line));
		err = -EBADMSG;
	} else {
		memset(&message, 0, sizeof(message)); /* the whole union, and the padding */
		err = read_message(object, &message, code, why, why_size);
	}
	cJSON_Delete(object);
	if (!err)
		*out = message;
	return err;
}
