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
	struct frames *frames = frames_new(&made.input);
	struct abi_mismatch abi;
	char evidence[288];
	struct blame blame;

	assert_non_null(frames);
	abi_find(&made.input, frames, &abi);
	blame_of(&made.input, cause_with_stack(&made.input, frames, &abi, evidence, sizeof(evidence)), frames,
		 &abi, &blame);
	frames_free(frames);
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
	is(PG_PATH, "pg", "low");
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
	is(made.regions[3].path, "pg", "low");
	made_push(&made, 0x40, MADE_PG + 0x2000);
	is(made.regions[3].path, "pg", "low");
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

static void set_stack(uint64_t rip, const char *path, uint64_t base)
{
	before(NULL);
	made_locate(&made, path, base, rip - base);
}

/* Unwound: the direct caller, further up, past a collection, beyond bytecode. */
static void test_unwound(void **state)
{
	(void)state;
	set_stack(MADE_LIBC + 0x30000, made.regions[0].path, MADE_LIBC);
	made_frame(&made, MADE_LIBC + 0x30000, MADE_LIBC + 0x2ff00, "strlen");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "pgconn_exec");
	is(PG_PATH, "pg", "high");
	assert_string_equal(blame_now().how, "failed in libc.so.6, which pg_ext.so called");

	set_stack(MADE_LIBC + 0x30000, made.regions[0].path, MADE_LIBC);
	made_frame(&made, MADE_LIBC + 0x30000, MADE_LIBC + 0x2ff00, "memcpy");
	made_frame(&made, MADE_RUBY + 0x30000, MADE_RUBY + 0x2ff00, "rb_str_new");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "pgconn_exec");
	is(PG_PATH, "pg", "medium");

	made.unwound.frames[1].pc = MADE_RUBY + 0x30000;
	snprintf(made.unwound.frames[1].symbol, UNWIND_SYMBOL, "gc_mark_ptr");
	is(PG_PATH, "pg", "low");
	made.unwound.frames[2].how = UNWIND_SCANNED;
	is(PG_PATH, "pg", "low");
}

/* Ruby bytecode ran inside of the extension's call: it waits, and is not at fault. */
static void test_beyond_bytecode(void **state)
{
	(void)state;
	set_stack(MADE_RUBY + 0x30000, made.regions[1].path, MADE_RUBY);
	made_frame(&made, MADE_RUBY + 0x30000, MADE_RUBY + 0x2ff00, "rb_str_concat");
	made_frame(&made, MADE_RUBY + 0x50000, MADE_RUBY + 0x4ff00, "");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "");
	made_frame(&made, MADE_RUBY + 0x60000, MADE_RUBY + 0x5ff00, "");
	is(PG_PATH, "pg", "medium");
	made_ruby(&made, 0, "block in report");
	made_ruby(&made, MADE_PG + 0x1f00, "each_row");
	made_ruby(&made, 0, "<main>");
	is("unknown", "", "none");
	/* without Ruby's frames its loop says the same */
	made.input.ruby_stack = NULL;
	snprintf(made.unwound.frames[1].symbol, UNWIND_SYMBOL, "vm_exec_core");
	is("unknown", "", "none");
}

/* A method in C is running, and the native stack does not show it. */
static void test_method(void **state)
{
	(void)state;
	set_stack(MADE_RUBY + 0x30000, made.regions[1].path, MADE_RUBY);
	made_frame(&made, MADE_RUBY + 0x30000, MADE_RUBY + 0x2ff00, "");
	made_ruby(&made, MADE_PG + 0x1f00, "exec");
	made_ruby(&made, 0, "<main>");
	is(PG_PATH, "pg", "medium");
	assert_string_equal(blame_now().how, "Ruby was in exec, a method of pg_ext.so");
	/* of Ruby's own methods nobody is blamed */
	made.ruby.frames[0].address = MADE_RUBY + 0x1f00;
	is("unknown", "", "none");
}

