/* SPDX-License-Identifier: Apache-2.0 */
/* Where settings come from, what is refused and in which words, and that the reference names them all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/config_file.h"
#include "user/base/file.h"
#include "user/base/schema.h"
#include "user/base/json.h"

static void test_defaults(void **state)
{
	(void)state;
	file_says("{}");
	assert_int_equal(load("--config", path, NULL), 0);
	assert_string_equal(config.state_dir, "/var/lib/lapidary");
	assert_string_equal(config.capture, "stack");
	assert_int_equal(config.stack_bytes, 131072);
	assert_int_equal(config.sample_interval_ms, 5000);
	assert_true(config.uprobe_multi);
	assert_int_equal(config.record_limit, 1 << 30);
	assert_int_equal(config.sources[SETTING_state_dir], SOURCE_DEFAULT);
	assert_int_equal(count, 1);
}

static void test_order(void **state)
{
	(void)state;
	file_says("{\"why\": \"a comment\", \"log_level\": \"warn\", \"stack_bytes\": \"16K\", "
		  "\"stop_timeout_ms\": 250}");
	assert_int_equal(load("--config", path, NULL), 0);
	assert_string_equal(config.log_level, "warn");
	assert_int_equal(config.stack_bytes, 16384);
	assert_int_equal(config.stop_timeout_ms, 250);
	assert_int_equal(config.sources[SETTING_log_level], SOURCE_FILE);
	assert_string_equal(config.file, path);
	setenv("LAPIDARY_LOG_LEVEL", "error", 1);
	assert_int_equal(load("--config", path, NULL), 0);
	assert_string_equal(config.log_level, "error");
	assert_int_equal(config.sources[SETTING_log_level], SOURCE_ENVIRONMENT);
	assert_int_equal(load("--log-level=debug", "--config", path, "--json", NULL), 0);
	assert_string_equal(config.log_level, "debug");
	assert_int_equal(config.sources[SETTING_log_level], SOURCE_FLAG);
	/* what is no setting stays for the command */
	assert_int_equal(count, 2);
	assert_string_equal(words[1], "--json");
	unsetenv("LAPIDARY_LOG_LEVEL");
	/* behind "--" nothing is a flag */
	assert_int_equal(load("--config", path, "--", "--log-level", "debug", NULL), 0);
	assert_string_equal(config.log_level, "warn");
	assert_int_equal(count, 4);
}

static void test_every_setting_three_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *setting = &settings[i];
		const char *value = setting->type == TYPE_PATH       ? "/x"
				    : setting->type == TYPE_DURATION ? "4s"
				    : setting->type == TYPE_RING     ? "2M"
				    : setting->type == TYPE_SWITCH   ? "off"
				    : setting->type == TYPE_SIZE     ? "4K"
								     : "77";
		char text[160];

		if (setting->type == TYPE_CHOICE)
			value = strrchr(setting->choices, ' ') + 1;
		print_message("%s = %s\n", setting->key, value);
		if (setting->type == TYPE_SWITCH)
			snprintf(text, sizeof(text), "{\"%s\": false}", setting->key);
		else if (setting->type == TYPE_NUMBER)
			snprintf(text, sizeof(text), "{\"%s\": %s}", setting->key, value);
		else
			snprintf(text, sizeof(text), "{\"%s\": \"%s\"}", setting->key, value);
		assert_int_equal(load_file(text), 0);
		assert_int_equal(config.sources[i], SOURCE_FILE);
		cJSON *from_file = setting_value(setting, &config);
		file_says("{}");
		assert_int_equal(load("--config", path, setting->flag, value, NULL), 0);
		assert_int_equal(config.sources[i], SOURCE_FLAG);
		cJSON *from_flag = setting_value(setting, &config);
		setenv(setting->variable, value, 1);
		assert_int_equal(load("--config", path, NULL), 0);
		unsetenv(setting->variable);
		assert_int_equal(config.sources[i], SOURCE_ENVIRONMENT);
		cJSON *from_variable = setting_value(setting, &config);
		assert_true(cJSON_Compare(from_file, from_flag, 1));
		assert_true(cJSON_Compare(from_file, from_variable, 1));
		cJSON_Delete(from_file);
		cJSON_Delete(from_flag);
		cJSON_Delete(from_variable);
	}
}

