/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated histories with a known truth. Every process gets a fate (rescued, handled, killed, out of
 * memory, …); its records are put on their lanes, some are lost, and the lanes are drained as the agent does
 * it: life cycle first, captures up to a second behind. Whatever the interleaving, the model must find
 * exactly the crashes that happened, each once, with the right fault where its record survived.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/history.h"
#include "user/model/model.h"

enum {
	CASES = 300,
	PROCESSES = 60,
	RECORDS = PROCESSES * 16,
	FIRST_PID = 1000,
	SPAN_MS = 20000,
	STEP_MS = 250, /* how often the loop drains */
};

enum fate {
	ORDINARY,
	RESCUED,
	RESCUED_CODE,
	RESCUED_KILLED,
	KILLED,
	HANDLED,
	HANDLED_RAISES,
	LIVES_ON,
	DEFAULT,
	ABORTS,
	HANDLED_UNCONFIRMED,
	RESCUED_THEN_DEFAULT,
	RESCUED_THEN_HANDLED,
	RESCUED_THEN_ABORTS,
	OUT_OF_MEMORY,
	LOST_FAULT,
	LOST_EXIT,
	LOST_CONFIRM_FAULT,
	LOST_FORK_DEFAULT,
	LOST_FORK_HANDLED,
	FATES,
};

static bool is_crash(enum fate fate)
{
	return fate >= HANDLED;
}

static bool keeps_fault(enum fate fate)
{
	return is_crash(fate) && fate != OUT_OF_MEMORY && fate != LOST_FAULT && fate != LOST_CONFIRM_FAULT;
}

struct queued {
	union {
		struct ev_head head;
		struct ev_birth birth;
		struct ev_exit end;
		struct ev_confirm confirm;
		struct ev_fault fault;
	} ev;
};

struct truth {
	enum fate fate;
	uint64_t fault_ns; /* 0: its record is lost, or there is none */
	uint32_t fault_signal;
	unsigned crashes, ends, gone;
	struct crash crash;
};

struct world {
	struct history history;
	struct model *model;
	struct truth truth[PROCESSES];
	struct queued *lanes[2]; /* LIFE, CAPTURE */
	size_t count[2], next[2];
	char *said; /* everything, as text */
	size_t said_size;
	FILE *out;
};

static void queue_record(void *context, const struct ev_head *ev)
{
	struct world *world = context;
	unsigned lane = ev->lane == LANE_CAPTURE;
	if (ev->type == EV_BEGIN)
		return;
	assert_true(world->count[lane] < RECORDS && ev->size <= sizeof(struct queued));
	memcpy(&world->lanes[lane][world->count[lane]++], ev, ev->size);
}

/* A fault goes by the capture lane, or small by the other. */
static void fault(struct world *world, uint32_t pid, uint32_t signal, uint32_t flags, uint64_t ms)
{
	struct ev_fault ev = history_fault_of(&world->history, pid, signal, ms);
	ev.flags |= flags;
	if (draw(4) == 0) {
		ev.flags |= FAULT_SMALL;
		ev.head.lane = LANE_LIFE;
	}
	ev.regs[REG_IP_] = ms;
	queue_record(world, &ev.head);
}

static void real_fault(struct world *world, uint32_t pid, uint32_t signal, uint32_t flags, uint64_t ms)
{
	struct truth *truth = &world->truth[pid - FIRST_PID];
	truth->fault_ns = ms * HISTORY_MS;
	truth->fault_signal = signal;
	fault(world, pid, signal, flags, ms);
}

static uint64_t rescue(struct world *world, uint32_t pid, uint64_t ms)
{
	for (uint64_t left = 1 + draw(3); left > 0; left--, ms += 1 + draw(300))
		fault(world, pid, SIGSEGV, 0, ms);
	return ms;
}

