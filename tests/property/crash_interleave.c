/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated programs: methods in Ruby and in C that call each other, with helpers, callbacks and recursion.
 * The generator writes down the stack as it was; from it come the two lists that a capture has, and putting
 * them together must give the stack again. LAPIDARY_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/crash/interleave.h"

enum { CASES = 2000, METHODS = 5, FUNCTIONS = 0x1000, HELPERS = 0x9000 };

/* Outermost first while it is made, turned round at the end. */
static struct frame native[UNWIND_FRAMES];
static struct ev_ruby_frame ruby[EV_RUBY_FRAMES];
static struct interleaved truth[INTERLEAVE_MAX];
static size_t native_count, ruby_count, truth_count;

static void tell(size_t in_native, size_t in_ruby)
{
	truth[truth_count++] = (struct interleaved){(uint16_t)in_native, (uint16_t)in_ruby};
}

static size_t add_native(enum module_kind kind, uint64_t function, const char *symbol)
{
	native[native_count] = (struct frame){.kind = kind, .function = function, .symbol = symbol};
	return native_count++;
}

static size_t add_ruby(enum ruby_frame_kind kind, uint64_t address)
{
	ruby[ruby_count] = (struct ev_ruby_frame){.kind = kind, .address = address};
	return ruby_count++;
}

/* The interpreter runs bytecode: it has frames of its own, which stand for those of Ruby. */
static void run_bytecode(void)
{
	size_t frames = 1 + draw(3), own = 1 + draw(3);

	for (size_t i = 0; i < own; i++)
		add_native(MODULE_RUBY, HELPERS + draw(0x100), i % 2 ? "vm_exec_core" : "rb_vm_exec");
	for (size_t i = 0; i < frames; i++)
		tell(INTERLEAVE_NONE, add_ruby(draw(8) ? RUBY_FRAME_RUBY : RUBY_FRAME_OTHER, 0x7777));
}

/* A method in C, of an extension or of Ruby itself, with helpers below it; perhaps it calls itself. */
static void run_method(void)
{
	uint64_t function = FUNCTIONS + draw(METHODS);
	enum module_kind kind = draw(3) ? MODULE_EXTENSION : MODULE_RUBY;
	size_t helpers = draw(3), at = add_native(kind, function, "");

	tell(at, add_ruby(RUBY_FRAME_C, function));
	if (kind == MODULE_RUBY)
		return;
	for (size_t i = draw(3); i > 0; i--)
		tell(add_native(kind, function, ""), INTERLEAVE_NONE);
	for (size_t i = 0; i < helpers; i++)
		tell(add_native(draw(2) ? MODULE_LIBRARY : MODULE_EXTENSION, HELPERS + draw(0x100), ""),
		     INTERLEAVE_NONE);
}

/* Where it fails: in the interpreter, called by the bytecode or by the method; or where it is. */
static void fail_somewhere(void)
{
	if (!draw(3))
		tell(add_native(MODULE_RUBY, HELPERS, "rb_str_concat"), INTERLEAVE_NONE);
	else if (!draw(2))
		tell(add_native(MODULE_SYSTEM, HELPERS, "strlen"), INTERLEAVE_NONE);
}

static void turn_round(void *list, size_t count, size_t size)
{
	uint8_t keep[512], *bytes = list;

	for (size_t i = 0; i < count / 2; i++) {
		uint8_t *a = bytes + i * size, *b = bytes + (count - 1 - i) * size;

		memcpy(keep, a, size);
		memcpy(a, b, size);
		memcpy(b, keep, size);
	}
}

