/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is taken of a dying process where that is not simple: stacks with holes, of any size, in threads, in
 * handlers, in namespaces (needs root, otherwise skipped).
 */
#include "tests/unit/probe_watch.h"
#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { PAGE = EV_PAGE, ROOM = EV_STACK_MAX + 16 * PAGE, HOLE = 3, FAR_HOLE = 120, BEGIN = 0x108 };

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

static uint8_t other_stack[64 * 1024];

static void die_in_handler(int signal_number)
{
	(void)signal_number;
	die();
}

static void raise_on_other_stack(void)
{
	stack_t alternate = {.ss_sp = other_stack, .ss_size = sizeof(other_stack)};
	struct sigaction action = {.sa_handler = die_in_handler, .sa_flags = SA_ONSTACK};

	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
}

static void test_handler(void **state)
{
	const struct ev_fault *fault = death(raise_on_other_stack);

	(void)state;
	assert_true(fault->flags & FAULT_ON_ALTSTACK);
	assert_int_equal(fault->regs[REG_SP_] + fault->stack_len,
			 (uintptr_t)other_stack + sizeof(other_stack));
	assert_int_equal(count_missing(fault), 0);
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
		cmocka_unit_test(test_holes),    cmocka_unit_test(test_short_stack),
		cmocka_unit_test(test_no_stack), cmocka_unit_test(test_auxv_and_code),
		cmocka_unit_test(test_no_code),  cmocka_unit_test(test_thread),
		cmocka_unit_test(test_handler),  cmocka_unit_test(test_namespaces),
	};
	const struct CMUnitTest limited[] = {cmocka_unit_test(test_limit)};

	return cmocka_run_group_tests(tests, open_marked, close_all) +
	       cmocka_run_group_tests(limited, open_small, close_all);
}
