// SPDX-License-Identifier: Apache-2.0
/*
 * unwind() on processes that die in chains of functions that are known, beside gdb's word about the very same
 * process; and on files and stacks that are damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/dying.h"

static char folder[64];

/*
 * Three files, since nothing is inlined over files: entry → outer → (a callback of libc) → inner → the end.
 * Names as other compilers would write them are given to the assembler.
 */
static const char outer_c[] =
	"#include <alloca.h>\n#include <pthread.h>\n#include <signal.h>\n#include <stdlib.h>\n#include "
	"<sys/ptrace.h>\n#include "
	"<time.h>\n"
	"extern int inner(int) __asm__(\"_ZN4shop5innerEi\"); int bare(int); volatile int sink;\n"
	"static int callback(const void *a, const void *b) { sink = inner(1) + 1; return 0; }\n"
	"static void handler(int s) { sink = inner(1); sink++; }\n"
	"static void *thread(void *a) { ptrace(PTRACE_TRACEME, 0, 0, 0); sink = inner(1); return (void "
	"*)(long)sink; }\n"
	"void *volatile kept;\nstatic void *roomy(void *a) { char *p = kept = alloca(1 << 20); p[0] = 1;\n"
	"  void *r = thread(p); sink++; return r; }\n"
	"__attribute__((noinline)) int by_roomy(void) { pthread_t t; pthread_create(&t, 0, roomy, 0);\n"
	"  pthread_join(t, 0); return ++sink; }\n"
	"__attribute__((noinline)) int by_other_stack(void) { static char other[32768];\n"
	"  stack_t s = {.ss_sp = other, .ss_size = sizeof(other)};\n"
	"  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};\n"
	"  sigaltstack(&s, 0); sigaction(SIGUSR1, &action, 0); raise(SIGUSR1); return ++sink; }\n"
	"__attribute__((noinline)) int by_sort(void) { int a[] = {2, 1}; qsort(a, 2, 4, callback); return "
	"sink; }\n"
	"__attribute__((noinline)) int by_signal(void) { signal(SIGUSR1, handler); raise(SIGUSR1); return "
	"++sink; }\n"
	"__attribute__((noinline)) int by_thread(void) { pthread_t t; pthread_create(&t, 0, thread, 0);\n"
	"  pthread_join(t, 0); return ++sink; }\n"
	"__attribute__((noinline)) int by_null(void) { int (*volatile f)(void) = 0; return f() + 1; }\n"
	"__attribute__((noinline)) int by_wild(void) { int (*volatile f)(void) = (void *)0x123456789000; "
	"return f() + 1; }\n"
	"__attribute__((noinline)) int by_vdso(void) { return clock_gettime(CLOCK_MONOTONIC, (void *)8) + "
	"1; }\n"
	"__attribute__((noinline)) int by_abort(void) { abort(); }\n"
	"__attribute__((noinline)) int deep(int n) { volatile int a[24]; a[n % 24] = n; return n ? deep(n - "
	"1) + sink + n % 3 : inner(1) + 1; "
	"}\n"
	"void entry(int n) {\n"
	"  switch (n) { case 0: sink = inner(1); break; case 1: sink = by_sort(); break;\n"
	"  case 2: sink = by_signal(); break; case 3: sink = by_thread(); break;\n"
	"  case 4: sink = by_null(); break; case 5: sink = by_wild(); break;\n"
	"  case 6: sink = by_vdso(); break; case 7: sink = by_abort(); break;\n"
	"  case 8: sink = bare(3); break; case 40: sink = by_roomy(); break;\n"
	"  case 41: sink = by_other_stack(); break; default: sink = deep(n); }\n  sink++; }\n";
static const char inner_c[] = "volatile int drain;\n"
			      "int innermost(int *p) __asm__(\"_RNvNtCsd2Xkg_4shop4cart5total\");\n"
			      "__attribute__((noinline)) int innermost(int *p) { return *p + 1; }\n"
			      "int inner(int n) __asm__(\"_ZN4shop5innerEi\");\n"
			      "int inner(int n) { drain = innermost((int *)(long)n); return drain + 1; }\n";
