/* SPDX-License-Identifier: Apache-2.0 */
/* Gemspecs, build logs and .bundle/config: those on this host, made by RubyGems, and those that lie. */
#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "user/base/file.h"
#include "user/base/text.h"
#include "user/probe/build_log.h"
#include "user/probe/bundle_config.h"
#include "user/probe/gemspec.h"

static char why[160];

static bool parse(const char *text, struct gemspec *spec)
{
	return gemspec_parse(text, strlen(text), spec, why) == 0;
}

static void as_rubygems_writes_it(void **state)
{
	static const char text[] =
		"# -*- encoding: utf-8 -*-\n"
		"# stub: nat 1.2.0 x86_64-linux-gnu lib\0lib/more\n"
		"# stub: ext/nat/extconf.rb\0ext/two/extconf.rb\n"
		"\n"
		"Gem::Specification.new do |s|\n"
		"  s.name = \"another\".freeze\n"
		"  s.version = \"9.9\"\n"
		"  s.required_rubygems_version = Gem::Requirement.new(\">= 0\".freeze) if s.respond_to? "
		":required_rubygems_version=\n"
		"  s.extensions = [\"ext/other.rb\".freeze]\n"
		"  s.required_ruby_version = Gem::Requirement.new([\">= 2.7\".freeze, \"< "
		"3.4.dev\".freeze])\n"
		"end\n";
	struct gemspec spec;

	(void)state;
	assert_int_equal(gemspec_parse(text, sizeof(text) - 1, &spec, why), 0);
	assert_string_equal(spec.name, "nat");
	assert_string_equal(spec.version, "1.2.0");
	assert_string_equal(spec.platform, "x86_64-linux-gnu");
	assert_int_equal(spec.require_path_count, 2);
	assert_string_equal(spec.require_paths[1], "lib/more");
	assert_int_equal(spec.extension_count, 2);
	assert_string_equal(spec.extensions[1], "ext/two/extconf.rb");
	assert_string_equal(spec.required_ruby, ">= 2.7, < 3.4.dev");
	assert_int_equal(spec.has_stub, 1);
}

static void by_hand(void **state)
{
	struct gemspec spec;

	(void)state;
	assert_true(parse(
		"Gem::Specification.new do |spec|\n spec.name = 'cart'\n spec.version='0.1'\n"
		" spec.required_ruby_version = '~> 3.1' # soon 3.3\n spec.extensions = %w[ext/extconf.rb]\n",
		&spec));
	assert_string_equal(spec.name, "cart");
	assert_string_equal(spec.platform, "ruby");
	assert_string_equal(spec.required_ruby, "~> 3.1");
	assert_string_equal(spec.require_paths[0], "lib");
	assert_int_equal(spec.has_stub, 0);
	/* no literal: not known, which is not wrong */
	assert_false(parse("s.name = \"x#{1}\"\ns.version = '1'\n", &spec));
	assert_string_equal(why, "line 2: at its end, and no name was found");
	assert_false(parse("s.name = 'x'\ns.version = Shop::VERSION\n", &spec));
	assert_string_equal(why, "line 2: at its end, and no version was found");
	assert_false(parse("\n# stub: pg\n", &spec));
	assert_string_equal(why, "line 2: no stub line of RubyGems");
	assert_false(parse("# stub: p\033g 1 ruby lib\n", &spec));
	assert_false(parse("", &spec));
}

/* Every specification on this host says what its file's name says. */
static void all_that_is_installed(void **state)
{
	static const char *const places[] = {"/usr/lib/ruby/gems/*/specifications/*.gemspec",
					     "/usr/lib/ruby/gems/*/specifications/default/*.gemspec",
					     "/usr/share/rubygems-integration/*/specifications/*.gemspec",
					     "/var/lib/gems/*/specifications/*.gemspec"};
	size_t count = 0, extensions = 0;
	glob_t found;

	(void)state;
	for (size_t p = 0; p < sizeof(places) / sizeof(*places); p++)
		glob(places[p], p ? GLOB_APPEND : 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct gemspec spec;
		char expected[160], *text;
		size_t size;

		assert_int_equal(file_read(found.gl_pathv[i], GEMSPEC_BYTES_MAX, &text, &size), 0);
		if (gemspec_parse(text, size, &spec, why))
			fail_msg("%s: %s", found.gl_pathv[i], why);
		snprintf(expected, sizeof(expected), "%s-%s.gemspec", spec.name, spec.version);
		assert_string_equal(expected, text_base(found.gl_pathv[i]));
		count++;
		extensions += spec.extension_count > 0;
		free(text);
	}
	globfree(&found);
	print_message("%zu specifications, %zu with extensions\n", count, extensions);
	assert_true(count >= 50);
	assert_true(extensions >= 5);
}

static void log_says(const char *text, const char *ruby, const char *abi)
{
	struct build_log log;

	assert_int_equal(build_log_parse(text, strlen(text), &log, why), 0);
	assert_string_equal(log.ruby, ruby);
	assert_string_equal(log.abi, abi);
}

