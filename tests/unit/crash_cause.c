/* SPDX-License-Identifier: Apache-2.0 */
/* Cause classes: one case a line, with the ones that are easily taken for each other side by side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/crash_make.h"
#include "user/crash/blame.h"

#define KERNEL 128
#define SP     MADE_SP

static const struct {
	const char *what;
	int signal, code;
	uint64_t address, rip, error_code, trap, rdi;
	enum cause cause;
	const char *evidence; /* stands in it */
} cases[] = {
	{"read of NULL's page", SIGSEGV, 1, 0x18, 0x7f0020001000, 4, 14, 0, CAUSE_NULL,
	 "read at address 0x18"},
	{"write to NULL's page", SIGSEGV, 1, 0xffff, 0x7f0020001000, 6, 14, 0, CAUSE_NULL,
	 "write at address 0xffff"},
	{"just above it", SIGSEGV, 1, 0x10000, 0x7f0020001000, 4, 14, 0, CAUSE_UNMAPPED, "not mapped"},
	{"a call of NULL", SIGSEGV, 1, 0, 0, 0x14, 14, 0, CAUSE_BAD_JUMP, "instruction pointer"},
	{"a jump to nowhere", SIGSEGV, 1, 0x1badc0de, 0x1badc0de, 0x14, 14, 0, CAUSE_BAD_JUMP, "0x1badc0de"},
	{"a jump into data", SIGSEGV, 2, 0x7f0020001000, 0x7f0020001000, 0x15, 14, 0, CAUSE_BAD_JUMP, ""},
	{"an address that is none", SIGSEGV, KERNEL, 0, 0x7f0020001000, 0, 13, 0x4141414141414141,
	 CAUSE_NON_CANONICAL, "rdi holds 0x4141414141414141"},
	{"the same, register gone", SIGSEGV, KERNEL, 0, 0x7f0020001000, 0, 13, 0, CAUSE_NON_CANONICAL,
	 "no register"},
	{"write to constants", SIGSEGV, 2, 0x7f0020001000, 0x7f0020002000, 7, 14, 0, CAUSE_WRITE_READ_ONLY,
	 "without the right"},
	{"read of PROT_NONE", SIGSEGV, 2, 0x7f0020001000, 0x7f0020002000, 5, 14, 0, CAUSE_NO_ACCESS,
	 "without any right"},
	{"push below the stack", SIGSEGV, 1, SP - 8, 0x7f0020001000, 6, 14, 0, CAUSE_STACK_OVERFLOW,
	 "-8 bytes"},
	{"guard page", SIGSEGV, 2, SP - 4096, 0x7f0020001000, 6, 14, 0, CAUSE_STACK_OVERFLOW, "-4096 bytes"},
	{"far from the stack", SIGSEGV, 1, SP - 0x1000000, 0x7f0020001000, 6, 14, 0, CAUSE_UNMAPPED,
	 "not mapped"},
	{"bus", SIGBUS, 2, 0x7f0040000000, 0x7f0020001000, 0, 14, 0, CAUSE_BUS, "0x7f0040000000"},
	{"illegal instruction", SIGILL, 2, 0x7f0020001000, 0x7f0020001000, 0, 6, 0, CAUSE_ILLEGAL_INSTRUCTION,
	 "SIGILL"},
	{"division", SIGFPE, 1, 0x7f0020001000, 0x7f0020001000, 0, 0, 0, CAUSE_ARITHMETIC,
	 "division by zero"},
};

static void test_processor(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char evidence[224];
		struct made made;

		crash_make(&made, "a1");
		made.crash.fault.signal = (uint32_t)cases[i].signal;
		made.crash.fault.code = cases[i].code;
		made.crash.fault.address = cases[i].address;
		made.crash.fault.error_code = cases[i].error_code;
		made.crash.fault.trap_nr = cases[i].trap;
		made.crash.fault.regs[REG_IP_] = cases[i].rip;
		made.crash.fault.regs[REG_DI_] = cases[i].rdi;
		print_message("%s\n", cases[i].what);
		assert_string_equal(cause_name(cause_of(&made.crash, evidence, sizeof(evidence))),
				    cause_name(cases[i].cause));
		if (!strstr(evidence, cases[i].evidence))
			fail_msg("'%s' is not in '%s'", cases[i].evidence, evidence);
	}
}

