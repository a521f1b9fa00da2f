// SPDX-License-Identifier: Apache-2.0
/* Secrets in what a crashing process wrote; and that Ruby's own report comes through as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "user/probe/scrub.h"

static void becomes(const char *text, const char *expected)
{
	size_t size = 0, again_size = 0;
	char *out = scrub_text(text, strlen(text), &size), *again;

	assert_non_null(out);
	assert_int_equal(size, strlen(out));
	assert_string_equal(out, expected);
	again = scrub_text(out, size, &again_size);
	assert_non_null(again);
	assert_string_equal(again, expected);
	free(again);
	free(out);
}

static void test_secrets(void **state)
{
	(void)state;
	becomes("to postgres://shop:p@ss/w@db:5432/x now", "to postgres://[removed]@db:5432/x now");
	becomes("--token=abc --other=1", "--token=[removed] --other=1");
	becomes("host=db password='a b' user=u", "host=db password=[removed] user=u");
	becomes("{\"api_key\" => \"zz\", \"n\" => 1}", "{\"api_key\" => [removed], \"n\" => 1}");
	becomes("Authorization: Bearer a b c\nnext", "Authorization: [removed]\nnext");
	becomes("DATABASE_URL=x y z\nHOME=/root\n", "DATABASE_URL=[removed]\nHOME=[removed]\n");
	becomes("with SECRET_KEY_BASE=abc, and more", "with SECRET_KEY_BASE=[removed], and more");
	becomes("last: select * from t where a = 'x'", "last: select * from t where a = $1");
	becomes("password: \"never closed", "password: [removed]");
}

/* Sentences and values that begin like a statement and hold an apostrophe. */
static void test_no_statements(void **state)
{
	(void)state;
	becomes("failed with postgres://u:hunter2@db/x (can't connect)",
		"failed with postgres://[removed]@db/x (can $1");
	becomes("could not set token=hunter2, it's gone", "could not set token=[removed], it $1");
	becomes("API_TOKEN=with hunter2, it's long", "API_TOKEN=[removed]");
	becomes("update t set password = 'a b' where n = 'c'",
		"update t set password = [removed] where n = $1");
	becomes("select 'token=abc' from t", "select $1 from t");
}

static void test_report(void **state)
{
	static const char report[] =
		"/srv/app/secrets.rb:12: [BUG] Segmentation fault at 0x0000000000000018\n"
		"ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux-gnu]\n\n"
		"-- Control frame information -----------------------------------------------\n"
		"c:0003 p:---- s:0010 e:000009 CFUNC  :select\n"
		"c:0002 p:0009 s:0006 E:0010d0 EVAL   token.rb:1 [FINISH]\n\n"
		"-- Ruby level backtrace information ----------------------------------------\n"
		"/srv/app/token.rb:1:in `get_token'\n\n"
		" RIP: 0x00007f0a5d5d0b1c RBP: 0x00007ffd5f3a8b60 RSP: 0x00007ffd5f3a8b40\n"
		"* Loaded features:\n    0 enumerator.so\n  737 /usr/lib/ruby/3.1.0/securerandom.rb\n"
		"7f0a5d000000-7f0a5d021000 r-xp 00000000 fe:00 1234   /usr/lib/libruby-3.1.so\n";

	(void)state;
	becomes(report, report);
	becomes("", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_secrets),
					   cmocka_unit_test(test_no_statements),
					   cmocka_unit_test(test_report)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
