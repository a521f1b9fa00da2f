// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/schema.h"

static const char schema_text[] =
	"{\"type\":\"object\",\"required\":[\"name\"],\"additionalProperties\":false,\"properties\":{"
	"\"name\":{\"type\":\"string\",\"minLength\":1,\"pattern\":\"^[a-z]+$\"},"
	"\"count\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10},"
	"\"kind\":{\"enum\":[\"a\",\"b\"]},"
	"\"list\":{\"type\":\"array\",\"maxItems\":2,\"items\":{\"$ref\":\"#/$defs/pair\"}},"
	"\"either\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"number\"}]}},"
	"\"$defs\":{\"pair\":{\"type\":[\"object\",\"null\"],\"required\":[\"x\"]}}}";

static void documents_are_judged_with_their_place(void **state)
{
	static const struct {
		const char *document, *why; /* why NULL: valid */
	} cases[] = {
		{"{\"name\":\"ab\",\"count\":3,\"kind\":\"b\",\"list\":[{\"x\":1},null],\"either\":null}",
		 NULL},
		{"{}", "/: lacks name"},
		{"[]", "/: must be of type object"},
		{"{\"name\":\"\"}", "/name: the length must be at least 1"},
		{"{\"name\":\"A\"}", "/name: must match ^[a-z]+$"},
		{"{\"name\":\"a\",\"count\":0}", "/count: must be at least 1"},
		{"{\"name\":\"a\",\"count\":11}", "/count: must be at most 10"},
		{"{\"name\":\"a\",\"count\":1.5}", "/count: must be of type integer"},
		{"{\"name\":\"a\",\"kind\":\"c\"}", "/kind: must be one of a, b"},
		{"{\"name\":\"a\",\"nmae\":1}", "/: unknown key nmae"},
		{"{\"name\":\"a\",\"list\":[{\"x\":1},{}]}", "/list/1: lacks x"},
		{"{\"name\":\"a\",\"list\":[7]}", "/list/0: must be of type object or null"},
		{"{\"name\":\"a\",\"list\":[null,null,null]}",
		 "/list: the number of entries must be at most 2"},
		{"{\"name\":\"a\",\"either\":\"x\"}", "/either: must be of type number"},
	};
	cJSON *schema = cJSON_Parse(schema_text);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cJSON *document = cJSON_Parse(cases[i].document);
		char why[256] = "";
		int err = schema_check(schema, document, why, sizeof(why));

		assert_int_equal(err, cases[i].why ? -EBADMSG : 0);
		if (cases[i].why)
			assert_string_equal(why, cases[i].why);
		cJSON_Delete(document);
	}
	cJSON_Delete(schema);
}

static void unknown_keywords_are_the_schemas_fault(void **state)
{
	cJSON *schema = cJSON_Parse("{\"uniqueItems\":true}"), *document = cJSON_Parse("[]");
	char why[256];

	(void)state;
	assert_int_equal(schema_check(schema, document, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "uniqueItems"));
	cJSON_Delete(schema);
	cJSON_Delete(document);
}

static void parse_errors_have_a_place(void **state)
{
	cJSON *json = NULL;
	char why[256];

	(void)state;
	assert_int_equal(json_parse("file", "{\n  \"a\": 1,\n  oops\n}", &json, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "file:3:")); /* the column is cJSON's, which may be one off */
	assert_int_equal(json_parse("file", "{} {}", &json, why, sizeof(why)), -EBADMSG);
	assert_null(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_are_judged_with_their_place),
		cmocka_unit_test(unknown_keywords_are_the_schemas_fault),
		cmocka_unit_test(parse_errors_have_a_place),
	};

	return cmocka_run_group_tests_name("base: schema", tests, NULL, NULL);
}
