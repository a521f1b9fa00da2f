// SPDX-License-Identifier: Apache-2.0
/*
 * The rules are those of PostgreSQL's scan.l; where its versions differ, the reading that hides more wins.
 *
 * Two settings that the text does not show change where a literal ends. With standard_conforming_strings
 * off, a backslash escapes the quote after it in a plain literal too; and in client encodings such as
 * Shift-JIS or GBK a backslash can be the second byte of a character, and then escapes nothing. Both are
 * rare, and a wrong guess would turn the text inside out, so either makes the rest of the statement one
 * LEX_REST. Every byte is looked at a bounded number of times and nothing recurses.
 */
#include <string.h>
#include <strings.h>
#include "user/probe/sql_lex.h"

static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word_start(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

bool lex_is_word_byte(unsigned char c)
{
	return is_word_start(c) || is_digit(c) || c == '$';
}

static bool is_space(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct lexer lexer_of(const char *text, size_t size)
{
	struct lexer lexer = {(const unsigned char *)text, (const unsigned char *)text};

	lexer.end += strnlen(text, size);
	return lexer;
}

/* The byte `ahead` places on, 0 beyond the end (no byte of the input is 0). */
static unsigned char peek(const struct lexer *lexer, size_t ahead)
{
	return ahead < (size_t)(lexer->end - lexer->at) ? lexer->at[ahead] : 0;
}

static void skip_line(struct lexer *lexer)
{
	while (lexer->at < lexer->end && *lexer->at != '\n' && *lexer->at != '\r')
		lexer->at++;
}

static void skip_block_comment(struct lexer *lexer)
{
	size_t depth = 0;

	do {
		if (peek(lexer, 0) == '/' && peek(lexer, 1) == '*') {
			depth++;
			lexer->at += 2;
		} else if (peek(lexer, 0) == '*' && peek(lexer, 1) == '/') {
			depth--;
			lexer->at += 2;
		} else {
			lexer->at++;
		}
	} while (depth > 0 && lexer->at < lexer->end);
}

static bool skip_space(struct lexer *lexer)
{
	const unsigned char *begin = lexer->at;

	while (lexer->at < lexer->end) {
		if (is_space(*lexer->at))
			lexer->at++;
		else if (peek(lexer, 0) == '-' && peek(lexer, 1) == '-')
			skip_line(lexer);
		else if (peek(lexer, 0) == '/' && peek(lexer, 1) == '*')
			skip_block_comment(lexer);
		else
			break;
	}
	return lexer->at > begin;
}

/*
 * 'one'<newline>'two' is one literal, read to its end by the rules of its first piece. Moves behind the
 * quote that goes on, if there is one.
 */
static bool continues(struct lexer *lexer)
{
	struct lexer ahead = *lexer;
	bool newline = false;

	for (; ahead.at < ahead.end; ahead.at++) {
		if (peek(&ahead, 0) == '-' && peek(&ahead, 1) == '-')
			skip_line(&ahead);
		if (!is_space(peek(&ahead, 0)))
			break;
		newline |= *ahead.at == '\n' || *ahead.at == '\r';
	}
	if (!newline || peek(&ahead, 0) != '\'')
		return false;
	lexer->at = ahead.at + 1;
	return true;
}

static enum lex_kind rest(struct lexer *lexer)
{
	lexer->at = lexer->end;
	return LEX_REST;
}

/* Behind the opening quote. */
static enum lex_kind string(struct lexer *lexer, bool escapes)
{
	while (lexer->at < lexer->end) {
		unsigned char c = *lexer->at, next = peek(lexer, 1);

		if (c == '\\' && escapes) {
			if (lexer->at[-1] >= 0x80)
				return rest(lexer);
			lexer->at += next ? 2 : 1;
		} else if (c == '\\' && next == '\'') {
			return rest(lexer);
		} else if (c != '\'') {
			lexer->at++;
		} else if (next == '\'') {
			lexer->at += 2;
		} else {
			lexer->at++;
			if (!continues(lexer))
				return LEX_LITERAL;
		}
	}
	return LEX_REST;
}

static enum lex_kind quoted_name(struct lexer *lexer)
{
	for (lexer->at++; lexer->at < lexer->end; lexer->at++) {
		if (*lexer->at != '"')
			continue;
		lexer->at++;
		if (peek(lexer, 0) != '"')
			return LEX_QUOTED;
	}
	return LEX_REST;
}

static void skip_word(struct lexer *lexer)
{
	while (lex_is_word_byte(peek(lexer, 0)))
		lexer->at++;
}

/* A name, or the letter before a quote that says how the string is to be read. */
static enum lex_kind word(struct lexer *lexer)
{
	unsigned char letter = *lexer->at | 0x20;

	if (strchr("ebxn", letter) && peek(lexer, 1) == '\'') {
		lexer->at += 2;
		return string(lexer, letter == 'e');
	}
	if (letter == 'u' && peek(lexer, 1) == '&' && peek(lexer, 2) == '\'') {
		lexer->at += 3;
		return string(lexer, false);
	}
	skip_word(lexer);
	return LEX_WORD;
}

/* Letters that touch a number go with it: 0x1F, 1_000, and what older servers took for a name. */
static enum lex_kind number(struct lexer *lexer)
{
	while (is_digit(peek(lexer, 0)))
		lexer->at++;
	if (peek(lexer, 0) == '.')
		lexer->at++;
	while (is_digit(peek(lexer, 0)))
		lexer->at++;
	if ((peek(lexer, 0) | 0x20) == 'e' && (peek(lexer, 1) == '-' || peek(lexer, 1) == '+') &&
	    is_digit(peek(lexer, 2)))
		lexer->at += 2;
	if (is_word_start(peek(lexer, 0)) || is_digit(peek(lexer, 0)))
		skip_word(lexer);
	return LEX_LITERAL;
}

static enum lex_kind parameter(struct lexer *lexer, unsigned *out)
{
	unsigned value = 0;

	for (lexer->at++; is_digit(peek(lexer, 0)); lexer->at++)
		if (value <= LEX_PARAM_MAX)
			value = value * 10 + (unsigned)(*lexer->at - '0');
	*out = value;
	return value <= LEX_PARAM_MAX ? LEX_PARAM : LEX_LITERAL;
}

/* $tag$…$tag$, and a lone dollar sign, which no valid statement has. */
static enum lex_kind dollar(struct lexer *lexer)
{
	const unsigned char *tag = lexer->at, *closing;
	struct lexer ahead = *lexer;
	size_t size;

	ahead.at++;
	while (is_word_start(peek(&ahead, 0)) || is_digit(peek(&ahead, 0)))
		ahead.at++;
	if (ahead.at == ahead.end && ahead.at > tag + 1)
		return rest(lexer);
	if (peek(&ahead, 0) != '$') {
		lexer->at++;
		return LEX_OTHER;
	}
	size = (size_t)(ahead.at + 1 - tag);
	closing = memmem(tag + size, (size_t)(lexer->end - tag) - size, tag, size);
	if (!closing)
		return rest(lexer);
	lexer->at = closing + size;
	return LEX_LITERAL;
}

struct lex_token lexer_next(struct lexer *lexer)
{
	struct lex_token token = {LEX_OTHER, lexer->at, 0, 0};
	unsigned char c = peek(lexer, 0), next = peek(lexer, 1);

	if (lexer->at == lexer->end)
		token.kind = LEX_END;
	else if (skip_space(lexer))
		token.kind = LEX_SPACE;
	else if (is_word_start(c))
		token.kind = word(lexer);
	else if (is_digit(c) || (c == '.' && is_digit(next)))
		token.kind = number(lexer);
	else if (c == '$' && is_digit(next))
		token.kind = parameter(lexer, &token.number);
	else if (c == '$')
		token.kind = dollar(lexer);
	else if (c == '"')
		token.kind = quoted_name(lexer);
	else if (c != '\'')
		lexer->at++;
	else {
		lexer->at++;
		token.kind = string(lexer, false);
	}
	token.size = (size_t)(lexer->at - token.text);
	return token;
}

bool lex_is(const struct lex_token *token, const char *name)
{
	return token->kind == LEX_WORD && token->size == strlen(name) &&
	       strncasecmp((const char *)token->text, name, token->size) == 0;
}

bool lex_is_other(const struct lex_token *token, char character)
{
	return token->kind == LEX_OTHER && *token->text == (unsigned char)character;
}
