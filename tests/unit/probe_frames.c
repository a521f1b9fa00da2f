/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ruby frames in memory that is damaged (needs root, otherwise skipped). It is laid out by hand as 3.3 has
 * it, so that each piece can be taken away.
 */
#include "tests/unit/probe_watch.h"
#include <sys/mman.h>

enum { GROUP = 9 };

static struct watch watch;

static int open_marked(void **state)
{
	const struct probe_options options = {
		.life_ring_bytes = 1 << 20,
		.capture_ring_bytes = 1 << 20,
		.flow_ring_bytes = 1 << 16,
		.stack_bytes = EV_PAGE,
	};

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

enum { FRAMES = 5, STACK_WORDS = 2048, CFP = 7 /* words of a control frame of 3.3 */ };

static struct world {
	uint64_t ec[8], thread[16];
	uint64_t stack[STACK_WORDS];
	uint64_t iseq[FRAMES][3], body[FRAMES][24], entries[4], code[8];
	uint64_t label[FRAMES][5], path[5];
} * world;

static void make_string(uint64_t *string, const char *text)
{
	string[0] = 5; /* T_STRING, embedded */
	string[2] = strlen(text);
	memcpy(&string[3], text, strlen(text));
}

/* Five frames of bytecode, "m0" the innermost, all in line 7 of "a.rb". */
static void make_world(void)
{
	uint64_t *cfp, *end;

	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		     -1, 0);
	end = world->stack + STACK_WORDS;
	cfp = end - (FRAMES + 1) * CFP;
	world->ec[0] = (uintptr_t)world->stack;
	world->ec[1] = STACK_WORDS;
	world->ec[2] = (uintptr_t)cfp;
	world->ec[6] = (uintptr_t)world->thread;
	make_string(world->path, "a.rb");
	world->entries[0] = 7;
	for (int n = 0; n < FRAMES; n++) {
		char name[4] = {'m', (char)('0' + n)};

		make_string(world->label[n], name);
		cfp[n * CFP] = (uintptr_t)&world->code[1];
		cfp[n * CFP + 2] = (uintptr_t)world->iseq[n];
		world->iseq[n][2] = (uintptr_t)world->body[n];
		world->body[n][1] = (uintptr_t)world->code;
		world->body[n][8] = (uintptr_t)world->path;
		world->body[n][10] = (uintptr_t)world->label[n];
		world->body[n][14] = (uintptr_t)world->entries;
		world->body[n][16] = 1;
	}
}

static uint64_t *frame_of(int n)
{
	return (uint64_t *)world->ec[2] + n * CFP;
}

static uint64_t context; /* the variable that the layout names */

static void place(uint32_t column)
{
	const struct ruby_layout layout = {
		.context = (uintptr_t)&context, .column = column, .how = RUBY_CONTEXT_GLOBAL, .words = 1};
	assert_int_equal(probe_set_layout(watch.probe, GROUP, &(struct libpq_layout){0}, &layout), 0);
	assert_int_equal(probe_set_place(watch.probe, getpid(), watch.own_start, GROUP, 0), 0);
}

enum damage {
	NO_DAMAGE,
	NO_CONTEXT,
	WRONG_CONTEXT,
	ABSURD_SIZE,
	CFP_OUTSIDE,
	STACK_GONE,
	ISEQ_GONE,
	BODY_GONE,
	LABEL_GONE,
	LABEL_NO_STRING,
	LABEL_ENDLESS,
	LINES_GONE,
	PC_BEFORE_CODE,
	NO_PC,
	DAMAGES,
};

static enum damage damage;

