// SPDX-License-Identifier: Apache-2.0
/*
 * start-end perms offset major:minor inode      path
 *
 * The path is chosen by the watched process: it may hold blanks, has its newlines as \012, and gets
 * " (deleted)" behind it when the file is gone. That last is taken off, since the mmap records do not have
 * it, and device, inode and build-id say which file it was.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include "user/probe/maps_text.h"

void maps_text_init(struct maps_text *text, const char *bytes, size_t size)
{
	*text = (struct maps_text){.at = bytes, .end = bytes + size};
}

static bool take_number(const char **at, const char *end, unsigned base, uint64_t *out)
{
	uint64_t value = 0;
	const char *begin = *at;

	for (; *at < end; ++*at) {
		unsigned c = (unsigned char)**at;
		unsigned digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;

		if (digit >= base)
			break;
		if (value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	*out = value;
	return *at > begin;
}

static bool take(const char **at, const char *end, char wanted)
{
	if (*at == end || **at != wanted)
		return false;
	++*at;
	return true;
}

static bool take_protection(const char **at, const char *end, uint32_t *out)
{
	const char *s = *at;

	if (end - s < 4 || (s[0] != 'r' && s[0] != '-') || (s[1] != 'w' && s[1] != '-') ||
	    (s[2] != 'x' && s[2] != '-') || (s[3] != 'p' && s[3] != 's'))
		return false;
	*out = (s[0] == 'r' ? PROT_READ : 0) | (s[1] == 'w' ? PROT_WRITE : 0) | (s[2] == 'x' ? PROT_EXEC : 0);
	*at += 4;
	return true;
}

static bool take_path(const char *at, const char *end, char out[MAPS_PATH])
{
	static const char deleted[] = " (deleted)";
	size_t size, tail = sizeof(deleted) - 1, used = 0;

	while (at < end && *at == ' ')
		at++;
	size = (size_t)(end - at);
	if (size >= MAPS_PATH || memchr(at, '\0', size))
		return false;
	if (size > tail && *at == '/' && memcmp(end - tail, deleted, tail) == 0)
		size -= tail;
	for (size_t i = 0; i < size; i++) {
		bool newline = size - i >= 4 && memcmp(at + i, "\\012", 4) == 0;

		out[used++] = newline ? '\n' : at[i];
		i += newline ? 3 : 0;
	}
	out[used] = '\0';
	return true;
}

static bool parse_line(const char *at, const char *end, struct maps_region *out, char path[MAPS_PATH])
{
	uint64_t major, minor;

	*out = (struct maps_region){.path = path};
	if (!take_number(&at, end, 16, &out->start) || !take(&at, end, '-') ||
	    !take_number(&at, end, 16, &out->end) || !take(&at, end, ' ') ||
	    !take_protection(&at, end, &out->protection) || !take(&at, end, ' ') ||
	    !take_number(&at, end, 16, &out->offset) || !take(&at, end, ' ') ||
	    !take_number(&at, end, 16, &major) || !take(&at, end, ':') ||
	    !take_number(&at, end, 16, &minor) || !take(&at, end, ' ') ||
	    !take_number(&at, end, 10, &out->inode))
		return false;
	if (out->start >= out->end || major > UINT32_MAX || minor > UINT32_MAX || (at < end && *at != ' '))
		return false;
	out->device_major = (uint32_t)major;
	out->device_minor = (uint32_t)minor;
	return take_path(at, end, path);
}

int maps_text_next(struct maps_text *text, struct maps_region *out)
{
	while (text->at < text->end) {
		const char *line = text->at, *end = memchr(line, '\n', (size_t)(text->end - line));

		if (!end)
			end = text->end;
		text->at = end < text->end ? end + 1 : end;
		if (parse_line(line, end, out, text->path))
			return 1;
		text->bad++;
	}
	return 0;
}

void maps_text_inside(char *text, size_t *size, const char *root)
{
	size_t root_size = strlen(root);
	char *to = text;

	for (char *line = text, *next; *line; line = next) {
		char *path = strpbrk(line, "/\n"); /* no field before the path has a slash */

		next = line + strcspn(line, "\n");
		next += *next == '\n';
		if (root_size > 1 && path && path < next && strncmp(path, root, root_size) == 0 &&
		    path[root_size] == '/') {
			memmove(to, line, (size_t)(path - line));
			to += path - line;
			line = path + root_size;
		}
		memmove(to, line, (size_t)(next - line));
		to += next - line;
	}
	*to = '\0';
	*size = (size_t)(to - text);
}
