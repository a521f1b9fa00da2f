/* SPDX-License-Identifier: Apache-2.0 */
/* What each piece of evidence says alone, and which one wins where they differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/object_make.h"
#include "user/gems/verdict.h"
#include "user/gems/version.h"

static const char *const uses_ruby[] = {"rb_define_method", "rb_str_new", "malloc", NULL};
static const char *const libc_only[] = {"libc.so.6", NULL};
static const char *const for_31[] = {"libruby-3.1.so.3.1", "libc.so.6", NULL};
static const char *const for_33[] = {"libruby-3.3.so.3.3", "libc.so.6", NULL};
static const char *const upstream_31[] = {"libruby.so.3.1", "libc.so.6", NULL};
static const char *const unversioned[] = {"libruby.so", "libc.so.6", NULL};

static struct object *libruby, *program;
static struct ruby_runtime shared, fixed;

static int set_up(void **state)
{
	(void)state;
	libruby = object_make(&(struct object_made){
		.soname = "libruby-3.1.so.3.1", .libc = OBJECT_LIBC_GLIBC, .flags = OBJECT_IS_RUBY});
	program = object_make(&(struct object_made){.libc = OBJECT_LIBC_GLIBC,
						    .flags = OBJECT_IS_RUBY | OBJECT_IS_PROGRAM});
	shared = (struct ruby_runtime){.path = "/usr/bin/ruby3.1",
				       .version = "3.1.7",
				       .abi = "3.1.0",
				       .engine = "ruby",
				       .platform = "x86_64-linux-gnu",
				       .object = libruby,
				       .libc = OBJECT_LIBC_GLIBC,
				       .libc_version = "2.36"};
	fixed = shared;
	fixed.is_static = true;
	fixed.object = program;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(libruby);
	free(program);
	return 0;
}

/* One extension; what is not set is not there. */
struct table_row {
	const char *name;
	const char *const *needed;
	const char *path_abi, *beside, *package, *log, *gemspec_ruby, *gemspec_platform, *libc_version;
	const char *missing_library, *missing_symbol;
	uint16_t machine;
	enum object_libc libc;
	bool fixed, unread, damaged, unbuilt, development;
	enum verdict verdict;
	enum confidence confidence;
	const char *built_for;
};

