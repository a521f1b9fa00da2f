/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts that exist, and paths that look like them and are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "user/gems/gem_path.h"

static const struct {
	const char *path, *name, *version, *abi;
	bool debian;
} found[] = {
	{"/var/lib/gems/3.1.0/gems/pg-1.5.4/lib/pg_ext.so", "pg", "1.5.4", "3.1.0", false},
	{"/usr/local/bundle/gems/pg-1.5.4/lib/pg_ext.so", "pg", "1.5.4", "", false},
	{"/app/vendor/bundle/ruby/3.3.0/gems/bcrypt-3.1.20/lib/bcrypt_ext.so", "bcrypt", "3.1.20", "3.3.0",
	 false},
	{"/home/u/.rbenv/versions/3.2.2/lib/ruby/gems/3.2.0/gems/iodine-0.7.58/lib/iodine/iodine.so",
	 "iodine", "0.7.58", "3.2.0", false},
	{"/home/u/.asdf/installs/ruby/3.2.2/lib/ruby/gems/3.2.0/gems/ox-2.14.17/lib/ox/ox.so", "ox",
	 "2.14.17", "3.2.0", false},
	{"/g/gems/pg-1.6.0-x86_64-linux/lib/3.3/pg_ext.so", "pg", "1.6.0", "3.3.0", false},
	{"/g/gems/pg-1.6.0-x86_64-linux-musl/ports/x86_64-linux-musl/lib/libpq-ruby-pg.so.1", "pg", "1.6.0",
	 "", false},
	{"/g/gems/nokogiri-1.16.0.rc1-aarch64-linux/lib/nokogiri/3.2/nokogiri.so", "nokogiri", "1.16.0.rc1",
	 "3.2.0", false},
	{"/g/gems/google-protobuf-3.25.1-x86_64-linux/lib/google/3.3/protobuf_c.so", "google-protobuf",
	 "3.25.1", "3.3.0", false},
	{"/usr/lib/ruby/gems/3.1.0/extensions/x86_64-linux/3.1.0/debug-1.6.3/debug/debug.so", "debug",
	 "1.6.3", "3.1.0", false},
	{"/b/ruby/3.4.0/extensions/x86_64-linux/3.4.0-static/pg-1.5.9/pg_ext.so", "pg", "1.5.9", "3.4.0",
	 false},
	{"/b/ruby/3.1.0/bundler/gems/shop-0a1b2c3d4e5f/lib/shop/shop.so", "shop", "0a1b2c3d4e5f", "3.1.0",
	 false},
	{"/b/ruby/3.1.0/bundler/gems/extensions/x86_64-linux/3.1.0/shop-kit-0a1b2c3d4e5f/shop.so", "shop-kit",
	 "0a1b2c3d4e5f", "3.1.0", false},
	{"/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3.1.0/pg_ext.so", "pg", "", "3.1.0", true},
	{"/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3.1.0/nokogiri/nokogiri.so", "nokogiri", "", "3.1.0",
	 true},
	{"/usr/lib/x86_64-linux-gnu/rubygems-integration/3.1.0/extensions/x86_64-linux/3.1.0/puma-5.6.5/puma/"
	 "puma_http11.so",
	 "puma", "5.6.5", "3.1.0", false},
	{"/opt/ruby/lib/ruby/site_ruby/3.1.0/x86_64-linux/fast.so", "fast", "", "3.1.0", false},
	{"/srv/shop/engines/till/lib/till/till.so", "till", "", "", false},
	{"/srv/shop/engines/fast-till/ext/fast_till/fast_till.so", "fast-till", "", "", false},
	/* the innermost layout counts */
	{"/g/gems/outer-1.0/vendor/gems/inner-2.0/lib/inner.so", "inner", "2.0", "", false},
};

static const char *const none[] = {
	"",
	"pg-1.5.4/lib/pg_ext.so",
	"/usr/lib/x86_64-linux-gnu/libpq.so.5",
	"/usr/lib/x86_64-linux-gnu/ruby/3.1.0/stringio.so",
	"/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1",
	"/var/lib/gems/3.1.0/gems/",
	"/var/lib/gems/3.1.0/gems/pg-1.5.4",
	"/g/gems/-1.0/lib/x.so",
	"/g/gems/pg-/lib/x.so",
	"/g/gems/../../etc/passwd",
	"/g/gems/p\n-1.0/lib/x.so",
	"/g/extensions/notaplatform/3.1.0/pg-1.0/pg.so",
	"[heap]",
};

static void test_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++) {
		struct gem_path gem;

		print_message("%s\n", found[i].path);
		assert_true(gem_path_parse(found[i].path, &gem));
		assert_string_equal(gem.name, found[i].name);
		assert_string_equal(gem.version, found[i].version);
		assert_string_equal(gem.abi, found[i].abi);
		assert_int_equal(gem.debian, found[i].debian);
	}
}

static void test_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		struct gem_path gem = {.name = "untouched"};

		print_message("%s\n", none[i]);
		assert_false(gem_path_parse(none[i], &gem));
		assert_string_equal(gem.name, "untouched");
	}
	assert_false(gem_path_parse(NULL, NULL));
}

static void test_bounds(void **state)
{
	char path[8192] = "/g/gems/";
	struct gem_path gem;

	(void)state;
	/* a name that does not fit is none, rather than half of one */
	memset(path + 8, 'a', 200);
	strcpy(path + 208, "-1.0/lib/x.so");
	assert_false(gem_path_parse(path, &gem));
	/* neither do more folders than a path has */
	path[0] = '\0';
	for (int i = 0; i < 200; i++)
		strcat(path, "/d");
	strcat(path, "/gems/pg-1.0/lib/pg.so");
	assert_false(gem_path_parse(path, &gem));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
