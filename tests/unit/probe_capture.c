/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is taken of a dying process where that is not simple: stacks with holes, of any size, in threads, in
 * handlers, in namespaces (needs root, otherwise skipped).
 */
#include "tests/unit/probe_watch.h"
#include <alloca.h>
#include <asm/prctl.h>
#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum {
	PAGE = EV_PAGE,
	ROOM = EV_STACK_MAX + 16 * PAGE,
	HOLE = 3,
	FAR_HOLE = 120,
	BEGIN = 0x108,
	FAR = 1 << 20
};

static struct watch watch;
static uint8_t *room; /* a stack to die on */

static struct probe_options options = {
	.life_ring_bytes = 1 << 20,
	.capture_ring_bytes = 8 << 20,
	.flow_ring_bytes = 1 << 16,
	.stack_bytes = EV_STACK_MAX,
};

static int open_marked(void **state)
{
	(void)state;
	if (geteuid())
		return 0;
	watch_open(&watch, &options);
	return probe_mark(watch.probe, getpid(), watch.own_start);
}

static int close_all(void **state)
{
	(void)state;
	if (!geteuid())
		watch_close(&watch);
	return 0;
}

static const struct ev_fault *death(void (*body)(void))
{
	pid_t pid;

	if (geteuid())
		skip();
	pid = watch_fork(body);
	watch_reap(pid);
	return watch_wait(&watch, EV_FAULT, pid, 0);
}

static bool is_missing(const struct ev_fault *fault, size_t piece)
{
	return fault->missing[piece / 8] >> piece % 8 & 1;
}

static size_t count_missing(const struct ev_fault *fault)
{
	size_t count = 0;

	for (size_t i = 0; i < sizeof(fault->missing) * 8; i++)
		count += is_missing(fault, i);
	return count;
}

/* Dies with the stack pointer at `at`: whatever a thread, a fiber or a handler runs on looks like that. */
__attribute__((noreturn)) static void die_on(void *at)
{
	__asm__ volatile("mov %0, %%rsp\n\tmovl $1, (8)" : : "r"(at) : "memory");
	__builtin_unreachable();
}

/* --- stacks ----------------------------------------------------------------------------------------- */

/* Page n is full of n, but for those that nobody has touched. */
static void make_room(size_t hole, size_t other)
{
	room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(room, ROOM, MADV_NOHUGEPAGE);
	for (size_t n = 0; n < ROOM / PAGE; n++)
		if (n != hole && n != other)
			memset(room + n * PAGE, (int)(n & 0x7f) + 1, PAGE);
}

static void die_with_holes(void)
{
	make_room(HOLE, FAR_HOLE);
	die_on(room + BEGIN);
}

static void test_holes(void **state)
{
	const struct ev_fault *fault = death(die_with_holes);

	(void)state;
	assert_int_equal(fault->stack_len, EV_STACK_MAX);
	assert_true(fault->flags & FAULT_CLIPPED);
	assert_int_equal(count_missing(fault), 2);
	assert_true(is_missing(fault, HOLE) && is_missing(fault, FAR_HOLE));
	for (size_t at = 0; at < fault->stack_len; at++) {
		size_t page = (BEGIN + at) / PAGE;

		assert_int_equal(fault->stack[at], page == HOLE || page == FAR_HOLE ? 0 : (page & 0x7f) + 1);
	}
}

static void die_on_the_last_pages(void)
{
	make_room(ROOM, ROOM);
	munmap(room + 5 * PAGE, ROOM - 5 * PAGE);
	die_on(room + 2 * PAGE + BEGIN);
}

static void test_short_stack(void **state)
{
	const struct ev_fault *fault = death(die_on_the_last_pages);

	(void)state;
	assert_int_equal(fault->stack_len, 3 * PAGE - BEGIN);
	assert_false(fault->flags & FAULT_CLIPPED);
	assert_int_equal(fault->stack[0], 3);
	assert_int_equal(fault->stack[fault->stack_len - 1], 5);
}

static void die_on_nothing(void)
{
	die_on((void *)0x1000);
}

static void test_no_stack(void **state)
{
	const struct ev_fault *fault = death(die_on_nothing);

	(void)state;
	assert_int_equal(fault->stack_len, 0);
	assert_int_equal(fault->regs[REG_SP_], 0x1000);
	assert_true(fault->auxv_count > 0); /* the rest is there */
}

/* --- the rest of a capture -------------------------------------------------------------------------- */

