/* SPDX-License-Identifier: Apache-2.0 */
/* Who is blamed: the failing module, its caller on the stack, or nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/crash_make.h"
#include "user/crash/blame.h"

static struct made made;

static struct blame blame_now(void)
{
	char evidence[224];
	struct scan scan;
	struct blame blame;

	scan_stack(made.input.stack, made.input.stack_size, made.regions, made.input.region_count, &scan);
	blame_of(&made.input, cause_with_stack(&made.crash, &scan, evidence, sizeof(evidence)), &scan,
		 &blame);
	return blame;
}

static int before(void **state)
{
	(void)state;
	crash_make(&made, "a1");
	return 0;
}

static void is(const char *module, const char *gem, const char *confidence)
{
	struct blame blame = blame_now();

	assert_string_equal(blame.module, module);
	assert_string_equal(blame.gem, gem);
	assert_string_equal(blame.confidence, confidence);
	assert_true(blame.how[0]);
}

static void test_extension(void **state)
{
	(void)state;
	is(PG_PATH, "pg", "high");
	assert_string_equal(blame_now().version, "1.5.4");
}

static void test_libc_near(void **state)
{
	(void)state;
	made_locate(&made, made.regions[0].path, MADE_LIBC, 0x30000);
	made_push(&made, 0x20, MADE_PG + 0x2000);
	is(PG_PATH, "pg", "medium");
}

static void test_libruby_far(void **state)
{
	(void)state;
	made_locate(&made, made.regions[1].path, MADE_RUBY, 0x30000);
	made_push(&made, 0x1000, MADE_PG + 0x2000);
	is(PG_PATH, "pg", "low");
}

static void test_nobody_near(void **state)
{
	(void)state;
	made_locate(&made, made.regions[1].path, MADE_RUBY, 0x30000);
	is("unknown", "", "none");
	made.input.stack = NULL;
	made.input.stack_size = 0;
	is("unknown", "", "none");
}

static void test_beyond_reach(void **state)
{
	static uint8_t deep[32 * 1024];
	uint64_t word = MADE_PG + 0x2000;

	(void)state;
	made_locate(&made, made.regions[1].path, MADE_RUBY, 0x30000);
	memcpy(deep + 20 * 1024, &word, sizeof(word));
	made.input.stack = deep;
	made.input.stack_size = sizeof(deep);
	is("unknown", "", "none");
}

static void test_library_for_gem(void **state)
{
	(void)state;
	made_locate(&made, made.regions[3].path, MADE_LIBPQ, 0x3000);
	is(made.regions[3].path, "", "high");
	made_push(&made, 0x40, MADE_PG + 0x2000);
	is(made.regions[3].path, "pg", "medium");
}

static void test_bad_jump_caller(void **state)
{
	(void)state;
	made_locate(&made, "", 0, 0x1badc0de);
	made.crash.location.what = LOCATION_NONE;
	made.crash.fault.address = 0x1badc0de;
	made.crash.fault.error_code = 0x14;
	made_push(&made, 0, MADE_PG + 0x2000);
	is(PG_PATH, "pg", "high");
}

static void test_no_fault_of_code(void **state)
{
	(void)state;
	made.crash.fault.code = SI_USER;
	made.crash.fault.sender_tgid = 1;
	is("unknown", "", "none");
	before(NULL);
	made.crash.oom = true;
	is("unknown", "", "none");
	before(NULL);
	made.crash.has_fault = false;
	is("unknown", "", "none");
}

static void test_data_is_no_code(void **state)
{
	(void)state;
	made.regions[2].protection = PROT_READ;
	made_locate(&made, made.regions[0].path, MADE_LIBC, 0x30000);
	made_push(&made, 0x20, MADE_PG + 0x2000);
	is("unknown", "", "none");
}

/* glibc's message pieces on the stack: {pointer to constants, length}. */
static void test_heap_corruption(void **state)
{
	char evidence[224];
	struct scan scan;

	(void)state;
	made_locate(&made, made.regions[0].path, MADE_LIBC, 0x30000);
	made.crash.fault.signal = SIGABRT;
	made.crash.fault.code = SI_TKILL;
	made.crash.fault.flags = FAULT_SELF;
	scan_stack(made.stack, sizeof(made.stack), made.regions, 4, &scan);
	assert_int_equal(cause_with_stack(&made.crash, &scan, evidence, sizeof(evidence)), CAUSE_ABORT);
	made_push(&made, 0x128, MADE_LIBC + 0x155000 + 0x1234);
	made_push(&made, 0x130, 38);
	scan_stack(made.stack, sizeof(made.stack), made.regions, 4, &scan);
	assert_int_equal(cause_with_stack(&made.crash, &scan, evidence, sizeof(evidence)),
			 CAUSE_HEAP_CORRUPTION);
}

static void test_modules(void **state)
{
	static const struct {
		const char *path;
		enum module_kind kind;
	} paths[] = {
		{"", MODULE_UNKNOWN},
		{"[vdso]", MODULE_SYSTEM},
		{"anon_inode:[perf_event]", MODULE_UNKNOWN},
		{"/lib/x86_64-linux-gnu/libc.so.6", MODULE_SYSTEM},
		{"/usr/lib/x86_64-linux-gnu/libc-client.so.2007e", MODULE_LIBRARY},
		{"/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", MODULE_SYSTEM},
		{"/usr/bin/ruby3.1", MODULE_RUBY},
		{"/opt/ruby/lib/libruby.so.3.3", MODULE_RUBY},
		{"/usr/lib/x86_64-linux-gnu/ruby/3.1.0/stringio.so", MODULE_EXTENSION},
		{"/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3.1.0/pg_ext.so", MODULE_EXTENSION},
		{"/srv/app/rubyfast.so", MODULE_LIBRARY},
		{"/usr/lib/x86_64-linux-gnu/libpq.so.5.15", MODULE_LIBRARY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		print_message("%s\n", paths[i].path);
		assert_int_equal(module_kind(paths[i].path, NULL), paths[i].kind);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_extension, before),
		cmocka_unit_test_setup(test_libc_near, before),
		cmocka_unit_test_setup(test_libruby_far, before),
		cmocka_unit_test_setup(test_nobody_near, before),
		cmocka_unit_test_setup(test_beyond_reach, before),
		cmocka_unit_test_setup(test_library_for_gem, before),
		cmocka_unit_test_setup(test_bad_jump_caller, before),
		cmocka_unit_test_setup(test_no_fault_of_code, before),
		cmocka_unit_test_setup(test_data_is_no_code, before),
		cmocka_unit_test_setup(test_heap_corruption, before),
		cmocka_unit_test(test_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