static const struct table_row rows[] = {
	{"its own libruby", for_31, .verdict = VERDICT_COMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
	{"another libruby", for_33, .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_HIGH, "3.3.0"},
	{"another libruby in our folder", for_33, "3.1.0", .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_HIGH,
	 "3.3.0"},
	{"our libruby in another's folder", for_31, "3.3.0", .verdict = VERDICT_COMPATIBLE, CONFIDENCE_HIGH,
	 "3.1.0"},
	{"the same ABI, but another libruby", upstream_31, "3.1.0", .verdict = VERDICT_INCOMPATIBLE,
	 CONFIDENCE_HIGH, "3.1.0"},
	{"a libruby before a Ruby without one", for_31, "3.1.0", .fixed = true,
	 .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
	{"a static Ruby's, by its path", libc_only, "3.1.0", .fixed = true, .verdict = VERDICT_COMPATIBLE,
	 CONFIDENCE_MEDIUM, "3.1.0"},
	{"a static Ruby's, by path and log", libc_only, "3.1.0", .log = "3.1.0", .fixed = true,
	 .verdict = VERDICT_COMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
	{"another static Ruby's, by its path", libc_only, "3.3.0", .fixed = true,
	 .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_MEDIUM, "3.3.0"},
	{"a static Ruby's, nothing left", libc_only, .fixed = true, .verdict = VERDICT_SUSPECT,
	 CONFIDENCE_LOW, ""},
	{"no libruby before a shared Ruby, in our folder", libc_only, "3.1.0", .verdict = VERDICT_SUSPECT,
	 CONFIDENCE_LOW, ""},
	{"the same, with a log", libc_only, "3.1.0", .log = "3.1.0", .verdict = VERDICT_COMPATIBLE,
	 CONFIDENCE_HIGH, "3.1.0"},
	{"the same, of an unchanged package", libc_only, "3.1.0", .package = "3.1.0",
	 .verdict = VERDICT_COMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
	{"the same, with another's log", libc_only, "3.1.0", .log = "3.3.0", .verdict = VERDICT_INCOMPATIBLE,
	 CONFIDENCE_LOW, "3.3.0"},
	{"no libruby, another's folder", libc_only, "3.3.0", .verdict = VERDICT_INCOMPATIBLE,
	 CONFIDENCE_MEDIUM, "3.3.0"},
	{"no libruby, another's log alone", libc_only, .log = "3.3.0", .verdict = VERDICT_INCOMPATIBLE,
	 CONFIDENCE_MEDIUM, "3.3.0"},
	{"no libruby, another's build beside", libc_only, .beside = "3.3.0", .verdict = VERDICT_INCOMPATIBLE,
	 CONFIDENCE_MEDIUM, "3.3.0"},
	{"precompiled, for this Ruby", libc_only, "3.1.0", .gemspec_platform = "x86_64-linux-gnu",
	 .verdict = VERDICT_COMPATIBLE, CONFIDENCE_MEDIUM, "3.1.0"},
	{"precompiled, for another Ruby alone", libc_only, "3.3.0", .gemspec_platform = "x86_64-linux",
	 .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_MEDIUM, "3.3.0"},
	{"a libruby without a number", unversioned, "3.1.0", .verdict = VERDICT_COMPATIBLE, CONFIDENCE_MEDIUM,
	 "3.1.0"},
	{"another processor", for_31, "3.1.0", .machine = EM_AARCH64, .verdict = VERDICT_INCOMPATIBLE,
	 CONFIDENCE_HIGH, "3.1.0"},
	{"musl", for_31, "3.1.0", .libc = OBJECT_LIBC_MUSL, .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_HIGH,
	 "3.1.0"},
	{"musl by its gem's word", for_31, "3.1.0", .gemspec_platform = "x86_64-linux-musl",
	 .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
	{"a newer glibc", for_31, "3.1.0", .libc = OBJECT_LIBC_GLIBC, .libc_version = "2.38",
	 .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
	{"an older glibc", for_31, "3.1.0", .libc = OBJECT_LIBC_GLIBC, .libc_version = "2.4",
	 .verdict = VERDICT_COMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
	{"a missing library", for_31, "3.1.0", .missing_library = "libpq.so.5", .verdict = VERDICT_BROKEN,
	 CONFIDENCE_HIGH, "3.1.0"},
	{"a missing symbol of Ruby", for_31, "3.1.0", .missing_symbol = "rb_cFixnum",
	 .verdict = VERDICT_BROKEN, CONFIDENCE_HIGH, "3.1.0"},
	{"a missing symbol and another's folder", libc_only, "2.7.0", .missing_symbol = "rb_cFixnum",
	 .fixed = true, .verdict = VERDICT_INCOMPATIBLE, CONFIDENCE_MEDIUM, "2.7.0"},
	{"not built", for_31, "3.1.0", .unbuilt = true, .verdict = VERDICT_BROKEN, CONFIDENCE_HIGH, "3.1.0"},
	{"not readable", NULL, "3.1.0", .unread = true, .verdict = VERDICT_UNKNOWN, CONFIDENCE_NONE, "3.1.0"},
	{"not readable, in another's folder", NULL, "3.3.0", .unread = true, .verdict = VERDICT_INCOMPATIBLE,
	 CONFIDENCE_MEDIUM, "3.3.0"},
	{"damaged", NULL, "3.1.0", .damaged = true, .unread = true, .verdict = VERDICT_BROKEN,
	 CONFIDENCE_HIGH, "3.1.0"},
	{"built by a development Ruby", for_31, "3.1.0", .development = true, .verdict = VERDICT_COMPATIBLE,
	 CONFIDENCE_LOW, "3.1.0"},
	{"its gem is for other Rubies, it was built for this", for_31, "3.1.0", .gemspec_ruby = ">= 3.2",
	 .verdict = VERDICT_COMPATIBLE, CONFIDENCE_HIGH, "3.1.0"},
};

static void judge_row(const struct table_row *row, struct extension_verdict *out)
{
	struct object *object = object_make(&(struct object_made){
		.needed = row->needed,
		.asked = uses_ruby,
		.machine = row->machine,
		.libc = row->libc,
		.libc_version = row->libc_version,
		.flags = OBJECT_GIVES_INIT | (row->development ? OBJECT_GIVES_ABI_VERSION : 0)});
	struct extension_found found = {.path = "/srv/gems/pg-1.5.4/lib/pg_ext.so",
					.object = row->unread ? NULL : object,
					.problem = row->unread ? "permission denied" : "",
					.damaged = row->damaged,
					.required_unbuilt = row->unbuilt,
					.built_for_log = row->log,
					.built_for_beside = row->beside,
					.built_for_package = row->package,
					.gemspec_ruby = row->gemspec_ruby,
					.gemspec_platform = row->gemspec_platform};

	if (row->path_abi)
		snprintf(found.gem.abi, sizeof(found.gem.abi), "%s", row->path_abi);
	extension_judge(&found, row->fixed ? &fixed : &shared, row->missing_library, row->missing_symbol,
			out);
	free(object);
}

static bool speaks_against(const struct extension_verdict *verdict)
{
	for (size_t i = 0; i < verdict->evidence_count; i++)
		if (verdict->evidence[i].against)
			return true;
	return false;
}

static void each_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct table_row *row = &rows[i];
		struct extension_verdict verdict;

		judge_row(row, &verdict);
		if (verdict.verdict != row->verdict || verdict.confidence != row->confidence ||
		    strcmp(verdict.built_for, row->built_for) != 0)
			fail_msg("%s: %s, %s, built for \"%s\"", row->name, verdict_name(verdict.verdict),
				 confidence_name(verdict.confidence), verdict.built_for);
		if (verdict.verdict == VERDICT_COMPATIBLE && speaks_against(&verdict))
			fail_msg("%s: compatible with evidence against it", row->name);
		if ((verdict.verdict == VERDICT_INCOMPATIBLE || verdict.verdict == VERDICT_BROKEN) &&
		    !speaks_against(&verdict))
			fail_msg("%s: rejected without a reason", row->name);
	}
}

static void without_a_ruby(void **state)
{
	struct object *object = object_make(&(struct object_made){.needed = for_31, .asked = uses_ruby});
	struct extension_found found = {.path = "/x.so", .object = object};
	struct extension_verdict verdict;

	(void)state;
	extension_judge(&found, NULL, "", "", &verdict);
	assert_int_equal(verdict.verdict, VERDICT_UNKNOWN);
	assert_string_equal(verdict.built_for, "3.1.0");
	free(object);
}

/* A development Ruby asks each object for ruby_abi_version; it takes none that lacks it. */
static void before_a_development_ruby(void **state)
{
	struct object *release = object_make(&(struct object_made){.needed = for_31, .asked = uses_ruby});
	struct object *development = object_make(&(struct object_made){
		.needed = for_31, .asked = uses_ruby, .flags = OBJECT_GIVES_ABI_VERSION});
	struct object *running = object_make(&(struct object_made){
		.soname = "libruby-3.1.so.3.1", .flags = OBJECT_IS_RUBY | OBJECT_GIVES_ABI_VERSION});
	struct ruby_runtime ruby = shared;
	struct extension_found found = {.path = "/x.so", .object = release};
	struct extension_verdict verdict;

	(void)state;
	ruby.object = running;
	extension_judge(&found, &ruby, "", "", &verdict);
	assert_int_equal(verdict.verdict, VERDICT_INCOMPATIBLE);
	found.object = development;
	extension_judge(&found, &ruby, "", "", &verdict);
	assert_int_equal(verdict.verdict, VERDICT_COMPATIBLE);
	assert_int_equal(verdict.confidence, CONFIDENCE_HIGH);
	free(release);
	free(development);
	free(running);
}

static void what_the_matrix_says(void **state)
{
	struct matrix_answer answers[] = {{.rating = MATRIX_BAD, .says = "does not load"},
					  {.rating = MATRIX_RISK, .says = "may crash after a fork"},
					  {.rating = MATRIX_GOOD, .says = "made for it"}};
	struct object *ours = object_make(&(struct object_made){.needed = for_31, .asked = uses_ruby});
	struct object *gone = object_make(&(struct object_made){.needed = libc_only, .asked = uses_ruby});
	struct extension_found found = {
		.path = "/x.so", .object = ours, .matrix = answers, .matrix_count = 3};
	struct extension_verdict verdict;

	(void)state;
	extension_judge(&found, &shared, "", "", &verdict);
	assert_int_equal(verdict.verdict, VERDICT_INCOMPATIBLE);
	assert_int_equal(verdict.confidence, CONFIDENCE_MEDIUM);
	/* a risk alone decides nothing, nor does what is good */
	found.matrix = answers + 1;
	found.matrix_count = 2;
	extension_judge(&found, &shared, "", "", &verdict);
	assert_int_equal(verdict.verdict, VERDICT_COMPATIBLE);
	found.object = gone;
	extension_judge(&found, &shared, "", "", &verdict);
	assert_int_equal(verdict.verdict, VERDICT_SUSPECT);
	assert_string_equal(verdict.built_for, "");
	free(ours);
	free(gone);
}

static void what_loading_did(void **state)
{
	struct extension_verdict verdict = {.verdict = VERDICT_SUSPECT, .confidence = CONFIDENCE_LOW};

	(void)state;
	extension_loaded(&verdict, true, "loaded");
	assert_int_equal(verdict.verdict, VERDICT_SUSPECT);
	extension_loaded(&verdict, false, "died of SIGSEGV");
	assert_int_equal(verdict.verdict, VERDICT_BROKEN);
	verdict = (struct extension_verdict){.verdict = VERDICT_INCOMPATIBLE};
	extension_loaded(&verdict, true, "loaded");
	assert_int_equal(verdict.verdict, VERDICT_INCOMPATIBLE);
	extension_loaded(&verdict, false, "died\033[2J of SIGSEGV");
	assert_int_equal(verdict.verdict, VERDICT_INCOMPATIBLE);
	assert_string_equal(verdict.evidence[1].says, "died?[2J of SIGSEGV");
}

static void variants(void **state)
{
	char abi[16], key[128], other[128];

	(void)state;
	assert_true(
		extension_variant("/a/gems/pg-1.6.3-x86_64-linux/lib/3.3/pg_ext.so", abi, key, sizeof(key)));
	assert_string_equal(abi, "3.3.0");
	assert_true(extension_variant("/a/gems/pg-1.6.3-x86_64-linux/lib/4.0/pg_ext.so", abi, other,
				      sizeof(other)));
	assert_string_equal(abi, "4.0.0");
	assert_string_equal(key, other);
	assert_true(
		extension_variant("/usr/lib/g/gems/nokogiri-1.16.0-x86_64-linux/lib/nokogiri/3.2/nokogiri.so",
				  abi, key, sizeof(key)));
	assert_true(extension_variant("/b/gems/grpc-1.60.0-x86_64-linux/src/ruby/lib/grpc/3.2/grpc_c.so", abi,
				      key, sizeof(key)));
	assert_false(extension_variant("/b/ruby/3.1.0/gems/pg-1.5.4/lib/pg_ext.so", abi, key, sizeof(key)));
	assert_false(extension_variant("/usr/lib/ruby/vendor_ruby/3.1.0/pg_ext.so", abi, key, sizeof(key)));
	assert_false(extension_variant("/usr/lib/3.1/pg_ext.so", abi, key, sizeof(key)));
	assert_false(extension_variant("pg_ext.so", abi, key, sizeof(key)));
	assert_false(extension_variant("/a/gems/x-1/lib/3.1/x.so", abi, key, 8));
}

static void versions(void **state)
{
	static const struct {
		const char *a, *b;
		int order;
	} orders[] = {{"1.0", "1.0.0", 0},       {"1.9", "1.10", -1},
		      {"1.0.rc1", "1.0", -1},    {"2.0.0", "2.0.0.a", 1},
		      {"1.0.a2", "1.0.a10", -1}, {"3.3.0+1", "3.3.0", 1},
		      {"007", "7", 0},           {"99999999999999999999", "99999999999999999998", 1}};
	static const struct {
		const char *version, *requirement;
		int answer;
	} asked[] = {{"3.1.7", ">= 2.7, < 3.4.dev", 1},
		     {"3.4.1", ">= 2.7, < 3.4.dev", 0},
		     {"3.4.0", "< 3.4.dev", 0},
		     {"3.1.7", "~> 3.1", 1},
		     {"4.0.0", "~> 3.1", 0},
		     {"3.2.0", "~> 3.1.2", 0},
		     {"3.1.9", "~> 3.1.2", 1},
		     {"3.1.1", "~> 3.1.2", 0},
		     {"3.9", "~> 3", 1},
		     {"3.1", "3.1.0", 1},
		     {"3.1", "!= 3.1", 0},
		     {"3.1", "> 3.0,<= 3.1", 1},
		     {"3.1", "=> 3.0", -1},
		     {"3.1", ">= ", -1},
		     {"3.1", ">= 3.0 3.2", -1},
		     {"3.1", ">= 3.0,", -1},
		     {"3.1", "", -1}};

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		int there = version_compare(orders[i].a, orders[i].b),
		    back = version_compare(orders[i].b, orders[i].a);

		if ((there > 0) - (there < 0) != orders[i].order ||
		    (back > 0) - (back < 0) != -orders[i].order)
			fail_msg("%s and %s: %d, %d", orders[i].a, orders[i].b, there, back);
	}
	for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++)
		if (version_satisfies(asked[i].version, asked[i].requirement) != asked[i].answer)
			fail_msg("%s %s: not %d", asked[i].version, asked[i].requirement, asked[i].answer);
	assert_true(version_is("1.0.rc1"));
	assert_false(version_is("1..0"));
	assert_false(version_is("a"));
	assert_false(version_is("1.0.;rm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_a_development_ruby),
		cmocka_unit_test(each_row),
		cmocka_unit_test(without_a_ruby),
		cmocka_unit_test(what_the_matrix_says),
		cmocka_unit_test(what_loading_did),
		cmocka_unit_test(variants),
		cmocka_unit_test(versions),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
