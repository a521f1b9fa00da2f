/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build of an extension prints, in both logs: the compiler's -I of Ruby's headers, whose folder is
 * called ruby-<ABI>; the linker's -lruby-<ABI> where there is a libruby and a distribution renames it; and,
 * in gem_make.out alone, the Ruby that ran extconf.rb. Make may have been quiet: then the last is all.
 */
#include "user/probe/build_log.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/lines.h"

static size_t digits(const char *text, const char *end)
{
	const char *at = text;

	while (at < end && isdigit((unsigned char)*at))
		at++;
	return (size_t)(at - text);
}

/* "3.1" or "3.1.7" at text, nothing alphanumeric behind it → "3.1.0". Returns what it took, 0: none. */
static size_t read_abi(const char *text, const char *end, bool third, char out[16])
{
	size_t major = digits(text, end), minor, size, used = 0;

	if (!major || major > 2 || text + major == end || text[major] != '.')
		return 0;
	minor = digits(text + major + 1, end);
	if (!minor || minor > 2)
		return 0;
	size = major + 1 + minor;
	if (text + size < end && text[size] == '.') {
		size_t teeny = digits(text + size + 1, end);

		if (teeny)
			size += 1 + teeny;
		else if (third)
			return 0;
	} else if (third) {
		return 0;
	}
	if (text + size < end && isalnum((unsigned char)text[size]) && text[size] != 'p')
		return 0;
	text_add(out, 16, &used, "%.*s.0", (int)(major + 1 + minor), text);
	return size;
}

static void note_abi(struct build_log *log, const char *abi)
{
	if (!log->abi[0])
		text_copy(log->abi, sizeof(log->abi), abi);
	else if (strcmp(log->abi, abi) != 0)
		log->conflicting = 1;
}

/* "-I/usr/include/ruby-3.1.0", also with what follows; not the folder of a Ruby's sources alone. */
static void read_include(struct line word, struct build_log *log)
{
	const char *end = word.text + word.size;
	char abi[16] = "";

	for (const char *at = word.text; (at = memmem(at, (size_t)(end - at), "/ruby-", 6)); at += 6)
		if (memmem(word.text, (size_t)(at - word.text), "include", 7) &&
		    read_abi(at + 6, end, true, abi))
			note_abi(log, abi);
}

static void read_library(struct line word, struct build_log *log)
{
	static const char *const names[] = {"-lruby-", "-lruby", "-l:libruby.so.", "-l:libruby-"};
	char abi[16] = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (line_begins(word, names[i]) &&
		    read_abi(word.text + strlen(names[i]), word.text + word.size, false, abi)) {
			note_abi(log, abi);
			return;
		}
}

static bool next_word(struct line *rest, struct line *out)
{
	size_t size = 0;

	while (rest->size && strchr(" \t\"'", *rest->text) && *rest->text)
		*rest = line_from(*rest, 1);
	while (size < rest->size && (!rest->text[size] || !strchr(" \t\"'", rest->text[size])))
		size++;
	*out = (struct line){rest->text, size};
	*rest = line_from(*rest, size);
	return size > 0;
}

static bool is_ruby_path(struct line word)
{
	const char *slash = memrchr(word.text, '/', word.size);

	if (word.text[0] != '/' || !slash)
		return false;
	for (size_t i = 0; i < word.size; i++)
		if ((unsigned char)word.text[i] <= ' ' || (unsigned char)word.text[i] > '~')
			return false;
	return line_begins(line_from(word, (size_t)(slash + 1 - word.text)), "ruby");
}

/* The line that runs extconf.rb begins with the Ruby that runs it. */
static void read_command(struct line line, struct build_log *log)
{
	struct line word, rest = line;

	if (log->ruby[0] || !memmem(line.text, line.size, "extconf.rb", strlen("extconf.rb")))
		return;
	if (next_word(&rest, &word) && word.size < sizeof(log->ruby) && is_ruby_path(word))
		text_copy_bytes(log->ruby, sizeof(log->ruby), word.text, word.size);
}

/* "/usr/bin/ruby3.1", ".../versions/3.1.7/bin/ruby", ".../rubies/ruby-3.1.7/bin/ruby". */
static void read_program(struct build_log *log)
{
	const char *base = text_base(log->ruby), *end = log->ruby + strlen(log->ruby), *at = log->ruby;

	if (!log->ruby[0] || read_abi(base + 4, end, false, log->abi))
		return;
	if (read_abi(base + 4 + (base[4] == '-'), end, false, log->abi))
		return;
	while ((at = strchr(at, '/')) && !log->abi[0]) {
		at++;
		read_abi(strncmp(at, "ruby-", 5) ? at : at + 5, end, true, log->abi);
	}
}

int build_log_parse(const char *bytes, size_t size, struct build_log *out, char why[160])
{
	struct lines lines = {bytes, bytes + size, 0};
	struct line line, word;

	if (size > BUILD_LOG_BYTES_MAX) {
		snprintf(why, 160, "larger than 4 MiB");
		return -E2BIG;
	}
	memset(out, 0, sizeof(*out));
	while (lines_next(&lines, &line)) {
		read_command(line, out);
		while (next_word(&line, &word)) {
			if (line_begins(word, "-I"))
				read_include(word, out);
			else if (line_begins(word, "-l"))
				read_library(word, out);
		}
	}
	if (out->conflicting)
		out->abi[0] = '\0';
	else if (!out->abi[0])
		read_program(out);
	return 0;
}
