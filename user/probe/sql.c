// SPDX-License-Identifier: Apache-2.0
/*
 * The normal form is written token by token, from what has been read so far, and a token that does not fit
 * ends it. So a form that was cut is the beginning of the whole one, and reads the same when it is
 * normalised again.
 *
 * Parameters keep their numbers; literals are numbered behind the highest one. A list of values behind IN
 * becomes ($1, …), however long it is, so that like groups with like. Bytes that are no text become '_'
 * inside a name, which keeps it one name, and '?' elsewhere.
 *
 * One form carries values without any quoting: the lines after COPY … FROM STDIN; in a script that was sent
 * whole. They are left out.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/sql.h"
#include "user/probe/sql_lex.h"

#define ELLIPSIS "\xe2\x80\xa6"

enum list { LIST_NONE, LIST_OPEN, LIST_VALUE, LIST_COMMA };

struct normal {
	struct lexer lexer;
	char *out;
	size_t size, used;
	unsigned number; /* of the last parameter given out */
	bool space;      /* there was white space before the coming token */
	bool full;
	bool first_word, copy, from_stdin; /* of the running statement */
	bool after_in;
	enum list list;    /* behind "IN (": what came last; a comma is held back */
	bool folded;       /* its "…" is written */
	bool comma_spaced; /* white space before the comma held back */
};

static void clean(char *text, bool name)
{
	if (text_clean(text) == 0 || !name)
		return;
	for (; *text; text++)
		if (*text == '?')
			*text = '_';
}

static void emit(struct normal *n, const void *text, size_t size, bool name)
{
	unsigned char first = *(const unsigned char *)text;
	size_t gap = n->used > 0 && (n->space || (lex_is_word_byte(first) &&
						  lex_is_word_byte((unsigned char)n->out[n->used - 1])));

	if (n->full || size + gap >= n->size - n->used) {
		n->full = true;
		return;
	}
	if (gap)
		n->out[n->used++] = ' ';
	memcpy(n->out + n->used, text, size);
	n->out[n->used + size] = '\0';
	clean(n->out + n->used, name);
	n->used += size;
	n->space = false;
}

static void emit_token(struct normal *n, const struct lex_token *token)
{
	emit(n, token->text, token->size, token->kind == LEX_WORD);
}

/* What stands for a value: a parameter for itself. */
static void emit_value(struct normal *n, const struct lex_token *token)
{
	char text[16];

	if (token->kind == LEX_PARAM) {
		emit_token(n, token);
		return;
	}
	n->number += n->number < LEX_PARAM_MAX;
	emit(n, text, (size_t)snprintf(text, sizeof(text), "$%u", n->number), false);
}

static struct lex_token next_solid(struct lexer *lexer)
{
	struct lex_token token;

	do
		token = lexer_next(lexer);
	while (token.kind == LEX_SPACE);
	return token;
}

static bool is_value(const struct lex_token *token)
{
	return token->kind == LEX_LITERAL || token->kind == LEX_PARAM || token->kind == LEX_REST ||
	       lex_is(token, "null") || lex_is(token, "true") || lex_is(token, "false") ||
	       lex_is(token, ELLIPSIS);
}

/* A value, with its sign; moves the lexer behind it and *token to it. */
static bool take_value(struct normal *n, struct lex_token *token)
{
	struct lexer ahead = n->lexer;
	struct lex_token value = *token;

	if (lex_is_other(token, '-') || lex_is_other(token, '+'))
		value = next_solid(&ahead);
	if (!is_value(&value))
		return false;
	n->lexer = ahead;
	*token = value;
	return true;
}

/* "::name" behind its first colon. */
static bool take_cast(struct normal *n, const struct lex_token *token)
{
	struct lexer ahead = n->lexer;
	struct lex_token second, name;

	if (!lex_is_other(token, ':'))
		return false;
	second = next_solid(&ahead);
	name = next_solid(&ahead);
	if (!lex_is_other(&second, ':') || name.kind != LEX_WORD)
		return false;
	n->lexer = ahead;
	return true;
}

static void release_comma(struct normal *n)
{
	bool space = n->space;

	n->space = n->comma_spaced;
	emit(n, ",", 1, false);
	n->space = space;
}

/* The token as part of a list; false when it is none, and the list is over. */
static bool list_step(struct normal *n, struct lex_token *token)
{
	enum list was = n->list;

	n->list = LIST_VALUE;
	if (was == LIST_VALUE && lex_is_other(token, ',')) {
		n->comma_spaced = n->space;
		n->list = LIST_COMMA;
	} else if (was == LIST_VALUE && take_cast(n, token)) {
		/* what type a value is given says nothing that its column does not */
	} else if (was == LIST_OPEN && take_value(n, token)) {
		n->space = false;
		emit_value(n, token);
	} else if (was == LIST_COMMA && take_value(n, token)) {
		n->space = false;
		if (!n->folded)
			emit(n, ", " ELLIPSIS, strlen(", " ELLIPSIS), false);
		n->folded = true;
	} else {
		n->list = LIST_NONE;
		if (was == LIST_COMMA)
			release_comma(n);
		else if (was == LIST_VALUE && lex_is_other(token, ')'))
			n->space = false;
		return false;
	}
	n->space = false;
	return true;
}

/* Words and punctuation; false at the end of what may be shown. */
static bool step(struct normal *n, const struct lex_token *token)
{
	bool list = n->after_in && lex_is_other(token, '(');

	emit_token(n, token);
	n->after_in = lex_is(token, "in");
	n->list = list ? LIST_OPEN : LIST_NONE;
	n->folded = false;
	if (token->kind == LEX_WORD) {
		n->copy = n->first_word ? lex_is(token, "copy") : n->copy;
		n->from_stdin |= lex_is(token, "stdin");
		n->first_word = false;
	}
	if (!lex_is_other(token, ';'))
		return true;
	if (n->copy && n->from_stdin)
		return false;
	n->first_word = true;
	n->copy = n->from_stdin = false;
	return true;
}

static unsigned highest_parameter(struct lexer lexer)
{
	struct lex_token token = {.kind = LEX_SPACE};
	unsigned highest = 0;

	while (token.kind != LEX_END) {
		token = lexer_next(&lexer);
		if (token.kind == LEX_PARAM && token.number > highest)
			highest = token.number;
	}
	return highest;
}

size_t sql_normalise(const char *in, size_t in_size, char *out, size_t out_size)
{
	struct normal n = {.lexer = lexer_of(in, in_size), .out = out, .size = out_size, .first_word = true};
	bool more = out_size > 0;

	if (more)
		out[0] = '\0';
	n.number = highest_parameter(n.lexer);
	while (more && !n.full) {
		struct lex_token token = lexer_next(&n.lexer);

		if (token.kind == LEX_SPACE) {
			n.space = true;
			continue;
		}
		if (n.list != LIST_NONE && list_step(&n, &token))
			continue;
		if (token.kind == LEX_LITERAL || token.kind == LEX_PARAM || token.kind == LEX_REST) {
			emit_value(&n, &token);
			n.after_in = false;
		} else {
			more = token.kind != LEX_END && step(&n, &token);
		}
	}
	return n.used;
}
