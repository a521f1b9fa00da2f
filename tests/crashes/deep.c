/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcrashes_deep.so: the half of the gem that knows nothing of Ruby: the ways to die, and the telling of the
 * truth. Failing instructions are written out, each behind a symbol of its own, so that the process says
 * beforehand where it will fail.
 */
#include <assert.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "deep.h"

enum { CHAIN_MAX = 64, PC_MAX = 320, PAGE = 4096, HOLE_PAGES = 6 };

static __thread struct {
	const char *function;
	void *return_address;
} chain[CHAIN_MAX];
static __thread int chain_length;
static int told = -1;
static char text[128 * 1024]; /* of one thread: only one of a process dies */
static const long read_only[512] = {1};
static volatile int endless = 1; /* compilers refuse what cannot end */

KEPT void note(const char *function, void *return_address)
{
	if (chain_length == CHAIN_MAX)
		_exit(98);
	chain[chain_length].function = function;
	chain[chain_length++].return_address = return_address;
}

KEPT void tell_to(int fd)
{
	void *warm[4];

	told = fd;
	backtrace(warm, 4); /* it loads a library at its first call */
}

/* One line: word, name, address, file. `inside` is an address of the function that is meant. */
static size_t tell_place(size_t used, const char *word, const char *name, const void *address,
			 const char *inside)
{
	Dl_info info = {0};

	dladdr(inside, &info);
	return used + (size_t)snprintf(text + used, sizeof(text) - used, "%s %s %p %s\n", word,
				       name             ? name
				       : info.dli_sname ? info.dli_sname
							: "-",
				       address, info.dli_fname ? info.dli_fname : "-");
}

KEPT void tell(const char *at)
{
	void *pcs[PC_MAX];
	int count = backtrace(pcs, PC_MAX);
	char thread[64] = "";
	struct timespec now;
	size_t used = 0;
	ssize_t link;

	if (at)
		used = tell_place(used, "at", NULL, at, at);
	for (int i = chain_length - 1; i >= 0; i--)
		used = tell_place(used, "chain", chain[i].function, chain[i].return_address,
				  (const char *)chain[i].return_address - 1);
	/* a call that does not return may be the last instruction of its function: one back is inside */
	for (int i = 1; i < count; i++)
		used = tell_place(used, "pc", NULL, pcs[i], (const char *)pcs[i] - 1);
	link = readlink("/proc/thread-self", thread,
			sizeof(thread) - 1); /* the host's /proc: "PROCESS/task/THREAD" */
	clock_gettime(CLOCK_BOOTTIME, &now);
	used += (size_t)snprintf(text + used, sizeof(text) - used, "thread %s\ntime %lld%09ld\n",
				 link > 0 ? thread : "-", (long long)now.tv_sec, now.tv_nsec);
	if (write(told, text, used) != (ssize_t)used)
		_exit(99);
}

/* --- a wide frame, and pages of it that are not there -------------------------------------------------- */

static void hole_make(char *room, enum hole hole)
{
	char *first = (char *)(((uintptr_t)room + 2 * PAGE) & ~(uintptr_t)(PAGE - 1));

	if (hole == HOLE_DROPPED)
		madvise(first, HOLE_PAGES * PAGE, MADV_DONTNEED);
	else if (hole == HOLE_UNMAPPED)
		munmap(first, HOLE_PAGES * PAGE);
	else if (hole == HOLE_PROTECTED)
		mprotect(first, HOLE_PAGES * PAGE, PROT_NONE);
}

KEPT long deep_call(long (*next)(void *), void *argument, size_t room, enum hole hole)
{
	volatile char *wide = __builtin_alloca(room + 64);

	FRAME();
	for (size_t i = 0; i < room; i += 64)
		wide[i] = (char)i;
	if (room >= (HOLE_PAGES + 4) * PAGE)
		hole_make((char *)wide, hole);
	return next(argument) + wide[room / 2 * (hole == HOLE_NONE)];
}

/* --- the ways to die ------------------------------------------------------------------------------------ */

