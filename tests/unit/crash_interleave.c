/* SPDX-License-Identifier: Apache-2.0 */
/* Two stacks of the same calls, made one: stacks that Ruby programs have, with what must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "user/base/text.h"
#include "user/crash/interleave.h"

/*
 * A native stack is a text, innermost first: "x" code of an extension, "l" of a library, "v" the
 * interpreter's loop (by symbol), "i" other code of the interpreter, "?" code of the interpreter whose
 * symbols are not known. A digit behind it is its function. A Ruby stack likewise: "r" bytecode, "c3" the C
 * function 3, "o" another frame. What comes out is written the same way: natives by their letters, Ruby
 * frames by upper case, "c3" for a pair, in brackets.
 */
static size_t read_native(const char *text, struct frame *out)
{
	size_t count = 0;

	for (; *text; text++) {
		struct frame *frame = &out[count];

		if (*text >= '0' && *text <= '9') {
			out[count - 1].function = 0x1000u + (unsigned)(*text - '0');
			continue;
		}
		memset(frame, 0, sizeof(*frame));
		frame->symbol = *text == 'v' ? "vm_exec_core" : *text == 'i' ? "rb_str_concat" : "";
		frame->kind = *text == 'x'                   ? MODULE_EXTENSION
			      : strchr("vi?", *text) != NULL ? MODULE_RUBY
							     : MODULE_LIBRARY;
		count++;
	}
	return count;
}

static size_t read_ruby(const char *text, struct ev_ruby_frame *out)
{
	size_t count = 0;

	for (; *text; text++) {
		if (*text >= '0' && *text <= '9') {
			out[count - 1].address = 0x1000u + (unsigned)(*text - '0');
			continue;
		}
		memset(&out[count], 0, sizeof(*out));
		out[count].kind = *text == 'r'   ? RUBY_FRAME_RUBY
				  : *text == 'c' ? RUBY_FRAME_C
						 : RUBY_FRAME_OTHER;
		count++;
	}
	return count;
}

static const struct {
	const char *what, *native, *ruby, *together;
} cases[] = {
	{"an extension's method fails in libc", "lx1vvllx", "c1rr", "0 1=0 R1 R2 4 5 6"},
	{"an iterator of Ruby between two methods", "x1vi2vl", "c1rc2rr", "0=0 R1 2=2 R3 R4 4"},
	{"no Ruby frames at all", "lx?l", "", "0 1 2 3"},
	{"no native frames at all", "", "c1r", "R0 R1"},
	{"unwinding ended in the middle", "lx1v", "c1rc2r", "0 1=0 R1 R2 R3"},
	{"the failing instruction is the interpreter's", "ivvl", "rr", "0 R0 R1 3"},
	{"the same, without symbols: the first run stays", "???l?", "rr", "0 1 2 R0 R1 3"},
	{"a method of Ruby itself fails", "?2??x1?l", "c2rc1r", "0=0 R1 3=2 R3 5"},
	{"a C function that calls itself was called once", "x1x1x1vl", "c1r", "0 1 2=0 R1 4"},
	{"the same in Ruby itself", "?1?1vl", "c1r", "0 1=0 R1 3"},
	{"the same where the interpreter is not known", "x1x1l", "c1", "0 1=0 2"},
	{"the same method, called twice", "x1vx1vl", "c1rc1r", "0=0 R1 2=2 R3 4"},
	{"a call that the native stack lacks", "x1vl", "c1rc2rr", "0=0 R1 R2 R3 R4 2"},
	{"a call that Ruby's stack lacks", "x1vx2vl", "c1r", "0=0 R1 2 4"},
	{"helpers between the interpreter and the method", "lx1vvxxx2v", "c1rrc2r", "0 1=0 R1 R2 4 5 6=3 R4"},
	{"a body under rb_protect", "x1vxix2v", "c1rc2r", "0=0 R1 2 4=2 R3"},
	{"the interpreter is not known by name", "x1lx2l", "c1rc2r", "0=0 1 R1 2=2 3 R3"},
	{"other frames", "x1vvl", "c1or", "0=0 R1 R2 3"},
	{"a library's function is no call from Ruby", "l1x2vl", "c2r", "0 1=0 R1 3"},
	{"bytecode at an address is no call", "x1vl", "r1r", "0 R0 R1 2"},
};

static void describe(const struct interleaved *stack, size_t count, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		text_add(out, size, &used, "%s", i ? " " : "");
		if (stack[i].native != INTERLEAVE_NONE && stack[i].ruby != INTERLEAVE_NONE)
			text_add(out, size, &used, "%u=%u", stack[i].native, stack[i].ruby);
		else if (stack[i].native != INTERLEAVE_NONE)
			text_add(out, size, &used, "%u", stack[i].native);
		else
			text_add(out, size, &used, "R%u", stack[i].ruby);
	}
}

static void test_stacks(void **state)
{
	static struct frame native[UNWIND_FRAMES];
	static struct ev_ruby_frame ruby[EV_RUBY_FRAMES];
	struct interleaved stack[INTERLEAVE_MAX];
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t native_count = read_native(cases[i].native, native);
		size_t ruby_count = read_ruby(cases[i].ruby, ruby);

		print_message("%s\n", cases[i].what);
		describe(stack, interleave(native, native_count, ruby, ruby_count, stack), text,
			 sizeof(text));
		assert_string_equal(text, cases[i].together);
	}
}

/* The largest stacks there can be, and all of one function. */
static void test_full(void **state)
{
	static struct frame native[UNWIND_FRAMES];
	static struct ev_ruby_frame ruby[EV_RUBY_FRAMES];
	struct interleaved stack[INTERLEAVE_MAX];

	(void)state;
	for (size_t i = 0; i < UNWIND_FRAMES; i++)
		native[i] = (struct frame){.function = i % 2 ? 7 : 0x1000,
					   .kind = i % 2 ? MODULE_RUBY : MODULE_EXTENSION,
					   .symbol = ""};
	for (size_t i = 0; i < EV_RUBY_FRAMES; i++)
		ruby[i] = (struct ev_ruby_frame){.kind = RUBY_FRAME_C, .address = 0x1000};
	assert_int_equal(interleave(native, UNWIND_FRAMES, ruby, EV_RUBY_FRAMES, stack), UNWIND_FRAMES);
	for (size_t i = 0; i < EV_RUBY_FRAMES; i++) {
		assert_int_equal(stack[2 * i].native, 2 * i);
		assert_int_equal(stack[2 * i].ruby, i);
	}
	for (size_t i = 0; i < EV_RUBY_FRAMES; i++)
		ruby[i].address = 1; /* nothing fits */
	assert_int_equal(interleave(native, UNWIND_FRAMES, ruby, EV_RUBY_FRAMES, stack),
			 2 + EV_RUBY_FRAMES + (UNWIND_FRAMES - 2) / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
