/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bundler writes headings at the left edge, their fields at two blanks, gems at four and what those ask for
 * at six. Bundler itself passes over what it does not know; a line that stands where a gem must stand and is
 * none is refused here, since the app would boot with something else than what is told.
 */
#include "user/probe/lockfile.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/lines.h"

enum section { NONE, SOURCE, PLATFORMS, DEPENDENCIES, RUBY, BUNDLED };

struct reader {
	struct lockfile *made;
	size_t room; /* gems that fit into made */
	enum section section;
	uint8_t source;
	bool specs;
	char revision[44];
	size_t dependencies;
	unsigned line;
	char *why;
};

static int refuse(const struct reader *reader, int err, const char *what)
{
	snprintf(reader->why, 160, "line %u: %s", reader->line, what);
	return err;
}

static bool is_word(const char *text, size_t size, const char *also)
{
	for (size_t i = 0; i < size; i++)
		if (!isalnum((unsigned char)text[i]) && (!text[i] || !strchr(also, text[i])))
			return false;
	return size > 0;
}

static bool take(char *out, size_t out_size, struct line word, const char *also)
{
	if (word.size >= out_size || !is_word(word.text, word.size, also))
		return false;
	text_copy_bytes(out, out_size, word.text, word.size);
	return true;
}

static int read_heading(struct reader *reader, struct line line)
{
	static const struct {
		const char *name;
		enum section section;
		uint8_t source;
	} headings[] = {
		{"GEM", SOURCE, LOCKFILE_GEM},   {"GIT", SOURCE, LOCKFILE_GIT},
		{"PATH", SOURCE, LOCKFILE_PATH}, {"PLUGIN SOURCE", SOURCE, LOCKFILE_PLUGIN},
		{"PLATFORMS", PLATFORMS, 0},     {"DEPENDENCIES", DEPENDENCIES, 0},
		{"RUBY VERSION", RUBY, 0},       {"BUNDLED WITH", BUNDLED, 0},
	};

	reader->section = NONE;
	reader->specs = false;
	reader->revision[0] = '\0';
	for (size_t i = 0; i < sizeof(headings) / sizeof(*headings); i++)
		if (line.size == strlen(headings[i].name) && line_begins(line, headings[i].name)) {
			reader->section = headings[i].section;
			reader->source = headings[i].source;
			return 0;
		}
	if (line_begins(line, "<<<<<<<") || line_begins(line, "=======") || line_begins(line, ">>>>>>>"))
		return refuse(reader, -EBADMSG, "an unresolved merge conflict");
	for (size_t i = 0; i < line.size; i++)
		if (!isupper((unsigned char)line.text[i]) && line.text[i] != ' ')
			return refuse(reader, -EBADMSG, "no heading of a Gemfile.lock");
	return 0;
}

/* "name (1.2.3)", "name (1.2.3-x86_64-linux)". */
static int read_gem(struct reader *reader, struct line line)
{
	const char *open = memchr(line.text, ' ', line.size), *dash;
	struct locked_gem *gem;
	struct line version;

	if (reader->made->gem_count == LOCKFILE_GEMS_MAX)
		return refuse(reader, -E2BIG, "more gems than any app has");
	if (reader->made->gem_count == reader->room) {
		size_t room = reader->room * 2;
		struct lockfile *more = realloc(reader->made, sizeof(*more) + room * sizeof(*gem));

		if (!more)
			return refuse(reader, -ENOMEM, "out of memory");
		reader->made = more;
		reader->room = room;
	}
	gem = &reader->made->gems[reader->made->gem_count];
	memset(gem, 0, sizeof(*gem));
	if (!open ||
	    !take(gem->name, sizeof(gem->name), (struct line){line.text, (size_t)(open - line.text)}, "_-."))
		return refuse(reader, -EBADMSG, "no gem's name where one must stand");
	version = line_from(line, (size_t)(open - line.text) + 1);
	if (version.size < 3 || version.text[0] != '(' || version.text[version.size - 1] != ')')
		return refuse(reader, -EBADMSG, "a gem without its version");
	version = (struct line){version.text + 1, version.size - 2};
	dash = memchr(version.text, '-', version.size);
	if (dash) {
		struct line platform = line_from(version, (size_t)(dash - version.text) + 1);

		version.size = (size_t)(dash - version.text);
		if (!take(gem->platform, sizeof(gem->platform), platform, "_-.+"))
			return refuse(reader, -EBADMSG, "no platform after a gem's version");
	}
	if (!take(gem->version, sizeof(gem->version), version, ".") ||
	    !isdigit((unsigned char)gem->version[0]))
		return refuse(reader, -EBADMSG, "no version of a gem");
	gem->source = reader->source;
	text_copy(gem->revision, sizeof(gem->revision), reader->revision);
	reader->made->gem_count++;
	return 0;
}

static int read_source(struct reader *reader, struct line line, size_t indent)
{
	struct line rest = line_from(line, indent);

	if (indent == 2) {
		reader->specs = line_begins(rest, "specs:");
		if (line_begins(rest, "revision: ") && reader->source == LOCKFILE_GIT)
			take(reader->revision, sizeof(reader->revision),
			     line_from(rest, strlen("revision: ")), "");
		return 0;
	}
	return reader->specs && indent == 4 ? read_gem(reader, rest) : 0;
}