static void die(void)
{
	__asm__ volatile("movl $1, (8)" ::: "memory");
}

static void test_auxv_and_code(void **state)
{
	const struct ev_fault *fault = death(die);
	uint64_t entry = 0, executable = 0;

	(void)state;
	for (uint32_t i = 0; i < fault->auxv_count; i++) {
		entry = fault->auxv[i][0] == AT_ENTRY ? fault->auxv[i][1] : entry;
		executable = fault->auxv[i][0] == AT_PHDR ? fault->auxv[i][1] : executable;
	}
	assert_int_equal(entry, getauxval(AT_ENTRY));
	assert_int_equal(executable, getauxval(AT_PHDR));
	assert_int_equal(fault->code_start, fault->regs[REG_IP_] - EV_CODE / 2);
	assert_memory_equal(fault->text, (const void *)fault->code_start, EV_CODE);
	assert_in_range(fault->capture_ns, 1000, 100000000);
}

static void jump_to_nowhere(void)
{
	((void (*)(void))0x10)();
}

static void test_no_code(void **state)
{
	static const uint8_t none[EV_CODE];
	const struct ev_fault *fault = death(jump_to_nowhere);

	(void)state;
	assert_int_equal(fault->regs[REG_IP_], 0x10);
	assert_int_equal(fault->code_start, 0);
	assert_memory_equal(fault->text, none, EV_CODE);
	assert_true(fault->stack_len > 0);
}

static void *die_in_thread(void *argument)
{
	prctl(PR_SET_NAME, "puma srv tp 003");
	die();
	return argument;
}

static void start_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, die_in_thread, NULL);
	pthread_join(thread, NULL);
}

static void test_thread(void **state)
{
	const struct ev_fault *fault = death(start_thread);

	(void)state;
	assert_int_not_equal(fault->head.tid, fault->head.tgid);
	assert_string_equal(fault->comm, "puma srv tp 003");
	assert_true(fault->stack_len > 0);
}

/* --- stack that lies elsewhere ---------------------------------------------------------------------- */

static const uint64_t mark = 0x6d61726b2d6f6e65; /* on the stack that is to be found again */

static const uint8_t *window_bytes(const struct ev_fault *fault, enum stack_window which)
{
	return fault->stack + fault->stack_len + (which ? fault->windows[0].size : 0);
}

static bool holds_mark(const struct ev_fault *fault, enum stack_window which)
{
	const uint8_t *bytes = window_bytes(fault, which);

	for (size_t i = 0; i + sizeof(mark) <= fault->windows[which].size; i++)
		if (!memcmp(bytes + i, &mark, sizeof(mark)))
			return true;
	return false;
}

static void expect_no_window(const struct ev_fault *fault, enum stack_window which)
{
	static const struct ev_window none;

	assert_memory_equal(&fault->windows[which], &none, sizeof(none));
}

/* Nothing of it can be left out. */
static void fill(void *bytes, size_t size)
{
	memset(bytes, 1, size);
	__asm__ volatile("" : : "r"(bytes) : "memory");
}

/* As Ruby 2.7 and 3.1 do: the VM's stack lies between a thread's first frames and all others. */
static void *die_behind_room(void *argument)
{
	volatile uint64_t own = mark;
	fill(alloca(FAR), FAR);
	die();
	return own ? argument : NULL;
}

static void start_roomy_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, die_behind_room, NULL);
	pthread_join(thread, NULL);
}

static void test_first_frames(void **state)
{
	const struct ev_fault *fault = death(start_roomy_thread);
	const struct ev_window *window = &fault->windows[WINDOW_FIRST];

	(void)state;
	assert_int_equal(fault->stack_len, EV_STACK_MAX);
	assert_int_equal(window->size, EV_STACK_FIRST);
	assert_int_equal(window->address + window->size, fault->regs[REG_FS_BASE_]);
	assert_int_equal(window->missing, 0);
	assert_true(holds_mark(fault, WINDOW_FIRST));
	assert_int_equal(fault->head.size, sizeof(*fault) + EV_STACK_MAX + EV_STACK_FIRST);
	expect_no_window(fault, WINDOW_INTERRUPTED);
}

/* The thread's pointer is what the process says, and it may say anything. */
static void point(void *at, bool at_itself, void *sp)
{
	*(void **)at = at_itself ? at : NULL;
	__asm__ volatile("syscall\n\tmov %2, %%rsp\n\tmovl $1, (8)"
			 :
			 : "a"(SYS_arch_prctl), "D"(ARCH_SET_FS), "r"(sp), "S"(at)
			 : "memory", "rcx", "r11");
	__builtin_unreachable();
}

