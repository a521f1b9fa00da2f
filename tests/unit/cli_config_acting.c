/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of acting: who consents, who may speak, with what a database is tested, what must hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/config_file.h"

static void test_refused_databases(void **state)
{
	static const struct {
		const char *entry, *place, *reason;
	} cases[] = {
		{"7", ": must be a list", ""},
		{"[7]", "/0: must be an object", ""},
		{"[{}]", "/0/target: is missing", ""},
		{"[{\"target\": \"postgres://db:5432/shop\"}]", "/0/user: is missing", "user or service"},
		{"[{\"target\": \"postgres://db:5432/shop\", \"user\": \"u\", \"service\": \"s\"}]",
		 "/0/service: stands beside user", ""},
		{"[{\"target\": \"postgres://db:5432/shop\", \"service\": \"s\", \"password_file\": \"/p\"}]",
		 "/0/password_file: belongs to user", ""},
		{"[{\"target\": \"postgres://db:5432/shop\", \"user\": \"u\", \"service_file\": \"/p\"}]",
		 "/0/service_file: needs service", ""},
		{"[{\"user\": \"u\", \"password_file\": \"pw\"}]",
		 "/0/password_file: must be an absolute path", ""},
		{"[{\"service\": \"s\", \"service_file\": \"../x\"}]",
		 "/0/service_file: must be an absolute path", ""},
		{"[{\"user\": \"u\", \"password\": \"geheim\"}]", "/0/password: unknown key",
		 "password_file"},
		{"[{\"user\": \"u\", \"user\": \"v\"}]", "/0/user: is there twice", ""},
		{"[{\"user\": \"\"}]", "/0/user: is empty or too long", ""},
		{"[{\"user\": \"a\\u0007b\"}]", "/0/user: is not printable", ""},
		{"[{\"target\": \"postgres://a:1/b\", \"user\": \"u\"}, {\"target\": \"postgres://a:1/b\", "
		 "\"user\": \"v\"}]",
		 "/1/target: is there twice", ""},
		{"[{\"target\": \"postgres://a:1/1\", \"user\": \"u\"}, {\"target\": \"postgres://a:1/2\", "
		 "\"user\": "
		 "\"u\"}, {\"target\": \"postgres://a:1/3\", \"user\": \"u\"}, {\"target\": "
		 "\"postgres://a:1/4\", "
		 "\"user\": \"u\"}, {}]",
		 ": has more than 4 entries", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[640], place[160];

		snprintf(text, sizeof(text), "{\"apps\": [{\"name\": \"a\", \"uid\": 1, \"databases\": %s}]}",
			 cases[i].entry);
		snprintf(place, sizeof(place), "%s: /apps/0/databases%s", path, cases[i].place);
		print_message("%s\n", text);
		assert_int_equal(load_file(text), 2);
		if (strncmp(why, place, strlen(place)) != 0 || !strstr(why, cases[i].reason) ||
		    strstr(why, "geheim"))
			fail_msg("'%s' is not '%s…%s'", why, place, cases[i].reason);
	}
	/* what a process chooses itself may not choose where credentials go */
	assert_int_equal(load_file("{\"apps\": [{\"name\": \"a\", \"command\": \"puma\", \"cgroup\": \"/*\", "
				   "\"databases\": [{\"target\": \"postgres://a:1/b\", \"user\": \"u\"}]}]}"),
			 2);
	assert_non_null(strstr(why, "/apps/0/databases: needs a uid or cgroup"));
}

/* A target is compared byte by byte with what was seen, so only the one spelling that is seen is taken. */
static void test_targets(void **state)
{
	static const char *const good[] = {
		"postgres://db:5432/shop",
		"postgres://127.0.0.1:1/a",
		"postgres://[::1]:65535/shop_test",
		"postgres://[fe80::1%25eth0]:5432/x",
		"postgres://%2Fvar%2Frun%2Fpostgresql:5432/shop",
		"postgres://db.example.org:5432/my%20shop",
	};
	static const char *const bad[] = {
		"postgresql://db:5432/shop",
		"POSTGRES://db:5432/shop",
		"db:5432/shop",
		"postgres://me@db:5432/shop",
		"postgres://me:geheim@db:5432/shop",
		"postgres://db:5432/shop?sslmode=require",
		"postgres://db:5432/shop#x",
		"postgres://db/shop",
		"postgres://db:/shop",
		"postgres://db:0/shop",
		"postgres://db:05432/shop",
		"postgres://db:65536/shop",
		"postgres://db:543210/shop",
		"postgres://db:5x/shop",
		"postgres://db:5432",
		"postgres://db:5432/",
		"postgres://db:5432/shop/",
		"postgres://:5432/shop",
		"postgres://a:1,b:2/shop",
		"postgres://[::1:5432/shop",
		"postgres://[]:5432/shop",
		"postgres://[db]:5432/shop",
		"postgres://::1:5432/shop",
		"postgres:///var/run:5432/shop",
		"postgres://%2fvar:5432/shop",
		"postgres://d%62:5432/shop",
		"postgres://db%:5432/shop",
		"postgres://db:5432/my shop",
		"postgres://db:5432/shop%2",
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good) + sizeof(bad) / sizeof(*bad); i++) {
		bool is_good = i < sizeof(good) / sizeof(*good);
		const char *target = is_good ? good[i] : bad[i - sizeof(good) / sizeof(*good)];

		snprintf(text, sizeof(text),
			 "{\"apps\": [{\"name\": \"a\", \"uid\": 1, \"databases\": [{\"user\": \"u\", "
			 "\"target\": "
			 "\"%s\"}]}]}",
			 target);
		if ((load_file(text) == 0) != is_good)
			fail_msg("%s: %s", target, is_good ? why : "was taken");
		if (!is_good && (!strstr(why, "/apps/0/databases/0/target: ") || strstr(why, "geheim")))
			fail_msg("%s: %s", target, why);
		if (is_good)
			assert_string_equal(config.apps[0].databases[0].target, target);
	}
}

