// SPDX-License-Identifier: Apache-2.0
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static enum log_level threshold = LOG_INFO;
static bool as_json;

void log_setup(enum log_level level, bool json)
{
	threshold = level;
	as_json = json;
}

bool log_level_parse(const char *text, enum log_level *out)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static char *json_line(enum log_level level, const char *event, const char *when, const char *message)
{
	cJSON *line = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(line, "time", when);
	cJSON_AddStringToObject(line, "level", level_names[level]);
	cJSON_AddStringToObject(line, "event", event);
	cJSON_AddStringToObject(line, "message", message);
	cJSON_AddNumberToObject(line, "agent_pid", getpid());
	text = cJSON_PrintUnformatted(line);
	cJSON_Delete(line);
	return text;
}

void log_say(enum log_level level, const char *event, const char *format, ...)
{
	char message[1024], when[WHEN_SIZE], line[1200];
	va_list arguments;
	size_t used = 0;

	if (level < threshold)
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	text_clean(message);
	when_rfc3339(when_wall_now(), when);
	if (as_json) {
		char *text = json_line(level, event, when, message);

		dprintf(STDERR_FILENO, "%s\n", text ? text : "{}");
		free(text);
		return;
	}
	/* one write a line, so that lines of several processes do not mix */
	text_add(line, sizeof(line) - 1, &used, "%.8s %-5s %-9s %s", when + 11, level_names[level], event,
		 message);
	line[used++] = '\n';
	file_write_all(STDERR_FILENO, line, used);
}