static enum cause sent(int signal, int code, uint32_t sender, uint32_t flags)
{
	char evidence[224];
	struct made made;

	crash_make(&made, "a1");
	made.crash.fault.signal = (uint32_t)signal;
	made.crash.fault.code = code;
	made.crash.fault.sender_tgid = sender;
	made.crash.fault.flags = flags;
	made.crash.fault.address = 0;
	return cause_of(&made.crash, evidence, sizeof(evidence));
}

static void test_sent(void **state)
{
	(void)state;
	assert_int_equal(sent(SIGSEGV, SI_USER, 99, 0), CAUSE_INJECTED);
	assert_int_equal(sent(SIGSEGV, SI_QUEUE, 99, 0), CAUSE_INJECTED);
	assert_int_equal(sent(SIGABRT, SI_USER, 99, 0), CAUSE_INJECTED);
	/* abort() of the process itself is no injection, its own kill -SEGV is a signal that was sent */
	assert_int_equal(sent(SIGABRT, SI_TKILL, 4711, FAULT_SELF), CAUSE_ABORT);
	assert_int_equal(sent(SIGSEGV, SI_USER, 4711, FAULT_SELF), CAUSE_INJECTED);
}

static void test_vm_error_and_oom(void **state)
{
	char evidence[224];
	struct made made;

	(void)state;
	crash_make(&made, "a1");
	made.crash.fatal.kind = FATAL_BUG;
	snprintf(made.crash.fatal.message, sizeof(made.crash.fatal.message),
		 "object allocation during garbage collection phase");
	/* a SEGV explains more than the rb_bug of its handler */
	assert_int_equal(cause_of(&made.crash, evidence, sizeof(evidence)), CAUSE_NULL);
	made.crash.fault.signal = SIGABRT;
	made.crash.fault.code = SI_TKILL;
	made.crash.fault.sender_tgid = made.crash.process.tgid;
	assert_int_equal(cause_of(&made.crash, evidence, sizeof(evidence)), CAUSE_VM_ERROR);
	assert_non_null(strstr(evidence, "rb_bug: object allocation"));
	made.crash.has_fault = false;
	made.crash.oom = true;
	assert_int_equal(cause_of(&made.crash, evidence, sizeof(evidence)), CAUSE_OOM);
}