/* Each is in range by itself; together they make no sense, and whoever said the wrong one last is blamed. */
static void test_relations(void **state)
{
	char place[128];

	(void)state;
	assert_int_equal(load_file("{\"breaker_wait_ms\": 30000}"), 2);
	snprintf(place, sizeof(place),
		 "%s: /breaker_wait_ms: 30000 ms is more than breaker_wait_max_ms, 20000 ms", path);
	refused(place);
	file_says("{\"breaker_wait_ms\": 15000}");
	assert_int_equal(load("--config", path, "--breaker-wait-max", "10s", NULL), 2);
	refused("--breaker-wait-max: 10000 ms is less than breaker_wait_ms, 15000 ms");
	file_says("{}");
	assert_int_equal(load("--config", path, "--breaker-max-open", "1s", NULL), 2);
	refused("--breaker-max-open: 1000 ms is less than breaker_wait_ms, 2000 ms");
	setenv("LAPIDARY_PROBE_TIMEOUT", "6s", 1);
	assert_int_equal(load("--config", path, NULL), 2);
	refused("LAPIDARY_PROBE_TIMEOUT: 6000 ms is more than probe_interval_ms, 5000 ms");
	assert_int_equal(load("--config", path, "--probe-interval", "0", NULL), 0); /* never tests at all */
	assert_int_equal(load("--config", path, "--probe-interval", "6s", NULL), 0);
	unsetenv("LAPIDARY_PROBE_TIMEOUT");
	assert_int_equal(load("--config", path, "--prober-uid", "60977", NULL), 2);
	refused("--prober-uid: 60977 is the uid of both");
	assert_int_equal(load("--config", path, "--capture-ring", "512K", NULL), 0);
	assert_int_equal(load("--config", path, "--capture-ring", "1M", "--stack-bytes", "256K", NULL), 2);
	refused("--capture-ring: 1048576 is too small for captures of 262144 bytes of stack; at least "
		"2097152");
	file_says("{\"capture_ring\": \"1M\"}");
	assert_int_equal(load("--config", path, "--stack-bytes", "512K", NULL), 2);
	refused("--stack-bytes: captures of 524288 bytes of stack need a capture_ring of 2097152");
	assert_int_equal(load("--config", path, "--stack-bytes", "512K", "--capture-ring", "2M", NULL), 0);
}

static void test_acting(void **state)
{
	(void)state;
	assert_int_equal(
		load_file("{\"act\": \"shop,jobs\", \"peer_uids\": \"1000,0,4294967294\", \"apps\": ["
			  "{\"name\": \"shop\", \"uid\": 1},"
			  "{\"name\": \"blog\", \"uid\": 2, \"act\": true, \"signal_init\": true},"
			  "{\"name\": \"wiki\", \"uid\": 3}]}"),
		0);
	assert_true(config_acts(&config, &config.apps[0], "shop"));
	assert_true(config_acts(&config, &config.apps[1], "blog"));
	assert_true(config.apps[1].signal_init);
	assert_false(config_acts(&config, &config.apps[2], "wiki"));
	assert_true(config_acts(&config, NULL, "jobs")); /* a name that the app found for itself */
	assert_false(config_acts(&config, NULL, "job"));
	assert_false(config_acts(&config, NULL, "jobsjobs"));
	assert_false(config_acts(&config, NULL, "shop,jobs"));
	assert_false(config_acts(&config, NULL, ""));
	assert_true(config_peer_uid(&config, 1000));
	assert_true(config_peer_uid(&config, 0));
	assert_true(config_peer_uid(&config, 4294967294));
	assert_false(config_peer_uid(&config, 100));
	assert_false(config_peer_uid(&config, 4294967295));
	file_says("{}");
	assert_int_equal(load("--config", path, "--act", "all", NULL), 0);
	assert_true(config_acts(&config, NULL, "any"));
	assert_int_equal(load("--config", path, NULL), 0);
	assert_false(config_acts(&config, NULL, "any")); /* nobody is acted on who did not say so */
	assert_false(config_acts(&config, NULL, ""));
	assert_false(config_peer_uid(&config, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_databases),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_relations),
		cmocka_unit_test(test_acting),
	};

	return cmocka_run_group_tests(tests, file_make, file_remove);
}
