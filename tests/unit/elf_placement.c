// SPDX-License-Identifier: Apache-2.0
/* Where probes go, on small functions written as bytes; each stands for a shape that compilers produce. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "user/elf/placement.h"

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static struct code_reader *reader;

static struct placement choose(const uint8_t *bytes, size_t size, unsigned int arguments, bool whole)
{
	const struct code code = {bytes, size, 0x11000};
	struct placement out;

	assert_int_equal(placement_choose(reader, &code, arguments, whole, &out), 0);
	return out;
}

static void expect(const uint8_t *bytes, size_t size, unsigned int arguments, size_t at, bool emulated)
{
	struct placement out = choose(bytes, size, arguments, true);

	assert_int_equal(out.at, at);
	assert_int_equal(out.emulated, emulated);
}

static void an_emulated_entry_stays(void **state)
{
	(void)state;
	expect(BYTES(0x55, 0xc3), 6, 0, true);                               /* push rbp */
	expect(BYTES(0x41, 0x57, 0xc3), 6, 0, true);                         /* push r15 */
	expect(BYTES(0x90, 0xc3), 6, 0, true);                               /* nop */
	expect(BYTES(0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3), 6, 0, true);       /* nop, 5 bytes */
	expect(BYTES(0xe9, 0x00, 0x01, 0x00, 0x00), 6, 0, true);             /* jmp, a tail call */
	expect(BYTES(0xe8, 0x00, 0x01, 0x00, 0x00, 0xc3), 6, 0, true);       /* call */
	expect(BYTES(0x0f, 0x84, 0x00, 0x01, 0x00, 0x00, 0xc3), 0, 0, true); /* je, near */
}

static void what_only_looks_emulated_is_not(void **state)
{
	(void)state;
	expect(BYTES(0x66, 0x55, 0xc3), 0, 0, false);       /* push bp: 16 bits */
	expect(BYTES(0xff, 0x75, 0x10, 0xc3), 0, 0, false); /* push from memory */
	expect(BYTES(0x6a, 0x01, 0x58, 0xc3), 0, 0, false); /* push 1 */
	expect(BYTES(0x48, 0x55, 0xc3), 0, 0, false); /* push rbp with a REX.W that the kernel refuses */
	expect(BYTES(0xff, 0xe0), 0, 0, false);       /* jmp rax */
	expect(BYTES(0xf3, 0x0f, 0x1e, 0xfa, 0xc3), 0, 0, false); /* endbr64, then ret */
}

static void moves_to_the_first_emulated_instruction(void **state)
{
	struct placement out;

	(void)state;
	/* PQresultStatus: test rdi,rdi; je; mov eax,[rdi+28]; ret; mov eax,7; ret */
	expect(BYTES(0x48, 0x85, 0xff, 0x74, 0x04, 0x8b, 0x47, 0x28, 0xc3, 0xb8, 7, 0, 0, 0, 0xc3), 1, 3,
	       true);
	/* PQsendQuery: mov edx,1; jmp: rdx is written, but is no argument of a function of two */
	expect(BYTES(0xba, 1, 0, 0, 0, 0xe9, 0xa6, 0xeb, 0xff, 0xff), 2, 5, true);
	/* the same behind endbr64 */
	expect(BYTES(0xf3, 0x0f, 0x1e, 0xfa, 0xba, 1, 0, 0, 0, 0xe9, 0xa6, 0xeb, 0xff, 0xff), 2, 9, true);
	/* sub rsp,8; call */
	expect(BYTES(0x48, 0x83, 0xec, 0x08, 0xe8, 0, 1, 0, 0, 0xc3), 6, 4, true);
	out = choose(BYTES(0xba, 1, 0, 0, 0, 0xe9, 0xa6, 0xeb, 0xff, 0xff), 2, true);
	assert_string_equal(out.instruction, "jmp");
}

static void stays_when_an_argument_is_gone(void **state)
{
	(void)state;
	/* mov edx,1; jmp, for a function of three arguments */
	expect(BYTES(0xba, 1, 0, 0, 0, 0xe9, 0xa6, 0xeb, 0xff, 0xff), 3, 0, false);
	/* xor edi,edi; push rbx */
	expect(BYTES(0x31, 0xff, 0x53, 0x5b, 0xc3), 1, 0, false);
	/* mov sil,1; push rbx: one byte of it is enough */
	expect(BYTES(0x40, 0xb6, 0x01, 0x53, 0x5b, 0xc3), 2, 0, false);
	/* xchg rax,rsi; push rbx */
	expect(BYTES(0x48, 0x96, 0x53, 0x5b, 0xc3), 2, 0, false);
	/* cqo writes rdx, and names it nowhere; push rbx */
	expect(BYTES(0x48, 0x99, 0x53, 0x5b, 0xc3), 3, 0, false);
	expect(BYTES(0x48, 0x99, 0x53, 0x5b, 0xc3), 2, 2, true);
}