/* NAME(registers that it needs): tells where it will fail, then fails there. */
#define FAIL_AT(name, instruction, ...)                                                                      \
	extern const char at_##name[] __attribute__((visibility("hidden")));                                 \
	FRAME();                                                                                             \
	tell(at_##name);                                                                                     \
	__asm__ volatile(".globl at_" #name "\n.hidden at_" #name "\nat_" #name ":\n" instruction            \
			 :                                                                                   \
			 : __VA_ARGS__                                                                       \
			 : "memory")

KEPT void die_null_read(void)
{
	FAIL_AT(null_read, "movl (%0), %%eax", "r"(0x18L));
}

KEPT void die_null_write(void)
{
	FAIL_AT(null_write, "movl $1, (%0)", "r"(0x20L));
}

/* Mapped a moment ago: nothing of it is near anything. */
KEPT void die_unmapped(void)
{
	char *gone = mmap(NULL, 64 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(gone, 64 * PAGE);
	FAIL_AT(unmapped, "movl 0x40(%0), %%eax", "r"(gone + 32 * PAGE));
}

KEPT void die_non_canonical(void)
{
	FAIL_AT(non_canonical, "movl (%0), %%eax", "r"(0xdead000000000000UL));
}

KEPT void die_write_read_only(void)
{
	FAIL_AT(write_read_only, "movl $1, (%0)", "r"(&read_only[7]));
}

KEPT void die_divide(void)
{
	FAIL_AT(divide, "idivl %%ecx", "a"(1000), "d"(0), "c"(0));
}

KEPT void die_illegal(void)
{
	FAIL_AT(illegal, "ud2", "a"(0));
}

/* Far from all else: Ruby takes a SIGBUS near a stack for its overflow. */
KEPT void die_bus(void)
{
	char name[] = "shortXXXXXX";
	int fd = mkstemp(name);
	char *map = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, 2 * PAGE) == 0)
		map = mmap((void *)0x200000000000, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || ftruncate(fd, 0))
		_exit(97);
	FAIL_AT(bus, "movl 0x40(%0), %%eax", "r"(map + PAGE));
}

/* The failing instruction is where nothing is; who called it is the next frame. */
static void jump_to(void (*nowhere)(void))
{
	__asm__ volatile("call *%0" : : "r"(nowhere) : "memory");
}

KEPT void die_jump_null(void)
{
	FRAME();
	tell(NULL);
	jump_to(NULL);
}

KEPT void die_jump_data(void)
{
	FRAME();
	tell(NULL);
	jump_to((void (*)(void))(uintptr_t)&text[512]);
}

KEPT int die_recursion(int depth)
{
	volatile char room[2048];

	room[depth & 2047] = (char)depth;
	if (!endless)
		return depth;
	return die_recursion(depth + 1) + room[depth & 1023];
}

KEPT void die_overflow(void)
{
	FRAME();
	tell(NULL);
	die_recursion(0);
}

KEPT void die_abort(void)
{
	FRAME();
	tell(NULL);
	abort();
}

KEPT void die_double_free(void)
{
	char *volatile block = malloc(4096), *volatile keep = malloc(16);

	FRAME();
	free(block);
	tell(NULL);
	free(block);
	free(keep);
}

/* Writes over the size that malloc keeps before a block. */
KEPT void die_heap_corruption(void)
{
	volatile long *volatile block = malloc(4096);

	FRAME();
	block[-1] = 0x1009;
	tell(NULL);
	free((void *)block);
}

KEPT void die_assert(void)
{
	volatile int found = 1;

	FRAME();
	tell(NULL);
	assert(found == 2);
}

KEPT void die_injected(void)
{
	FRAME();
	tell(NULL);
	for (;;)
		pause();
}

KEPT void die_memory(void)
{
	FRAME();
	tell(NULL);
	for (;;)
		memset(malloc(1 << 20), 1, 1 << 20);
}

static const struct {
	const char *kind;
	void (*die)(void);
} causes[] = {
	{"null_read", die_null_read},
	{"null_write", die_null_write},
	{"unmapped", die_unmapped},
	{"non_canonical", die_non_canonical},
	{"jump_null", die_jump_null},
	{"jump_data", die_jump_data},
	{"write_read_only", die_write_read_only},
	{"overflow", die_overflow},
	{"abort", die_abort},
	{"double_free", die_double_free},
	{"heap_corruption", die_heap_corruption},
	{"assert", die_assert},
	{"divide", die_divide},
	{"illegal", die_illegal},
	{"bus", die_bus},
	{"injected", die_injected},
	{"memory", die_memory},
};

KEPT int deep_cause(const char *kind)
{
	FRAME();
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		if (!strcmp(kind, causes[i].kind))
			causes[i].die();
	}
	return -1;
}
