/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cause classes (FACTS.md 4), from what the kernel said at the moment of delivery. The order of the tests
 * is the point: a jump to NULL is a bad jump before it is a NULL access, a write below the stack is an
 * overflow before it is a write to a protected page, and a signal that was sent says nothing of memory.
 *
 * x86-64: trap 13 is general protection, for which the processor gives no address; bits of the page-fault
 * error code: 1 write, 4 instruction fetch.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "user/crash/blame.h"

enum {
	NULL_PAGE = 64 * 1024,
	TRAP_PROTECTION = 13,
	ERROR_WRITE = 1 << 1,
	ERROR_FETCH = 1 << 4,
	BELOW_STACK = 256 * 1024, /* a large frame is probed or written far below the pointer */
	ABOVE_STACK = 256,
};

#define say(...) snprintf(evidence, size, __VA_ARGS__)

const char *cause_name(enum cause cause)
{
	static const char *const names[] = {
		[CAUSE_UNKNOWN] = "unknown",
		[CAUSE_NULL] = "null",
		[CAUSE_NON_CANONICAL] = "non_canonical",
		[CAUSE_BAD_JUMP] = "bad_jump",
		[CAUSE_WRITE_READ_ONLY] = "write_read_only",
		[CAUSE_NO_ACCESS] = "no_access",
		[CAUSE_UNMAPPED] = "unmapped",
		[CAUSE_STACK_OVERFLOW] = "stack_overflow",
		[CAUSE_INJECTED] = "injected",
		[CAUSE_HEAP_CORRUPTION] = "heap_corruption",
		[CAUSE_BUFFER_OVERFLOW] = "buffer_overflow",
		[CAUSE_ASSERTION] = "assertion",
		[CAUSE_ABORT] = "abort",
		[CAUSE_VM_ERROR] = "vm_error",
		[CAUSE_ABI_MISMATCH] = "abi_mismatch",
		[CAUSE_OOM] = "oom",
		[CAUSE_ILLEGAL_INSTRUCTION] = "illegal_instruction",
		[CAUSE_ARITHMETIC] = "arithmetic",
		[CAUSE_BUS] = "bus",
	};

	return (unsigned)cause < sizeof(names) / sizeof(*names) ? names[cause] : "unknown";
}

int crash_signal(const struct crash *crash)
{
	if (crash->has_fault)
		return (int)crash->fault.signal;
	if (crash->oom || crash->confirmed_by == CONFIRMED_OOM)
		return SIGKILL;
	return crash->status >= 0 && WIFSIGNALED(crash->status) ? WTERMSIG(crash->status) : 0;
}

bool crash_has_address(const struct crash *crash)
{
	if (!crash->has_fault || crash->fault.code <= 0 || crash->fault.code == SI_KERNEL)
		return false;
	return crash->fault.signal == SIGSEGV || crash->fault.signal == SIGBUS ||
	       crash->fault.signal == SIGILL || crash->fault.signal == SIGFPE;
}

static const char *const register_names[REG_COUNT] = {
	"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
};

/* A register that holds an address no processor with 48 address bits can have. */
static int non_canonical_register(const struct ev_fault *fault)
{
	for (int i = 0; i <= REG_DI_; i++) {
		uint64_t top = fault->regs[i] >> 47;

		if (top != 0 && top != 0x1ffff)
			return i;
	}
	return -1;
}

static enum cause cause_of_protection(const struct ev_fault *fault, char *evidence, size_t size)
{
	int reg = non_canonical_register(fault);

	if (reg >= 0)
		say("general protection fault (si_code 128, trap 13), %s holds 0x%llx, which is no address",
		    register_names[reg], (unsigned long long)fault->regs[reg]);
	else
		say("general protection fault (si_code 128, trap %llu); no register holds a non-canonical "
		    "address now",
		    (unsigned long long)fault->trap_nr);
	return CAUSE_NON_CANONICAL;
}

static bool is_near_stack(const struct ev_fault *fault)
{
	uint64_t sp = fault->regs[REG_SP_];

	if (sp > BELOW_STACK && fault->address + BELOW_STACK >= sp && fault->address <= sp + ABOVE_STACK)
		return true;
	/* in the middle of a frame, and the page that the pointer is in cannot be used */
	return fault->address / EV_PAGE == sp / EV_PAGE && (fault->missing[0] & 1);
}

static enum cause cause_of_segv(const struct crash *crash, char *evidence, size_t size)
{
	const struct ev_fault *fault = &crash->fault;
	unsigned long long address = fault->address, sp = fault->regs[REG_SP_];
	const char *access = fault->error_code & ERROR_WRITE ? "write" : "read";

