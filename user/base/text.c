// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"

size_t text_copy(char *out, size_t size, const char *in)
{
	return text_copy_bytes(out, size, in ? in : "", in ? strlen(in) : 0);
}

size_t text_copy_bytes(char *out, size_t size, const void *in, size_t in_size)
{
	size_t length = strnlen(in, in_size);

	if (length >= size)
		length = size - 1;
	memcpy(out, in, length);
	out[length] = '\0';
	return length;
}

/* Length of the valid UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), 0 if there is none.
 */
static size_t utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char first, last, second_low, second_high, length;
	} forms[] = {
		{0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last)
			continue;
		if (forms[i].length > 1 && (s[1] < forms[i].second_low || s[1] > forms[i].second_high))
			return 0;
		if (s[0] == 0xc2 && s[1] < 0xa0) /* C1 control characters */
			return 0;
		for (size_t k = 2; k < forms[i].length; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].length;
	}
	return 0;
}

size_t text_clean(char *text)
{
	unsigned char *s = (unsigned char *)text;
	size_t replaced = 0;

	while (*s) {
		size_t length = utf8_length(s);

		if (length == 0) {
			*s++ = '?';
			replaced++;
		} else {
			s += length;
		}
	}
	return replaced;
}

void text_add(char *out, size_t size, size_t *used, const char *format, ...)
{
	va_list arguments;
	int length;

	if (*used + 1 >= size)
		return;
	va_start(arguments, format);
	length = vsnprintf(out + *used, size - *used, format, arguments);
	va_end(arguments);
	if (length > 0)
		*used += (size_t)length < size - *used ? (size_t)length : size - *used - 1;
}

void text_hex(const uint8_t *bytes, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = '\0';
}

const char *text_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