/* The frames that make the class of an abort, innermost first, by what libc and Ruby export. */
static const struct {
	const char *what;
	struct {
		uint64_t pc;
		const char *symbol;
	} frames[6];
	enum cause cause;
	const char *evidence;
} aborts[] = {
	{"abort() of an extension",
	 {{MADE_LIBC + 0x8000, "raise"}, {MADE_LIBC + 0x8100, "abort"}, {MADE_PG + 0x100, "shop_give_up"}},
	 CAUSE_ABORT,
	 "called abort()"},
	{"double free, with debug symbols",
	 {{MADE_LIBC + 0x8000, "raise"},
	  {MADE_LIBC + 0x8100, "abort"},
	  {MADE_LIBC + 0x8200, "malloc_printerr"},
	  {MADE_LIBC + 0x8300, "free"},
	  {MADE_PG + 0x100, ""}},
	 CAUSE_HEAP_CORRUPTION,
	 "malloc_printerr"},
	{"double free, without",
	 {{MADE_LIBC + 0x8000, ""},
	  {MADE_LIBC + 0x8100, "abort"},
	  {MADE_LIBC + 0x8200, ""},
	  {MADE_LIBC + 0x8300, "free"},
	  {MADE_PG + 0x100, ""}},
	 CAUSE_HEAP_CORRUPTION,
	 "free()"},
	{"a frame was overwritten",
	 {{MADE_LIBC + 0x8000, "raise"},
	  {MADE_LIBC + 0x8100, "abort"},
	  {MADE_LIBC + 0x8200, "__fortify_fail"},
	  {MADE_LIBC + 0x8300, "__stack_chk_fail"},
	  {MADE_PG + 0x100, ""}},
	 CAUSE_BUFFER_OVERFLOW,
	 "aborted"},
	{"a checked copy",
	 {{MADE_LIBC + 0x8100, "abort"}, {MADE_LIBC + 0x8200, "__chk_fail"}, {MADE_PG + 0x100, ""}},
	 CAUSE_BUFFER_OVERFLOW,
	 "beyond its buffer"},
	{"assert()",
	 {{MADE_LIBC + 0x8000, "raise"},
	  {MADE_LIBC + 0x8100, "abort"},
	  {MADE_LIBC + 0x8200, "__assert_fail"},
	  {MADE_PG + 0x100, ""}},
	 CAUSE_ASSERTION,
	 "pg_ext.so"},
	{"rb_bug whose record was lost",
	 {{MADE_LIBC + 0x8100, "abort"}, {MADE_RUBY + 0x8200, "rb_bug"}, {MADE_PG + 0x100, ""}},
	 CAUSE_VM_ERROR,
	 "rb_bug"},
	{"a C++ exception that nobody took",
	 {{MADE_LIBC + 0x8100, "abort"}, {MADE_LIBPQ + 0x8200, "std::terminate()"}, {MADE_PG + 0x100, ""}},
	 CAUSE_ABORT,
	 "std::terminate"},
	{"abort() in a handler that came in the middle of free()",
	 {{MADE_LIBC + 0x8100, "abort"}, {MADE_PG + 0x100, "shop_on_signal"}, {MADE_LIBC + 0x9000, "free"}},
	 CAUSE_ABORT,
	 "called abort()"},
	{"an extension's own function of such a name is no check of libc",
	 {{MADE_LIBC + 0x8100, "abort"}, {MADE_PG + 0x8200, "free"}, {MADE_RUBY + 0x100, ""}},
	 CAUSE_ABORT,
	 "called abort()"},
};

static enum cause with_stack(struct made *made, char *evidence, size_t size)
{
	struct frames *frames = frames_new(&made->input);
	struct abi_mismatch abi;
	enum cause cause;

	assert_non_null(frames);
	abi_find(&made->input, frames, &abi);
	cause = cause_with_stack(&made->input, frames, &abi, evidence, size);
	frames_free(frames);
	return cause;
}

static void make_abort(struct made *made)
{
	crash_make(made, "a1");
	made->crash.fault.signal = SIGABRT;
	made->crash.fault.code = SI_TKILL;
	made->crash.fault.flags = FAULT_SELF;
	made->crash.fault.sender_tgid = made->crash.process.tgid;
	made_locate(made, made->regions[0].path, MADE_LIBC, 0x8000);
}

static void test_aborts(void **state)
{
	static struct made made;
	char evidence[288];

	(void)state;
	for (size_t i = 0; i < sizeof(aborts) / sizeof(*aborts); i++) {
		print_message("%s\n", aborts[i].what);
		make_abort(&made);
		for (size_t k = 0; aborts[i].frames[k].pc; k++)
			made_frame(&made, aborts[i].frames[k].pc, aborts[i].frames[k].pc - 0x10,
				   aborts[i].frames[k].symbol);
		assert_string_equal(cause_name(with_stack(&made, evidence, sizeof(evidence))),
				    cause_name(aborts[i].cause));
		if (!strstr(evidence, aborts[i].evidence))
			fail_msg("'%s' is not in '%s'", aborts[i].evidence, evidence);
	}
}

