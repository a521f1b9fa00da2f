/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated crashes of one bug and of two: a fingerprint is the same for the same bug wherever it happens,
 * and another for another. LAPIDARY_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/crash_make.h"
#include "tests/draw.h"

enum { CASES = 400 };

/* What differs from host to host and from one instance to the next. */
static void move_elsewhere(struct made *made)
{
	uint64_t slide = (draw(1 << 20) + 1) << 12;

	for (size_t i = 0; i < 4; i++) {
		made->regions[i].start += slide;
		made->regions[i].end += slide;
		made->regions[i].inode += draw(1000);
	}
	for (size_t at = 0; at + 8 <= sizeof(made->stack); at += 8) {
		uint64_t word;

		memcpy(&word, made->stack + at, sizeof(word));
		if (word >= MADE_LIBC && word < MADE_LIBPQ + 0x40000)
			made_push(made, at, word + slide);
	}
	made->crash.location.map_start += slide;
	made->crash.fault.regs[REG_IP_] += slide;
	made->crash.process.tgid = (uint32_t)draw(4000000);
	made->crash.process.start_ns = draw(1ull << 40);
	made->crash.time_ns = draw(1ull << 40) + (1ull << 41);
	made->crash.uid = (uint32_t)draw(70000);
	made->crash.live_workers = (uint32_t)draw(64);
	made->crash.status = (int32_t)draw(65536);
	made->input.host = "another";
	snprintf(made->crash.sql, sizeof(made->crash.sql), "select %d", (int)draw(1000));
}

/* A crash of one of the shapes that real ones have. */
static void draw_bug(struct made *made)
{
	static const uint64_t at[] = {MADE_LIBC, MADE_RUBY, MADE_PG, MADE_LIBPQ};
	size_t where = draw(4);

	crash_make(made, "a1");
	made_locate(made, made->regions[where].path, at[where], 0x1000 + draw(0x20000));
	made->crash.fault.address = draw(0x1000);
	for (int i = 0; i < 4; i++)
		made_push(made, draw(512) * 8, at[draw(4)] + draw(0x20000));
}

static void fingerprint(const struct made *made, char out[20])
{
	struct crash_report *report;

	assert_int_equal(crash_report_new(&made->input, &report), 0);
	memcpy(out, report->fingerprint, 20);
	crash_report_free(report);
}

static void test_stable(void **state)
{
	static struct made here;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		char first[20], second[20];

		draw_bug(&here);
		fingerprint(&here, first);
		move_elsewhere(&here);
		fingerprint(&here, second);
		if (strcmp(first, second))
			fail_msg("case %d: %s became %s", i, first, second);
	}
}

static void test_different(void **state)
{
	static struct made made;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		uint64_t offset = 0x1000 + draw(0x10000), other = 0x12000 + draw(0x10000);
		char first[20], second[20];

		/* two places of one extension, and two causes at one place */
		crash_make(&made, "a1");
		made_locate(&made, PG_PATH, MADE_PG, offset);
		fingerprint(&made, first);
		made_locate(&made, PG_PATH, MADE_PG, other);
		fingerprint(&made, second);
		assert_string_not_equal(first, second);
		made_locate(&made, PG_PATH, MADE_PG, offset);
		made.crash.fault.address = MADE_PG + draw(0x1000);
		fingerprint(&made, second);
		assert_string_not_equal(first, second);
	}
}

static const uint64_t bases[] = {MADE_LIBC, MADE_RUBY, MADE_PG, MADE_LIBPQ};

static bool is_shared(uint64_t address)
{
	return address < MADE_PG;
}

/* A crash that was unwound: some calls in shared and own code, below a method of pg that bytecode called. */
static void draw_unwound(struct made *made)
{
	size_t calls = 1 + draw(5);

	crash_make(made, "a1");
	for (size_t i = 0; i < calls; i++) {
		uint64_t base = bases[i + 1 == calls ? 2 : draw(4)],
			 function = base + 0x1000 + draw(0x1000) * 16;
		/* what every build exports, what debug symbols name, and what nothing does */
		const char *symbol = draw(3) == 0 ? "" : draw(2) ? "inner_function" : "rb_str_new";

		made_frame(made, function + draw(16), function, base == MADE_LIBC ? "" : symbol)
			->symbol_from = draw(2) ? UNWIND_DEBUG_SYMBOLS : UNWIND_FULL_SYMBOLS;
	}
	/* the outermost of it is the method that bytecode called */
	made_ruby(made, made->unwound.frames[made->unwound.count - 1].function, "exec");
	made_ruby(made, 0, "report");
	made_frame(made, MADE_RUBY + 0x50000, MADE_RUBY + 0x4ff00, "");
	made_locate(made, made->regions[0].path, made->unwound.frames[0].pc, 0);
	for (size_t i = 0; i < 4; i++)
		if (made->unwound.frames[0].pc >= made->regions[i].start &&
		    made->unwound.frames[0].pc < made->regions[i].end)
			made_locate(made, made->regions[i].path,
				    made->regions[i].start - made->regions[i].offset,
				    made->unwound.frames[0].pc - made->regions[i].start +
					    made->regions[i].offset);
}

