/* SPDX-License-Identifier: Apache-2.0 */
/* The command of each kind of app, letter by letter, and what is refused rather than told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "user/gems/remedy.h"

static struct remedy remedy;

static void told(const struct remedy_facts *facts, const char *command)
{
	remedy_make(facts, &remedy);
	assert_string_equal(remedy.refused, "");
	assert_string_equal(remedy.command, command);
}

static void each_manager(void **state)
{
	(void)state;
	told(&(struct remedy_facts){.gem = "pg", .version = "1.5.4", .ruby_path = "/usr/bin/ruby3.1"},
	     "/usr/bin/gem3.1 pristine pg --version 1.5.4 --extensions");
	assert_false(remedy.as_root);
	told(&(struct remedy_facts){.gem = "pg", .version = "1.5.4"},
	     "gem pristine pg --version 1.5.4 --extensions");
	told(&(struct remedy_facts){.gem = "pg",
				    .version = "1.5.4",
				    .ruby_path = "/usr/local/bin/ruby",
				    .user = "shop",
				    .home = "/home/shop",
				    .gem_home = "/srv/my gems"},
	     "runuser -u shop -- env HOME=/home/shop 'GEM_HOME=/srv/my gems' /usr/local/bin/gem pristine pg "
	     "--version 1.5.4 --extensions");
	assert_true(remedy.as_root);
	told(&(struct remedy_facts){.gem = "pg",
				    .version = "1.5.4",
				    .manager = MANAGER_BUNDLER,
				    .ruby_path = "/usr/bin/ruby3.1",
				    .app_dir = "/srv/shop",
				    .bundle_path = "vendor/bundle",
				    .bundle_gemfile = "/srv/shop/Gemfile.next"},
	     "cd /srv/shop && env BUNDLE_GEMFILE=/srv/shop/Gemfile.next BUNDLE_PATH=vendor/bundle "
	     "/usr/bin/bundle3.1 pristine pg");
	told(&(struct remedy_facts){.gem = "pg", .manager = MANAGER_DEBIAN, .user = "shop"},
	     "apt-get install --reinstall ruby-pg");
	assert_true(remedy.as_root);
	told(&(struct remedy_facts){.gem = "charlock_holmes", .manager = MANAGER_DEBIAN},
	     "apt-get install --reinstall ruby-charlock-holmes");
	told(&(struct remedy_facts){.gem = "json", .manager = MANAGER_DEBIAN, .package = "libruby3.1"},
	     "apt-get install --reinstall libruby3.1");
}

static void each_ruby_manager(void **state)
{
	struct remedy_facts facts = {.gem = "pg",
				     .version = "1.5.4",
				     .ruby_manager = RUBY_RBENV,
				     .ruby_path = "/home/shop/.rbenv/versions/3.1.7/bin/ruby",
				     .ruby_version = "3.1.7",
				     .rbenv_root = "/home/shop/.rbenv",
				     .user = "root"};

	(void)state;
	told(&facts,
	     "env RBENV_ROOT=/home/shop/.rbenv RBENV_VERSION=3.1.7 rbenv exec gem pristine pg --version "
	     "1.5.4 --extensions");
	facts.manager = MANAGER_BUNDLER;
	told(&facts, "env RBENV_ROOT=/home/shop/.rbenv RBENV_VERSION=3.1.7 rbenv exec bundle pristine pg");
	facts.ruby_manager = RUBY_ASDF;
	facts.asdf_data_dir = "/opt/asdf";
	told(&facts, "env ASDF_DATA_DIR=/opt/asdf ASDF_RUBY_VERSION=3.1.7 asdf exec bundle pristine pg");
}

static void precompiled_and_replaced(void **state)
{
	struct remedy_facts facts = {.gem = "nokogiri",
				     .version = "1.15.0",
				     .platform = "x86_64-linux",
				     .ruby_path = "/usr/bin/ruby"};

	(void)state;
	told(&facts,
	     "/usr/bin/gem install nokogiri --version 1.15.0 --platform ruby && "
	     "/usr/bin/gem uninstall nokogiri --version 1.15.0 --platform x86_64-linux --force --executables "
	     "&& /usr/bin/gem install nokogiri --version 1.15.0 --platform ruby");
	facts.manager = MANAGER_BUNDLER;
	told(&facts, "/usr/bin/bundle config set --local force_ruby_platform true && /usr/bin/bundle install "
		     "--redownload");
	assert_non_null(strstr(remedy.note, "bundle lock --add-platform ruby"));
	facts.replace_with = "1.16.0";
	told(&facts, "/usr/bin/bundle update --conservative nokogiri");
	facts.manager = MANAGER_RUBYGEMS;
	told(&facts, "/usr/bin/gem install nokogiri --version 1.16.0");
	facts = (struct remedy_facts){
		.gem = "pg", .missing_library = "libpq.so.5", .ruby_path = "/usr/bin/ruby"};
	told(&facts, "/usr/bin/gem pristine pg --extensions");
	assert_non_null(strstr(remedy.note, "libpq.so.5 must be there first"));
}

static void restarts_and_images(void **state)
{
	struct remedy_facts facts = {
		.gem = "pg", .version = "1.5.4", .server = "puma", .preloaded = true, .image = true};

	(void)state;
	remedy_make(&facts, &remedy);
	assert_non_null(strstr(remedy.restart, "The master of puma must be replaced"));
	assert_non_null(strstr(remedy.image, "RUN gem install pg --version 1.5.4 in the stage"));
	facts.preloaded = false;
	facts.manager = MANAGER_BUNDLER;
	remedy_make(&facts, &remedy);
	assert_string_equal(remedy.restart, "The processes of puma must be restarted to load it.");
	assert_non_null(strstr(remedy.image, "RUN bundle install"));
	assert_non_null(strstr(remedy.image, "--no-cache"));
	facts.image = false;
	remedy_make(&facts, &remedy);
	assert_string_equal(remedy.image, "");
}

static void refused(const struct remedy_facts *facts)
{
	remedy_make(facts, &remedy);
	if (remedy.command[0])
		fail_msg("told: %s", remedy.command);
	assert_true(remedy.refused[0]);
	for (const char *at = remedy.refused; *at; at++)
		assert_true((unsigned char)*at >= ' ');
}

static void what_is_refused(void **state)
{
	char endless[5000];

	(void)state;
	memset(endless, 'a', sizeof(endless) - 1);
	endless[0] = '/';
	endless[sizeof(endless) - 1] = '\0';
	refused(&(struct remedy_facts){.gem = ""});
	refused(&(struct remedy_facts){.gem = NULL});
	refused(&(struct remedy_facts){.gem = "pg; rm -rf /"});
	refused(&(struct remedy_facts){.gem = "--pre"});
	refused(&(struct remedy_facts){.gem = "pg\nrm"});
	refused(&(struct remedy_facts){.gem = "pg", .version = "-1"});
	refused(&(struct remedy_facts){.gem = "pg", .version = "1\033[2J"});
	refused(&(struct remedy_facts){.gem = "pg", .gem_home = "/srv/\n/gems"});
	refused(&(struct remedy_facts){.gem = "pg", .gem_home = "/srv/\xff\xfe"});
	refused(&(struct remedy_facts){.gem = "pg", .gem_home = endless});
	refused(&(struct remedy_facts){.gem = "pg", .user = "-c"});
	refused(&(struct remedy_facts){.gem = "pg", .ruby_path = "/srv/\r/ruby"});
	refused(&(struct remedy_facts){.gem = "pg", .manager = MANAGER_BUNDLER, .app_dir = "-P"});
	refused(&(struct remedy_facts){.gem = "pg", .manager = MANAGER_DEBIAN, .package = "--force-yes"});
	refused(&(struct remedy_facts){.gem = "shop", .manager = MANAGER_BUNDLER, .from_path = true});
	refused(&(struct remedy_facts){.gem = "pg", .platform = "x86_64-linux"});
}

static void scripts(void **state)
{
	static const char *const why[] = {"pg 1.5.4 was built for 3.3.0\nrm -rf /",
					  "pg 1.5.4: another object of it", "a name with a newline",
					  "json: missing library"};
	struct remedy remedies[4];
	char *script, *first;

	(void)state;
	remedy_make(&(struct remedy_facts){.gem = "pg", .version = "1.5.4", .ruby_path = "/usr/bin/ruby"},
		    &remedies[0]);
	remedies[1] = remedies[0];
	remedy_make(&(struct remedy_facts){.gem = "p\ng"}, &remedies[2]);
	remedy_make(&(struct remedy_facts){.gem = "json", .manager = MANAGER_DEBIAN}, &remedies[3]);
	script = remedy_script(remedies, why, 4);
	assert_non_null(script);
	assert_int_equal(strncmp(script, "#!/bin/sh\n", 10), 0);
	assert_non_null(strstr(script, "\nset -eu\n"));
	first = strstr(script, "\n(/usr/bin/gem pristine pg --version 1.5.4 --extensions)\n");
	assert_non_null(first);
	assert_null(strstr(first + strlen("\n(/usr/bin/gem pristine"), "pristine"));
	assert_non_null(strstr(
		script, "# pg 1.5.4 was built for 3.3.0?rm -rf /\n# pg 1.5.4: another object of it\n"));
	assert_non_null(strstr(script, "# no command is told: \"p?g\""));
	assert_null(strstr(script, "\nrm "));
	free(script);
	script = remedy_script(&remedies[2], &why[2], 1);
	assert_non_null(strstr(script, "# Nothing here can be mended by a command.\n"));
	free(script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_manager),
		cmocka_unit_test(each_ruby_manager),
		cmocka_unit_test(precompiled_and_replaced),
		cmocka_unit_test(restarts_and_images),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(scripts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