static void test_refused_files(void **state)
{
	static const struct {
		const char *text, *place, *allowed;
	} cases[] = {
		{"{\"stat_dir\": \"/x\"}", "/stat_dir: unknown key", "config show"},
		{"{\"log_level\": \"loud\"}", "/log_level: \"loud\" is not known",
		 "debug, info, warn, error"},
		{"{\"log_level\": 3}", "/log_level: has the wrong type", "debug"},
		{"{\"stack_bytes\": 524289}", "/stack_bytes: 524289 is out of range", "0 to 524288 bytes"},
		{"{\"stack_bytes\": -1}", "/stack_bytes: -1 is out of range", "0 to 524288"},
		{"{\"stack_bytes\": 0.5}", "/stack_bytes: 0.5 is no whole number", "0 to 524288"},
		{"{\"stack_bytes\": \"much\"}", "/stack_bytes: much is no size", "0 to 524288"},
		{"{\"life_ring\": 100000}", "/life_ring: 100000 is not a power of two", "power of two"},
		{"{\"examiner_uid\": 1e300}", "/examiner_uid: 1", "1 to 4294967293"},
		{"{\"examiner_uid\": \"7\"}", "/examiner_uid: has the wrong type", "whole number"},
		{"{\"uprobe_multi\": \"on\"}", "/uprobe_multi: has the wrong type", "true or false"},
		{"{\"state_dir\": \"\"}", "/state_dir: \"\" is empty", "1 to 255"},
		{"{\"state_dir\": \"/a\\nb\"}", "/state_dir", "not printable"},
		{"{\"stop_timeout_ms\": 5, \"stop_timeout_ms\": 5}", "/stop_timeout_ms: 5 is out of range",
		 "100 to 600000 ms"},
		{"{\"log_level\": \"info\", \"log_level\": \"info\"}", "/log_level: is there twice", ""},
		{"[]", "must be one JSON object", ""},
		{"{\"log_level\": }", ":1:", "JSON"},
		{"{\"apps\": {}}", "/apps: must be a list", ""},
		{"{\"apps\": [{\"uid\": 1}]}", "/apps/0/name: is missing", ""},
		{"{\"apps\": [{\"name\": \"a\"}, {\"name\": \"b c\"}]}", "/apps/1/name", "letters"},
		{"{\"apps\": [{\"name\": \"a\", \"uid\": -1}]}", "/apps/0/uid", "0 to 4294967294"},
		{"{\"apps\": [{\"name\": \"a\", \"capture\": \"all\"}]}", "/apps/0/capture",
		 "none, registers, stack"},
		{"{\"apps\": [{\"name\": \"a\", \"comand\": \"x\"}]}", "/apps/0/comand: unknown key",
		 "command"},
		{"{\"apps\": [{\"exclude\": true}]}", "/apps/0/exclude", "needs"},
		{"{\"apps\": [7]}", "/apps/0: must be an object", ""},
		{"{\"apps\": [{\"name\": \"a\", \"uid\": 1, \"uid\": 2}]}", "/apps/0/uid: is there twice",
		 ""},
		{"{\"apps\": [{\"name\": \"all\"}]}", "/apps/0/name: may not be \"all\"", "every app"},
		{"{\"apps\": [{\"name\": \"a\", \"act\": 1}]}", "/apps/0/act: must be true or false", ""},
		{"{\"apps\": [{\"name\": \"a\", \"signal_init\": \"yes\"}]}", "/apps/0/signal_init: must be",
		 ""},
		{"{\"apps\": [{\"exclude\": true, \"uid\": 1, \"act\": true}]}",
		 "/apps/0/exclude: stands beside", "not watched"},
		{"{\"act\": \"shop,\"}", "/act: \"shop,\" is no list of names",
		 "names of apps with commas, or all"},
		{"{\"act\": \"shop, jobs\"}", "/act: ", "no list of names"},
		{"{\"act\": \"shop,all\"}", "/act: ", "all stands alone"},
		{"{\"act\": [\"shop\"]}", "/act: has the wrong type", "a text"},
		{"{\"act\": true}", "/act: has the wrong type", "or all"},
		{"{\"peer_uids\": \"1000,-1\"}", "/peer_uids: \"1000,-1\" is no list of user ids",
		 "0 to 4294967294"},
		{"{\"peer_uids\": \"4294967295\"}", "/peer_uids: ", "no list of user ids"},
		{"{\"peer_uids\": \"0x10\"}", "/peer_uids: ", "no list of user ids"},
		{"{\"peer_uids\": \"1 000\"}", "/peer_uids: ", "no list of user ids"},
		{"{\"peer_uids\": 1000}", "/peer_uids: has the wrong type", "with commas"},
		{"{\"lease_ms\": 999}", "/lease_ms: 999 is out of range", "1000 to 30000 ms"},
		{"{\"hold_max_ms\": 20001}", "/hold_max_ms: 20001 is out of range", "0 to 20000 ms"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		print_message("%s\n", cases[i].text);
		assert_int_equal(load_file(cases[i].text), 2);
		assert_int_equal(strncmp(why, path, strlen(path)), 0);
		if (!strstr(why, cases[i].place) || !strstr(why, cases[i].allowed) || strchr(why, '\n'))
			fail_msg("'%s' lacks '%s' or '%s'", why, cases[i].place, cases[i].allowed);
	}
}

static void test_refused_elsewhere(void **state)
{
	(void)state;
	file_says("{}");
	assert_int_equal(load("--config", path, "--life-ring", "7", NULL), 2);
	refused("--life-ring: 7 is out of range; allowed: 65536 to");
	assert_int_equal(load("--config", path, "--state-dir", NULL), 2);
	refused("--state-dir: needs a value");
	setenv("LAPIDARY_COLOR", "pink", 1);
	assert_int_equal(load("--config", path, NULL), 2);
	refused("LAPIDARY_COLOR: \"pink\" is not known; allowed: auto, always, never");
	unsetenv("LAPIDARY_COLOR");
	assert_int_equal(load("--config", "/nowhere/at/all.json", NULL), 2);
	refused("/nowhere/at/all.json: ");
	setenv("LAPIDARY_CONFIG", "/nowhere/else.json", 1);
	assert_int_equal(load(NULL), 2);
	refused("/nowhere/else.json: ");
	/* the flag beats the variable here too */
	assert_int_equal(load("--config", path, NULL), 0);
	unsetenv("LAPIDARY_CONFIG");
}

static void test_failure_leaves_the_old(void **state)
{
	(void)state;
	assert_int_equal(load_file("{\"log_level\": \"warn\"}"), 0);
	assert_int_equal(load_file("{\"log_level\": \"info\", \"stack_bytes\": -1}"), 2);
	assert_string_equal(config.log_level, "warn");
}

static const char *app_of(uint32_t uid, const char *cgroup, const char *comm, const char *title)
{
	const struct config_app *app = config_app_of(&config, uid, cgroup, comm, title);

	return !app ? "none" : app->exclude ? "excluded" : app->name;
}

static void test_apps(void **state)
{
	(void)state;
	assert_int_equal(load_file("{\"capture\": \"registers\", \"apps\": ["
				   "{\"exclude\": true, \"command\": \"irb*\"},"
				   "{\"name\": \"shop\", \"uid\": 1000, \"cgroup\": \"/system.slice/shop*\", "
				   "\"capture\": \"none\"},"
				   "{\"name\": \"jobs\", \"command\": \"sidekiq\", \"why\": \"nightly\"}]}"),
			 0);
	assert_int_equal(config.app_count, 3);
	assert_string_equal(config.apps[1].capture, "none");
	assert_string_equal(config.apps[2].capture, "registers"); /* what holds for all */
	assert_string_equal(app_of(1000, "/system.slice/shop.service", "ruby", ""), "shop");
	assert_string_equal(app_of(1001, "/system.slice/shop.service", "ruby", ""), "none");
	assert_string_equal(app_of(1000, "/system.slice/shop.service", "irb3.1", ""), "excluded");
	assert_string_equal(app_of(5, "/x", "ruby", "/usr/bin/sidekiq -q low"), "jobs");
	assert_string_equal(app_of(5, "/x", "ruby", "puma"), "none");
}

static void test_show(void **state)
{
	cJSON *shown, *schema = NULL;

	(void)state;
	assert_int_equal(
		load_file("{\"apps\": [{\"name\": \"shop\", \"cgroup\": \"/shop\", \"act\": true, "
			  "\"databases\": [{\"target\": \"postgres://db:5432/shop\", \"user\": \"probe\", "
			  "\"password_file\": \"/etc/lapidary/pw\"}]}]}"),
		0);
	shown = config_show(&config);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(shown, "settings")), SETTING_COUNT);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(shown, "apps")), 1);
	if (json_read("rules/schema/config.schema.json", 1 << 20, &schema, why, sizeof(why)) ||
	    schema_check(schema, shown, why, sizeof(why)))
		fail_msg("%s", why);
	cJSON_Delete(schema);
	cJSON_Delete(shown);
}

