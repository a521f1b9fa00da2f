/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix that is shipped, and what a bad one gets. Run from the top of the tree. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/file.h"
#include "user/gems/matrix.h"

static char why[256];

static void what_is_shipped(void **state)
{
	struct matrix_answer answers[MATRIX_ANSWERS];
	struct matrix *matrix;
	size_t count;

	(void)state;
	if (matrix_load("rules", &matrix, why, sizeof(why)))
		fail_msg("%s", why);
	assert_true(matrix_count(matrix) >= 60);
	count = matrix_ask(matrix,
			   &(struct matrix_query){.gem = "bcrypt", .version = "3.1.14", .ruby = "3.1.7"},
			   answers, MATRIX_ANSWERS);
	assert_int_equal(count, 1);
	assert_int_equal(answers[0].rating, MATRIX_BAD);
	assert_string_equal(answers[0].id, "bcrypt-3.1.14-ruby-2.7");
	assert_string_equal(answers[0].fixed_in, "3.1.15");
	assert_string_equal(answers[0].at, "bcrypt-ruby/bcrypt-ruby#230");
	matrix_free(matrix);
	matrix_free(NULL);
	assert_int_equal(matrix_ask(NULL, &(struct matrix_query){.gem = "pg"}, answers, MATRIX_ANSWERS), 0);
}

static void the_worst_stands_first(void **state)
{
	static const char text[] =
		"{\"lines\":["
		"{\"id\":\"a\",\"gem\":\"x\",\"rating\":\"good\",\"says\":\"made for it\",\"references\":[{"
		"\"title\":\"t\",\"at\":\"a/b#1\"}]},"
		"{\"id\":\"b\",\"gem\":\"x\",\"rating\":\"risk\",\"says\":\"may crash\",\"references\":[{"
		"\"title\":\"t\",\"at\":\"a/b#2\"}]},"
		"{\"id\":\"c\",\"gem\":\"x\",\"rating\":\"bad\",\"says\":\"does not load\",\"references\":[{"
		"\"title\":\"t\",\"at\":\"a/b#3\"}]}]}";
	struct matrix_answer answers[2];
	struct matrix *matrix;

	(void)state;
	assert_int_equal(matrix_parse("x", text, NULL, &matrix, why, sizeof(why)), 0);
	assert_int_equal(matrix_ask(matrix, &(struct matrix_query){.gem = "x"}, answers, 2), 2);
	assert_string_equal(answers[0].id, "c");
	assert_string_equal(answers[1].id, "b");
	assert_int_equal(matrix_ask(matrix, &(struct matrix_query){.gem = "y"}, answers, 2), 0);
	assert_int_equal(matrix_ask(matrix, &(struct matrix_query){0}, answers, 2), 0);
	matrix_free(matrix);
}

#define REFERENCE  "\"references\":[{\"title\":\"t\",\"at\":\"a/b#1\"}]"
#define LINE(more) "{\"lines\":[{\"id\":\"a\",\"gem\":\"pg\",\"rating\":\"bad\",\"says\":\"no\"," more "}]}"

static void what_is_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "m:1:1: "},
		{"[]", "m: /lines: no list"},
		{"{\"lines\":{}}", "m: /lines: no list"},
		{"{\"lines\":[1]}", "m: /lines/0: a line has"},
		{LINE("\"references\":[]"), "m: /lines/0: no public reference"},
		{LINE("\"references\":[{\"title\":\"t\"}]"), "m: /lines/0: no public reference"},
		{LINE(REFERENCE ",\"versions\":{}"), "m: /lines/0: bounds are versions"},
		{LINE(REFERENCE ",\"versions\":{\"from\":\"2\",\"below\":\"1\"}"), "m: /lines/0: bounds are"},
		{LINE(REFERENCE ",\"ruby\":{\"below\":\"three\"}"), "m: /lines/0: bounds are versions"},
		{LINE(REFERENCE ",\"built\":\"somewhere\""), "m: /lines/0: built is"},
		{LINE(REFERENCE ",\"libraries\":[1]"), "m: /lines/0: no list of patterns"},
		{LINE(REFERENCE ",\"fixed_in\":\"soon\""), "m: /lines/0: fixed_in"},
		{"{\"lines\":[{\"id\":\"a\",\"gem\":\"pg\",\"rating\":\"fine\",\"says\":\"no\"," REFERENCE
		 "}]}",
		 "m: /lines/0: rating is"},
		{"{\"lines\":[{\"id\":\"a\",\"gem\":\"pg\",\"rating\":\"bad\",\"says\":\"no\"," REFERENCE
		 "},{\"id\":\"a\",\"gem\":\"pg\",\"rating\":\"bad\",\"says\":\"no\"," REFERENCE "}]}",
		 "m: /lines/1: its id is that of another"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct matrix *matrix = NULL;

		why[0] = '\0';
		if (matrix_parse("m", cases[i].text, NULL, &matrix, why, sizeof(why)) == 0)
			fail_msg("case %zu was taken", i);
		if (strncmp(why, cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("case %zu: %s", i, why);
	}
}

static void put(const char *dir, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* A folder of one's own: its matrix counts, held against the schema that is there. */
static void folders(void **state)
{
	char dir[] = "/tmp/lapidary-matrix-XXXXXX", command[128], *schema;
	struct matrix *matrix;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof(command), "mkdir %s/schema", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(file_read("rules/schema/gems.schema.json", 1 << 20, &schema, NULL), 0);
	put(dir, "schema/gems.schema.json", schema);
	free(schema);
	put(dir, "gems.json", LINE(REFERENCE ",\"colour\":\"red\""));
	assert_int_equal(matrix_load(dir, &matrix, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "/gems.json: "));
	put(dir, "gems.json",
	    "{\"why\":\"a matrix of the test's "
	    "own\",\"lines\":[{\"id\":\"a\",\"gem\":\"pg\",\"rating\":\"bad\","
	    "\"says\":\"does not load\",\"references\":[{\"title\":\"where\",\"at\":\"a/b#1\"}]}]}");
	if (matrix_load(dir, &matrix, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(matrix_count(matrix), 1);
	matrix_free(matrix);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_shipped),
		cmocka_unit_test(the_worst_stands_first),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
