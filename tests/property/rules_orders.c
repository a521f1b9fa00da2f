/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipped rules on drawn histories, with every order checked against what was put in: a breaker is asked
 * for by availability errors or failed tests of its own scope and target alone, in their minimum volume, and
 * once more only after a volume of its own; and a storm of crashes, each counted once, asks a bounded number
 * of times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/rules_watcher.h"

enum { CASES = 150, STEPS = 400, SCOPES = 3, FIRST_PID = 1000, MANY = 8192 };

/* One scope's notices that may ask for a breaker, as they were put in. */
struct volume {
	uint64_t errors[MANY], tests[MANY]; /* since the breaker closed or was last asked for by that rule */
	unsigned error_count, test_count;
	uint64_t error_ask_ns, test_ask_ns;
};

struct world {
	struct rules_watcher w;
	struct volume volumes[SCOPES];
	unsigned breakers;
	uint64_t seed, now_ns;
};

static struct ev_scope scope_of(unsigned index)
{
	struct ev_scope scope = history_scope("shop");
	scope.netns = index;
	return scope;
}

static unsigned since(const uint64_t *times, unsigned count, uint64_t from_ns)
{
	unsigned found = 0;
	while (count > 0 && times[count - 1] >= from_ns)
		found += times[--count] != 0;
	return found;
}

static void check_rule(const struct world *world, const struct decision *decision, uint64_t *times,
		       unsigned *count, uint64_t *asked_ns)
{
	uint64_t from_ns = decision->time_ns - decision->window_ms * HISTORY_MS;
	bool again = *asked_ns == decision->time_ns; /* the other kind, of the same moment */
	if (!again && since(times, *count, from_ns) < decision->threshold)
		fail_msg("seed %llu: %s of %s asked for after %u of %u", (unsigned long long)world->seed,
			 decision->scope, decision->rule, since(times, *count, from_ns), decision->threshold);
	*asked_ns = decision->time_ns;
	*count = 0;
}

static void on_decision(void *context, const struct decision *decision)
{
	struct world *world = context;
	if (strcmp(decision->action, "breaker.open") != 0)
		return;
	assert_in_range(decision->scope_of.netns, 0, SCOPES - 1);
	struct ev_scope scope = scope_of(decision->scope_of.netns);
	struct volume *volume = &world->volumes[decision->scope_of.netns];
	assert_memory_equal(&decision->scope_of, &scope, sizeof(scope));
	assert_string_equal(decision->target, HISTORY_TARGET);
	world->breakers++;
	if (strcmp(decision->rule, "database") == 0)
		check_rule(world, decision, volume->errors, &volume->error_count, &volume->error_ask_ns);
	else if (strcmp(decision->rule, "database_probe") == 0)
		check_rule(world, decision, volume->tests, &volume->test_count, &volume->test_ask_ns);
	else
		fail_msg("seed %llu: a breaker by rule %s", (unsigned long long)world->seed, decision->rule);
}

static void world_new(struct world *world, uint64_t seed)
{
	memset(world, 0, sizeof(*world));
	draw_seed(seed);
	world->seed = seed;
	assert_int_equal(rules_watcher_init(&world->w, "rules"), 0);
	world->w.sink.rules.decision = on_decision;
	world->w.sink.rules.incident = NULL;
	world->w.sink.rules.context = world;
	for (unsigned i = 0; i < SCOPES; i++) {
		struct history *h = &world->w.history;
		struct ev_info info = {.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, info, FIRST_PID + i, 1500),
				       .uid = 1000,
				       .cgroup_id = 7,
				       .netns = i,
				       .app = "shop"};
		rules_watcher_emit(&world->w, &info.head);
	}
}

static bool counts(uint32_t reason)
{
	return reason != REASON_AUTH && reason != REASON_NO_DATABASE && reason != REASON_TLS;
}

/* Errors of connects and statements; `harmless`: only those that no waiting mends. */
static void put_error(struct world *world, unsigned scope, bool harmless, uint64_t ms)
{
	static const uint32_t wrong[] = {REASON_AUTH, REASON_NO_DATABASE, REASON_TLS};
	static const char *const states[] = {"42P01", "40001", "23505", "57014", "25P02", "53200"};
	struct history *h = &world->w.history;
	struct volume *volume = &world->volumes[scope];
	uint64_t conn = 0x10000 + ms * 16;
	if (draw(2)) {
		uint32_t reason = harmless ? wrong[draw(3)] : 1 + (uint32_t)draw(REASON_COUNT - 1);
		if (counts(reason))
			volume->errors[volume->error_count++] = ms * HISTORY_MS;
		history_conn(h, FIRST_PID + scope, conn, CONN_FAILED, reason, ms);
	} else {
		const char *state = harmless || draw(2) ? states[draw(6)] : draw(2) ? "57P01" : "53300";
		history_conn(h, FIRST_PID + scope, conn, CONN_OPEN, 0, ms);
		if (strcmp(state, "57P01") == 0 || strcmp(state, "53300") == 0)
			volume->errors[volume->error_count++] = ms * HISTORY_MS;
		history_query_end(h, FIRST_PID + scope, conn, state, ms - 1, ms);
	}
}

static void put_test(struct world *world, unsigned index, bool harmless, uint64_t ms)
{
	struct ev_scope scope = scope_of(index);
	struct volume *volume = &world->volumes[index];
	uint32_t result = harmless ? (draw(2) ? PROBE_OK : PROBE_NOT_RUN) : 1 + (uint32_t)draw(PROBE_NOT_RUN);
	bool reached = draw(4) != 0;
	if (reached && result != PROBE_OK && result != PROBE_NOT_RUN)
		volume->tests[volume->test_count++] = ms * HISTORY_MS;
	history_probe(&world->w.history, &scope, result, reached, "", ms);
}