static void shuffle_regions(struct made *made)
{
	for (size_t i = 3; i > 0; i--) {
		size_t other = draw(i + 1);
		struct maps_region keep = made->regions[i];

		made->regions[i] = made->regions[other];
		made->regions[other] = keep;
	}
}

/* Another host: no debug files, no symbols of libc and Ruby, other callers beyond the bytecode, another order
 * of maps. */
static void unwind_elsewhere(struct made *made)
{
	uint64_t slide = (draw(1 << 20) + 1) << 12;
	size_t count = made->unwound.count, more = draw(6);

	for (size_t i = 0; i < 4; i++) {
		made->regions[i].start += slide;
		made->regions[i].end += slide;
	}
	for (size_t i = 0; i < count; i++) {
		struct unwind_frame *frame = &made->unwound.frames[i];

		if (frame->symbol_from == UNWIND_DEBUG_SYMBOLS ||
		    (is_shared(frame->pc) && strncmp(frame->symbol, "rb_", 3) != 0))
			frame->symbol[0] = '\0';
		frame->pc += slide;
		frame->function += slide;
	}
	made->ruby.frames[0].address += slide;
	made->crash.fault.regs[REG_IP_] += slide;
	made->crash.location.map_start += slide;
	for (size_t i = 0; i < more; i++) {
		made_frame(made, bases[draw(4)] + slide + draw(0x20000) + 0x1000, 0, draw(2) ? "caller" : "");
		made_ruby(made, 0, draw(2) ? "block in call" : "call");
	}
	shuffle_regions(made);
	made->input.host = "another";
	made->crash.process.tgid = (uint32_t)draw(4000000);
	made->ruby.frames[0].line = (int32_t)draw(1000);
	made->ruby.frames[1].line = (int32_t)draw(1000);
}

static void test_stable_unwound(void **state)
{
	static struct made here;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		char first[20], second[20];

		draw_unwound(&here);
		fingerprint(&here, first);
		unwind_elsewhere(&here);
		fingerprint(&here, second);
		if (strcmp(first, second))
			fail_msg("case %d: %s became %s", i, first, second);
	}
}

/* A recursion is one bug, however deep it went and whichever call hit the end of the stack. */
static void draw_overflow(struct made *made, const uint64_t functions[2], size_t skip)
{
	size_t depth = 20 + draw(200);

	crash_make(made, "a1");
	made->crash.fault.address = MADE_SP - 8 * (1 + draw(100));
	if (draw(2))
		made_frame(made, MADE_LIBC + 0x3000 + draw(0x1000), MADE_LIBC + 0x3000, "memset");
	for (size_t i = 0; i < depth; i++)
		made_frame(made, functions[(i + skip) % 2] + draw(64), functions[(i + skip) % 2], "");
}

static void test_recursion(void **state)
{
	static struct made made;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		uint64_t one[2] = {MADE_PG + 0x1000 + draw(0x800) * 64, MADE_PG + 0x22000};
		uint64_t two[2] = {one[0] + 0x100, MADE_PG + 0x22000};
		char first[20], second[20];

		draw_overflow(&made, one, 0);
		fingerprint(&made, first);
		draw_overflow(&made, one, 1);
		fingerprint(&made, second);
		assert_string_equal(first, second);
		draw_overflow(&made, two, 0);
		fingerprint(&made, second);
		assert_string_not_equal(first, second);
	}
}

/* The function of the extension, what it called of Ruby, the class: each makes another bug. */
static void test_different_unwound(void **state)
{
	static struct made made;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		struct unwind_frame *method;
		char first[20], second[20];

		do
			draw_unwound(&made);
		while (made.unwound.count > 4);
		method = &made.unwound.frames[made.unwound.count - 2];
		fingerprint(&made, first);
		snprintf(method->symbol, sizeof(method->symbol), "another_function");
		method->symbol_from = UNWIND_FULL_SYMBOLS;
		fingerprint(&made, second);
		assert_string_not_equal(first, second);
		made.crash.fault.address = 0x5555555555;
		fingerprint(&made, first);
		assert_string_not_equal(first, second);
		made.regions[2].path = "/var/lib/gems/3.1.0/gems/mysql2-0.5.4/lib/mysql2/mysql2.so";
		fingerprint(&made, second);
		assert_string_not_equal(first, second);
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
		{"Property 18: one bug has one fingerprint, over addresses, hosts and instances", test_stable,
		 NULL, NULL, NULL},
		{"Property 18: the same where it was unwound, over debug symbols, callers and order of maps",
		 test_stable_unwound, NULL, NULL, NULL},
		{"Property 18: a recursion is one bug at any depth", test_recursion, NULL, NULL, NULL},
		{"Property 18: other places and causes have other fingerprints", test_different, NULL, NULL,
		 NULL},
		{"Property 18: other functions, classes and modules have other fingerprints",
		 test_different_unwound, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
