/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   # stub: pg 1.4.5 ruby lib              name, version, platform, require paths, these joined by NUL
 *   # stub: ext/extconf.rb                 extensions, joined by NUL; only where there are any
 *
 * RubyGems reads no more than these to find a gem. Behind them, and in files without them, it writes each
 * attribute as one line `  s.name = "pg".freeze`. A value that is no literal (interpolated, computed) is not
 * known, since knowing it would mean to run it.
 */
#include "user/probe/gemspec.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/lines.h"

static const char stub[] = "# stub: ";

static bool is_plain(struct line word)
{
	for (size_t i = 0; i < word.size; i++)
		if ((unsigned char)word.text[i] < ' ' || (unsigned char)word.text[i] > '~')
			return false;
	return word.size > 0;
}

static bool take(char *out, size_t size, struct line word)
{
	if (word.size >= size || !is_plain(word))
		return false;
	text_copy_bytes(out, size, word.text, word.size);
	return true;
}

static bool next_part(struct line *rest, char separator, struct line *out)
{
	const char *at;

	if (!rest->size)
		return false;
	at = memchr(rest->text, separator, rest->size);
	*out = (struct line){rest->text, at ? (size_t)(at - rest->text) : rest->size};
	*rest = line_from(*rest, at ? out->size + 1 : out->size);
	return true;
}

static bool add_path(char paths[][128], size_t room, uint8_t *count, uint8_t *more, struct line path)
{
	if (*count == room) {
		*more = 1;
		return true;
	}
	if (!take(paths[*count], 128, path))
		return false;
	(*count)++;
	return true;
}

static bool add_paths(struct line joined, char paths[][128], size_t room, uint8_t *count, uint8_t *more)
{
	struct line path;

	while (next_part(&joined, '\0', &path))
		if (!add_path(paths, room, count, more, path))
			return false;
	return true;
}

/* The first stub line. */
static bool read_stub(struct line rest, struct gemspec *spec)
{
	struct line name, version, platform;

	if (!next_part(&rest, ' ', &name) || !next_part(&rest, ' ', &version) ||
	    !next_part(&rest, ' ', &platform))
		return false;
	if (!take(spec->name, sizeof(spec->name), name) ||
	    !take(spec->version, sizeof(spec->version), version) ||
	    !take(spec->platform, sizeof(spec->platform), platform))
		return false;
	spec->has_stub = 1;
	return add_paths(rest, spec->require_paths, GEMSPEC_PATHS, &spec->require_path_count, &spec->more);
}

/* The next "…" or '…' of a line, without what makes it no literal. 1: one, 0: none, -1: not to be told. */
static int next_literal(struct line *rest, char *out, size_t size)
{
	size_t used = 0;
	char quote;

	while (rest->size && *rest->text != '"' && *rest->text != '\'') {
		if (*rest->text == '#')
			return 0;
		*rest = line_from(*rest, 1);
	}
	if (!rest->size)
		return 0;
	quote = *rest->text;
	*rest = line_from(*rest, 1);
	for (; rest->size && *rest->text != quote; *rest = line_from(*rest, 1)) {
		if (quote == '"' && rest->size > 1 && rest->text[0] == '#' && rest->text[1] == '{')
			return -1;
		if (*rest->text == '\\' && rest->size > 1)
			*rest = line_from(*rest, 1);
		if (used + 1 >= size || (unsigned char)*rest->text < ' ' || (unsigned char)*rest->text > '~')
			return -1;
		out[used++] = *rest->text;
	}
	if (!rest->size)
		return -1;
	*rest = line_from(*rest, 1);
	out[used] = '\0';
	return 1;
}

static void take_first(struct line value, char *out, size_t size)
{
	char literal[256];

	if (!out[0] && next_literal(&value, literal, sizeof(literal)) == 1 && strlen(literal) < size)
		text_copy(out, size, literal);
}

