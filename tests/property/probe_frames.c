// SPDX-License-Identifier: Apache-2.0
/*
 * Property 17 (state capture): whatever a dying process holds where Ruby's memory should be, its fault is
 * captured, the walk ends, and what it says of the frames is a sound record (needs root, otherwise skipped).
 * A process that is watched may lay out its memory as it likes: here words are drawn that point at each
 * other, at strings without an end and at nothing, with the few facts in place that a walk looks for first.
 */
#include "tests/draw.h"
#include "tests/unit/probe_watch.h"
#include <sys/mman.h>
#include "user/probe/decode.h"

enum { GROUP = 5, CASES = 200, WORDS = 16384, CONTEXT = 64, STACK = 128, STACK_WORDS = 4096, FLAGS = 8 };

static struct watch watch;
static uint64_t *arena, *names_at;
static uint64_t context, seed;
static uint32_t column;

static uint64_t draw_word(void)
{
	static const uint64_t flags[FLAGS] = {5, 7, 5 | 1 << 13, 7 | 1 << 13, 0x55550001, 1, 2, 0xffffffff};

	switch (draw(20)) {
	case 0:
		return flags[draw(FLAGS)];
	case 1:
		return draw(1000);
	case 2:
		return draw(UINT64_MAX);
	case 3:
		return 0;
	default:
		return (uintptr_t)(arena + draw(WORDS));
	}
}

static void die_in_chaos(void)
{
	arena = mmap(NULL, WORDS * sizeof(*arena), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	draw_seed(seed);
	for (size_t i = 0; i < WORDS; i++)
		arena[i] = draw_word();
	context = (uintptr_t)(arena + CONTEXT);
	if (draw(8)) {
		arena[CONTEXT] = (uintptr_t)(arena + STACK);
		arena[CONTEXT + 1] = STACK_WORDS;
		arena[CONTEXT + 2] = (uintptr_t)(arena + STACK + draw(STACK_WORDS));
		arena[CONTEXT + 6] = arena[CONTEXT + 7] = (uintptr_t)arena;
	}
	names_at = draw(2) ? arena + draw(WORDS) : NULL;
	__asm__ volatile("movl $1, (8)" ::: "memory");
}

static void open_world(void)
{
	const struct probe_options options = {
		.life_ring_bytes = 1 << 20,
		.capture_ring_bytes = 4 << 20,
		.flow_ring_bytes = 1 << 16,
		.stack_bytes = EV_PAGE,
	};

	watch_open(&watch, &options);
	assert_int_equal(probe_mark(watch.probe, getpid(), watch.own_start), 0);
	assert_int_equal(probe_set_place(watch.probe, getpid(), watch.own_start, GROUP, 0), 0);
}

static void tell_layout(void)
{
	const struct ruby_layout layout = {
		.context = (uintptr_t)&context,
		.names = (uintptr_t)&names_at,
		.column = column,
		.how = RUBY_CONTEXT_GLOBAL,
		.words = 1,
		.last_op = 169,
	};

	assert_int_equal(probe_set_layout(watch.probe, GROUP, &(struct libpq_layout){0}, &layout), 0);
}

static void any_memory_is_walked_to_an_end(void **state)
{
	static _Alignas(8) unsigned char room[EV_RECORD_MAX];
	size_t states[RUBY_STACK_UNSUPPORTED + 1] = {0}, frames = 0;

	(void)state;
	if (geteuid())
		skip();
	open_world();
	for (int i = 0; i < CASES; i++) {
		const struct ev_ruby *ruby, *sound = (const struct ev_ruby *)room;
		const struct ev_fault *fault;
		const char *why = "";
		pid_t pid;

		column = 1 + (uint32_t)draw(RUBY_COLUMNS - 1);
		seed = draw(UINT64_MAX);
		tell_layout();
		pid = watch_fork(die_in_chaos);
		ruby = watch_wait(&watch, EV_RUBY, (uint32_t)pid, 0);
		fault = watch_wait(&watch, EV_FAULT, (uint32_t)pid, 0);
		watch_reap(pid);
		if (decode(ruby, ruby->head.size, (struct ev_head *)room, &why))
			fail_msg("case %d: %s", i, why);
		assert_int_equal(fault->signal, SIGSEGV);
		assert_true(fault->stack_len > 0);
		assert_in_range(fault->capture_ns, 1, 1000000000);
		states[sound->state]++;
		frames += sound->count;
	}
	assert_no_hole(&watch);
	watch_close(&watch);
	/* the cases are worth something: some ended well, some at what could not be read, some had many
	 * frames */
	print_message("%zu frames in %d cases, %zu walks cut short\n", frames, CASES,
		      states[RUBY_STACK_UNREADABLE]);
	assert_true(states[RUBY_STACK_UNREADABLE] > 0 && frames > CASES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 17: a fault is captured whatever lies where Ruby's memory should be",
		 any_memory_is_walked_to_an_end, NULL, NULL, NULL},
	};

	draw_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
