// SPDX-License-Identifier: Apache-2.0
/* The normal form of statements, one notation of PostgreSQL after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "user/probe/sql.h"

struct example {
	const char *in, *out;
};

static void check(const struct example *examples, size_t count)
{
	char out[512], again[512];

	for (size_t i = 0; i < count; i++) {
		size_t length = sql_normalise(examples[i].in, strlen(examples[i].in), out, sizeof(out));

		assert_string_equal(out, examples[i].out);
		assert_int_equal(length, strlen(out));
		assert_int_equal(sql_normalise(out, length, again, sizeof(again)), length);
		assert_string_equal(again, out);
	}
}
#define CHECK(examples) check(examples, sizeof(examples) / sizeof((examples)[0]))

static void strings_become_parameters(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"select 'a'", "select $1"},
		{"select 'it''s', 'b'", "select $1, $2"},
		{"select E'it\\'s \\\\', 'b'", "select $1, $2"},
		{"select e'\\\\' , b'01', X'ff', N'n', U&'\\0041'", "select $1 , $2, $3, $4, $5"},
		{"select U&'d!0061t' uescape '!'", "select $1 uescape $2"},
		{"select date'2026-01-01'", "select date $1"},
		{"select 'a'\n  'b' , 'c'", "select $1 , $2"},
		{"select E'a' -- why\n 'b\\'c', 'd'", "select $1, $2"},
		{"select 'a' 'b'", "select $1 $2"},
		{"select name'x'", "select name $1"},
		{"select ''", "select $1"},
	};

	CHECK(examples);
}

static void dollar_quotes_become_parameters(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"select $$a'b$$", "select $1"},
		{"select $x$ $$ 'a' $y$ $x$, 'b'", "select $1, $2"},
		{"do $body$begin raise 'x'; end$body$ language plpgsql", "do $1 language plpgsql"},
		{"select a$b$ , 'c$b$'", "select a$b$ , $1"},
		{"select $\xc3\xa9$x$\xc3\xa9$", "select $1"},
		{"select $1, $2 , 'x'", "select $1, $2 , $3"},
		{"select $70000", "select $1"},
		{"select $ 'a'", "select $ $1"},
	};

	CHECK(examples);
}

static void numbers_become_parameters(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"select 1, 1.5, .5, 1e10, 1.5E-3, 0x1F, 1_000", "select $1, $2, $3, $4, $5, $6, $7"},
		{"select t1.c2 from t1 where a=-1", "select t1.c2 from t1 where a=-$1"},
		{"select 1+1", "select $1+$2"},
		{"select a[1:2], '1'::int", "select a[$1:$2], $3::int"},
		{"limit 10 offset 20", "limit $1 offset $2"},
		{"select 1from t", "select $1 t"},
	};

	CHECK(examples);
}

static void comments_go_and_white_space_folds(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"  select\t\r\n 1  ", "select $1"},
		{"select 1 -- it's\n, 2", "select $1 , $2"},
		{"select /* a /* ' */ b */ 1", "select $1"},
		{"select a/**/b", "select a b"},
		{"select 1 -/**/- 2", "select $1 - - $2"},
		{"/* password='x' */", ""},
		{"select 1 /* password='x'", "select $1"},
		{"select 1 -- password", "select $1"},
		{"", ""},
	};

	CHECK(examples);
}

static void names_stay(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"select \"it's\", \"a\"\"b\" from \"T 1\"", "select \"it's\", \"a\"\"b\" from \"T 1\""},
		{"select U&\"d\\0061t\"", "select U&\"d\\0061t\""},
		{"select \xc3\xa9t\xc3\xa9 from caf\xc3\xa9", "select \xc3\xa9t\xc3\xa9 from caf\xc3\xa9"},
		{"select a\xff, \"b\xff\x01\"", "select a_, \"b??\""},
		{"select a \x01 b", "select a ? b"},
		{"SELECT Id FROM T", "SELECT Id FROM T"},
		{"select a->>'k', b @> '{}', c ? 'd'", "select a->>$1, b @> $2, c ? $3"},
	};

	CHECK(examples);
}

