/* SPDX-License-Identifier: Apache-2.0 */
/* Bundler writes this YAML with a writer of its own: `KEY: "value"` at the left edge, lists indented below.
 */
#include "user/probe/bundle_config.h"
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/lines.h"

/* Without its quotes, if they are whole. */
static bool unquote(struct line *value)
{
	char quote = value->size ? value->text[0] : '\0';

	if (quote != '"' && quote != '\'')
		return true;
	if (value->size < 2 || value->text[value->size - 1] != quote)
		return false;
	*value = (struct line){value->text + 1, value->size - 2};
	return !memchr(value->text, quote, value->size);
}

/* What is no text is refused: a path with a letter replaced is another path. */
static bool take(char *out, size_t size, struct line value)
{
	char text[1024];

	if (value.size >= size || value.size >= sizeof(text) || memchr(value.text, '\0', value.size))
		return false;
	text_copy_bytes(text, sizeof(text), value.text, value.size);
	if (text_clean(text) != 0)
		return false;
	text_copy(out, size, text);
	return true;
}

static bool keep(struct bundle_config *config, struct line key, struct line value)
{
	const struct {
		const char *key;
		char *text;
		size_t size;
		char *flag;
	} kept[] = {
		{"BUNDLE_PATH", config->path, sizeof(config->path), NULL},
		{"BUNDLE_GEMFILE", config->gemfile, sizeof(config->gemfile), NULL},
		{"BUNDLE_WITHOUT", config->without, sizeof(config->without), NULL},
		{"BUNDLE_DEPLOYMENT", NULL, 0, &config->deployment},
		{"BUNDLE_FROZEN", NULL, 0, &config->frozen},
		{"BUNDLE_PATH__SYSTEM", NULL, 0, &config->path_system},
		{"BUNDLE_FORCE_RUBY_PLATFORM", NULL, 0, &config->force_ruby_platform},
	};

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		if (key.size != strlen(kept[i].key) || !line_begins(key, kept[i].key))
			continue;
		if (kept[i].flag)
			*kept[i].flag = value.size == 4 && line_begins(value, "true");
		return kept[i].flag || take(kept[i].text, kept[i].size, value);
	}
	return true;
}

static const char *read_line(struct bundle_config *config, struct line line)
{
	const char *colon;
	struct line key, value;

	if (!line.size || line.text[0] == ' ' || line.text[0] == '-' || line.text[0] == '#')
		return NULL;
	/* a key may hold the colon of an address: BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/ */
	colon = memmem(line.text, line.size, ": ", 2);
	if (!colon && line.text[line.size - 1] == ':')
		colon = line.text + line.size - 1;
	if (!colon)
		return "no key with a value";
	key = (struct line){line.text, (size_t)(colon - line.text)};
	value = line_trim(line_from(line, key.size + 1));
	if (!unquote(&value))
		return "a quote that does not end";
	return keep(config, key, value) ? NULL : "a value that is too long or no text";
}

int bundle_config_parse(const char *bytes, size_t size, struct bundle_config *out, char why[160])
{
	struct lines lines = {bytes, bytes + size, 0};
	struct bundle_config config = {0};
	struct line line;

	if (size > BUNDLE_CONFIG_BYTES_MAX) {
		snprintf(why, 160, "larger than 64 KiB");
		return -E2BIG;
	}
	while (lines_next(&lines, &line)) {
		const char *problem = read_line(&config, line);

		if (problem) {
			snprintf(why, 160, "line %u: %s", lines.number, problem);
			return -EBADMSG;
		}
	}
	*out = config;
	return 0;
}