enum { POINTER = ROOM - PAGE + 0x80 };

static void die_below_a_hole(void)
{
	make_room(POINTER / PAGE - 1, ROOM);
	point(room + POINTER, true, room + BEGIN);
}

static void test_hole_before_pointer(void **state)
{
	const struct ev_fault *fault = death(die_below_a_hole);
	const uint8_t *bytes = window_bytes(fault, WINDOW_FIRST);

	(void)state;
	assert_int_equal(fault->windows[WINDOW_FIRST].size, EV_STACK_FIRST);
	assert_int_equal(fault->windows[WINDOW_FIRST].missing, 2);
	for (size_t at = 0; at < EV_STACK_FIRST; at++) {
		size_t page = (POINTER - EV_STACK_FIRST + at) / PAGE;

		assert_int_equal(bytes[at], page == POINTER / PAGE - 1 ? 0 : (page & 0x7f) + 1);
	}
}

static void die_with_an_overlap(void)
{
	make_room(ROOM, ROOM);
	point(room + BEGIN + EV_STACK_MAX + 0x100, true, room + BEGIN);
}

static void die_with_no_thread(void)
{
	make_room(ROOM, ROOM);
	point(room + POINTER, false, room + BEGIN);
}

static void die_far_below(void)
{
	uint8_t *far = mmap(NULL, 20 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	far[0x1000] = 1;
	point(far + (17 << 20), true, far + 0x1000);
}

/* The strings lie above the main thread's stack: no pointer makes any of them a stack. */
static uint64_t strings_pointer;

static void die_below_the_strings(void)
{
	point((void *)strings_pointer, true, __builtin_frame_address(0));
}

static void test_hostile_pointers(void **state)
{
	const struct ev_fault *fault = death(die_with_an_overlap);

	(void)state;
	assert_int_equal(fault->windows[WINDOW_FIRST].size, 0x100); /* nothing is taken twice */
	assert_int_equal(fault->windows[WINDOW_FIRST].address, fault->regs[REG_SP_] + EV_STACK_MAX);
	expect_no_window(death(die_with_no_thread), WINDOW_FIRST);
	expect_no_window(death(die_far_below), WINDOW_FIRST);
}

static void test_strings_are_no_stack(void **state)
{
	const struct ev_fault *fault = death(die_below_a_hole);
	uint64_t argument = fault->arg_start, name = getauxval(AT_EXECFN);

	(void)state;
	/* among them, at their start, and behind them, before the name of the program that ends the stack */
	for (uint64_t at = argument - 16; at <= name;
	     at = at == argument + 16 ? name & -8ull : argument + 16) {
		strings_pointer = at & -8ull;
		fault = death(die_below_the_strings);
		assert_int_equal(fault->regs[REG_FS_BASE_], strings_pointer);
		assert_int_equal(fault->regs[REG_SP_] + fault->stack_len, argument);
		expect_no_window(fault, WINDOW_FIRST);
		if (strings_pointer == (name & -8ull))
			break;
	}
}

static uint8_t other_stack[64 * 1024];

static size_t handler_room = 1;

static void die_in_handler(int signal_number)
{
	(void)signal_number;
	fill(alloca(handler_room), handler_room);
	die();
}

static void raise_on(size_t size)
{
	stack_t alternate = {.ss_sp = other_stack, .ss_size = size};
	struct sigaction action = {.sa_handler = die_in_handler, .sa_flags = SA_ONSTACK};
	volatile uint64_t own = mark;

	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	own++;
}

static void raise_on_other_stack(void)
{
	raise_on(EV_STACK_SIGNAL);
}

static void raise_on_large_stack(void)
{
	handler_room = EV_STACK_SIGNAL;
	raise_on(sizeof(other_stack));
}

static void *raise_behind_room(void *argument)
{
	fill(alloca(FAR), FAR);
	raise_on_other_stack();
	return argument;
}

static void start_raising_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, raise_behind_room, NULL);
	pthread_join(thread, NULL);
}

