/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stack and maps add to the kernel's word. An abort is a decision of the program, and who made it stands
 * on the stack: libc's heap checks, its checks of buffers, assert(), Ruby. Only names that libc and Ruby
 * export are needed, so that it works without debug symbols; where not even those are known, the frame of the
 * function in libc that called abort() holds the pieces of libc's message (scan.h). Words elsewhere are of
 * calls that are over, and what a signal interrupted did not abort.
 *
 * Some of it is evidence alone, and says "perhaps": a register full of one byte looks like memory that was
 * filled when it was freed, and may be anything.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/crash/abi.h"
#include "user/crash/blame.h"

enum {
	ABORT_REACH = 16,     /* frames from abort() to whoever called it, with room for libc's own */
	MESSAGE_REACH = 2048, /* bytes of stack from abort() to __libc_message's frame */
};

static const char *const stack_checks[] = {"__stack_chk_fail", "__stack_chk_fail_local", "__fortify_fail",
					   "__chk_fail",       "__fortify_fail_abort",   NULL};
static const char *const assertions[] = {"__assert_fail", "__assert_fail_base", "__assert",
					 "__assert_perror_fail", NULL};
static const char *const heap_checks[] = {"malloc_printerr",
					  "malloc",
					  "free",
					  "cfree",
					  "calloc",
					  "realloc",
					  "__libc_free",
					  "__libc_malloc",
					  "__libc_realloc",
					  "__libc_calloc",
					  "_int_free",
					  "_int_malloc",
					  "_int_realloc",
					  "malloc_consolidate",
					  "unlink_chunk",
					  "je_free",
					  "operator delete(void*)",
					  NULL};
static const char *const vm_errors[] = {
	"rb_bug", "rb_fatal", "rb_memerror", "rb_assert_failure", "rb_assert_failure_detail", NULL};
static const char *const terminates[] = {
	"std::terminate()", "__cxa_throw",       "__cxxabiv1::__terminate(void (*)())",
	"rust_panic",       "rust_begin_unwind", NULL};

/* The innermost of the first frames that has one of the names, in code of that kind. */
static const struct frame *find(const struct frames *frames, const char *const names[], enum module_kind kind)
{
	for (size_t i = 0; i < frames->count && i < ABORT_REACH; i++) {
		const struct frame *frame = &frames->list[i];

		if (frame->interrupted || (kind == MODULE_SYSTEM && frame->kind != MODULE_SYSTEM))
			break; /* libc's own decision has nobody else between itself and abort() */
		if (frame->kind == kind && frame->how != UNWIND_SCANNED && frame_is(frame, names))
			return frame;
	}
	return NULL;
}

/* Did libc itself call abort(), with its message in hand? */
static bool aborted_by_libc(const struct crash_input *input, const struct frames *frames)
{
	static const char *const names[] = {"abort", NULL};
	const struct frame *at = find(frames, names, MODULE_SYSTEM), *end = frames->list + frames->count;
	uint64_t sp = input->crash->fault.regs[REG_SP_];

	return at && end - at > 2 && at[1].kind == MODULE_SYSTEM && !strcmp(at[1].path, at->path) &&
	       at[1].how == UNWIND_TABLES && !at[1].interrupted && at[1].sp >= sp && at[2].sp > at[1].sp &&
	       scan_libc_message(input, at[1].sp - sp, at[2].sp - sp);
}

static enum cause cause_of_abort(const struct crash_input *input, const struct frames *frames, char *evidence,
				 size_t size)
{
	const struct frame *at;

	if ((at = find(frames, stack_checks, MODULE_SYSTEM))) {
		snprintf(evidence, size, "%s aborted: %s", at->symbol,
			 strstr(at->symbol, "stack") ? "a function's frame was overwritten"
						     : "a call would have written beyond its buffer");
		return CAUSE_BUFFER_OVERFLOW;
	}
	if ((at = find(frames, assertions, MODULE_SYSTEM))) {
		snprintf(evidence, size, "%s aborted: an assertion in %.80s does not hold", at->symbol,
			 at + 1 < frames->list + frames->count ? text_base(at[1].path) : "the program");
		return CAUSE_ASSERTION;
	}
	if ((at = find(frames, heap_checks, MODULE_SYSTEM))) {
		snprintf(evidence, size, "libc aborted in %.40s(): its heap checks found damage", at->symbol);
		return CAUSE_HEAP_CORRUPTION;
	}
	if ((at = find(frames, vm_errors, MODULE_RUBY))) {
		snprintf(evidence, size, "%s is on the stack: Ruby gave up", at->symbol);
		return CAUSE_VM_ERROR;
	}
	if (aborted_by_libc(input, frames)) {
		snprintf(evidence, size,
			 "libc aborted while it reported an error of its own: its heap checks found damage");
		return CAUSE_HEAP_CORRUPTION;
	}
	for (size_t i = 0; i < frames->count && i < ABORT_REACH; i++)
		if (frames->list[i].how != UNWIND_SCANNED && frame_is(&frames->list[i], terminates)) {
			snprintf(evidence, size, "the process called abort(); %.60s is on the stack",
				 frames->list[i].symbol);
			break;
		}
	if (!frames->unwound && scan_libc_message(input, 0, MESSAGE_REACH))
		snprintf(evidence, size,
			 "the process called abort(); the stack, which was not unwound, holds words of a "
			 "message "
			 "of libc's, perhaps that its heap checks found damage");
	return CAUSE_ABORT;
}