/* glibc's message pieces on the stack: {pointer to constants, length}. */
static void push_message(struct made *made, size_t at)
{
	made_push(made, at, MADE_LIBC + 0x155000 + 0x1234);
	made_push(made, at + 8, 38);
}

static void expect_cause(struct made *made, enum cause cause, const char *evidence)
{
	char text[288];

	assert_string_equal(cause_name(with_stack(made, text, sizeof(text))), cause_name(cause));
	if (!strstr(text, evidence))
		fail_msg("'%s' is not in '%s'", evidence, text);
}

/* Who called abort() is known, and has no name: libc by the message that it has in its own frame. */
static void test_libc_message(void **state)
{
	static const uint64_t distances[] = {0, 0x100, 0x180, 0x200, 0x280};
	static struct made made;

	(void)state;
	for (int by_libc = 1; by_libc >= 0; by_libc--) {
		make_abort(&made);
		made_frame(&made, MADE_LIBC + 0x8000, 0, "");
		made_frame(&made, MADE_LIBC + 0x8100, MADE_LIBC + 0x80f0, "abort");
		made_frame(&made, by_libc ? MADE_LIBC + 0x8200 : MADE_PG + 0x300, 0, "");
		made_frame(&made, by_libc ? MADE_LIBC + 0x8300 : MADE_PG + 0x200, 0, "");
		made_frame(&made, MADE_PG + 0x100, 0, "");
		for (size_t i = 0; i < made.unwound.count; i++)
			made.unwound.frames[i].sp = MADE_SP + distances[i];
		expect_cause(&made, CAUSE_ABORT, "called abort()");
		push_message(&made, 0x128); /* left over from an earlier call: in no frame of the caller's */
		push_message(&made, 0x208);
		expect_cause(&made, CAUSE_ABORT, "called abort()");
		push_message(&made, 0x1a0);
		expect_cause(&made, by_libc ? CAUSE_HEAP_CORRUPTION : CAUSE_ABORT,
			     by_libc ? "heap checks" : "called abort()");
	}
}

/* Without frames, such words are a hint and no more. */
static void test_libc_message_not_unwound(void **state)
{
	static struct made made;

	(void)state;
	make_abort(&made);
	expect_cause(&made, CAUSE_ABORT, "called abort()");
	push_message(&made, 0x128);
	expect_cause(&made, CAUSE_ABORT, "perhaps");
}

static void test_overflow(void **state)
{
	static struct made made;
	char evidence[288];

	(void)state;
	crash_make(&made, "a1");
	made.crash.fault.code = 2;
	made.crash.fault.address = SP - 64;
	for (int i = 0; i < 80; i++)
		made_frame(&made, MADE_PG + 0x1234, MADE_PG + 0x1200, "recurse");
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_STACK_OVERFLOW);
	assert_non_null(
		strstr(evidence, "guard page of a thread's or fiber's stack; recurse is on it 80 times"));
	made.crash.fault.code = 1;
	made.regions[3] = (struct maps_region){.start = SP - 0x1000,
					       .end = SP + 0x20000,
					       .protection = PROT_READ | PROT_WRITE,
					       .path = "[stack]"};
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_STACK_OVERFLOW);
	assert_non_null(strstr(evidence, "main thread's stack"));
}

/* A frame is entered in the guard page and first used in its middle. */
static void test_overflow_within_a_frame(void **state)
{
	static struct made made;
	char evidence[288];

	(void)state;
	crash_make(&made, "a1");
	made.crash.fault.code = 2;
	made.crash.fault.error_code = 6;
	made.crash.fault.address = SP | 0xff0;
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_WRITE_READ_ONLY);
	made.crash.fault.missing[0] = 1;
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_STACK_OVERFLOW);
	made.crash.fault.address += 0x1000;
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_WRITE_READ_ONLY);
}

