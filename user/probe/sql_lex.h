/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL's lexical rules, as far as one must know them to tell a value from the rest of a statement.
 * Tokens are borrowed slices of the input. Where the text alone does not say where a literal ends, all that
 * is left becomes one token, LEX_REST: it may be a value, so it is taken for one.
 */
#ifndef LAPIDARY_SQL_LEX_H
#define LAPIDARY_SQL_LEX_H

#include <stdbool.h>
#include <stddef.h>

enum lex_kind {
	LEX_END,
	LEX_SPACE,   /* white space and comments */
	LEX_WORD,    /* key word or name */
	LEX_QUOTED,  /* "name", quotes included */
	LEX_PARAM,   /* $1 */
	LEX_LITERAL, /* string or number, in any notation */
	LEX_REST,    /* unterminated or ambiguous: reaches to the end of the input */
	LEX_OTHER,   /* one character of an operator or punctuation */
};

struct lex_token {
	enum lex_kind kind;
	const unsigned char *text;
	size_t size;
	unsigned number; /* LEX_PARAM */
};

/* Copy it to look ahead. */
struct lexer {
	const unsigned char *at, *end;
};

enum { LEX_PARAM_MAX = 65535 }; /* the protocol counts parameters in 16 bits; a larger one is a value */

struct lexer lexer_of(const char *text, size_t size); /* ends at a NUL, if there is one */
struct lex_token lexer_next(struct lexer *lexer);

bool lex_is_word_byte(unsigned char byte);                    /* may stand inside a name or a parameter */
bool lex_is(const struct lex_token *token, const char *word); /* a LEX_WORD, without regard to case */
bool lex_is_other(const struct lex_token *token, char character);

#endif