/* Requirements as RubyGems says them in a line: ">= 2.7, < 3.4.dev". */
static void take_requirement(struct line value, struct gemspec *spec)
{
	char literal[64], joined[sizeof(spec->required_ruby)];
	size_t used = 0;
	int found;

	if (spec->required_ruby[0])
		return;
	joined[0] = '\0';
	while ((found = next_literal(&value, literal, sizeof(literal))) == 1) {
		if (used + strlen(literal) + 3 > sizeof(joined))
			return;
		text_add(joined, sizeof(joined), &used, "%s%s", used ? ", " : "", literal);
	}
	if (found == 0)
		text_copy(spec->required_ruby, sizeof(spec->required_ruby), joined);
}

static void take_list(struct line value, char paths[][128], size_t room, uint8_t *count, uint8_t *more)
{
	char literal[128];
	int found;

	if (*count)
		return;
	while ((found = next_literal(&value, literal, sizeof(literal))) == 1)
		if (literal[0])
			add_path(paths, room, count, more, (struct line){literal, strlen(literal)});
	if (found < 0)
		*more = 1;
}

/* "  s.name = …": the attribute, and what is assigned. */
static bool is_assignment(struct line line, struct line *name, struct line *value)
{
	size_t i = 0, dot;

	while (i < line.size && (isalnum((unsigned char)line.text[i]) || line.text[i] == '_'))
		i++;
	if (i == 0 || i == line.size || line.text[i] != '.')
		return false;
	dot = i++;
	while (i < line.size && (isalnum((unsigned char)line.text[i]) || line.text[i] == '_'))
		i++;
	*name = (struct line){line.text + dot + 1, i - dot - 1};
	while (i < line.size && line.text[i] == ' ')
		i++;
	if (i + 1 >= line.size || line.text[i] != '=' || line.text[i + 1] == '=' || line.text[i + 1] == '~')
		return false;
	*value = line_from(line, i + 1);
	return true;
}

static bool is(struct line name, const char *word)
{
	return name.size == strlen(word) && line_begins(name, word);
}

static void read_assignment(struct line line, struct gemspec *spec)
{
	struct line name, value;

	if (!is_assignment(line, &name, &value))
		return;
	if (is(name, "name"))
		take_first(value, spec->name, sizeof(spec->name));
	else if (is(name, "version"))
		take_first(value, spec->version, sizeof(spec->version));
	else if (is(name, "platform"))
		take_first(value, spec->platform, sizeof(spec->platform));
	else if (is(name, "required_ruby_version"))
		take_requirement(value, spec);
	else if (is(name, "require_paths"))
		take_list(value, spec->require_paths, GEMSPEC_PATHS, &spec->require_path_count, &spec->more);
	else if (is(name, "extensions"))
		take_list(value, spec->extensions, GEMSPEC_EXTENSIONS, &spec->extension_count, &spec->more);
}

static bool read_line(struct line line, struct gemspec *spec, unsigned *stubs)
{
	if (!line_begins(line, stub)) {
		read_assignment(line_trim(line), spec);
		return true;
	}
	line = line_from(line, strlen(stub));
	switch ((*stubs)++) {
	case 0:
		return read_stub(line, spec);
	case 1:
		return add_paths(line, spec->extensions, GEMSPEC_EXTENSIONS, &spec->extension_count,
				 &spec->more);
	default:
		return true;
	}
}

int gemspec_parse(const char *bytes, size_t size, struct gemspec *out, char why[160])
{
	struct lines lines = {bytes, bytes + size, 0};
	struct gemspec spec = {0};
	unsigned stubs = 0;
	struct line line;

	if (size > GEMSPEC_BYTES_MAX) {
		snprintf(why, 160, "larger than 1 MiB");
		return -E2BIG;
	}
	while (lines_next(&lines, &line))
		if (!read_line(line, &spec, &stubs)) {
			snprintf(why, 160, "line %u: no stub line of RubyGems", lines.number);
			return -EBADMSG;
		}
	if (!spec.name[0] || !spec.version[0]) {
		snprintf(why, 160, "line %u: at its end, and no %s was found", lines.number,
			 spec.name[0] ? "version" : "name");
		return -EBADMSG;
	}
	if (!spec.platform[0])
		text_copy(spec.platform, sizeof(spec.platform), "ruby");
	if (!spec.require_path_count && !spec.more)
		text_copy(spec.require_paths[spec.require_path_count++], sizeof(spec.require_paths[0]),
			  "lib");
	*out = spec;
	return 0;
}
