/* SPDX-License-Identifier: Apache-2.0 */
/* Lock files: one that Bundler writes here and now, those that Ruby ships, and what is refused, by its line.
 */
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
#include "user/probe/lockfile.h"

static char why[160];

static struct lockfile *parse(const char *text)
{
	struct lockfile *lockfile = NULL;

	why[0] = '\0';
	if (lockfile_parse(text, strlen(text), &lockfile, why))
		return NULL;
	assert_true(lockfile_check(lockfile, lockfile->size));
	return lockfile;
}

static const struct locked_gem *find(const struct lockfile *lockfile, const char *name, const char *platform)
{
	for (uint32_t i = 0; i < lockfile->gem_count; i++)
		if (!strcmp(lockfile->gems[i].name, name) && !strcmp(lockfile->gems[i].platform, platform))
			return &lockfile->gems[i];
	fail_msg("%s (%s) is not in it", name, platform);
	return NULL;
}

static const char all_sections[] = "GIT\n"
				   "  remote: https://example.org/shop.git\n"
				   "  revision: 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567\n"
				   "  branch: main\n"
				   "  specs:\n"
				   "    shop (0.3.0)\n"
				   "      pg (~> 1.4)\n"
				   "\n"
				   "PATH\n"
				   "  remote: engines/cart\n"
				   "  specs:\n"
				   "    cart (1.0.0.pre.2)\n"
				   "\n"
				   "GEM\n"
				   "  remote: https://gems.example/\n"
				   "  specs:\n"
				   "    nokogiri (1.16.0-aarch64-linux)\n"
				   "      racc (~> 1.4)\n"
				   "    nokogiri (1.16.0-x86_64-linux-musl)\n"
				   "    pg (1.5.4)\n"
				   "    racc (1.7.3)\n"
				   "\n"
				   "PLATFORMS\n"
				   "  aarch64-linux\n"
				   "  x86_64-linux-musl\n"
				   "\n"
				   "DEPENDENCIES\n"
				   "  cart!\n"
				   "  nokogiri (>= 1.15)\n"
				   "  shop!\n"
				   "\n"
				   "CHECKSUMS\n"
				   "  pg (1.5.4) sha256=04f7b2471ab5dce5bdf1b6d6b0e1d5c9\n"
				   "\n"
				   "RUBY VERSION\n"
				   "   ruby 3.3.8p144\n"
				   "\n"
				   "BUNDLED WITH\n"
				   "   2.5.22\n";

static void check_all_sections(const struct lockfile *lockfile)
{
	assert_int_equal(lockfile->gem_count, 6);
	assert_int_equal(find(lockfile, "shop", "")->source, LOCKFILE_GIT);
	assert_string_equal(find(lockfile, "shop", "")->revision, "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567");
	assert_int_equal(find(lockfile, "shop", "")->direct, 1);
	assert_int_equal(find(lockfile, "cart", "")->source, LOCKFILE_PATH);
	assert_string_equal(find(lockfile, "cart", "")->version, "1.0.0.pre.2");
	assert_int_equal(find(lockfile, "pg", "")->source, LOCKFILE_GEM);
	assert_string_equal(find(lockfile, "pg", "")->version, "1.5.4");
	assert_string_equal(find(lockfile, "pg", "")->revision, "");
	assert_int_equal(find(lockfile, "pg", "")->direct, 0);
	assert_int_equal(find(lockfile, "nokogiri", "aarch64-linux")->direct, 1);
	assert_string_equal(find(lockfile, "nokogiri", "x86_64-linux-musl")->version, "1.16.0");
	assert_int_equal(lockfile->platform_count, 2);
	assert_string_equal(lockfile->platforms[1], "x86_64-linux-musl");
	assert_string_equal(lockfile->ruby, "3.3.8p144");
	assert_string_equal(lockfile->bundler, "2.5.22");
}

static void every_section(void **state)
{
	struct lockfile *lockfile = parse(all_sections);

	(void)state;
	assert_non_null(lockfile);
	check_all_sections(lockfile);
	free(lockfile);
}

static void line_ends_of_windows(void **state)
{
	char text[2 * sizeof(all_sections)], *at = text;
	struct lockfile *lockfile;

	(void)state;
	for (const char *in = all_sections; *in; in++) {
		if (*in == '\n')
			*at++ = '\r';
		*at++ = *in;
	}
	*at = '\0';
	lockfile = parse(text);
	assert_non_null(lockfile);
	check_all_sections(lockfile);
	free(lockfile);
}