static void stays_when_a_jump_leads_there(void **state)
{
	(void)state;
	/* test rdi,rdi; push rbx; pop rbx; jne back to the push */
	expect(BYTES(0x48, 0x85, 0xff, 0x53, 0x5b, 0x75, 0xfc, 0xc3), 1, 0, false);
	/* test rdi,rdi; test rsi,rsi; push rbx; pop rbx; jne to the second test, in between */
	expect(BYTES(0x48, 0x85, 0xff, 0x48, 0x85, 0xf6, 0x53, 0x5b, 0x75, 0xf9, 0xc3), 2, 0, false);
	/* the same with a jump to the entry, which passes both places alike */
	expect(BYTES(0x48, 0x85, 0xff, 0x48, 0x85, 0xf6, 0x53, 0x5b, 0x75, 0xf6, 0xc3), 2, 6, true);
	/* loop instructions jump too */
	expect(BYTES(0x48, 0x85, 0xff, 0x53, 0x5b, 0xe2, 0xfc, 0xc3), 1, 0, false);
}

static void stays_where_paths_part_or_end(void **state)
{
	(void)state;
	/* test rdi,rdi; ret; push rbx */
	expect(BYTES(0x48, 0x85, 0xff, 0xc3, 0x53), 1, 0, false);
	/* test rdi,rdi; jmp rax; push rbx */
	expect(BYTES(0x48, 0x85, 0xff, 0xff, 0xe0, 0x53), 1, 0, false);
	/* test rdi,rdi; jrcxz (not emulated); push rbx */
	expect(BYTES(0x48, 0x85, 0xff, 0xe3, 0x00, 0x53, 0xc3), 1, 0, false);
	/* test rdi,rdi; call rax (clobbers); push rbx */
	expect(BYTES(0x48, 0x85, 0xff, 0xff, 0xd0, 0x53, 0xc3), 1, 0, false);
}

static void stays_when_the_code_is_not_all_known(void **state)
{
	struct placement out = choose(BYTES(0x48, 0x85, 0xff, 0x74, 0x01, 0xc3, 0xc3), 1, false);

	(void)state;
	assert_int_equal(out.at, 0); /* without its end, a jump back could hide */
	/* an invalid byte further down: data among the code */
	expect(BYTES(0x48, 0x85, 0xff, 0x74, 0x01, 0xc3, 0x06, 0xc3), 1, 0, false);
	/* cut off in the middle of an instruction */
	expect(BYTES(0x48, 0x85, 0xff, 0x74, 0x01, 0xc3, 0xe9, 0x00), 1, 0, false);
}

static void garbage_has_no_place(void **state)
{
	const uint8_t invalid[] = {0x06, 0x90};
	const struct code code = {invalid, sizeof(invalid), 0}, empty = {invalid, 0, 0};
	struct placement out;

	(void)state;
	assert_int_equal(placement_choose(reader, &code, 0, true, &out), -EINVAL);
	assert_int_equal(placement_entry(reader, &empty, &out), -EINVAL);
}

static void every_return_is_found(void **state)
{
	/* je +1; ret; bnd ret; rep ret; ret 8 */
	const uint8_t bytes[] = {0x74, 0x01, 0xc3, 0xf2, 0xc3, 0xf3, 0xc3, 0xc2, 0x08, 0x00};
	const struct code code = {bytes, sizeof(bytes), 0x11000}, cut = {bytes, sizeof(bytes) - 1, 0x11000};
	struct placement out[4];

	(void)state;
	assert_int_equal(placement_returns(reader, &code, out, 4), 4);
	assert_int_equal(out[0].at, 2);
	assert_int_equal(out[1].at, 3);
	assert_int_equal(out[2].at, 5);
	assert_int_equal(out[3].at, 7);
	assert_int_equal(placement_returns(reader, &code, out, 3), -ENOSPC);
	assert_int_equal(placement_returns(reader, &cut, out, 4), -EINVAL);
}

static int open_reader(void **state)
{
	(void)state;
	return code_reader_new(&reader);
}

static int close_reader(void **state)
{
	(void)state;
	code_reader_free(reader);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_emulated_entry_stays),
		cmocka_unit_test(what_only_looks_emulated_is_not),
		cmocka_unit_test(moves_to_the_first_emulated_instruction),
		cmocka_unit_test(stays_when_an_argument_is_gone),
		cmocka_unit_test(stays_when_a_jump_leads_there),
		cmocka_unit_test(stays_where_paths_part_or_end),
		cmocka_unit_test(stays_when_the_code_is_not_all_known),
		cmocka_unit_test(garbage_has_no_place),
		cmocka_unit_test(every_return_is_found),
	};

	return cmocka_run_group_tests(tests, open_reader, close_reader);
}