static void build_logs(void **state)
{
	(void)state;
	log_says("current directory: /srv/home/gems/nat-1.2.0/ext/nat\n"
		 "/usr/bin/ruby3.1 -I /usr/lib/ruby/vendor_ruby -r ./siteconf.rb extconf.rb\n"
		 "checking for stdio.h... yes\ncompiling nat.c\n",
		 "/usr/bin/ruby3.1", "3.1.0");
	log_says("/root/.rbenv/versions/3.3.8/bin/ruby -I /x extconf.rb --with-pg=/opt\n",
		 "/root/.rbenv/versions/3.3.8/bin/ruby", "3.3.0");
	log_says("/opt/rubies/ruby-2.7.8/bin/ruby -r ./siteconf.rb extconf.rb\n",
		 "/opt/rubies/ruby-2.7.8/bin/ruby", "2.7.0");
	log_says("/usr/local/bin/ruby extconf.rb\n", "/usr/local/bin/ruby", "");
	/* headers say it, whatever the program is called */
	log_says("/usr/local/bin/ruby extconf.rb\n"
		 "gcc -I. -I/usr/local/include/ruby-3.3.0/x86_64-linux -I/usr/local/include/ruby-3.3.0 -o "
		 "a.o -c a.c\n",
		 "/usr/local/bin/ruby", "3.3.0");
	log_says("\"gcc -o conftest -I/usr/include/x86_64-linux-gnu/ruby-3.1.0 conftest.c -lruby-3.1 -lc\"\n",
		 "", "3.1.0");
	log_says("\"gcc -o conftest conftest.c -L/usr/lib -lruby3.3 -lc\"\n", "", "3.3.0");
	log_says("gcc -I/usr/include/ruby-3.1.0 x.c\ngcc -I/usr/include/ruby-3.3.0 x.c\n", "", "");
	log_says("gcc -I/src/ruby-3.1.0 -lrubyish -lruby-x x.c\n", "", "");
	log_says("echo extconf.rb\nruby extconf.rb\n/bin/sh extconf.rb\n", "", "");
	log_says("", "", "");
}

static void real_build_logs(void **state)
{
	size_t count = 0;
	glob_t found;

	(void)state;
	glob("/usr/lib/ruby/gems/*/extensions/*/*/*/gem_make.out", 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++, count++) {
		struct build_log log;
		char *text, abi[32];
		size_t size;

		assert_int_equal(file_read(found.gl_pathv[i], BUILD_LOG_BYTES_MAX, &text, &size), 0);
		assert_int_equal(build_log_parse(text, size, &log, why), 0);
		snprintf(abi, sizeof(abi), "/%s/", log.abi);
		if (!log.abi[0] || !strstr(found.gl_pathv[i], abi))
			fail_msg("%s: built for \"%s\"", found.gl_pathv[i], log.abi);
		assert_true(log.ruby[0] == '/');
		free(text);
	}
	globfree(&found);
	assert_true(count >= 1);
}

static void bundle_configs(void **state)
{
	static const char text[] = "---\n"
				   "BUNDLE_PATH: \"vendor/bundle\"\n"
				   "BUNDLE_WITHOUT: development:test\n"
				   "BUNDLE_FROZEN: 'true'\n"
				   "BUNDLE_DEPLOYMENT: \"false\"\n"
				   "BUNDLE_GEMS__EXAMPLE__COM: \"u:secret\"\n"
				   "BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/: \"http://localhost:9292\"\n"
				   "BUNDLE_ONLY:\n  - default\n- x\n";
	struct bundle_config config, before;

	(void)state;
	assert_int_equal(bundle_config_parse(text, strlen(text), &config, why), 0);
	assert_string_equal(config.path, "vendor/bundle");
	assert_string_equal(config.without, "development:test");
	assert_int_equal(config.frozen, 1);
	assert_int_equal(config.deployment, 0);
	assert_null(memmem(&config, sizeof(config), "secret", 6));
	before = config;
	assert_int_equal(bundle_config_parse("---\nBUNDLE_PATH: \"x\n", 20, &config, why), -EBADMSG);
	assert_string_equal(why, "line 2: a quote that does not end");
	assert_int_equal(bundle_config_parse("BUNDLE_PATH\n", 12, &config, why), -EBADMSG);
	assert_string_equal(why, "line 1: no key with a value");
	assert_int_equal(bundle_config_parse("BUNDLE_PATH: a\033[2Jb\n", 20, &config, why), -EBADMSG);
	assert_int_equal(bundle_config_parse("BUNDLE_PATH: a\xff/b\n", 18, &config, why), -EBADMSG);
	assert_string_equal(why, "line 1: a value that is too long or no text");
	assert_memory_equal(&before, &config, sizeof(config));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_rubygems_writes_it), cmocka_unit_test(by_hand),
		cmocka_unit_test(all_that_is_installed), cmocka_unit_test(build_logs),
		cmocka_unit_test(real_build_logs),       cmocka_unit_test(bundle_configs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
