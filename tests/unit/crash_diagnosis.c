/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipped patterns: each fits the crash that it was written for, and not the one beside it. A bad file
 * is refused with its place. Run from the top of the tree.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/crash_make.h"
#include "user/base/json.h"
#include "user/crash/diagnosis_match.h"
#include "user/gems/version.h"

static struct made made;
static struct diagnoses *shipped;
static cJSON *json;

/* Regions of any number, over those that crash_make has. */
static struct maps_region regions[16];

static void start(void)
{
	crash_make(&made, "a1");
	memset(regions, 0, sizeof(regions));
	memcpy(regions, made.regions, sizeof(made.regions));
	made.input.regions = regions;
	made.input.diagnoses = shipped;
	made.input.flight = NULL;
}

/* Maps a file; returns where its code begins. */
static uint64_t load(const char *path)
{
	uint64_t at = 0x7f1000000000ull + made.input.region_count * 0x1000000ull;

	regions[made.input.region_count++] = (struct maps_region){
		.start = at, .end = at + 0x100000, .protection = PROT_READ | PROT_EXEC, .path = path};
	return at;
}

static void frame(uint64_t base, const char *symbol)
{
	made_frame(&made, base + 0x2000, base + 0x1f00, symbol);
}

static void abort_in_libc(void)
{
	made.crash.fault.signal = SIGABRT;
	made.crash.fault.code = SI_TKILL;
	made.crash.fault.flags = FAULT_SELF;
	made_locate(&made, regions[0].path, MADE_LIBC, 0x8000);
	frame(MADE_LIBC, "abort");
}

static void say_bug(const char *message)
{
	abort_in_libc();
	made.crash.fatal.kind = FATAL_BUG;
	snprintf(made.crash.fatal.message, sizeof(made.crash.fatal.message), "%s", message);
}

static void fault_at(int signal, int code)
{
	made.crash.fault.signal = (uint32_t)signal;
	made.crash.fault.code = code;
}

static const cJSON *told(const char *rule)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(json, "diagnosis"))
	{
		if (!strcmp(json_text(one, "rule"), rule))
			return one;
	}
	return NULL;
}

static void judge(void)
{
	struct crash_report *report;

	cJSON_Delete(json);
	assert_int_equal(crash_report_new(&made.input, &report), 0);
	json = cJSON_Parse(report->report_json);
	assert_non_null(json);
	crash_report_free(report);
}

static void make_gss(void)
{
	made.crash.fault.code = SEGV_MAPERR;
	frame(load("/usr/lib/x86_64-linux-gnu/libkrb5.so.3.3"), "krb5_init_context");
	frame(MADE_LIBPQ, "PQconnectPoll");
	frame(MADE_PG, "");
}

static void make_single_gss(void)
{
	made.crash.role = ROLE_SINGLE;
	make_gss();
}

static void make_gss_elsewhere(void)
{
	load("/usr/lib/x86_64-linux-gnu/libkrb5.so.3.3");
	frame(MADE_LIBPQ, "PQconnectPoll");
}

static void make_two_ssl(void)
{
	load("/usr/lib/x86_64-linux-gnu/libssl.so.3");
	frame(load("/opt/ruby/lib/libssl.so.1.1"), "SSL_read");
}

static void make_two_ssl_loaded(void)
{
	load("/usr/lib/x86_64-linux-gnu/libssl.so.3");
	load("/opt/ruby/lib/libssl.so.1.1");
	frame(MADE_PG, "");
}

static void make_one_ssl(void)
{
	frame(load("/usr/lib/x86_64-linux-gnu/libssl.so.3"), "SSL_read");
	load("/usr/lib/x86_64-linux-gnu/libcrypto.so.3");
}

static const char finished[] =
	"{\"event\":\"fork\"}\n{\"event\":\"conn\",\"conn\":\"0x7f00aa0010\",\"what\":\"open\"}\n"
	"{\"event\":\"conn\",\"conn\":\"0x7f00aa0010\",\"what\":\"finish\"}\n";
static const char reopened[] =
	"{\"event\":\"fork\"}\n{\"event\":\"conn\",\"conn\":\"0x7f00aa0010\",\"what\":\"finish\"}\n"
	"{\"event\":\"conn\",\"conn\":\"0x7f00aa0010\",\"what\":\"open\"}\n";
static const char inherited[] =
	"{\"event\":\"fork\"}\n{\"event\":\"query_start\",\"conn\":\"0x7f00aa0010\"}\n";
static const char unborn[] = "{\"event\":\"query_start\",\"conn\":\"0x7f00aa0010\"}\n";

static void fly(const char *flight)
{
	made.input.flight = flight;
	made.input.flight_size = strlen(flight);
	frame(MADE_LIBPQ, "PQisBusy");
	frame(MADE_PG, "");
}