static void play_handled(struct world *world, uint32_t pid, enum fate fate, uint64_t ms)
{
	static const uint32_t signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
	uint32_t signal = signals[draw(4)];
	struct history *h = &world->history;
	if (fate != LOST_CONFIRM_FAULT)
		real_fault(world, pid, signal, 0, ms);
	if (fate != HANDLED_UNCONFIRMED)
		history_confirm(h, pid, ms, ms + 1);
	if (fate == LIVES_ON) {
		fault(world, pid, SIGSEGV, 0, ms + 400);
		history_exit(h, pid, 0, 0, ms + 700);
		return;
	}
	bool raises = fate == HANDLED_RAISES;
	uint64_t end = ms + 2 + draw(70);
	fault(world, pid, raises ? signal : SIGABRT, FAULT_ON_ALTSTACK | FAULT_SELF | FAULT_DEFAULT_ACTION,
	      end);
	history_exit(h, pid, raises ? (int32_t)signal : SIGABRT, 0, end + 1);
}

static void play_default(struct world *world, uint32_t pid, enum fate fate, uint64_t ms)
{
	uint32_t signal = fate == ABORTS || fate == RESCUED_THEN_ABORTS ? SIGABRT : SIGSEGV;
	if (fate != LOST_FAULT)
		real_fault(world, pid, signal, FAULT_DEFAULT_ACTION, ms);
	if (fate != LOST_EXIT)
		history_exit(&world->history, pid, (int32_t)signal | (draw(2) ? 0x80 : 0), 0, ms + 1);
}

static void play(struct world *world, uint32_t pid, enum fate fate, uint64_t ms)
{
	struct history *h = &world->history;
	if (fate == RESCUED || fate == RESCUED_CODE || fate == RESCUED_KILLED ||
	    fate == RESCUED_THEN_DEFAULT || fate == RESCUED_THEN_HANDLED || fate == RESCUED_THEN_ABORTS ||
	    (fate == OUT_OF_MEMORY && draw(2)))
		ms = rescue(world, pid, ms) + draw(2000);
	switch (fate) {
	case ORDINARY:
	case RESCUED:
		history_exit(h, pid, 0, 0, ms);
		break;
	case RESCUED_CODE:
		history_exit(h, pid, 3 << 8, 0, ms);
		break;
	case RESCUED_KILLED:
	case KILLED:
		history_exit(h, pid, draw(2) ? SIGKILL : SIGTERM, 0, ms);
		break;
	case OUT_OF_MEMORY:
		history_exit(h, pid, SIGKILL, 1, ms);
		break;
	case HANDLED:
	case HANDLED_RAISES:
	case LIVES_ON:
	case HANDLED_UNCONFIRMED:
	case RESCUED_THEN_HANDLED:
	case LOST_CONFIRM_FAULT:
	case LOST_FORK_HANDLED:
		play_handled(world, pid, fate, ms);
		break;
	default:
		play_default(world, pid, fate, ms);
		break;
	}
}

static void build(struct world *world)
{
	for (uint32_t i = 0; i < PROCESSES; i++) {
		uint32_t pid = FIRST_PID + i;
		uint64_t born = 2000 + draw(SPAN_MS);
		world->truth[i].fate = draw(FATES);
		if (world->truth[i].fate != LOST_FORK_DEFAULT && world->truth[i].fate != LOST_FORK_HANDLED)
			history_fork(&world->history, pid, FIRST_PID - 1, born);
		play(world, pid, world->truth[i].fate, born + draw(3000));
	}
}

static int by_time(const void *a, const void *b)
{
	const struct ev_head *left = a, *right = b;
	if (left->time_ns != right->time_ns)
		return left->time_ns < right->time_ns ? -1 : 1;
	return (left->seq > right->seq) - (left->seq < right->seq);
}

