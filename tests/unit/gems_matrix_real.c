/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 25 on real parts: gems of these names and versions, built and installed here by RubyGems for the
 * Ruby of this host; what they say of themselves is read from their specifications and objects. The matrix
 * is what decides, since all of them are built for this Ruby.
 */
#include <fcntl.h>
#include <glob.h>
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
#include "user/gems/verdict.h"
#include "user/probe/build_log.h"
#include "user/probe/gemspec.h"

static char dir[] = "/tmp/lapidary-gems-XXXXXX";
static struct matrix *matrix;
static struct object *libruby;

/* A gem with one function in C: its name's letters, as Ruby calls its Init_. */
static const char make_gem[] =
	"set -eu; unset GEM_PATH; export GEM_HOME=%1$s/home; n=%2$s; v=%3$s; o=$(printf %%s \"$n\" | tr -d "
	"-)\n"
	"mkdir -p %1$s/$n-$v/ext; cd %1$s/$n-$v\n"
	"printf 'require \"mkmf\"\\ncreate_makefile(\"%%s\")\\n' $o >ext/extconf.rb\n"
	"printf '#include <ruby.h>\\nvoid Init_%%s(void);\\nvoid Init_%%s(void) { "
	"rb_define_module(\"Made\"); }\\n' $o $o "
	">ext/$o.c\n"
	"printf 'Gem::Specification.new do |s|\\ns.name, s.version = \"%%s\", \"%%s\"\\ns.summary = \"x\"; "
	"s.authors = "
	"[\"x\"]\\ns.files = Dir[\"ext/*\"]; s.extensions = [\"ext/extconf.rb\"]\\nend\\n' $n $v >x.gemspec\n"
	"gem build x.gemspec && gem install --local --no-document ./$n-$v.gem\n";

static struct object *read_object(const char *path)
{
	struct object *object = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char why[128] = "";

	assert_true(fd >= 0);
	if (object_read(fd, &object, why))
		fail_msg("%s: %s", path, why);
	close(fd);
	return object;
}

static int set_up(void **state)
{
	char why[256];
	glob_t found;

	(void)state;
	if (!mkdtemp(dir) || matrix_load("rules", &matrix, why, sizeof(why)) ||
	    glob("/usr/lib/*/libruby*.so.*.*", 0, NULL, &found) || !found.gl_pathc)
		return -1;
	libruby = read_object(found.gl_pathv[found.gl_pathc - 1]);
	globfree(&found);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	matrix_free(matrix);
	free(libruby);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static char *read_one(const char *pattern, size_t *size, char path[256])
{
	char *text = NULL;
	glob_t found;

	if (glob(pattern, 0, NULL, &found) || found.gl_pathc != 1)
		fail_msg("%s: not one", pattern);
	snprintf(path, 256, "%s", found.gl_pathv[0]);
	assert_int_equal(file_read(path, 4 << 20, &text, size), 0);
	globfree(&found);
	return text;
}

static void judge(const char *name, const char *version, struct extension_verdict *verdict)
{
	char command[2048], pattern[256], path[256], why[160], abi[16], *text;
	struct matrix_answer answers[MATRIX_ANSWERS];
	struct gemspec spec;
	struct build_log log;
	struct object *object;
	FILE *script;
	size_t size;

	snprintf(command, sizeof(command), make_gem, dir, name, version);
	snprintf(pattern, sizeof(pattern), "%s/log", dir);
	script = fopen(pattern, "w");
	assert_non_null(script);
	fputs(command, script);
	fclose(script);
	snprintf(command, sizeof(command), "sh %s >%s.out 2>&1", pattern, pattern);
	assert_int_equal(system(command), 0);
	snprintf(pattern, sizeof(pattern), "%s/home/specifications/%s-%s.gemspec", dir, name, version);
	text = read_one(pattern, &size, path);
	assert_int_equal(gemspec_parse(text, size, &spec, why), 0);
	free(text);
	snprintf(pattern, sizeof(pattern), "%s/home/extensions/*/*/%s-%s/gem_make.out", dir, name, version);
	text = read_one(pattern, &size, path);
	assert_int_equal(build_log_parse(text, size, &log, why), 0);
	free(text);
	snprintf(pattern, sizeof(pattern), "%s/home/extensions/*/*/%s-%s/*.so", dir, name, version);
	free(read_one(pattern, &size, path));
	object = read_object(path);
	snprintf(abi, sizeof(abi), "%u.%u.0", libruby->ruby_api[0], libruby->ruby_api[1]);
	{
		const struct ruby_runtime ruby = {.version = libruby->ruby_version,
						  .abi = abi,
						  .object = libruby,
						  .libc = OBJECT_LIBC_GLIBC};
		const struct matrix_query query = {.gem = spec.name,
						   .version = spec.version,
						   .platform = spec.platform,
						   .ruby = libruby->ruby_version,
						   .libc = "glibc"};
		struct extension_found found = {.path = path,
						.object = object,
						.built_for_log = log.abi,
						.gemspec_platform = spec.platform,
						.matrix = answers,
						.matrix_count =
							matrix_ask(matrix, &query, answers, MATRIX_ANSWERS)};

		assert_true(gem_path_parse(path, &found.gem));
		assert_string_equal(found.gem.name, name);
		extension_judge(&found, &ruby, "", "", verdict);
		assert_string_equal(verdict->built_for, abi);
	}
	free(object);
}

static void real_gems(void **state)
{
	static const struct {
		const char *name, *version;
		enum verdict verdict;
		bool told; /* the matrix says something */
	} rows[] = {
		{"bcrypt", "3.1.14", VERDICT_INCOMPATIBLE, true},
		{"bcrypt", "3.1.15", VERDICT_COMPATIBLE, false},
		{"pg", "1.5.2", VERDICT_COMPATIBLE, true},
		{"iodine", "0.7.56", VERDICT_COMPATIBLE, true},
		{"iodine", "0.7.58", VERDICT_COMPATIBLE, false},
		{"hiredis", "0.5.2", VERDICT_INCOMPATIBLE, true},
		{"snappy", "0.0.13", VERDICT_INCOMPATIBLE, true},
		{"yajl-ruby", "1.4.3", VERDICT_COMPATIBLE, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct extension_verdict verdict;
		bool told = false;

		judge(rows[i].name, rows[i].version, &verdict);
		for (size_t k = 0; k < verdict.evidence_count; k++)
			told |= verdict.evidence[k].kind == EVIDENCE_MATRIX;
		if (verdict.verdict != rows[i].verdict || told != rows[i].told)
			fail_msg("%s %s: %s, the matrix %s", rows[i].name, rows[i].version,
				 verdict_name(verdict.verdict), told ? "spoke" : "was silent");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 25: real gems that the matrix calls bad are rejected, the others are not",
		 real_gems, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
