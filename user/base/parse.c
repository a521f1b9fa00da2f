// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/parse.h"

/* A number at the start of text; *rest is what follows it. strtoull alone would take "-1" and " 7". */
static bool parse_number(const char *text, uint64_t *out, const char **rest)
{
	char *end;
	unsigned long long value;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, text[1] == 'x' ? 16 : 10);
	if (errno || end == text)
		return false;
	*out = value;
	*rest = end;
	return true;
}

bool parse_u64(const char *text, uint64_t *out)
{
	const char *rest;
	uint64_t value;

	if (!parse_number(text, &value, &rest) || *rest)
		return false;
	*out = value;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static bool parse_with_unit(const char *text, const struct unit *units, uint64_t *out)
{
	const char *rest;
	uint64_t value;

	if (!parse_number(text, &value, &rest))
		return false;
	for (; units->name; units++) {
		if (strcmp(rest, units->name) != 0)
			continue;
		return !__builtin_mul_overflow(value, units->factor, &value) && (*out = value, true);
	}
	return false;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = {
		{"", 1}, {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {0}};

	return parse_with_unit(text, units, bytes);
}

bool parse_duration_ms(const char *text, uint64_t *ms)
{
	static const struct unit units[] = {{"", 1000},     {"ms", 1},       {"s", 1000}, {"m", 60000},
					    {"h", 3600000}, {"d", 86400000}, {0}};

	return parse_with_unit(text, units, ms);
}

bool parse_bool(const char *text, bool *out)
{
	static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off",
										    "0"};

	for (int i = 0; i < 4; i++) {
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			*out = strcmp(text, yes[i]) == 0;
			return true;
		}
	}
	return false;
}