static void test_handler(void **state)
{
	const struct ev_fault *fault = death(raise_on_other_stack);

	(void)state;
	assert_true(fault->flags & FAULT_ON_ALTSTACK);
	assert_int_equal(fault->regs[REG_SP_] + fault->stack_len, (uintptr_t)other_stack + EV_STACK_SIGNAL);
	assert_int_equal(count_missing(fault), 0);
	assert_true(holds_mark(fault, WINDOW_INTERRUPTED));
	/* of the main thread's stack no more than that: the strings are not a part of it */
	assert_true(fault->windows[WINDOW_INTERRUPTED].address + fault->windows[WINDOW_INTERRUPTED].size <=
		    fault->arg_start);
	expect_no_window(fault, WINDOW_FIRST);
}

/* A stack that is not taken to its end does not lead to the interrupted one. */
static void test_large_other_stack(void **state)
{
	const struct ev_fault *fault = death(raise_on_large_stack);

	(void)state;
	assert_true(fault->flags & FAULT_ON_ALTSTACK);
	assert_in_range(fault->stack_len, EV_STACK_SIGNAL + 1, sizeof(other_stack));
	expect_no_window(fault, WINDOW_INTERRUPTED);
}

static void test_handler_in_thread(void **state)
{
	const struct ev_fault *fault = death(start_raising_thread);
	const struct ev_window *first = &fault->windows[WINDOW_FIRST];

	(void)state;
	assert_int_equal(fault->windows[WINDOW_INTERRUPTED].size, EV_STACK_INTERRUPTED);
	assert_true(holds_mark(fault, WINDOW_INTERRUPTED));
	assert_int_equal(first->size, EV_STACK_FIRST);
	assert_int_equal(first->address + first->size, fault->regs[REG_FS_BASE_]);
	assert_int_equal(fault->head.size,
			 sizeof(*fault) + fault->stack_len + EV_STACK_INTERRUPTED + EV_STACK_FIRST);
}

/* The process that dies is the first of its namespaces' children; its parent goes by its status. */
static void die_in_namespaces(void)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID | CLONE_NEWNS))
		_exit(1);
	pid = fork();
	if (!pid) {
		if (fork())
			pause();
		abort();
	}
	waitpid(pid, &status, 0);
}

static void test_namespaces(void **state)
{
	const struct ev_fault *fault;
	const struct ev_birth *birth;
	pid_t outer, first, second;

	(void)state;
	if (geteuid())
		skip();
	outer = watch_fork(die_in_namespaces);
	birth = watch_wait(&watch, EV_FORK, outer, 0);
	for (size_t n = 0; birth->parent_tgid != (uint32_t)outer; n++)
		birth = watch_wait(&watch, EV_FORK, 0, n);
	first = (pid_t)birth->head.tgid;
	for (size_t n = 0; birth->parent_tgid != (uint32_t)first; n++)
		birth = watch_wait(&watch, EV_FORK, 0, n);
	second = (pid_t)birth->head.tgid;
	fault = watch_wait(&watch, EV_FAULT, second, 0);
	assert_int_equal(fault->signal, SIGABRT);
	assert_true(fault->flags & FAULT_SELF);
	assert_int_equal(fault->sender_tgid, second); /* as the host counts, not 2 */
	assert_true(fault->stack_len > 0 && fault->auxv_count > 0);
	kill(first, SIGKILL);
	watch_reap(outer);
}

static int open_small(void **state)
{
	options.stack_bytes = EV_STACK_LARGE;
	return open_marked(state);
}

static void test_limit(void **state)
{
	const struct ev_fault *fault = death(die_with_holes);

	(void)state;
	assert_int_equal(fault->stack_len, EV_STACK_LARGE);
	assert_true(fault->flags & FAULT_CLIPPED);
	assert_int_equal(count_missing(fault), 1);
	assert_true(is_missing(fault, HOLE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_short_stack),
		cmocka_unit_test(test_no_stack),
		cmocka_unit_test(test_auxv_and_code),
		cmocka_unit_test(test_no_code),
		cmocka_unit_test(test_thread),
		cmocka_unit_test(test_handler),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_first_frames),
		cmocka_unit_test(test_hole_before_pointer),
		cmocka_unit_test(test_hostile_pointers),
		cmocka_unit_test(test_strings_are_no_stack),
		cmocka_unit_test(test_large_other_stack),
		cmocka_unit_test(test_handler_in_thread),
	};
	const struct CMUnitTest limited[] = {cmocka_unit_test(test_limit)};

	return cmocka_run_group_tests(tests, open_marked, close_all) +
	       cmocka_run_group_tests(limited, open_small, close_all);
}
