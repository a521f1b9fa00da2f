/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs say on stderr. Libraries never log (STYLE.md): they return an error and a line, and the
 * program says it once, at the top. Text for a person, or one JSON object a line:
 * {"time","level","event","message"} plus pid of the agent.
 */
#ifndef LAPIDARY_LOG_H
#define LAPIDARY_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_setup(enum log_level level, bool json);
bool log_level_parse(const char *text, enum log_level *out);
/* event: a stable word for machines ("crash", "gap", "start"). */
void log_say(enum log_level level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
