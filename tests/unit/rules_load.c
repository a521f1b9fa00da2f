/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped rules load; a bad rule is refused with its file, its place and what is wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/file.h"
#include "user/rules/rules.h"

static char folder[64];
static const char good[] =
	"{\"name\":\"x\",\"why\":\"because this is only a "
	"test\",\"match\":{\"notice\":\"crash\"},\"per\":[\"app\"],"
	"\"incident\":{\"kind\":\"x\",\"severity\":\"error\",\"subject\":\"{app}\",\"title\":\"{pid}\"},"
	"\"decisions\":[]}";

static void put(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int before(void **state)
{
	char *schema;
	char path[128];
	(void)state;
	strcpy(folder, "/tmp/lapidary-rules.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/schema", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(file_read("rules/schema/rules.schema.json", 1 << 20, &schema, NULL), 0);
	put("schema/rules.schema.json", schema);
	free(schema);
	return 0;
}

static int after(void **state)
{
	static const char *const names[] = {"a.json", "b.json", "note.txt", "schema/rules.schema.json",
					    "schema", ""};
	char path[128];
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
	return 0;
}

static void test_shipped_rules(void **state)
{
	struct rules *rules;
	char why[256];
	(void)state;
	assert_int_equal(rules_load("rules", &rules, why, sizeof(why)), 0);
	assert_int_equal(rules_count(rules), 4);
	rules_free(rules);
}

static void test_digest_follows_names_and_contents(void **state)
{
	struct rules *rules;
	char why[256];
	uint8_t first[32];
	(void)state;
	put("a.json", good);
	put("note.txt", "no rule");
	assert_int_equal(rules_load(folder, &rules, why, sizeof(why)), 0);
	memcpy(first, rules_digest(rules), sizeof(first));
	rules_free(rules);
	assert_int_equal(rules_load(folder, &rules, why, sizeof(why)), 0);
	assert_memory_equal(first, rules_digest(rules), sizeof(first));
	rules_free(rules);
	char changed[sizeof(good) + 2];
	snprintf(changed, sizeof(changed), "%s\n", good);
	put("a.json", changed);
	assert_int_equal(rules_load(folder, &rules, why, sizeof(why)), 0);
	assert_memory_not_equal(first, rules_digest(rules), sizeof(first));
	rules_free(rules);
}

/* Replaces `what` in the good rule by `with`, and expects the refusal to end with `reason`. */
static void refuse(const char *what, const char *with, const char *reason)
{
	struct rules *rules = (void *)&rules;
	char text[1024], why[512], wanted[512];
	const char *at = strstr(good, what);
	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, with, at + strlen(what));
	put("a.json", text);
	assert_int_equal(rules_load(folder, &rules, why, sizeof(why)), -EBADMSG);
	assert_ptr_equal(rules, (void *)&rules);
	snprintf(wanted, sizeof(wanted), "%s/a.json", folder);
	if (strncmp(why, wanted, strlen(wanted)) != 0 || !strstr(why, reason))
		fail_msg("refused with \"%s\", wanted \"%s\"", why, reason);
}

static void test_refusals(void **state)
{
	(void)state;
	refuse("\"crash\"", "\"crsh\"", "/match/notice");
	refuse("\"why\":\"because this is only a test\",", "", "why");
	refuse("\"decisions\":[]", "\"decisions\":[{\"action\":\"sing\",\"reason\":\"x\"}]",
	       "/decisions/0/action");
	refuse("{pid}", "{sqlstate}", "/incident/title: unknown field {sqlstate}");
	refuse("{pid}", "{pid", "/incident/title: unknown field");
	refuse("\"per\":[\"app\"]", "\"per\":[\"app\",\"sqlstate\"]", "/per/1: \"sqlstate\"");
	refuse("\"notice\":\"crash\"", "\"notice\":\"crash\",\"where\":[{\"field\":\"reason\",\"is\":1}]",
	       "/match/where/0/field");
	refuse("\"notice\":\"crash\"", "\"notice\":\"crash\",\"where\":[{\"field\":\"signal\"}]",
	       "/match/where/0: needs exactly one");
	refuse("\"decisions\":[]", "\"decisions\":[],\"window_s\":60,\"quiet_s\":59",
	       "/quiet_s: 59 is shorter");
	refuse("\"decisions\":[]", "\"decisions\":[],\"count\":0", "/count");
	refuse("\"decisions\":[]", "\"decisions\":[{\"action\":\"alert\",\"reason\":\"{x}\"}]",
	       "/decisions/0/reason");
	refuse("\"decisions\":[]",
	       "\"decisions\":[{\"action\":\"alert\",\"reason\":\"x\",\"when\":{\"every\":[{\"field\":\"y\","
	       "\"is\":1}]}}]",
	       "/decisions/0/when/every/0/field");
	refuse("\"decisions\":[]", "\"decisions\":[],\"repeat_s\":0", "/repeat_s");
	refuse("\"decisions\":[]",
	       "\"decisions\":[{\"action\":\"alert\",\"reason\":\"x\",\"when\":{\"same\":\"error\"}}]",
	       "/decisions/0/when/same: \"error\" is no field");
	refuse("\"decisions\":[]",
	       "\"decisions\":[{\"action\":\"alert\",\"reason\":\"x\",\"when\":{\"same\":\"sql\",\"at_"
	       "least\":1}}]",
	       "/decisions/0/when");
	refuse("\"decisions\":[]",
	       "\"decisions\":[{\"action\":\"alert\",\"reason\":\"x\",\"when\":{\"same\":\"sql\"}},"
	       "{\"action\":\"alert\",\"reason\":\"x\",\"when\":{\"same\":\"statement\"}}]",
	       "/decisions/1/when/same: another decision");
	refuse("\"notice\":\"crash\"", "\"notice\":\"probe\"", "/incident/title: unknown field {pid}");
	refuse("\"decisions\":[]", "\"decisions\":[", ":1:");
}

static void test_two_of_one_name(void **state)
{
	struct rules *rules;
	char why[512];
	(void)state;
	put("a.json", good);
	put("b.json", good);
	assert_int_equal(rules_load(folder, &rules, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "b.json: /name: \"x\" is the name of another rule"));
}

static void test_no_such_directory(void **state)
{
	struct rules *rules;
	char why[512];
	(void)state;
	assert_int_equal(rules_load("/nonexistent/rules", &rules, why, sizeof(why)), -ENOENT);
	assert_string_equal(why, "/nonexistent/rules: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped_rules),
		cmocka_unit_test_setup_teardown(test_digest_follows_names_and_contents, before, after),
		cmocka_unit_test_setup_teardown(test_refusals, before, after),
		cmocka_unit_test_setup_teardown(test_two_of_one_name, before, after),
		cmocka_unit_test(test_no_such_directory),
	};
	return cmocka_run_group_tests_name("rules: loading", tests, NULL, NULL);
}
