// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "user/base/when.h"

#define NS 1000000000ull

void when_rfc3339(uint64_t wall_ns, char out[WHEN_SIZE])
{
	time_t seconds = (time_t)(wall_ns / NS);
	struct tm tm;
	char date[24];

	if (!gmtime_r(&seconds, &tm) || !strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm))
		date[0] = '\0';
	snprintf(out, WHEN_SIZE, "%s.%09uZ", date, (unsigned)(wall_ns % NS));
}

/* ".123" and the like: *ns in nanoseconds; returns where it ended, NULL if there is no digit. */
static const char *parse_fraction(const char *text, uint64_t *ns)
{
	uint64_t unit = NS / 10;

	*ns = 0;
	if (*text != '.')
		return text;
	if (text[1] < '0' || text[1] > '9')
		return NULL;
	for (text++; *text >= '0' && *text <= '9' && unit > 0; text++, unit /= 10)
		*ns += (uint64_t)(*text - '0') * unit;
	return text;
}

static bool parse_offset(const char *text, int64_t *seconds)
{
	int hours, minutes, length = 0;
	char sign;

	*seconds = 0;
	if (strcmp(text, "Z") == 0)
		return true;
	if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &length) != 3 || text[length] != '\0')
		return false;
	if ((sign != '+' && sign != '-') || hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return false;
	*seconds = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

bool when_parse(const char *text, uint64_t *wall_ns)
{
	struct tm tm = {0};
	uint64_t fraction;
	int64_t offset, seconds;
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!rest || !(rest = parse_fraction(rest, &fraction)) || !parse_offset(rest, &offset))
		return false;
	seconds = (int64_t)timegm(&tm) - offset;
	if (seconds < 0)
		return false;
	*wall_ns = (uint64_t)seconds * NS + fraction;
	return true;
}

static uint64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS + (uint64_t)now.tv_nsec;
}

uint64_t when_wall_now(void)
{
	return clock_now(CLOCK_REALTIME);
}

uint64_t when_boot_now(void)
{
	return clock_now(CLOCK_BOOTTIME);
}