static void put_change(struct world *world, unsigned index, uint64_t ms)
{
	struct ev_scope scope = scope_of(index);
	uint32_t state = (uint32_t)draw(3);
	if (state == BREAKER_CLOSED)
		world->volumes[index].error_count = world->volumes[index].test_count = 0;
	history_breaker(&world->w.history, &scope, (uint32_t)draw(2), state, ms);
}

static unsigned play(struct world *world, bool harmless)
{
	uint64_t ms = 30000, ticked = 30000; /* later than the longest window */
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned scope = (unsigned)draw(SCOPES);
		ms += 1 + (draw(20) ? draw(1500) : draw(60000));
		for (; ticked + 1000 <= ms; ticked += 1000)
			history_tick(&world->w.history, ticked);
		switch (draw(8)) {
		case 0:
			put_change(world, scope, ms);
			break;
		case 1:
		case 2:
			put_test(world, scope, harmless, ms);
			break;
		default:
			put_error(world, scope, harmless, ms);
			break;
		}
	}
	return world->breakers;
}

static void test_breakers_need_volume(void **state)
{
	static struct world world;
	uint64_t first = *(uint64_t *)*state;
	unsigned breakers = 0;
	for (uint64_t i = 0; i < CASES; i++) {
		world_new(&world, first + i);
		breakers += play(&world, false);
		rules_watcher_done(&world.w);
	}
	assert_true(breakers > CASES);
}

static void test_harmless_errors_open_nothing(void **state)
{
	static struct world world;
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES; i++) {
		world_new(&world, first + i);
		assert_int_equal(play(&world, true), 0);
		rules_watcher_done(&world.w);
	}
}

struct storm {
	unsigned holds, alerts, others, opened, crashes;
	char ids[64][20];
	unsigned id_count;
};

static void storm_decision(void *context, const struct decision *decision)
{
	struct storm *storm = context;
	storm->holds += strcmp(decision->action, "worker.hold") == 0;
	storm->alerts += strcmp(decision->action, "alert") == 0;
	storm->others += strncmp(decision->action, "breaker", 7) == 0;
	for (unsigned i = 0; i < storm->id_count; i++)
		assert_string_not_equal(storm->ids[i], decision->id);
	assert_true(storm->id_count < 64);
	strcpy(storm->ids[storm->id_count++], decision->id);
}

static void storm_incident(void *context, const struct incident *incident)
{
	struct storm *storm = context;
	storm->opened += incident->state == INCIDENT_OPEN && incident->updated_ns == incident->opened_ns;
}

static void storm_notice(void *context, const struct notice *notice)
{
	struct storm *storm = context;
	storm->crashes += notice->type == NOTICE_CRASH;
}

/* Workers that die at once, as fast as the master forks them, in one of the ways a worker dies. */
static unsigned blow(struct history *h, uint64_t seconds)
{
	unsigned died = 0;
	uint32_t pid = FIRST_PID + 100;
	for (uint64_t ms = 10000, ticked = 10000; ms < 10000 + seconds * 1000; ms += 20 + draw(400), pid++) {
		for (; ticked + 1000 <= ms; ticked += 1000)
			history_tick(h, ticked);
		history_fork(h, pid, FIRST_PID, ms);
		if (draw(2))
			history_fault(h, pid, SIGSEGV, FAULT_DEFAULT_ACTION, ms + 5);
		history_exit(h, pid, SIGSEGV, 0, ms + 6);
		if (draw(2)) /* the slower lane, after its end */
			history_fault(h, pid, SIGSEGV, FAULT_DEFAULT_ACTION, ms + 5);
		died++;
	}
	return died;
}

static void test_storms_ask_a_bounded_number_of_times(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES; i++) {
		struct rules_watcher w;
		struct storm storm = {0};
		uint64_t seconds = 10 + draw(110);
		draw_seed(first + i);
		assert_int_equal(rules_watcher_init(&w, "rules"), 0);
		w.sink = (struct pipeline_sink){
			storm_notice, {storm_incident, storm_decision, &storm}, &storm};
		history_watch(&w.history, FIRST_PID, 1, "ruby", 2000);
		history_info(&w.history, FIRST_PID, "shop", 2001);
		unsigned died = blow(&w.history, seconds);
		for (unsigned tick = 1; tick <= 5; tick++) /* deaths without a fault are judged late */
			history_tick(&w.history, 10000 + (seconds + tick) * 1000);
		const struct process *master =
			model_process(pipeline_model(w.pipeline), FIRST_PID, history_start(FIRST_PID));
		assert_non_null(master);
		assert_int_equal(storm.crashes, died);
		assert_int_equal(master->worker_crashes, died);
		assert_int_equal(master->app->crashes, died);
		assert_true(storm.holds >= 1 && storm.holds <= 2 + seconds / 10);
		assert_true(storm.alerts <= storm.opened); /* a person is told once an incident */
		assert_int_equal(storm.others, 0);
		rules_watcher_done(&w);
	}
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 9: no breaker is asked for below its volume, nor again without a new one",
		 test_breakers_need_volume, NULL, NULL, &seed},
		{"Property 9: errors that waiting does not mend open no breaker",
		 test_harmless_errors_open_nothing, NULL, NULL, &seed},
		{"Property 12: in a storm every crash counts once and the orders are bounded",
		 test_storms_ask_a_bounded_number_of_times, NULL, NULL, &seed},
	};
	return cmocka_run_group_tests_name("rules: orders of the shipped rules", tests, NULL, NULL);
}
