/* SPDX-License-Identifier: Apache-2.0 */
/* Cause classes: one case a line, with the ones that are easily taken for each other side by side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/crash_make.h"

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
	{"read of PROT_NONE", SIGSEGV, 2, 0x7f0020001000, 0x7f0020002000, 5, 14, 0, CAUSE_UNMAPPED,
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
		cmocka_unit_test(test_lost_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