static const char bare_c[] =
	"extern int inner(int) __asm__(\"_ZN4shop5innerEi\"); volatile int waste;\n"
	"__attribute__((noinline)) int barer(int n) { int a[n]; a[0] = n; waste = inner(a[0] - 2); return "
	"waste + 1; }\n"
	"int bare(int n) { waste = barer(n); return waste + 1; }\n";

static int group_setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/lapidary-unwind.XXXXXX");
	assert_non_null(mkdtemp(folder));
	dying_write(folder, "outer.c", outer_c);
	dying_write(folder, "inner.c", inner_c);
	dying_write(folder, "bare.c", bare_c);
	dying_compile(folder, "-o libinner.so inner.c");
	dying_compile(folder, "-fno-asynchronous-unwind-tables -fno-omit-frame-pointer -o libbare.so bare.c "
			      "-L. -linner -Wl,--no-ld-generated-unwind-info");
	dying_compile(folder,
		      "-o libouter.so outer.c -L. -linner -lbare -Wl,-rpath,$PWD -Wl,--disable-new-dtags");
	return 0;
}

static int group_teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static struct dying *start(int number)
{
	char library[PATH_MAX];

	snprintf(library, sizeof(library), "%s/libouter.so", folder);
	return dying_start(library, number);
}

static struct unwind_result *ask(const struct dying *dying)
{
	struct unwind_result *result = malloc(sizeof(*result));
	struct unwind_question question;

	assert_non_null(result);
	dying_question(dying, &question);
	assert_int_equal(unwind(&question, result), 0);
	assert_true(unwind_check(result, dying->source_count));
	return result;
}

/* The symbols from the innermost on, as far as they are given. */
static void expect_names(const struct unwind_result *result, const char *const *names)
{
	for (uint32_t i = 0; names[i]; i++) {
		assert_true(i < result->count);
		assert_string_equal(result->frames[i].symbol, names[i]);
	}
}

static void expect_gdb(const struct dying *dying, const struct unwind_result *result)
{
	uint64_t pcs[UNWIND_FRAMES + 8];
	size_t count = dying_ask_gdb(dying, pcs, sizeof(pcs) / sizeof(*pcs));

	for (uint32_t i = 0; i < result->count && i < count; i++)
		if (result->frames[i].pc != pcs[i])
			fail_msg("frame %u: 0x%lx, and gdb says 0x%lx", i, result->frames[i].pc, pcs[i]);
	assert_int_equal(result->count, count);
}

/* By tables alone, and gdb sees the same. */
static void expect_all(int number, const char *const *names)
{
	struct dying *dying = start(number);
	struct unwind_result *result = ask(dying);

	expect_names(result, names);
	assert_int_equal(result->end, UNWIND_OUTERMOST);
	assert_string_equal(result->why, "");
	assert_int_equal(result->scanned, 0);
	expect_gdb(dying, result);
	free(result);
	dying_end(dying);
}

static void a_chain_of_functions(void **state)
{
	static const char *const names[] = {"shop::cart::total", "shop::inner(int)", "entry", NULL};

	(void)state;
	expect_all(0, names);
}

static void through_a_library_that_calls_back(void **state)
{
	static const char *const names[] = {"shop::cart::total", "shop::inner(int)", NULL};

	(void)state;
	expect_all(1, names);
}

static void in_a_signal_handler(void **state)
{
	static const char *const names[] = {"shop::cart::total", "shop::inner(int)", NULL};
	struct dying *dying = start(2);
	struct unwind_result *result = ask(dying);
	uint32_t interrupted = 0;

	(void)state;
	expect_names(result, names);
	for (uint32_t i = 0; i < result->count; i++)
		interrupted += result->frames[i].interrupted;
	assert_int_equal(interrupted, 1);
	expect_gdb(dying, result);
	free(result);
	dying_end(dying);
	expect_all(2, names);
}

static void in_a_thread(void **state)
{
	static const char *const names[] = {"shop::cart::total", "shop::inner(int)", NULL};

	(void)state;
	expect_all(3, names);
}

