// SPDX-License-Identifier: Apache-2.0
/*
 * The normal form is written token by token, and a token that does not fit ends it: so it is never cut
 * inside one, reads the same when it is normalised again, and groups like with like.
 *
 * Parameters keep their numbers; literals are numbered behind the highest one. A list of values behind IN
 * becomes ($1, …), however long it is. Bytes that are no text become '_' inside a name, which keeps it one
 * name, and '?' elsewhere.
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

struct normal {
	struct lexer lexer;
	char *out;
	size_t size, used;
	unsigned number; /* of the last parameter given out */
	bool space;      /* there was white space before the coming token */
	bool full;
	bool first_word, copy, from_stdin; /* of the running statement */
	bool after_in;
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
	emit(n, text, (size_t)snprintf(text, sizeof(text), "$%u", ++n->number), false);
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

/* One value with its sign and casts; moves the lexer behind it. */
static bool list_element(struct lexer *lexer, struct lex_token *value)
{
	struct lexer ahead;

	*value = next_solid(lexer);
	if (lex_is_other(value, '-') || lex_is_other(value, '+'))
		*value = next_solid(lexer);
	if (!is_value(value))
		return false;
	for (ahead = *lexer;; *lexer = ahead) {
		struct lex_token colon = next_solid(&ahead), second = next_solid(&ahead),
				 type = next_solid(&ahead);

		if (!lex_is_other(&colon, ':') || !lex_is_other(&second, ':') || type.kind != LEX_WORD)
			return true;
	}
}

/* Behind "IN (": writes the list in short, unless there is more in it than values. */
static void fold_list(struct normal *n)
{
	struct lexer at = n->lexer, ahead;
	struct lex_token first, value, separator;
	size_t count = 0;

	for (;;) {
		if (!list_element(&at, count == 0 ? &first : &value))
			return;
		count++;
		ahead = at;
		separator = next_solid(&ahead);
		if (!lex_is_other(&separator, ','))
			break;
		at = ahead;
	}
	if (count < 2 || (separator.kind != LEX_END && !lex_is_other(&separator, ')')))
		return;
	n->lexer = ahead;
	emit_value(n, &first);
	emit(n, ", " ELLIPSIS, strlen(", " ELLIPSIS), false);
	if (separator.kind != LEX_END)
		emit_token(n, &separator);
}

/* Words and punctuation; false at the end of what may be shown. */
static bool step(struct normal *n, const struct lex_token *token)
{
	bool list = n->after_in && lex_is_other(token, '(');

	emit_token(n, token);
	n->after_in = lex_is(token, "in");
	if (list)
		fold_list(n);
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
	struct lex_token token = {LEX_SPACE};
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

		switch (token.kind) {
		case LEX_END:
			more = false;
			break;
		case LEX_SPACE:
			n.space = true;
			break;
		case LEX_LITERAL:
		case LEX_PARAM:
		case LEX_REST:
			emit_value(&n, &token);
			n.after_in = false;
			break;
		default:
			more = step(&n, &token);
		}
	}
	return n.used;
}
