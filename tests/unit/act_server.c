/* SPDX-License-Identifier: Apache-2.0 */
/* Servers: known by title and extension together, and what each of them understands. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "user/act/server.h"

static void extensions_name_servers(void **state)
{
	(void)state;
	assert_int_equal(server_of_file("puma_http11.so"), SERVER_PUMA);
	assert_int_equal(server_of_file("unicorn_http.so"), SERVER_UNICORN);
	assert_int_equal(server_of_file("pitchfork_http.so"), SERVER_PITCHFORK);
	assert_int_equal(server_of_file("iodine_ext.so"), SERVER_IODINE);
	assert_int_equal(server_of_file("puma_http11.so.bak"), SERVER_UNKNOWN);
	assert_int_equal(server_of_file("pg_ext.so"), SERVER_UNKNOWN);
	assert_int_equal(server_of_file(""), SERVER_UNKNOWN);
}

static void a_title_alone_earns_nothing(void **state)
{
	(void)state;
	assert_int_equal(server_recognise("puma", SERVER_PUMA, APP_MASTER), SERVER_PUMA);
	assert_int_equal(server_recognise("puma", SERVER_PUMA, APP_SINGLE), SERVER_PUMA);
	assert_int_equal(server_recognise("puma", SERVER_UNKNOWN, APP_MASTER), SERVER_PREFORK);
	assert_int_equal(server_recognise("puma", SERVER_UNICORN, APP_WORKER), SERVER_PREFORK);
	assert_int_equal(server_recognise("", SERVER_PUMA, APP_WORKER), SERVER_PREFORK);
	assert_int_equal(server_recognise(NULL, SERVER_UNKNOWN, APP_WORKER), SERVER_PREFORK);
	assert_int_equal(server_recognise("", SERVER_UNKNOWN, APP_WORKER), SERVER_PREFORK);
	assert_int_equal(server_recognise("puma", SERVER_UNKNOWN, APP_SINGLE), SERVER_UNKNOWN);
	assert_int_equal(server_recognise("", SERVER_UNKNOWN, APP_SINGLE), SERVER_UNKNOWN);
}

static void each_has_its_signals(void **state)
{
	static const struct {
		enum server server;
		const char *name;
		int worker, roll;
	} rows[] = {
		{SERVER_UNKNOWN, "", 0, 0},
		{SERVER_PUMA, "puma", SIGTERM, SIGUSR1},
		{SERVER_UNICORN, "unicorn", SIGQUIT, SIGHUP},
		{SERVER_PITCHFORK, "pitchfork", SIGQUIT, SIGUSR2},
		{SERVER_IODINE, "iodine", SIGTERM, SIGUSR1},
		{SERVER_PREFORK, "prefork", SIGTERM, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_string_equal(server_name(rows[i].server), rows[i].name);
		assert_int_equal(server_worker_signal(rows[i].server, APP_WORKER), rows[i].worker);
		assert_int_equal(server_worker_signal(rows[i].server, APP_MASTER), 0);
		assert_int_equal(server_worker_signal(rows[i].server, APP_SINGLE), 0);
		assert_int_equal(server_roll_signal(rows[i].server), rows[i].roll);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extensions_name_servers),
		cmocka_unit_test(a_title_alone_earns_nothing),
		cmocka_unit_test(each_has_its_signals),
	};

	return cmocka_run_group_tests_name("act: servers", tests, NULL, NULL);
}