static void test_freed(void **state)
{
	static struct made made;
	char evidence[288];

	(void)state;
	crash_make(&made, "a1");
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_NULL);
	assert_null(strstr(evidence, "freed"));
	made.crash.fault.regs[REG_BX_] = 0x5a5a5a5a5a5a5a62;
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_NULL);
	assert_non_null(
		strstr(evidence, "rbx holds 0x5a5a5a5a5a5a5a62, perhaps the filling of freed memory"));
}

#define OLD_PG "/srv/shop/vendor/bundle/ruby/3.1.0/extensions/x86_64-linux/3.1.0/pg-1.5.4/pg_ext.so"

static void test_abi(void **state)
{
	static struct made made;
	char evidence[288];

	(void)state;
	/* in libruby, called by an extension that was built for 3.1 while 3.3 runs */
	crash_make(&made, "a1");
	made.regions[2].path = OLD_PG;
	made.input.ruby = "3.3.8";
	made_locate(&made, made.regions[1].path, MADE_RUBY, 0x30000);
	made_frame(&made, MADE_RUBY + 0x30000, MADE_RUBY + 0x2f000, "rb_exc_new");
	made_frame(&made, MADE_PG + 0x2000, MADE_PG + 0x1f00, "");
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_ABI_MISMATCH);
	assert_non_null(strstr(evidence, "pg_ext.so was built for Ruby 3.1.0, 3.3.8 runs; null: "));
	/* the same Ruby: no mismatch, whatever its third number */
	made.input.ruby = "3.1.2";
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_NULL);
	/* the version of the mapped libruby stands in (3.1) */
	made.input.ruby = "";
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_NULL);
	/* merely mapped, while another one fails: not its fault */
	made.input.ruby = "3.3.8";
	made.unwound.count = 0;
	made_frame(&made, MADE_LIBPQ + 0x2000, MADE_LIBPQ + 0x1f00, "");
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_NULL);
	/* merely mapped, and nobody else's code is there */
	made.unwound.count = 0;
	made_frame(&made, MADE_RUBY + 0x2000, MADE_RUBY + 0x1f00, "gc_mark");
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_ABI_MISMATCH);
	/* a signal that was sent has nothing to do with it */
	made.crash.fault.code = SI_USER;
	made.crash.fault.sender_tgid = 1;
	assert_int_equal(with_stack(&made, evidence, sizeof(evidence)), CAUSE_INJECTED);
}

static void test_versions(void **state)
{
	static const struct {
		const char *text, *abi;
	} texts[] = {{"3.1.7", "3.1"},          {"libruby-3.1.so.3.1.7", "3.1"},
		     {"libruby.so.3.3", "3.3"}, {"ruby2.7", "2.7"},
		     {"3.4.0+1", "3.4"},        {"4.0.0", "4.0"}};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_true(abi_of_version(texts[i].text, out));
		assert_string_equal(out, texts[i].abi);
	}
	assert_false(abi_of_version("ruby", out));
	assert_false(abi_of_version("libruby.so", out));
	assert_false(abi_of_version("3.", out));
	assert_false(abi_of_version("12345678901234567890.1", out));
}

static void test_lost_record(void **state)
{
	char evidence[224];
	struct made made;

	(void)state;
	crash_make(&made, "a1");
	memset(&made.crash.fault, 0, sizeof(made.crash.fault));
	made.crash.has_fault = false;
	made.crash.status = SIGSEGV;
	assert_int_equal(cause_of(&made.crash, evidence, sizeof(evidence)), CAUSE_UNKNOWN);
	assert_non_null(strstr(evidence, "no record"));
	made.crash.status = SIGABRT;
	assert_int_equal(cause_of(&made.crash, evidence, sizeof(evidence)), CAUSE_ABORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_processor),
		cmocka_unit_test(test_sent),
		cmocka_unit_test(test_vm_error_and_oom),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_libc_message),
		cmocka_unit_test(test_libc_message_not_unwound),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_overflow_within_a_frame),
		cmocka_unit_test(test_freed),
		cmocka_unit_test(test_abi),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_lost_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