static void make_finished(void)
{
	made.crash.fault.regs[REG_DI_] = 0x7f00aa0010;
	fly(finished);
}

static void make_reopened(void)
{
	made.crash.fault.regs[REG_DI_] = 0x7f00aa0010;
	fly(reopened);
}

static void make_inherited(void)
{
	made.crash.fault.conn = 0x7f00aa0010;
	fly(inherited);
}

static void make_unborn(void)
{
	made.crash.fault.conn = 0x7f00aa0010;
	fly(unborn);
}

#define GEMS "/srv/shop/vendor/bundle/ruby/3.1.0/gems/"

static void make_pg_collection(void)
{
	regions[2].path = GEMS "pg-1.5.2/lib/pg_ext.so";
	frame(MADE_RUBY, "gc_mark_ptr");
	frame(MADE_PG, "");
}

static void make_newer_pg_collection(void)
{
	make_pg_collection();
	regions[2].path = GEMS "pg-1.5.3/lib/pg_ext.so";
}

static void make_old_pg(void)
{
	regions[2].path = GEMS "pg-1.2.2/lib/pg_ext.so";
	frame(MADE_PG, "");
}

static void make_sequel(void)
{
	frame(load(GEMS "sequel_pg-1.16.0/lib/sequel_pg.so"), "");
}

static void make_newer_sequel(void)
{
	frame(load(GEMS "sequel_pg-1.17.0/lib/sequel_pg.so"), "");
}

static void make_grpc(void)
{
	frame(load(GEMS "grpc-1.60.0-x86_64-linux/src/ruby/lib/grpc/3.1/grpc_c.so"), "");
}

static void make_grpc_alone(void)
{
	made.crash.role = ROLE_SINGLE;
	make_grpc();
}

static void make_musl(void)
{
	load("/lib/ld-musl-x86_64.so.1");
	make_grpc();
}

static void make_musl_mix(void)
{
	load("/lib/ld-musl-x86_64.so.1");
	load("/lib/libgcompat.so.0");
	frame(MADE_PG, "");
}

static void make_jemalloc(void)
{
	load("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2");
	abort_in_libc();
	frame(MADE_LIBC, "free");
	frame(MADE_PG, "");
}

static void make_double_free(void)
{
	abort_in_libc();
	frame(MADE_LIBC, "free");
	frame(MADE_PG, "");
}

static void make_jemalloc_musl(void)
{
	load("/lib/ld-musl-x86_64.so.1");
	load("/usr/lib/libjemalloc.so.2");
	frame(MADE_PG, "");
}

static void make_overflow(void)
{
	made.crash.fault.address = MADE_SP - 64;
	frame(MADE_PG, "");
}

static void make_overflow_in_collection(void)
{
	made.crash.fault.address = MADE_SP - 64;
	frame(MADE_RUBY, "gc_mark_children");
}

static void make_oom(void)
{
	made.crash.oom = true;
}

static void make_callback(void)
{
	made_locate(&made, "", 0, 0x1badc0de);
	made.crash.location.what = LOCATION_NONE;
	made.crash.fault.address = 0x1badc0de;
	made_frame(&made, 0x1badc0de, 0, "");
	frame(load("/usr/lib/x86_64-linux-gnu/libffi.so.8.1.2"), "");
}

static void make_jump(void)
{
	make_callback();
	regions[made.input.region_count - 1].path = "/usr/lib/x86_64-linux-gnu/libcurl.so.4";
}

static void make_unmarked(void)
{
	say_bug("try to mark T_NONE object (%p)");
}

static void make_yjit(void)
{
	say_bug("YJIT: %s");
}

static void make_other_bug(void)
{
	say_bug("pthread_mutex_lock: %s");
}

static void make_compaction(void)
{
	frame(MADE_RUBY, "gc_update_references");
}

static void make_nokogiri(void)
{
	load(GEMS "nokogiri-1.13.1/lib/nokogiri/nokogiri.so");
	frame(load("/usr/lib/x86_64-linux-gnu/libxml2.so.2.9.14"), "xmlFreeNode");
}

static void make_own_nokogiri(void)
{
	frame(load(GEMS "nokogiri-1.13.1/lib/nokogiri/nokogiri.so"), "xmlFreeNode");
}

static void make_illegal(void)
{
	fault_at(SIGILL, ILL_ILLOPN);
	frame(MADE_PG, "");
}

static void make_illegal_ruby(void)
{
	fault_at(SIGILL, ILL_ILLOPN);
	made_locate(&made, regions[1].path, MADE_RUBY, 0x2000);
	frame(MADE_RUBY, "");
}

static void make_bus(void)
{
	fault_at(SIGBUS, BUS_ADRERR);
}