/* docs/configuration.md has a row for each setting, with all that the table says of it; so has the man page.
 */
static void test_reference(void **state)
{
	char *page = NULL, *man = NULL;

	(void)state;
	assert_int_equal(file_read("docs/configuration.md", 1 << 20, &page, NULL), 0);
	assert_int_equal(file_read("docs/man/lapidary-config.8", 1 << 20, &man, NULL), 0);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *setting = &settings[i];
		char row[512], allowed[160];

		setting_allowed(setting, allowed, sizeof(allowed));
		snprintf(row, sizeof(row), "| `%s` | `%s` | `%s` | %s%s%s | %s | %s |", setting->key,
			 setting->flag, setting->variable, *setting->fallback ? "`" : "",
			 *setting->fallback ? setting->fallback : "–", *setting->fallback ? "`" : "", allowed,
			 setting->help);
		if (!strstr(page, row))
			fail_msg("docs/configuration.md lacks the row:\n%s", row);
		if (!strstr(man, setting->key) || !strstr(man, setting->variable) || !strstr(man, allowed))
			fail_msg("docs/man/lapidary-config.8 lacks %s, %s or '%s'", setting->key,
				 setting->variable, allowed);
	}
	free(page);
	free(man);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_every_setting_three_ways),
		cmocka_unit_test(test_refused_files),
		cmocka_unit_test(test_refused_elsewhere),
		cmocka_unit_test(test_failure_leaves_the_old),
		cmocka_unit_test(test_apps),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_reference),
	};

	return cmocka_run_group_tests(tests, file_make, file_remove);
}
