/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one probe hit costs on this host, by the instruction that it sits on: the bench of query cost says
 * with it how much of its ratio is the host's and how much is ours. Prints "NAME NANOSECONDS", the best
 * of several rounds. Without probes it prints what calling costs, which is nothing.
 */
#include <stdio.h>
#include <time.h>

enum { ROUNDS = 15, CALLS = 5000 };

#define FUNCTION(name, code)                                                                                 \
	__attribute__((noinline)) void name(void)                                                            \
	{                                                                                                    \
		__asm__ volatile(code ::: "cc");                                                             \
	}

void hit_push(void);
void hit_test(void);
FUNCTION(hit_push, "push %%rbp; pop %%rbp") /* the kernel emulates it */
FUNCTION(hit_test, "test %%rdi,%%rdi")      /* the kernel steps over a copy of it */

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *name, void (*function)(void))
{
	double best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		double before = cpu_ns(), took;

		for (int i = 0; i < CALLS; i++)
			function();
		took = (cpu_ns() - before) / CALLS;
		if (took < best)
			best = took;
	}
	printf("%s %.0f\n", name, best);
}

int main(void)
{
	measure("emulated", hit_push);
	measure("stepped", hit_test);
	return 0;
}
