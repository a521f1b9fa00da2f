/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "user/probe/scrub.h"
#include "user/probe/sql.h"

#define REMOVED "[removed]"

enum {
	GROWTH = 4,     /* the shortest secret, "://a@", becomes less than four times as long */
	SQL_GROWTH = 3, /* "1" becomes "$10" */
	ENV_NAME = 3,
	SPACES = 2, /* between a key, its sign and its value */
};

struct out {
	char *text;
	size_t size, room;
};

static void put(struct out *out, const char *text, size_t size)
{
	if (size > out->room - out->size)
		size = out->room - out->size;
	memcpy(out->text + out->size, text, size);
	out->size += size;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static bool begins(const char *at, const char *end, const char *word)
{
	size_t size = strlen(word);

	return (size_t)(end - at) >= size && strncasecmp(at, word, size) == 0;
}

static bool ends_in(const char *word, size_t size, const char *const *endings)
{
	for (; *endings; endings++) {
		size_t length = strlen(*endings);

		if (size >= length && strncasecmp(word + size - length, *endings, length) == 0)
			return true;
	}
	return false;
}

static bool is_secret(const char *word, size_t size)
{
	static const char *const endings[] = {
		"password",        "passwd",     "passphrase",  "pwd",           "secret",      "token",
		"apikey",          "api_key",    "api-key",     "access_key",    "private_key", "secret_key",
		"secret_key_base", "credential", "credentials", "authorization", "cookie",      NULL};

	return ends_in(word, size, endings);
}

static bool is_header(const char *word, size_t size)
{
	static const char *const headers[] = {"authorization", "cookie", NULL};

	return ends_in(word, size, headers);
}

static bool is_env_name(const char *word, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!isupper((unsigned char)word[i]) && word[i] != '_' &&
		    (i == 0 || !isdigit((unsigned char)word[i])))
			return false;
	return size >= ENV_NAME;
}

/* The end of "=", ":" or "=>" that follows a key, with the spaces around it; NULL: there is none. */
static const char *sign_end(const char *at, const char *end)
{
	for (int i = 0; i < SPACES && at < end && *at == ' '; i++)
		at++;
	if (at == end || (*at != '=' && *at != ':') || (*at == ':' && at + 1 < end && at[1] == ':') ||
	    begins(at, end, "://"))
		return NULL;
	at += begins(at, end, "=>") ? 2 : 1;
	for (int i = 0; i < SPACES && at < end && *at == ' '; i++)
		at++;
	return at;
}

/* Where a value ends: at its closing quote, at the end of the line, or with the word. */
static const char *value_end(const char *at, const char *end, bool whole_line)
{
	if (begins(at, end, REMOVED))
		return at + strlen(REMOVED);
	if (at < end && (*at == '"' || *at == '\'')) {
		const char *close = memchr(at + 1, *at, (size_t)(end - at - 1));

		return close ? close + 1 : end;
	}
	if (whole_line)
		return end;
	while (at < end && !strchr(" \t,;&)}]\"'", *at))
		at++;
	return at;
}

/* "KEY=VALUE" at `at`: writes it without the value, and returns where it ends; NULL: nothing of the kind. */
static const char *key_value(struct out *out, const char *line, const char *at, const char *end)
{
	const char *word = at, *value, *last;
	size_t size;
	bool env;

	while (at < end && is_word(*at))
		at++;
	size = (size_t)(at - word);
	env = is_env_name(word, size) && at < end && *at == '=';
	if (!size || (!env && !is_secret(word, size)))
		return NULL;
	if (at < end && (*at == '"' || *at == '\''))
		at++;
	value = sign_end(at, end);
	if (!value || value == end)
		return NULL;
	last = value_end(value, end, (env && word == line) || is_header(word, size));
	if (last == value)
		return NULL;
	put(out, word, (size_t)(value - word));
	put(out, REMOVED, strlen(REMOVED));
	return last;
}

/* "://USER:PASSWORD@" at `at`: the last '@' of the word counts, a password may hold one. */
static const char *user_part(struct out *out, const char *at, const char *end)
{
	const char *host = NULL;

	if (!begins(at, end, "://"))
		return NULL;
	for (const char *c = at + 3; c < end && !strchr(" \t\"'`<>", *c); c++)
		if (*c == '@')
			host = c;
	if (!host)
		return NULL;
	put(out, at, 3);
	put(out, REMOVED, strlen(REMOVED));
	return host;
}

static void scrub_words(struct out *out, const char *line, const char *end)
{
	const char *at = line, *next;
	bool inside = false;

	while (at < end) {
		next = inside ? NULL : key_value(out, line, at, end);
		if (!next)
			next = user_part(out, at, end);
		if (next) {
			at = next;
			inside = false;
			continue;
		}
		inside = is_word(*at);
		put(out, at++, 1);
	}
}

/* The first check is for the compiler, which with UBSan thinks of a text that is nowhere. */
static bool holds(const char *from, const char *end, const char *what)
{
	return from && memmem(from, (size_t)(end - from), what, strlen(what));
}

/* Where a statement begins that has a literal: a verb, and later in the line what only SQL has. */
static const char *statement_of(const char *line, const char *end)
{
	static const char *const verbs[] = {"select", "insert", "update", "delete", "with", "alter",
					    "create", "copy",   "set",    "values", NULL};

	for (const char *at = line; at < end; at++) {
		if (at > line && is_word(at[-1]))
			continue;
		for (size_t i = 0; verbs[i]; i++) {
			const char *rest = at + strlen(verbs[i]);

			if (begins(at, end, verbs[i]) && rest < end && (*rest == ' ' || *rest == '\t') &&
			    (holds(rest, end, "'") || holds(rest, end, "$$") || holds(rest, end, " = ")))
				return at;
		}
	}
	return NULL;
}

/*
 * Words first, over the whole line: what looks like a statement may be a sentence ("failed with postgres://…,
 * can't connect") or the value of a variable. Its literals then, and words once more, since what stood in a
 * literal may have kept them apart.
 */
static void scrub_line(struct out *out, const char *line, const char *end)
{
	struct out words = {.room = (size_t)(end - line) * GROWTH + sizeof(REMOVED)};
	const char *statement, *words_end;
	char *normal = NULL;
	size_t size = 0;

	words.text = malloc(words.room);
	if (!words.text) { /* what cannot be told is left out */
		put(out, REMOVED, strlen(REMOVED));
		return;
	}
	scrub_words(&words, line, end);
	words_end = words.text + words.size;
	statement = statement_of(words.text, words_end);
	if (statement)
		size = (size_t)(words_end - statement) * SQL_GROWTH + 1;
	normal = statement ? malloc(size) : NULL;
	put(out, words.text, (size_t)((statement ? statement : words_end) - words.text));
	if (normal)
		scrub_words(out, normal,
			    normal + sql_normalise(statement, (size_t)(words_end - statement), normal, size));
	else if (statement)
		put(out, REMOVED, strlen(REMOVED));
	free(normal);
	free(words.text);
}

char *scrub_text(const char *text, size_t size, size_t *out_size)
{
	struct out out = {.room = size * GROWTH * SQL_GROWTH * GROWTH + sizeof(REMOVED)};
	const char *end = text + size;

	out.text = malloc(out.room + 1);
	if (!out.text)
		return NULL;
	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));

		line_end = line_end ? line_end : end;
		scrub_line(&out, text, line_end);
		if (line_end == end)
			break;
		put(&out, "\n", 1);
		text = line_end + 1;
	}
	out.text[out.size] = '\0';
	*out_size = out.size;
	return out.text;
}