/* "  pg (~> 1.4)", "  shop!" */
static int read_dependency(struct reader *reader, struct line line)
{
	char name[sizeof(reader->made->gems[0].name)];
	struct line word = line;

	if (++reader->dependencies > LOCKFILE_GEMS_MAX)
		return refuse(reader, -E2BIG, "more dependencies than any app has");
	word.size = 0;
	while (word.size < line.size && line.text[word.size] != ' ' && line.text[word.size] != '!')
		word.size++;
	if (!take(name, sizeof(name), word, "_-."))
		return refuse(reader, -EBADMSG, "no gem's name where one must stand");
	for (uint32_t i = 0; i < reader->made->gem_count; i++)
		if (!strcmp(reader->made->gems[i].name, name))
			reader->made->gems[i].direct = 1;
	return 0;
}

static int read_platform(struct reader *reader, struct line line)
{
	struct lockfile *made = reader->made;

	if (made->platform_count == LOCKFILE_PLATFORMS_MAX)
		return refuse(reader, -E2BIG, "more than 32 platforms");
	if (!take(made->platforms[made->platform_count], sizeof(made->platforms[0]), line, "_-.+"))
		return refuse(reader, -EBADMSG, "no name of a platform");
	made->platform_count++;
	return 0;
}

static int read_line(struct reader *reader, struct line line)
{
	size_t indent = 0;
	struct line rest;

	if (line.size > LOCKFILE_LINE_MAX)
		return refuse(reader, -E2BIG, "longer than 4096 bytes");
	if (memchr(line.text, '\0', line.size))
		return refuse(reader, -EBADMSG, "a zero byte");
	while (indent < line.size && line.text[indent] == ' ')
		indent++;
	if (indent == line.size)
		return 0;
	if (indent == 0)
		return read_heading(reader, line);
	rest = line_trim(line);
	switch (reader->section) {
	case SOURCE:
		return read_source(reader, line, indent);
	case PLATFORMS:
		return read_platform(reader, rest);
	case DEPENDENCIES:
		return read_dependency(reader, rest);
	case RUBY:
		if (line_begins(rest, "ruby "))
			rest = line_from(rest, strlen("ruby "));
		if (!take(reader->made->ruby, sizeof(reader->made->ruby), rest, ". ()-_+"))
			return refuse(reader, -EBADMSG, "no version of Ruby");
		return 0;
	case BUNDLED:
		if (!take(reader->made->bundler, sizeof(reader->made->bundler), rest, "."))
			return refuse(reader, -EBADMSG, "no version of Bundler");
		return 0;
	case NONE:
		break;
	}
	return 0;
}

int lockfile_parse(const char *bytes, size_t size, struct lockfile **out, char why[160])
{
	struct lines lines = {bytes, bytes + size, 0};
	struct reader reader = {.room = 64, .why = why};
	struct line line;
	int err = 0;

	if (size > LOCKFILE_BYTES_MAX) {
		snprintf(why, 160, "larger than 4 MiB");
		return -E2BIG;
	}
	reader.made = calloc(1, sizeof(*reader.made) + reader.room * sizeof(reader.made->gems[0]));
	if (!reader.made) {
		snprintf(why, 160, "out of memory");
		return -ENOMEM;
	}
	while (!err && lines_next(&lines, &line)) {
		reader.line = lines.number;
		err = read_line(&reader, line);
	}
	if (err) {
		free(reader.made);
		return err;
	}
	reader.made->size =
		(uint32_t)(sizeof(*reader.made) + reader.made->gem_count * sizeof(reader.made->gems[0]));
	*out = reader.made;
	return 0;
}

static bool is_text(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return length < size;
}

bool lockfile_check(const struct lockfile *lockfile, size_t size)
{
	if (size < sizeof(*lockfile) || lockfile->size != size || lockfile->gem_count > LOCKFILE_GEMS_MAX ||
	    lockfile->platform_count > LOCKFILE_PLATFORMS_MAX ||
	    size != sizeof(*lockfile) + lockfile->gem_count * sizeof(lockfile->gems[0]))
		return false;
	if (!is_text(lockfile->ruby, sizeof(lockfile->ruby)) ||
	    !is_text(lockfile->bundler, sizeof(lockfile->bundler)))
		return false;
	for (size_t i = 0; i < LOCKFILE_PLATFORMS_MAX; i++)
		if (!is_text(lockfile->platforms[i], sizeof(lockfile->platforms[i])))
			return false;
	for (size_t i = 0; i < lockfile->gem_count; i++) {
		const struct locked_gem *gem = &lockfile->gems[i];

		if (!gem->name[0] || !is_text(gem->name, sizeof(gem->name)) ||
		    !is_text(gem->version, sizeof(gem->version)) ||
		    !is_text(gem->platform, sizeof(gem->platform)) ||
		    !is_text(gem->revision, sizeof(gem->revision)) || gem->source > LOCKFILE_PLUGIN ||
		    gem->direct > 1)
			return false;
	}
	return true;
}