/* A function that takes 1 MiB lies between what is on top and the thread's first frames. */
static void in_a_thread_with_far_first_frames(void **state)
{
	static const char *const names[] = {"shop::cart::total", "shop::inner(int)", NULL};
	struct dying *dying = start(DYING_ROOMY);
	struct unwind_result *whole = ask(dying), *part;

	(void)state;
	assert_int_equal(whole->end, UNWIND_OUTERMOST);
	assert_int_equal(dying->windows[WINDOW_FIRST].size, EV_STACK_FIRST);
	dying->windows[WINDOW_FIRST].missing = 7;
	part = ask(dying);
	assert_int_equal(part->end, UNWIND_PAGE_MISSING);
	assert_true(part->count >= 3 && part->count < whole->count);
	free(part);
	dying->windows[WINDOW_FIRST] = (struct ev_window){0};
	part = ask(dying);
	assert_int_equal(part->end, UNWIND_STACK_ENDS);
	free(part);
	free(whole);
	dying_end(dying);
	expect_all(DYING_ROOMY, names);
}

static void in_a_handler_on_another_stack(void **state)
{
	static const char *const names[] = {"shop::cart::total", "shop::inner(int)", NULL};
	struct dying *dying = start(41);
	struct unwind_result *part;

	(void)state;
	dying->windows[WINDOW_INTERRUPTED] = (struct ev_window){0};
	dying->stack_size = 32768 < dying->stack_size ? 32768 : dying->stack_size;
	part = ask(dying);
	assert_int_equal(part->end, UNWIND_STACK_ENDS);
	assert_true(part->count >= 4); /* up to what was interrupted */
	assert_int_equal(part->frames[part->count - 1].interrupted, 1);
	free(part);
	dying_end(dying);
	expect_all(41, names);
}

static void a_jump_to_nowhere(void **state)
{
	static const char *const null[] = {"", "by_null", "entry", NULL}, *const wild[] = {"", "by_wild",
											   "entry", NULL};
	struct dying *dying = start(4);
	struct unwind_result *result = ask(dying);

	(void)state;
	assert_int_equal(result->frames[0].how, UNWIND_REGISTERS);
	assert_int_equal(result->frames[0].module, UNWIND_NO_MODULE);
	assert_int_equal(result->frames[1].how, UNWIND_RESUMED);
	assert_int_equal(result->frames[2].how, UNWIND_TABLES);
	free(result);
	dying_end(dying);
	expect_all(4, null);
	expect_all(5, wild);
}

static void in_the_kernels_own_library(void **state)
{
	struct dying *dying = start(6);
	struct unwind_result *result = ask(dying);

	(void)state;
	assert_true(result->frames[0].module != UNWIND_NO_MODULE);
	assert_true(dying->vdso == dying->sources[result->modules[result->frames[0].module].region].start);
	assert_int_equal(result->end, UNWIND_OUTERMOST);
	expect_gdb(dying, result);
	free(result);
	dying_end(dying);
}

static void an_abort(void **state)
{
	static const char *const none[] = {NULL};

	(void)state;
	expect_all(7, none);
}

/* Code without tables between two that have them: found by scanning, marked, and the rest by tables again. */
static void over_code_without_tables(void **state)
{
	static const char *const names[] = {
		"shop::cart::total", "shop::inner(int)", "barer", "bare", "entry", NULL};
	struct dying *dying = start(8);
	struct unwind_result *result = ask(dying);

	(void)state;
	expect_names(result, names);
	assert_int_equal(result->frames[2].how, UNWIND_TABLES);
	assert_int_equal(result->frames[3].how, UNWIND_SCANNED);
	assert_int_equal(result->frames[4].how, UNWIND_SCANNED);
	assert_int_equal(result->frames[5].how, UNWIND_TABLES);
	assert_int_equal(result->scanned, 2);
	assert_int_equal(result->modules[result->frames[2].module].tables, 0);
	assert_int_equal(result->end, UNWIND_OUTERMOST);
	expect_gdb(dying, result);
	free(result);
	dying_end(dying);
}

static void where_functions_and_modules_begin(void **state)
{
	struct dying *dying = start(0);
	struct unwind_result *result = ask(dying);
	const struct unwind_frame *frame = &result->frames[2];
	const struct unwind_module *module = &result->modules[frame->module];

	(void)state;
	assert_true(frame->function == frame->pc - frame->symbol_offset);
	assert_true(frame->sp > result->frames[1].sp);
	assert_true(module->start <= frame->pc && frame->pc < module->end);
	assert_true(module->start == module->bias); /* a library is linked to 0 */
	assert_true(module->dynamic > module->start && module->dynamic < module->end);
	assert_int_equal(module->tables, 1);
	assert_int_equal(module->symbols, 2);
	assert_non_null(strstr(dying->paths[module->region], "/libouter.so"));
	free(result);
	dying_end(dying);
}