static void lists_fold(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"where id in (1, 2, 3)", "where id in ($1, \xe2\x80\xa6)"},
		{"where id IN(1,2)and b = 'c'", "where id IN($1, \xe2\x80\xa6)and b = $2"},
		{"where id in (1)", "where id in ($1)"},
		{"where id in ( -1, 'a'::uuid, null, $4 ) or x = 5",
		 "where id in ($5, \xe2\x80\xa6) or x = $6"},
		{"where id in ($1, $2, $3)", "where id in ($1, \xe2\x80\xa6)"},
		{"where id in (1, f(2))", "where id in ($1, f($2))"},
		{"where id in (1, 2, 3 , f(4), 5)", "where id in ($1, \xe2\x80\xa6 , f($2), $3)"},
		{"where id in ('a'::uuid )", "where id in ($1)"},
		{"where id in (select 1)", "where id in (select $1)"},
		{"where id in (1, 2", "where id in ($1, \xe2\x80\xa6"},
		{"where id in (1, 'cut he", "where id in ($1, \xe2\x80\xa6"},
	};

	CHECK(examples);
}

static void what_may_be_a_value_is_left_out(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"select 'cut he", "select $1"},
		{"select E'cut \\", "select $1"},
		{"select $a$cut $a", "select $1"},
		{"select 1, $cut", "select $1, $2"},
		{"select \"cut", "select $1"},
		/* one literal, or two and a name between them: standard_conforming_strings decides */
		{"select 'a\\', secret, 'b'", "select $1"},
		{"select 'a\\b', c", "select $1, c"},
		/* Shift-JIS: the backslash is the second half of a character */
		{"select E'\x83\\', secret", "select $1"},
		{"copy t from stdin;\n1\tsecret\n\\.\n", "copy t from stdin;"},
		{"COPY t FROM STDIN", "COPY t FROM STDIN"},
		{"copy t from '/a'; select b from stdin; select 1",
		 "copy t from $1; select b from stdin; select $2"},
	};

	CHECK(examples);
}

static void passwords_go(void **state)
{
	(void)state;
	static const struct example examples[] = {
		{"ALTER ROLE app PASSWORD 'x'", "ALTER ROLE app PASSWORD $1"},
		{"CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'u', password 'x')",
		 "CREATE USER MAPPING FOR a SERVER s OPTIONS (user $1, password $2)"},
		{"COPY t TO PROGRAM 'curl -u a:b http://c'", "COPY t TO PROGRAM $1"},
		{"select dblink('host=a password=b')", "select dblink($1)"},
		{"create subscription s connection 'password=b' publication p",
		 "create subscription s connection $1 publication p"},
	};

	CHECK(examples);
}

static void output_is_cut_between_tokens(void **state)
{
	(void)state;
	char out[16];

	assert_int_equal(sql_normalise("select abc, 12345", 17, out, 12), 11);
	assert_string_equal(out, "select abc,");
	assert_int_equal(sql_normalise("select abcdef", 13, out, 13), 6);
	assert_string_equal(out, "select");
	assert_int_equal(sql_normalise("select", 6, out, 1), 0);
	assert_string_equal(out, "");
	assert_int_equal(sql_normalise("select\0 'a'", 11, out, sizeof(out)), 6);
	out[0] = 'x';
	assert_int_equal(sql_normalise("select", 6, out, 0), 0);
	assert_int_equal(out[0], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_become_parameters),
		cmocka_unit_test(dollar_quotes_become_parameters),
		cmocka_unit_test(numbers_become_parameters),
		cmocka_unit_test(comments_go_and_white_space_folds),
		cmocka_unit_test(names_stay),
		cmocka_unit_test(lists_fold),
		cmocka_unit_test(what_may_be_a_value_is_left_out),
		cmocka_unit_test(passwords_go),
		cmocka_unit_test(output_is_cut_between_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
