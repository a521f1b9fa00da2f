// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include "user/act/protocol.h"
#include "user/act/protocol_sound.h"

/* Length of the UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), 0 if there is none. */
static size_t utf8_size(const unsigned char *s, size_t room)
{
	size_t size = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	unsigned char low = 0x80, high = 0xbf;

	if (s[0] < 0xc2 || s[0] > 0xf4 || room < size)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

struct scan {
	const unsigned char *s;
	size_t at, size;
	size_t depth, values;
	bool in_text;
	const char *code, *what;
};

static bool refuse(struct scan *scan, const char *code, const char *what)
{
	scan->code = code;
	scan->what = what;
	return false;
}

static bool step_text(struct scan *scan)
{
	const unsigned char *s = scan->s + scan->at;
	size_t left = scan->size - scan->at, size;

	if (*s < 0x20)
		return refuse(scan, "bad_json", "a control character in a text");
	if (*s >= 0x80) {
		size = utf8_size(s, left);
		scan->at += size;
		return size ? true : refuse(scan, "bad_utf8", "not UTF-8");
	}
	if (left >= 6 && memcmp(s, "\\u0000", 6) == 0)
		return refuse(scan, "bad_json", "a NUL in a text");
	scan->in_text = *s != '"';
	scan->at += *s == '\\' ? 2 : 1;
	return true;
}

static bool step_outside(struct scan *scan)
{
	const unsigned char c = scan->s[scan->at];

	if (c >= 0x80)
		return utf8_size(scan->s + scan->at, scan->size - scan->at)
			       ? refuse(scan, "bad_json", "not JSON")
			       : refuse(scan, "bad_utf8", "not UTF-8");
	if (c < 0x20 && c != '\t' && c != '\r')
		return refuse(scan, "bad_json", "a control character");
	if ((c == '{' || c == '[') && ++scan->depth > PROTOCOL_DEPTH_MAX)
		return refuse(scan, "too_deep", "nested too deeply");
	if (c == '}' || c == ']') {
		if (scan->depth == 0)
			return refuse(scan, "bad_json", "not JSON");
		scan->depth--;
	}
	if ((c == ',' || c == '{' || c == '[') && ++scan->values > PROTOCOL_VALUES_MAX)
		return refuse(scan, "too_many", "too many values");
	scan->in_text = c == '"';
	scan->at++;
	return true;
}

/* The first and the last byte that are no blanks are an object's. */
static bool is_object(const char *line, size_t size)
{
	while (size > 0 && strchr(" \t\r", line[size - 1]) && line[size - 1])
		size--;
	while (size > 0 && strchr(" \t\r", *line) && *line)
		line++, size--;
	return size >= 2 && line[0] == '{' && line[size - 1] == '}';
}

bool protocol_sound(const char *line, size_t size, const char **code, const char **what, size_t *place)
{
	struct scan scan = {.s = (const unsigned char *)line, .size = size};
	bool sound = true;

	while (sound && scan.at < scan.size)
		sound = scan.in_text ? step_text(&scan) : step_outside(&scan);
	if (sound && (scan.depth > 0 || scan.in_text))
		sound = refuse(&scan, "bad_json", "it breaks off");
	if (sound && !is_object(line, size))
		sound = refuse(&scan, "bad_json", "not an object");
	*code = scan.code;
	*what = scan.what;
	*place = scan.at;
	return sound;
}