static void do_damage(void)
{
	uint64_t *cfp;

	make_world();
	context = (uintptr_t)world;
	cfp = frame_of(2);
	switch (damage) {
	case NO_CONTEXT:
		context = 0;
		break;
	case WRONG_CONTEXT:
		context = 0x1000;
		break;
	case ABSURD_SIZE:
		world->ec[1] = 1ull << 60;
		break;
	case CFP_OUTSIDE:
		world->ec[2] = (uintptr_t)(world->stack - 1);
		break;
	case STACK_GONE:
		world->ec[0] = 0x10000;
		world->ec[2] = 0x10100;
		break;
	case ISEQ_GONE:
		cfp[2] = 0x1008;
		break;
	case BODY_GONE:
		world->iseq[2][2] = 0x1008;
		break;
	case LABEL_GONE:
		world->body[2][10] = 0x1008;
		break;
	case LABEL_NO_STRING:
		world->label[2][0] = 7;
		break;
	case LABEL_ENDLESS:
		world->label[2][2] = UINT64_MAX;
		break;
	case LINES_GONE:
		world->body[2][14] = 0x1008;
		break;
	case PC_BEFORE_CODE:
		cfp[0] = (uintptr_t)world->code - 64;
		break;
	case NO_PC:
		cfp[0] = 0;
		break;
	default:
		break;
	}
	__asm__ volatile("movl $1, (8)" ::: "memory");
}

static const struct ev_ruby *walked(void)
{
	pid_t pid = watch_fork(do_damage);
	const struct ev_ruby *ruby = watch_wait(&watch, EV_RUBY, pid, 0);
	const struct ev_fault *fault = watch_wait(&watch, EV_FAULT, pid, 0);

	watch_reap(pid);
	assert_int_equal(ruby->fault_time_ns, fault->head.time_ns);
	assert_int_equal(ruby->head.size, sizeof(*ruby) + ruby->count * sizeof(ruby->frames[0]));
	assert_true(ruby->head.seq < fault->head.seq);
	return ruby;
}

static void test_damage(void **state)
{
	static const struct {
		uint32_t state, count;
		const char *third;
		int line;
	} expected[DAMAGES] = {
		[NO_DAMAGE] = {RUBY_STACK_COMPLETE, 5, "m2", 7},
		[NO_CONTEXT] = {RUBY_STACK_NO_CONTEXT, 0, NULL, 0},
		[WRONG_CONTEXT] = {RUBY_STACK_UNREADABLE, 0, NULL, 0},
		[ABSURD_SIZE] = {RUBY_STACK_UNREADABLE, 0, NULL, 0},
		[CFP_OUTSIDE] = {RUBY_STACK_UNREADABLE, 0, NULL, 0},
		[STACK_GONE] = {RUBY_STACK_UNREADABLE, 0, NULL, 0},
		[ISEQ_GONE] = {RUBY_STACK_UNREADABLE, 2, NULL, 0},
		[BODY_GONE] = {RUBY_STACK_UNREADABLE, 2, NULL, 0},
		[LABEL_GONE] = {RUBY_STACK_UNREADABLE, 5, "", 7},
		[LABEL_NO_STRING] = {RUBY_STACK_UNREADABLE, 5, "", 7},
		[LABEL_ENDLESS] = {RUBY_STACK_COMPLETE, 5, "m2", 7}, /* cut where the record's room ends */
		[LINES_GONE] = {RUBY_STACK_UNREADABLE, 5, "m2", 0},
		[PC_BEFORE_CODE] = {RUBY_STACK_UNREADABLE, 5, "m2", 0},
		[NO_PC] = {RUBY_STACK_COMPLETE, 4, "m3", 7}, /* left out, as Ruby leaves it out */
	};

	(void)state;
	if (geteuid())
		skip();
	place(RUBY_3_3);
	for (damage = 0; damage < DAMAGES; damage++) {
		const struct ev_ruby *ruby = walked();

		assert_int_equal(ruby->state, expected[damage].state);
		assert_int_equal(ruby->count, expected[damage].count);
		if (ruby->count > 0)
			assert_string_equal(ruby->frames[0].label, "m0");
		if (!expected[damage].third)
			continue;
		assert_string_equal(ruby->frames[2].label, expected[damage].third);
		assert_int_equal(ruby->frames[2].line, expected[damage].line);
		assert_string_equal(ruby->frames[2].path, "a.rb");
	}
}

static void test_unsupported(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	damage = NO_DAMAGE;
	place(RUBY_NONE);
	assert_int_equal(walked()->state, RUBY_STACK_UNSUPPORTED);
	place(RUBY_COLUMNS + 7);
	assert_int_equal(walked()->state, RUBY_STACK_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_damage), cmocka_unit_test(test_unsupported)};

	return cmocka_run_group_tests(tests, open_marked, close_all);
}