/* How often the innermost function that repeats stands on the stack. */
static size_t find_recursion(const struct frames *frames, const struct frame **out)
{
	size_t most = 1;

	for (size_t i = 0; i < frames->count && i < 8; i++) {
		size_t times = 0;

		if (!frames->list[i].function || frames->list[i].how == UNWIND_SCANNED)
			continue;
		for (size_t k = 0; k < frames->count; k++)
			times += frames->list[k].function == frames->list[i].function;
		if (times > most) {
			most = times;
			*out = &frames->list[i];
		}
	}
	return most;
}

/* Whose stack ran out: the main thread's grows to its limit, others end at a guard page. */
static void add_overflow(const struct crash_input *input, const struct frames *frames, char *evidence,
			 size_t size, size_t *used)
{
	const struct ev_fault *fault = &input->crash->fault;
	const struct frame *at = NULL;
	uint64_t sp = fault->regs[REG_SP_];
	bool main_stack = false;
	size_t times = find_recursion(frames, &at);

	for (size_t i = 0; i < input->region_count; i++)
		if (input->regions[i].path && !strcmp(input->regions[i].path, "[stack]"))
			main_stack = sp + (1 << 20) >= input->regions[i].start && sp < input->regions[i].end;
	text_add(evidence, size, used, ", %s",
		 main_stack         ? "at the end of the main thread's stack"
		 : fault->code == 2 ? "in the guard page of a thread's or fiber's stack"
				    : "beyond the stack that it runs on");
	if (times > 2)
		text_add(evidence, size, used, "; %.60s is on it %zu times",
			 at->symbol[0] ? at->symbol : text_base(at->path), times);
}

/* Bytes that allocators and checkers fill freed memory with. */
static bool is_fill(uint64_t value)
{
	static const uint8_t fills[] = {0x5a, 0xa5, 0x6b, 0xbe, 0xfd, 0xdd, 0xef};

	for (size_t i = 0; i < sizeof(fills); i++)
		if (value >> 8 == 0x0001010101010101ull * fills[i])
			return true;
	return value >> 32 == 0xdeadbeef || (value & 0xffffffff) == 0xdeadbeef;
}

static void add_freed(const struct crash_input *input, char *evidence, size_t size, size_t *used)
{
	static const char *const names[] = {"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10",
					    "r9",  "r8",  "rax", "rcx", "rdx", "rsi", "rdi"};
	const struct ev_fault *fault = &input->crash->fault;

	for (int i = 0; i <= REG_DI_; i++)
		if (is_fill(fault->regs[i])) {
			text_add(evidence, size, used,
				 "; %s holds 0x%llx, perhaps the filling of freed memory", names[i],
				 (unsigned long long)fault->regs[i]);
			return;
		}
}

static bool is_of_memory(enum cause cause)
{
	return cause == CAUSE_NULL || cause == CAUSE_NON_CANONICAL || cause == CAUSE_BAD_JUMP ||
	       cause == CAUSE_WRITE_READ_ONLY || cause == CAUSE_NO_ACCESS || cause == CAUSE_UNMAPPED ||
	       cause == CAUSE_HEAP_CORRUPTION || cause == CAUSE_VM_ERROR;
}

/*
 * A wrong ABI explains a fault of memory when the extension is on the stack, or when nobody else's native
 * code is: it may have damaged what Ruby falls over later.
 */
static bool abi_explains(const struct frames *frames, const struct abi_mismatch *abi)
{
	if (abi->where == ABI_NONE || abi->where >= ABI_ON_STACK_SCANNED)
		return abi->where != ABI_NONE;
	for (size_t i = 0; i < frames->reach && i < frames->count; i++)
		if (frames->list[i].kind == MODULE_EXTENSION || frames->list[i].kind == MODULE_LIBRARY)
			return false;
	return true;
}

enum cause cause_with_stack(const struct crash_input *input, const struct frames *frames,
			    const struct abi_mismatch *abi, char *evidence, size_t size)
{
	enum cause cause = cause_of(input->crash, evidence, size);
	char kernel[224];
	size_t used;

	if (!input->crash->has_fault)
		return cause;
	if (cause == CAUSE_ABORT)
		cause = cause_of_abort(input, frames, evidence, size);
	used = strlen(evidence);
	if (cause == CAUSE_STACK_OVERFLOW)
		add_overflow(input, frames, evidence, size, &used);
	else if (is_of_memory(cause) && cause != CAUSE_VM_ERROR)
		add_freed(input, evidence, size, &used);
	if (!is_of_memory(cause) || !abi_explains(frames, abi))
		return cause;
	text_copy(kernel, sizeof(kernel), evidence);
	snprintf(evidence, size, "%.60s was built for Ruby %s, %s runs; %s: %s", text_base(abi->path),
		 abi->gem.abi, input->ruby && *input->ruby ? input->ruby : abi->running, cause_name(cause),
		 kernel);
	return CAUSE_ABI_MISMATCH;
}