	if (fault->code == SI_KERNEL)
		return cause_of_protection(fault, evidence, size);
	if (fault->address == fault->regs[REG_IP_] || fault->error_code & ERROR_FETCH) {
		say("si_code %d, the instruction pointer itself is the address 0x%llx", fault->code, address);
		return CAUSE_BAD_JUMP;
	}
	if (fault->code == SEGV_MAPERR && fault->address < NULL_PAGE) {
		say("si_code 1, %s at address 0x%llx, below 64 KiB", access, address);
		return CAUSE_NULL;
	}
	if (is_near_stack(fault)) {
		say("si_code %d, address 0x%llx lies %lld bytes from the stack pointer", fault->code, address,
		    (long long)(address - sp));
		return CAUSE_STACK_OVERFLOW;
	}
	if (fault->code == SEGV_ACCERR && fault->error_code & ERROR_WRITE) {
		say("si_code 2, write at address 0x%llx, which is mapped without the right to write",
		    address);
		return CAUSE_WRITE_READ_ONLY;
	}
	if (fault->code == SEGV_MAPERR) {
		say("si_code 1, %s at address 0x%llx, which is not mapped", access, address);
		return CAUSE_UNMAPPED;
	}
	if (fault->code == SEGV_ACCERR) {
		say("si_code 2, %s at address 0x%llx, which is mapped without any right to it", access,
		    address);
		return CAUSE_NO_ACCESS;
	}
	say("si_code %d", fault->code);
	return CAUSE_UNKNOWN;
}

static enum cause cause_of_vm_error(const struct crash *crash, char *evidence, size_t size)
{
	static const char *const functions[] = {"", "rb_bug", "rb_fatal", "rb_memerror", "rb_assert_failure"};
	uint32_t kind = crash->fatal.kind <= FATAL_ASSERT ? crash->fatal.kind : 0;

	say("%s: %.180s", functions[kind], crash->fatal.message[0] ? crash->fatal.message : "(no message)");
	return CAUSE_VM_ERROR;
}

static enum cause cause_of_sent(const struct crash *crash, char *evidence, size_t size)
{
	const struct ev_fault *fault = &crash->fault;

	if (!(fault->flags & FAULT_SELF) && fault->sender_tgid != crash->process.tgid) {
		say("si_code %d: sent by process %u of user %u", fault->code, fault->sender_tgid,
		    fault->sender_uid);
		return CAUSE_INJECTED;
	}
	if (fault->signal == SIGABRT) {
		say("the process called abort() (or raised SIGABRT itself) without a VM error before it");
		return CAUSE_ABORT;
	}
	say("si_code %d: the process sent the signal to itself", fault->code);
	return CAUSE_INJECTED;
}

enum cause cause_of(const struct crash *crash, char *evidence, size_t size)
{
	int signal = crash_signal(crash);

	if (crash->oom || crash->confirmed_by == CONFIRMED_OOM) {
		say("the kernel's out-of-memory killer chose the process");
		return CAUSE_OOM;
	}
	if (crash->fatal.kind && (!crash->has_fault || signal == SIGABRT))
		return cause_of_vm_error(crash, evidence, size);
	if (!crash->has_fault) {
		say("no record of the fault; the process ended with signal %d", signal);
		return signal == SIGABRT ? CAUSE_ABORT : CAUSE_UNKNOWN;
	}
	if (crash->fault.code <= 0)
		return cause_of_sent(crash, evidence, size);
	switch (signal) {
	case SIGSEGV:
		return cause_of_segv(crash, evidence, size);
	case SIGBUS:
		say("SIGBUS, si_code %d, address 0x%llx: misaligned, or past the end of a mapped file",
		    crash->fault.code, (unsigned long long)crash->fault.address);
		return CAUSE_BUS;
	case SIGILL:
		say("SIGILL, si_code %d at 0x%llx", crash->fault.code,
		    (unsigned long long)crash->fault.regs[REG_IP_]);
		return CAUSE_ILLEGAL_INSTRUCTION;
	case SIGFPE:
		say("SIGFPE, si_code %d%s", crash->fault.code,
		    crash->fault.code == FPE_INTDIV ? ": division by zero" : "");
		return CAUSE_ARITHMETIC;
	default:
		say("signal %d, si_code %d", signal, crash->fault.code);
		return CAUSE_UNKNOWN;
	}
}