static void make_mismatch(void)
{
	made.input.ruby = "3.3.8";
	regions[2].path = GEMS "pg-1.5.4/lib/pg_ext.so";
	frame(MADE_PG, "");
}

static void make_mismatch_beside(void)
{
	made.input.ruby = "3.3.8";
	regions[2].path = GEMS "pg-1.5.4/lib/pg_ext.so";
	frame(MADE_LIBPQ, "");
}

static void make_plain(void)
{
	frame(MADE_PG, "");
}

static const struct {
	const char *rule;
	void (*make)(void);
	const char *not_rule;
	void (*beside)(void);
} cases[] = {
	{"pg_gss_after_fork", make_gss, "pg_gss_after_fork", make_single_gss},
	{"pg_gss", make_single_gss, "pg_gss", make_gss_elsewhere},
	{"two_openssl", make_two_ssl, "two_openssl", make_one_ssl},
	{"two_openssl_loaded", make_two_ssl_loaded, "two_openssl_loaded", make_two_ssl},
	{"pg_use_after_finish", make_finished, "pg_use_after_finish", make_reopened},
	{"pg_connection_inherited", make_inherited, "pg_connection_inherited", make_unborn},
	{"pg_result_type_map", make_pg_collection, "pg_result_type_map", make_newer_pg_collection},
	{"pg_compaction", make_old_pg, "pg_compaction", make_plain},
	{"sequel_pg_streaming", make_sequel, "sequel_pg_streaming", make_newer_sequel},
	{"grpc_after_fork", make_grpc, "grpc_after_fork", make_grpc_alone},
	{"musl_precompiled", make_musl, "musl_precompiled", make_grpc},
	{"musl_glibc_mix", make_musl_mix, "musl_glibc_mix", make_plain},
	{"jemalloc_mixed", make_jemalloc, "jemalloc_mixed", make_double_free},
	{"jemalloc_musl", make_jemalloc_musl, "jemalloc_musl", make_plain},
	{"heap_corruption", make_double_free, "heap_corruption", make_plain},
	{"stack_overflow", make_overflow, "stack_overflow", make_plain},
	{"stack_overflow_collection", make_overflow_in_collection, "stack_overflow_collection",
	 make_overflow},
	{"oom", make_oom, "oom", make_plain},
	{"ffi_callback_collected", make_callback, "ffi_callback_collected", make_jump},
	{"unmarked_object", make_unmarked, "unmarked_object", make_other_bug},
	{"yjit_panic", make_yjit, "yjit_panic", make_other_bug},
	{"compaction", make_compaction, "compaction", make_plain},
	{"nokogiri_libxml2", make_nokogiri, "nokogiri_libxml2", make_own_nokogiri},
	{"built_for_another_processor", make_illegal, "built_for_another_processor", make_illegal_ruby},
	{"mapped_file_shrank", make_bus, "mapped_file_shrank", make_plain},
	{"abi_mismatch", make_mismatch, "abi_mismatch", make_plain},
	{"abi_mismatch_mapped", make_mismatch_beside, "abi_mismatch_mapped", make_mismatch},
};

static void test_shipped(void **state)
{
	(void)state;
	assert_int_equal(diagnoses_count(shipped), sizeof(cases) / sizeof(*cases));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const cJSON *one;

		print_message("%s\n", cases[i].rule);
		start();
		cases[i].make();
		judge();
		one = told(cases[i].rule);
		assert_non_null(one);
		assert_null(strchr(json_text(one, "title"), '{'));
		assert_null(strchr(json_text(one, "title"), '?'));
		assert_null(strchr(json_text(one, "explanation"), '?'));
		assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(one, "remedies")) > 0);
		start();
		cases[i].beside();
		judge();
		assert_null(told(cases[i].not_rule));
	}
}

/* What fits leads the remedies, the surest pattern first, filled with this crash's own names. */
static void test_remedies(void **state)
{
	const cJSON *first;

	(void)state;
	start();
	make_mismatch();
	judge();
	first = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "remedies"), 0);
	assert_string_equal(first->valuestring,
			    "Rebuild pg with the Ruby that runs, as the app's user: bundle pristine pg");
	start();
	make_two_ssl_loaded();
	make_grpc();
	judge();
	first = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "diagnosis"), 0);
	assert_string_equal(json_text(first, "confidence"), "medium");
	assert_string_equal(json_text(told("two_openssl_loaded"), "title"),
			    "Two versions of OpenSSL are loaded: libssl.so.1.1, libssl.so.3");
}

