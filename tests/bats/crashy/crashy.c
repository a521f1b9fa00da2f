/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gem that dies, in every way that a native extension does. Each method is one C function of the same
 * name, so that a test can compare the reported offset with what nm says of the file.
 *
 * Crashy.rescue_loop is the one that lives: it raises SIGSEGV as fast as the kernel delivers it and jumps
 * out of its own handler each time, as a program with a guard page of its own does.
 */
#include <ruby.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOT_CANONICAL 0xdead000000000000UL
#define BAD_JUMP      0x1badc0de1000UL

static const long read_only_data[512] = {1};
static volatile long sink_of_values;

static VALUE crashy_null(VALUE self)
{
	sink_of_values = *(volatile int *)0x18; /* a field of a struct that is not there */
	return self;
}

static VALUE crashy_non_canonical(VALUE self)
{
	sink_of_values = *(volatile int *)NOT_CANONICAL;
	return self;
}

static VALUE crashy_bad_jump(VALUE self)
{
	((void (*)(void))BAD_JUMP)();
	return self;
}

static VALUE crashy_write_read_only(VALUE self)
{
	*(long *)(uintptr_t)&read_only_data[7] = 2;
	return self;
}

static VALUE crashy_read_only_address(VALUE self)
{
	return ULL2NUM((uintptr_t)&read_only_data[7]);
}

static VALUE crashy_double_free(VALUE self)
{
	char *block = malloc(4096), *keep = malloc(16);

	free(block);
	free(block);
	free(keep);
	return self;
}

/* Takes Ruby's crash handler away first, as some native libraries do: the process is gone in 200 us. */
static VALUE crashy_sig_dfl(VALUE self)
{
	signal(SIGSEGV, SIG_DFL);
	sink_of_values = *(volatile int *)0x28;
	return self;
}

static int recurse(int depth)
{
	volatile char room[4096];

	memset((char *)room, depth, sizeof room);
	return recurse(depth + 1) + room[depth & 4095];
}

static void *overflow_thread(void *unused)
{
	(void)unused;
	sink_of_values = recurse(0);
	return NULL;
}

/* In a thread that Ruby did not make, so that no one turns it into SystemStackError. */
static VALUE crashy_overflow(VALUE self)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, overflow_thread, NULL) == 0)
		pthread_join(thread, NULL);
	return self;
}

/* In Ruby's own thread: its handler sees the guard page and raises SystemStackError. */
static VALUE crashy_overflow_in_ruby(VALUE self)
{
	sink_of_values = recurse(0);
	return self;
}

static VALUE crashy_abort(VALUE self)
{
	abort();
	return self;
}

static VALUE crashy_rb_bug(VALUE self)
{
	rb_bug("crashy: the gem found itself %s", "broken");
	return self;
}

static VALUE crashy_illegal(VALUE self)
{
	__builtin_trap();
	return self;
}

static VALUE crashy_divide(VALUE self)
{
	volatile int zero = 0;

	sink_of_values = 1000 / zero;
	return self;
}

static sigjmp_buf back;

static void jump_back(int signal_number)
{
	(void)signal_number;
	siglongjmp(back, 1);
}

/* Faults for `seconds`, returns how often. */
static VALUE crashy_rescue_loop(VALUE self, VALUE seconds)
{
	static volatile unsigned long count;
	struct sigaction action = {.sa_handler = jump_back}, old;
	struct timespec now, end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += NUM2INT(seconds);
	sigaction(SIGSEGV, &action, &old);
	for (;;) {
		if ((count & 1023) == 0) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			if (now.tv_sec > end.tv_sec ||
			    (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec))
				break;
		}
		count++;
		if (sigsetjmp(back, 1) == 0)
			sink_of_values = *(volatile int *)0x38;
	}
	sigaction(SIGSEGV, &old, NULL);
	return ULONG2NUM(count);
}

void Init_crashy(void)
{
	VALUE crashy = rb_define_module("Crashy");

	rb_define_singleton_method(crashy, "null", crashy_null, 0);
	rb_define_singleton_method(crashy, "non_canonical", crashy_non_canonical, 0);
	rb_define_singleton_method(crashy, "bad_jump", crashy_bad_jump, 0);
	rb_define_singleton_method(crashy, "write_read_only", crashy_write_read_only, 0);
	rb_define_singleton_method(crashy, "read_only_address", crashy_read_only_address, 0);
	rb_define_singleton_method(crashy, "double_free", crashy_double_free, 0);
	rb_define_singleton_method(crashy, "sig_dfl", crashy_sig_dfl, 0);
	rb_define_singleton_method(crashy, "overflow", crashy_overflow, 0);
	rb_define_singleton_method(crashy, "overflow_in_ruby", crashy_overflow_in_ruby, 0);
	rb_define_singleton_method(crashy, "abort", crashy_abort, 0);
	rb_define_singleton_method(crashy, "rb_bug", crashy_rb_bug, 0);
	rb_define_singleton_method(crashy, "illegal", crashy_illegal, 0);
	rb_define_singleton_method(crashy, "divide", crashy_divide, 0);
	rb_define_singleton_method(crashy, "rescue_loop", crashy_rescue_loop, 1);
}
