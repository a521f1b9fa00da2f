/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crashes.so: a gem that dies below a known chain of functions in two libraries, entered from Ruby blocks.
 * What it does on the way it tells beforehand (deep.h). Nothing of it comes back, but for
 * Crashes.overflow_rescued.
 */
#include <ruby.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "deep.h"

struct order {
	const char *kind;
	size_t room; /* bytes of stack */
	enum hole hole;
};

static struct order order; /* of the one crash of this process */

/* --- from Ruby into C and back into a block ---------------------------------------------------------------
 */

KEPT long enter_block(void *value)
{
	FRAME();
	return (long)rb_yield((VALUE)value);
}

KEPT long enter_deep(VALUE value)
{
	FRAME();
	return deep_call(enter_block, (void *)value, 256, HOLE_NONE);
}

KEPT VALUE crashes_enter(VALUE self, VALUE value)
{
	FRAME();
	return (VALUE)enter_deep(value) + (self & 0);
}

/* --- the end
 * ------------------------------------------------------------------------------------------------ */

KEPT void die_rb_bug(void)
{
	FRAME();
	tell(NULL);
	rb_bug("crashes: the gem found itself %s", "broken");
}

KEPT long die_cause(void *of)
{
	const struct order *what = of;

	FRAME();
	if (!strcmp(what->kind, "rb_bug"))
		die_rb_bug();
	return deep_cause(what->kind);
}

KEPT long die_below(const struct order *what)
{
	FRAME();
	return deep_call(die_cause, (void *)what, what->room, what->hole);
}

/* In a thread that Ruby did not make. */
KEPT void *die_foreign(void *of)
{
	FRAME();
	die_below(of);
	return NULL;
}

KEPT void die_signal(int number)
{
	FRAME();
	die_below(&order);
	(void)number;
}

/*
 * The kernel's frame alone may take 12 KiB (AT_MINSIGSTKSZ, with AMX), and Ruby's alternate stack has 16:
 * what the chain needs on top would run over its lower end, into the heap.
 */
static void wide_altstack(void)
{
	enum { BYTES = 128 * 1024 };
	stack_t stack = {.ss_size = BYTES};

	stack.ss_sp = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL))
		_exit(97);
}

/* The signal comes inside raise(): what it interrupts is known, and the stack is the interrupted one. */
KEPT void die_raise(int flags)
{
	struct sigaction action = {.sa_handler = die_signal, .sa_flags = flags};

	FRAME();
	if (flags & SA_ONSTACK)
		wide_altstack();
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
}

/* die(kind, where, room, hole): where is "here", "signal", "altstack" or "foreign". */
KEPT VALUE crashes_die(VALUE self, VALUE kind, VALUE where, VALUE room, VALUE hole)
{
	const char *place = StringValueCStr(where);
	pthread_t thread;

	FRAME();
	order = (struct order){StringValueCStr(kind), NUM2ULONG(room), (enum hole)NUM2INT(hole)};
	if (!strcmp(place, "signal") || !strcmp(place, "altstack"))
		die_raise(*place == 'a' ? SA_ONSTACK : 0);
	else if (strcmp(place, "foreign"))
		die_below(&order);
	else if (!pthread_create(&thread, NULL, die_foreign, &order))
		pthread_join(thread, NULL);
	return self;
}

static volatile int endless = 1;

static int recurse(int depth)
{
	volatile char room[4096];

	memset((char *)room, depth, sizeof(room));
	return endless ? recurse(depth + 1) + room[depth & 4095] : depth;
}

static VALUE crashes_recurse(VALUE self)
{
	return INT2NUM(recurse(0)) + (self & 0);
}

/* --- what a process says and does of itself
 * --------------------------------------------------------------------- */

static VALUE crashes_tell_to(VALUE self, VALUE fd)
{
	tell_to(NUM2INT(fd));
	return self;
}

/* Takes Ruby's crash handlers away, as some native libraries do. */
static VALUE crashes_default(VALUE self)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	return self;
}

static VALUE crashes_thread(VALUE self)
{
	return LONG2NUM(syscall(SYS_gettid)) + (self & 0);
}

static VALUE crashes_kill_thread(VALUE self, VALUE process, VALUE thread, VALUE number)
{
	if (syscall(SYS_tgkill, NUM2INT(process), NUM2INT(thread), NUM2INT(number)))
		rb_sys_fail("tgkill");
	return self;
}

void Init_crashes(void)
{
	VALUE crashes = rb_define_module("Crashes");

	rb_define_singleton_method(crashes, "enter", crashes_enter, 1);
	rb_define_singleton_method(crashes, "die", crashes_die, 4);
	rb_define_singleton_method(crashes, "recurse", crashes_recurse, 0);
	rb_define_singleton_method(crashes, "tell_to", crashes_tell_to, 1);
	rb_define_singleton_method(crashes, "default", crashes_default, 0);
	rb_define_singleton_method(crashes, "thread", crashes_thread, 0);
	rb_define_singleton_method(crashes, "kill_thread", crashes_kill_thread, 3);
}
