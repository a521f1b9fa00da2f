/* SPDX-License-Identifier: Apache-2.0 */
/* Text by its lines, for the readers of what lies in an app's folders. Bytes may be anything. */
#ifndef LAPIDARY_LINES_H
#define LAPIDARY_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct lines {
	const char *at, *end;
	unsigned number; /* of the line that was handed out last, from 1 */
};

/* A line without its end ("\n" or "\r\n"), not terminated. */
struct line {
	const char *text;
	size_t size;
};

static inline bool lines_next(struct lines *lines, struct line *out)
{
	const char *newline;

	if (lines->at == lines->end)
		return false;
	newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
	out->text = lines->at;
	out->size = (size_t)((newline ? newline : lines->end) - lines->at);
	lines->at = newline ? newline + 1 : lines->end;
	if (out->size && out->text[out->size - 1] == '\r')
		out->size--;
	lines->number++;
	return true;
}

static inline bool line_begins(struct line line, const char *with)
{
	return line.size >= strlen(with) && !memcmp(line.text, with, strlen(with));
}

static inline struct line line_from(struct line line, size_t skipped)
{
	return (struct line){line.text + skipped, line.size - skipped};
}

static inline struct line line_trim(struct line line)
{
	while (line.size && (*line.text == ' ' || *line.text == '\t'))
		line = line_from(line, 1);
	while (line.size && (line.text[line.size - 1] == ' ' || line.text[line.size - 1] == '\t'))
		line.size--;
	return line;
}

#endif