/* What was not captured ends the walk there, with the reason; what lies before it stays as it was. */
static void a_stack_that_is_not_whole(void **state)
{
	struct dying *dying = start(200);
	struct unwind_result *whole = ask(dying), *part;
	uint64_t sp = dying->regs[REG_SP_], cut = sp - sp % EV_PAGE + EV_PAGE;

	(void)state;
	assert_true(whole->count > 200);
	dying->missing[0] = 1 << 1; /* the first whole page */
	part = ask(dying);
	assert_int_equal(part->end, UNWIND_PAGE_MISSING);
	assert_true(part->count > 1 && part->count < whole->count);
	assert_true(part->frames[part->count - 1].sp < cut + 64);
	for (uint32_t i = 0; i < part->count; i++)
		assert_true(part->frames[i].pc == whole->frames[i].pc);
	free(part);
	dying->missing[0] = 0;
	dying->stack_size = 800;
	part = ask(dying);
	assert_int_equal(part->end, UNWIND_STACK_ENDS);
	assert_true(part->count > 1 && part->count < whole->count);
	free(part);
	dying->stack_size = 0;
	part = ask(dying);
	assert_true(part->count >= 1);
	assert_string_equal(part->frames[0].symbol, "shop::cart::total");
	free(part);
	free(whole);
	dying_end(dying);
}

static void more_frames_than_there_is_room_for(void **state)
{
	struct dying *dying = start(500);
	struct unwind_result *result = ask(dying);

	(void)state;
	assert_int_equal(result->count, UNWIND_FRAMES);
	assert_int_equal(result->end, UNWIND_LIMIT);
	free(result);
	dying_end(dying);
}

/* A return address that leads nowhere is shown; what is found behind it by scanning is marked. */
static void a_stack_that_was_written_over(void **state)
{
	struct dying *dying = start(1);
	struct unwind_result *result = ask(dying), *after;
	uint64_t at = result->frames[1].sp - 8 - dying->regs[REG_SP_];

	(void)state;
	memset(dying->stack + at, 'A', 8);
	after = ask(dying);
	assert_true(after->frames[1].pc == 0x4141414141414141);
	assert_int_equal(after->frames[1].module, UNWIND_NO_MODULE);
	for (uint32_t i = 2; i < after->count && i < 3; i++)
		assert_int_equal(after->frames[i].how, UNWIND_SCANNED);
	free(after);
	free(result);
	dying_end(dying);
}

static void without_the_files(void **state)
{
	struct dying *dying = start(0);
	struct unwind_result *result;

	(void)state;
	for (size_t i = 0; i < dying->source_count; i++) {
		if (dying->sources[i].fd >= 0)
			close(dying->sources[i].fd);
		dying->sources[i].fd = -1;
	}
	result = ask(dying);
	assert_true(result->count >= 1);
	assert_true(result->frames[0].pc == dying->regs[REG_IP_]);
	for (uint32_t i = 1; i < result->count; i++)
		assert_int_equal(result->frames[i].how, UNWIND_SCANNED);
	free(result);
	dying_end(dying);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_of_functions),
		cmocka_unit_test(through_a_library_that_calls_back),
		cmocka_unit_test(in_a_signal_handler),
		cmocka_unit_test(in_a_thread),
		cmocka_unit_test(in_a_thread_with_far_first_frames),
		cmocka_unit_test(in_a_handler_on_another_stack),
		cmocka_unit_test(a_jump_to_nowhere),
		cmocka_unit_test(in_the_kernels_own_library),
		cmocka_unit_test(an_abort),
		cmocka_unit_test(over_code_without_tables),
		cmocka_unit_test(where_functions_and_modules_begin),
		cmocka_unit_test(a_stack_that_is_not_whole),
		cmocka_unit_test(more_frames_than_there_is_room_for),
		cmocka_unit_test(a_stack_that_was_written_over),
		cmocka_unit_test(without_the_files),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