static void on_notice(void *context, const struct notice *notice)
{
	struct world *world = context;
	uint32_t pid = notice->process ? notice->process->id.tgid : 0;
	fprintf(world->out, "%d %u %llu %d %s\n", notice->type, pid, (unsigned long long)notice->time_ns,
		notice->status, notice->crash ? notice->crash->id : "-");
	if (pid < FIRST_PID)
		return;
	struct truth *truth = &world->truth[pid - FIRST_PID];
	if (notice->type == NOTICE_CRASH) {
		truth->crashes++;
		truth->crash = *notice->crash;
	}
	truth->ends += notice->type == NOTICE_CRASH_END;
	truth->gone += notice->type == NOTICE_GONE;
}

static void drain(struct world *world, unsigned lane, uint64_t until_ns)
{
	while (world->next[lane] < world->count[lane]) {
		const struct ev_head *ev = &world->lanes[lane][world->next[lane]].ev.head;
		if (ev->time_ns > until_ns)
			break;
		model_apply(world->model, ev, on_notice, world);
		world->next[lane]++;
	}
}

static void apply(void *context, const struct ev_head *ev)
{
	struct world *world = context;
	model_apply(world->model, ev, on_notice, world);
}

/* As the agent's loop does it, with captures sometimes behind by up to a second. */
static void run(struct world *world)
{
	uint64_t behind = 0;
	struct history agent = {.emit = apply, .context = world};
	for (unsigned lane = 0; lane < 2; lane++)
		qsort(world->lanes[lane], world->count[lane], sizeof(struct queued), by_time);
	history_begin(&agent, NULL);
	history_watch(&agent, FIRST_PID - 1, 1, "ruby", 500);
	history_info(&agent, FIRST_PID - 1, "shop", 501);
	for (uint64_t ms = 1000; ms < SPAN_MS + 30000; ms += STEP_MS) {
		if (ms % 1000 == 0)
			history_tick(&agent, ms);
		drain(world, 0, ms * HISTORY_MS);
		behind = behind >= 1000 - STEP_MS ? 0 : draw(2) ? 0 : behind + STEP_MS;
		drain(world, 1, (ms - behind) * HISTORY_MS);
	}
}

static void world_new(struct world *world, uint64_t seed)
{
	memset(world, 0, sizeof(*world));
	draw_seed(seed);
	world->model = model_new(NULL);
	world->history = (struct history){.emit = queue_record, .context = world};
	world->out = open_memstream(&world->said, &world->said_size);
	for (unsigned lane = 0; lane < 2; lane++)
		world->lanes[lane] = calloc(RECORDS, sizeof(struct queued));
	build(world);
	run(world);
	fflush(world->out);
}

static void world_free(struct world *world)
{
	model_free(world->model);
	fclose(world->out);
	free(world->said);
	free(world->lanes[0]);
	free(world->lanes[1]);
}

static void check(const struct truth *truth, uint32_t pid, uint64_t seed)
{
	const struct crash *crash = &truth->crash;
	if (truth->crashes != is_crash(truth->fate))
		fail_msg("seed %llu, process %u, fate %d: %u crashes", (unsigned long long)seed, pid,
			 truth->fate, truth->crashes);
	if (truth->gone != (truth->fate != LOST_EXIT))
		fail_msg("seed %llu, process %u, fate %d: gone %u times", (unsigned long long)seed, pid,
			 truth->fate, truth->gone);
	if (!is_crash(truth->fate))
		return;
	assert_int_equal(crash->oom, truth->fate == OUT_OF_MEMORY);
	if (crash->has_fault != keeps_fault(truth->fate) ||
	    (crash->has_fault &&
	     (crash->time_ns != truth->fault_ns || crash->fault.signal != truth->fault_signal ||
	      crash->fault.regs[REG_IP_] * HISTORY_MS != truth->fault_ns)))
		fail_msg("seed %llu, process %u, fate %d: fault at %llu, found %llu",
			 (unsigned long long)seed, pid, truth->fate, (unsigned long long)truth->fault_ns,
			 (unsigned long long)crash->time_ns);
	assert_true(truth->ends <= 1);
}

