/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates of titles, remedies and reasons: text with {fields} of the notice and of the count. Unknown
 * names are refused when the rule is read, so filling cannot fail.
 */
#include "user/base/text.h"
#include "user/rules/rule.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct tally_name {
	const char *name;
	size_t offset;
} tally_names[] = {
	{"total", offsetof(struct tally, total)},         {"count", offsetof(struct tally, count)},
	{"window_s", offsetof(struct tally, window_s)},   {"workers", offsetof(struct tally, workers)},
	{"threshold", offsetof(struct tally, threshold)},
};

static const struct tally_name *tally_named(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(tally_names) / sizeof(*tally_names); i++)
		if (strlen(tally_names[i].name) == length && strncmp(tally_names[i].name, name, length) == 0)
			return &tally_names[i];
	return NULL;
}

bool template_check(const char *text, enum notice_type type, char *why, size_t why_size)
{
	for (const char *open = strchr(text, '{'); open; open = strchr(open + 1, '{')) {
		const char *close = strchr(open, '}');
		size_t length = close ? (size_t)(close - open - 1) : 0;
		if (!close || (!tally_named(open + 1, length) && !field_named(open + 1, length, type))) {
			snprintf(why, why_size, "unknown field {%.*s} for this kind of notice",
				 (int)(close ? length : strnlen(open + 1, 20)), open + 1);
			return false;
		}
	}
	return true;
}

void template_fill(const char *text, const struct notice *notice, const struct tally *tally, char *out,
		   size_t size)
{
	char value[FIELD_SIZE];
	size_t used = 0;
	out[0] = '\0';
	for (const char *at = text, *close; *at; at = close) {
		const char *open = strchrnul(at, '{');
		text_add(out, size, &used, "%.*s", (int)(open - at), at);
		if (!*open)
			break;
		close = strchr(open, '}') + 1;
		size_t length = (size_t)(close - open - 2);
		const struct tally_name *number = tally_named(open + 1, length);
		const struct field *field = number ? NULL : field_named(open + 1, length, notice->type);
		if (number) {
			uint32_t count;
			memcpy(&count, (const char *)tally + number->offset, sizeof(count));
			text_add(out, size, &used, "%u", count);
		} else if (field) {
			field_value(field, notice, value);
			text_add(out, size, &used, "%s", value);
		}
	}
	text_clean(out);
}