static void test_abort(void **state)
{
	(void)state;
	set_stack(MADE_LIBC + 0x8000, made.regions[0].path, MADE_LIBC);
	made.crash.fault.signal = SIGABRT;
	made.crash.fault.code = SI_TKILL;
	made.crash.fault.flags = FAULT_SELF;
	made_frame(&made, MADE_LIBC + 0x8000, MADE_LIBC + 0x7f00, "raise");
	made_frame(&made, MADE_LIBC + 0x8100, MADE_LIBC + 0x80f0, "abort");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "");
	is(PG_PATH, "pg", "high");
	/* whoever frees twice may be the victim of another */
	made.unwound.count = 2;
	made_frame(&made, MADE_LIBC + 0x8200, MADE_LIBC + 0x81f0, "free");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "");
	is(PG_PATH, "pg", "medium");
}

static void test_library_unwound(void **state)
{
	(void)state;
	set_stack(MADE_LIBPQ + 0x3000, made.regions[3].path, MADE_LIBPQ);
	made_frame(&made, MADE_LIBPQ + 0x3000, MADE_LIBPQ + 0x2f00, "PQclear");
	made_frame(&made, MADE_RUBY + 0x3000, MADE_RUBY + 0x2f00, "rb_protect");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "");
	is(made.regions[3].path, "pg", "medium");
	/* its caller is beyond what was unwound: the gem that uses it, and said so */
	made.unwound.count = 1;
	is(made.regions[3].path, "pg", "low");
	/* and no gem when none is mapped */
	made.regions[2].path = "/srv/shop/other.so";
	is(made.regions[3].path, "", "high");
}

static void test_return_address_at_the_end(void **state)
{
	(void)state;
	/* abort() is the last instruction of the mapping: the return address lies behind it */
	set_stack(MADE_LIBC + 0x8000, made.regions[0].path, MADE_LIBC);
	made_frame(&made, MADE_LIBC + 0x8000, MADE_LIBC + 0x7f00, "");
	made_frame(&made, MADE_PG + 0x30000, MADE_PG + 0x2ff00, "");
	is(PG_PATH, "pg", "high");
}

static void test_mismatch(void **state)
{
	(void)state;
	set_stack(MADE_RUBY + 0x3000, made.regions[1].path, MADE_RUBY);
	made.input.ruby = "3.3.8";
	made_frame(&made, MADE_RUBY + 0x3000, MADE_RUBY + 0x2f00, "");
	is(PG_PATH, "pg", "low");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "");
	is(PG_PATH, "pg", "high");
	assert_string_equal(blame_now().how,
			    "pg_ext.so was built for Ruby 3.1.0, 3.3 runs; it is on the stack");
}

/* The check looked into the file: what it found counts, not where the file lies. */
static void test_what_the_check_knew(void **state)
{
	struct extension_verdict verdict = {.verdict = VERDICT_INCOMPATIBLE, .built_for = "3.3.0"};
	const struct crash_extension known = {.path = PG_PATH, .verdict = &verdict};

	(void)state;
	set_stack(MADE_RUBY + 0x3000, made.regions[1].path, MADE_RUBY);
	made.input.ruby = "3.1.7";
	made_frame(&made, MADE_RUBY + 0x3000, MADE_RUBY + 0x2f00, "");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "");
	assert_null(strstr(blame_now().how, "was built for"));
	made.input.extensions = &known;
	made.input.extension_count = 1;
	is(PG_PATH, "pg", "high");
	assert_string_equal(blame_now().how,
			    "pg_ext.so was built for Ruby 3.3.0, 3.1 runs; it is on the stack");
	/* a path of another Ruby, and an object of this one */
	made.input.ruby = "3.3.8";
	assert_null(strstr(blame_now().how, "was built for"));
	/* evidence is gone: the path is all there is */
	verdict.verdict = VERDICT_SUSPECT;
	verdict.built_for[0] = '\0';
	assert_non_null(strstr(blame_now().how, "was built for Ruby 3.1.0, 3.3 runs"));
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
		cmocka_unit_test_setup(test_unwound, before),
		cmocka_unit_test_setup(test_beyond_bytecode, before),
		cmocka_unit_test_setup(test_method, before),
		cmocka_unit_test_setup(test_abort, before),
		cmocka_unit_test_setup(test_library_unwound, before),
		cmocka_unit_test_setup(test_return_address_at_the_end, before),
		cmocka_unit_test_setup(test_mismatch, before),
		cmocka_unit_test_setup(test_what_the_check_knew, before),
		cmocka_unit_test(test_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