static void test_crashes_equal_the_truth(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES; i++) {
		struct world world;
		unsigned crashes = 0;
		world_new(&world, first + i);
		for (uint32_t p = 0; p < PROCESSES; p++) {
			check(&world.truth[p], FIRST_PID + p, first + i);
			crashes += world.truth[p].crashes;
		}
		const struct process *master =
			model_process(world.model, FIRST_PID - 1, history_start(FIRST_PID - 1));
		assert_non_null(master);
		assert_true(master->app->crashes <= crashes); /* of lost forks the app is not known */
		assert_int_equal(model_crashes_since(world.model, master->app, 0), master->app->crashes);
		world_free(&world);
	}
}

static void test_same_history_same_bytes(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES / 3; i++) {
		struct world one, two;
		world_new(&one, first + i);
		world_new(&two, first + i);
		assert_int_equal(one.said_size, two.said_size);
		assert_memory_equal(one.said, two.said, one.said_size);
		world_free(&one);
		world_free(&two);
	}
}

static void count_process(void *context, const struct process *process)
{
	(void)process;
	++*(unsigned *)context;
}

static void random_record(struct history *h, uint32_t pid, uint64_t ms)
{
	switch (draw(10)) {
	case 0:
		history_fork(h, pid, (uint32_t)(pid - draw(50)), ms);
		break;
	case 1:
		history_watch(h, pid, 1, draw(2) ? "ruby" : "rake", ms);
		break;
	case 2:
		history_fault(h, pid, draw(2) ? SIGSEGV : SIGABRT, (uint32_t)draw(16), ms);
		break;
	case 3:
		history_confirm(h, pid, ms, ms + 1);
		break;
	case 4:
		history_exit(h, pid, (int32_t)draw(16), draw(10) == 0, ms);
		break;
	case 5:
		history_conn(h, pid, draw(8), 1 + (uint32_t)draw(4), (uint32_t)draw(REASON_COUNT), ms);
		break;
	case 6:
		history_query(h, pid, draw(8), draw(2) ? "select $1" : "insert into t values ($1)", ms);
		break;
	case 7:
		history_query_end(h, pid, draw(8), draw(3) ? "" : "57P01", ms - 1, ms);
		break;
	case 8:
		history_exec(h, pid, ms);
		break;
	default:
		history_info(h, pid, draw(2) ? "shop" : "desk", ms);
		break;
	}
}

static void ignore(void *context, const struct ev_head *ev)
{
	model_apply(context, ev, NULL, NULL);
}

static void test_memory_is_bounded(void **state)
{
	struct model_limits limits = {.processes = 256, .connections = 512, .apps = 8};
	struct model *model = model_new(&limits);
	struct history h = {.emit = ignore, .context = model};
	size_t early = 0;
	(void)state;
	history_begin(&h, NULL);
	for (uint32_t i = 0; i < 100000; i++) {
		for (int n = 0; n < 5; n++)
			random_record(&h, 1000 + i - (uint32_t)draw(20), 1000 + i);
		if (i % 200 == 0)
			history_tick(&h, 1000 + i);
		if (i == 20000)
			early = mallinfo2().uordblks;
	}
	unsigned listed = 0;
	model_each_process(model, count_process, &listed);
	assert_true(listed <= limits.processes);
	assert_true(mallinfo2().uordblks <= early + early / 4 + 65536); /* 0 of 0 under ASan */
	assert_true(model_evicted(model) > 0);
	model_free(model);
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 17: every crash is found once, with the state of its fault",
		 test_crashes_equal_the_truth, NULL, NULL, &seed},
		{"the same history gives the same bytes", test_same_history_same_bytes, NULL, NULL, &seed},
		{"100,000 random processes stay inside the limits", test_memory_is_bounded, NULL, NULL,
		 &seed},
	};
	return cmocka_run_group_tests_name("model: crashes of generated histories", tests, NULL, NULL);
}