/* The real thing, from the gems that are installed. */
static void what_bundler_writes(void **state)
{
	char dir[] = "/tmp/lapidary-lockfile-XXXXXX", command[512], path[64], *text;
	struct lockfile *lockfile;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof(command),
		 "cd %s && printf 'source \"https://gems.example\"\\nruby \">= 2.7\"\\ngem \"pg\"\\ngem "
		 "\"rake\"\\n' "
		 ">Gemfile && bundle lock --local >log 2>&1",
		 dir);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof(path), "%s/Gemfile.lock", dir);
	assert_int_equal(file_read(path, LOCKFILE_BYTES_MAX, &text, NULL), 0);
	lockfile = parse(text);
	assert_non_null(lockfile);
	assert_int_equal(lockfile->gem_count, 2);
	assert_int_equal(find(lockfile, "pg", "")->direct, 1);
	assert_true(lockfile->platform_count >= 1);
	assert_true(lockfile->ruby[0] && lockfile->bundler[0]);
	free(lockfile);
	free(text);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void what_is_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"GEM\n  specs:\n    pg\n", "line 3: no gem's name"},
		{"GEM\n  specs:\n    pg 1.5.4\n", "line 3: a gem without its version"},
		{"GEM\n  specs:\n    pg ()\n", "line 3: a gem without its version"},
		{"GEM\n  specs:\n    pg (one)\n", "line 3: no version"},
		{"GEM\n  specs:\n    p\033g (1.0)\n", "line 3: no gem's name"},
		{"GEM\n  specs:\n    pg (1.5.4-)\n", "line 3: no platform"},
		{"GEM\n\n<<<<<<< HEAD\n", "line 3: an unresolved merge conflict"},
		{"source \"https://gems.example\"\n", "line 1: no heading"},
		{"DEPENDENCIES\n  (>= 1)\n", "line 2: no gem's name"},
		{"PLATFORMS\n  x86 64\n", "line 2: no name of a platform"},
		{"BUNDLED WITH\n   $(date)\n", "line 2: no version of Bundler"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_null(parse(cases[i].text));
		if (strncmp(why, cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("case %zu: %s", i, why);
	}
}

static void limits(void **state)
{
	size_t size = 0, room = 256 << 10;
	char *text = malloc(room);
	struct lockfile *lockfile = NULL;

	(void)state;
	size = (size_t)sprintf(text, "GEM\n  specs:\n");
	for (int i = 0; i <= LOCKFILE_GEMS_MAX; i++)
		size += (size_t)sprintf(text + size, "    gem-number-%d (1.0)\n", i);
	assert_int_equal(lockfile_parse(text, size, &lockfile, why), -E2BIG);
	assert_string_equal(why, "line 4099: more gems than any app has");
	size -= strlen("    gem-number-4096 (1.0)\n");
	assert_int_equal(lockfile_parse(text, size, &lockfile, why), 0);
	assert_int_equal(lockfile->gem_count, LOCKFILE_GEMS_MAX);
	free(lockfile);
	memset(text, ' ', room);
	assert_int_equal(lockfile_parse(text, room, &lockfile, why), -E2BIG);
	free(text);
	lockfile = parse("");
	assert_non_null(lockfile);
	assert_int_equal(lockfile->gem_count, 0);
	free(lockfile);
}

static void what_lies_on_its_way(void **state)
{
	struct lockfile *lockfile = parse(all_sections);

	(void)state;
	assert_non_null(lockfile);
	assert_false(lockfile_check(lockfile, lockfile->size - 1));
	assert_false(lockfile_check(lockfile, 3));
	memset(lockfile->gems[2].name, 'a', sizeof(lockfile->gems[2].name));
	assert_false(lockfile_check(lockfile, lockfile->size));
	strcpy(lockfile->gems[2].name, "pg\033[2J");
	assert_false(lockfile_check(lockfile, lockfile->size));
	strcpy(lockfile->gems[2].name, "pg");
	assert_true(lockfile_check(lockfile, lockfile->size));
	lockfile->gem_count = 4000000000u;
	assert_false(lockfile_check(lockfile, lockfile->size));
	free(lockfile);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_section),
		cmocka_unit_test(line_ends_of_windows),
		cmocka_unit_test(what_bundler_writes),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(limits),
		cmocka_unit_test(what_lies_on_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