/* A remedy that names what is not known is left out. */
static void test_unknown_left_out(void **state)
{
	const cJSON *one, *remedy;

	(void)state;
	start();
	make_grpc();
	regions[made.input.region_count - 1].path = "/srv/grpc_c.so";
	judge();
	one = told("grpc_after_fork");
	assert_non_null(one);
	cJSON_ArrayForEach(remedy, cJSON_GetObjectItem(one, "remedies"))
	{
		assert_null(strstr(remedy->valuestring, "Version"));
	}
}

static void test_versions(void **state)
{
	static const struct {
		const char *left, *right;
		int order;
	} pairs[] = {{"1.5.2", "1.5.3", -1}, {"1.10", "1.9", 1},      {"1.6.0.rc1", "1.6.0", -1},
		     {"1.6", "1.6.0", 0},    {"2.0.0.pre", "1.9", 1}, {"1.5.4", "1.5.4", 0},
		     {"1.0.a", "1.0.b", -1}, {"10", "9.9.9", 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		int order = version_compare(pairs[i].left, pairs[i].right);
		int back = version_compare(pairs[i].right, pairs[i].left);

		print_message("%s, %s\n", pairs[i].left, pairs[i].right);
		assert_int_equal((order > 0) - (order < 0), pairs[i].order);
		assert_int_equal((back > 0) - (back < 0), -pairs[i].order);
	}
}

static char folder[64];

static void put(const char *name, const char *text)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

#define BEGIN                                                                                                \
	"{\"name\":\"x\",\"why\":\"because this is only a test\",\"title\":\"a "                             \
	"title\",\"confidence\":\"low\","                                                                    \
	"\"explanation\":\"an explanation\",\"references\":[{\"title\":\"one\",\"at\":\"a/b#1\"}],"

static const struct {
	const char *text, *why;
} bad[] = {
	{BEGIN "\"match\":{\"cause\":[\"nonsense\"]},\"remedies\":[\"do it\"]}", "bad.json: /match/cause/0"},
	{BEGIN "\"match\":{\"colour\":1},\"remedies\":[\"do it\"]}", "bad.json: /match: unknown key colour"},
	{BEGIN "\"match\":{},\"remedies\":[\"look at {colour}\"]}",
	 "bad.json: /remedies/0: unknown field {colour}"},
	{BEGIN "\"match\":{},\"remedies\":[\"look at {gem\"]}", "bad.json: /remedies/0: unknown field {gem"},
	{BEGIN "\"match\":{},\"remedies\":[]}", "bad.json: /remedies"},
	{BEGIN "\"match\":{},", "bad.json:1:"},
	{BEGIN "\"match\":{\"any\":[{\"none\":[{\"gem\":7}]}]},\"remedies\":[\"do it\"]}",
	 "bad.json: /match/any/0/none/0/gem"},
};

static void test_refused(void **state)
{
	struct diagnoses *diagnoses = NULL;
	char path[160], why[512];

	(void)state;
	strcpy(folder, "/tmp/lapidary-diagnosis.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/diagnosis", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/schema", folder);
	{
		char target[4096];

		assert_non_null(realpath("rules/schema", target));
		assert_int_equal(symlink(target, path), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put("diagnosis/bad.json", bad[i].text);
		assert_int_not_equal(diagnoses_load(folder, &diagnoses, why, sizeof(why)), 0);
		assert_null(diagnoses);
		if (!strstr(why, bad[i].why))
			fail_msg("'%s' is not in '%s'", bad[i].why, why);
	}
	put("diagnosis/bad.json", BEGIN "\"match\":{},\"remedies\":[\"do it\"]}");
	put("diagnosis/worse.json", BEGIN "\"match\":{},\"remedies\":[\"do it\"]}");
	assert_int_equal(diagnoses_load(folder, &diagnoses, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "worse.json: /name: \"x\" is the name of another"));
	snprintf(path, sizeof(path), "%s/diagnosis/worse.json", folder);
	unlink(path);
	assert_int_equal(diagnoses_load(folder, &diagnoses, why, sizeof(why)), 0);
	assert_int_equal(diagnoses_count(diagnoses), 1);
	diagnoses_free(diagnoses);
	snprintf(path, sizeof(path), "%s/diagnosis/bad.json", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/diagnosis", folder);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/schema", folder);
	unlink(path);
	rmdir(folder);
}

static int load_shipped(void **state)
{
	char why[512];

	(void)state;
	if (diagnoses_load("rules", &shipped, why, sizeof(why)))
		fail_msg("%s", why);
	return 0;
}

static int drop_shipped(void **state)
{
	(void)state;
	diagnoses_free(shipped);
	diagnoses_free(NULL);
	cJSON_Delete(json);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped),          cmocka_unit_test(test_remedies),
		cmocka_unit_test(test_unknown_left_out), cmocka_unit_test(test_versions),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, load_shipped, drop_shipped);
}