static void draw_program(void)
{
	size_t calls = draw(8);

	native_count = ruby_count = truth_count = 0;
	tell(add_native(MODULE_SYSTEM, HELPERS, "__libc_start_main"), INTERLEAVE_NONE);
	add_native(MODULE_RUBY, HELPERS, "ruby_run_node");
	for (size_t i = 0; i < calls; i++) {
		run_bytecode();
		run_method();
	}
	/* a method in Ruby may be the innermost; the interpreter then fails on its behalf */
	if (!calls || draw(2)) {
		run_bytecode();
		tell(add_native(MODULE_RUBY, HELPERS, "rb_str_concat"), INTERLEAVE_NONE);
	} else {
		fail_somewhere();
	}
	turn_round(native, native_count, sizeof(*native));
	turn_round(ruby, ruby_count, sizeof(*ruby));
	turn_round(truth, truth_count, sizeof(*truth));
	for (size_t i = 0; i < truth_count; i++) {
		if (truth[i].native != INTERLEAVE_NONE)
			truth[i].native = (uint16_t)(native_count - 1 - truth[i].native);
		if (truth[i].ruby != INTERLEAVE_NONE)
			truth[i].ruby = (uint16_t)(ruby_count - 1 - truth[i].ruby);
	}
}

static void test_truth(void **state)
{
	struct interleaved stack[INTERLEAVE_MAX];

	(void)state;
	for (int i = 0; i < CASES; i++) {
		size_t count;

		draw_program();
		count = interleave(native, native_count, ruby, ruby_count, stack);
		if (count != truth_count || memcmp(stack, truth, count * sizeof(*stack)) != 0)
			fail_msg("case %d: %zu native and %zu Ruby frames gave %zu, and were %zu", i,
				 native_count, ruby_count, count, truth_count);
	}
}

/* What a capture loses: outer frames of either list, functions and symbols, whole lists. */
static void damage(void)
{
	if (!draw(3))
		native_count = draw(native_count + 1);
	if (!draw(3))
		ruby_count = draw(ruby_count + 1);
	for (size_t i = 0; i < native_count; i++) {
		if (!draw(6))
			native[i].function = 0;
		if (!draw(3))
			native[i].symbol = "";
		if (!draw(12))
			native[i].kind = (enum module_kind)draw(5);
	}
	for (size_t i = 0; i < ruby_count; i++)
		if (!draw(12))
			ruby[i].address = draw(2) ? 0 : FUNCTIONS + draw(METHODS);
}

static void check_order(const struct interleaved *stack, size_t count, int number)
{
	size_t next_native = 0, next_ruby = 0;

	for (size_t i = 0; i < count; i++) {
		const struct interleaved *at = &stack[i];

		if (at->native != INTERLEAVE_NONE) {
			for (; next_native < at->native; next_native++)
				if (native[next_native].kind != MODULE_RUBY || next_native == 0)
					fail_msg("case %d: native frame %zu is lost", number, next_native);
			if (at->native != next_native++)
				fail_msg("case %d: native frame %u is out of order", number, at->native);
		}
		if (at->ruby != INTERLEAVE_NONE && at->ruby != next_ruby++)
			fail_msg("case %d: Ruby frame %u is out of order", number, at->ruby);
		if (at->native != INTERLEAVE_NONE && at->ruby != INTERLEAVE_NONE) {
			assert_int_equal(ruby[at->ruby].kind, RUBY_FRAME_C);
			assert_true(native[at->native].function != 0);
			assert_int_equal(native[at->native].function, ruby[at->ruby].address);
		}
		assert_true(at->native != INTERLEAVE_NONE || at->ruby != INTERLEAVE_NONE);
	}
	assert_int_equal(next_ruby, ruby_count);
	for (; next_native < native_count; next_native++)
		if (native[next_native].kind != MODULE_RUBY || !ruby_count)
			fail_msg("case %d: native frame %zu is lost at the end", number, next_native);
}

static void test_damaged(void **state)
{
	struct interleaved stack[INTERLEAVE_MAX];

	(void)state;
	for (int i = 0; i < CASES; i++) {
		draw_program();
		damage();
		check_order(stack, interleave(native, native_count, ruby, ruby_count, stack), i);
	}
}

static int start(void **state)
{
	(void)state;
	draw_start();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 17: native and Ruby frames together are the stack as the program had it",
		 test_truth, NULL, NULL, NULL},
		{"Property 17: whatever is missing of them, no frame is lost, doubled or out of order",
		 test_damaged, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
