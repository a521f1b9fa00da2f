/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Never the last healthy worker, through model and gate together: a cluster whose workers boot, speak or do
 * not, are held, crash, drain and go, and somebody who keeps asking for restarts. The oracle keeps for each
 * worker what would make it serve, in words of its own; whatever the gate lets through leaves one of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/model_watcher.h"
#include "user/act/gate.h"
#include "user/base/json.h"

enum { CASES = 200, STEPS = 300, MASTER = 100, FIRST = 1000, WORKERS = 5, SETTLED_MS = 30000 };

/* What is known of a worker: born, and the moment from which it serves by each of the ways to do so. */
struct worker {
	uint32_t pid;
	uint64_t born, held_until;
	bool speaks, says_no, leaves, worked, crashed, going;
	char id[20];
};

static struct watcher w;
static struct history *h = &w.history;
static struct worker workers[WORKERS];
static uint64_t now, seed_of_case;
static uint32_t next_pid;
static unsigned let_through, refused_healthy, refused_none;

#define HOLDS(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			fail_msg("seed %llu at %llu: %s", (unsigned long long)seed_of_case,                  \
				 (unsigned long long)now, #condition);                                       \
	} while (0)

static bool serves(const struct worker *worker)
{
	if (worker->crashed || worker->going || worker->leaves)
		return false;
	if (worker->speaks)
		return now >= worker->held_until && !worker->says_no;
	return worker->worked || now >= worker->born + SETTLED_MS;
}

static unsigned serving_but(const struct worker *but)
{
	unsigned found = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		found += &workers[i] != but && serves(&workers[i]);
	return found;
}

/* A pid is the millisecond of its birth (history.h). */
static void fork_worker(struct worker *worker)
{
	next_pid = next_pid >= now ? next_pid + 1 : (uint32_t)now;
	now = next_pid;
	*worker = (struct worker){.pid = next_pid, .born = now};
	history_fork(h, worker->pid, MASTER, now);
}

static void end_worker(struct gate *gate, struct worker *worker)
{
	if (worker->going)
		cJSON_Delete(gate_outcome(gate, worker->id, ACTION_DONE, "it ended", 1, now * HISTORY_MS));
	history_exit(h, worker->pid, worker->crashed ? SIGSEGV : 0, 0, now);
	fork_worker(worker);
}

static void greet(struct worker *worker)
{
	uint32_t hold_ms = draw(3) ? 0 : (uint32_t)draw(20000);
	uint32_t said = (uint32_t)draw(3); /* silent, booting or serving */

	history_hello(h, worker->pid, "shop", ACCEPTS_HOLD, now);
	history_welcome(h, worker->pid, said, hold_ms, now);
	worker->speaks = true;
	worker->leaves = false;
	worker->says_no = said == APP_BOOTING;
	worker->held_until = now + hold_ms;
}

static void say(struct worker *worker)
{
	uint32_t said = APP_BOOTING + (uint32_t)draw(4);

	if (!worker->speaks)
		return;
	history_state(h, worker->pid, said, now);
	worker->says_no = said == APP_BOOTING;
	worker->leaves = said >= APP_DRAINING;
}

static void happen(struct gate *gate, struct worker *worker)
{
	switch (draw(8)) {
	case 0:
		greet(worker);
		break;
	case 1:
	case 2:
		say(worker);
		break;
	case 3:
		if (worker->speaks)
			history_parted(h, worker->pid, now);
		worker->speaks = false;
		break;
	case 4:
		history_query(h, worker->pid, 7, "select 1", now);
		history_query_end(h, worker->pid, 7, "", now, now);
		worker->worked = true;
		break;
	case 5:
		if (!worker->crashed)
			history_fault(h, worker->pid, SIGSEGV, FAULT_DEFAULT_ACTION, now);
		worker->crashed = true;
		break;
	case 6:
		if (worker->going || worker->crashed)
			end_worker(gate, worker);
		break;
	default:
		history_tick(h, now);
		break;
	}
}

static void ask(struct gate *gate, struct worker *worker)
{
	const struct process *process = model_process(w.model, worker->pid, history_start(worker->pid));
	struct workers found = model_workers(w.model, process->app, process, NULL, NULL);
	struct gate_request request = {.decision = "",
				       .incident = "",
				       .action = "worker.restart",
				       .target = "",
				       .reason = "drawn",
				       .breaker = "",
				       .pid = worker->pid,
				       .live_workers = found.living,
				       .healthy_workers = found.healthy,
				       .is_worker = process->role != ROLE_MASTER,
				       .by_operator = true};
	struct gate_pass pass;

	request.is_healthy = model_worker_health(w.model, process) == WORKER_HEALTHY;
	HOLDS(request.is_healthy == serves(worker));
	scope_set(&request.scope, 1000, 0, 7, "shop");
	gate_decide(gate, &request, now * HISTORY_MS, &pass);
	if (pass.outcome == ACTION_SENT) {
		let_through++;
		HOLDS(serving_but(worker) >= 1);
		HOLDS(!worker->going);
		worker->going = true;
		memcpy(worker->id, pass.id, sizeof(pass.id));
		history_action(h, worker->pid, &request.scope, "worker.restart", ACTION_SENT, now);
	} else if (serving_but(worker) == 0) {
		refused_none++;
		HOLDS(strstr(json_text(pass.audit, "outcome_reason"), "healthy worker") != NULL);
	} else {
		refused_healthy++;
		HOLDS(strstr(json_text(pass.audit, "outcome_reason"), "healthy worker") == NULL);
	}
	cJSON_Delete(pass.audit);
}

static void one_case(void)
{
	/* no budget: only the rule in question says no, and a worker that goes already */
	struct gate_settings settings = {10000, 10000, WORKERS, 10};
	struct gate *gate = gate_new(&settings, 1);

	watcher_init(&w, NULL);
	now = FIRST;
	next_pid = 0;
	history_watch(h, MASTER, 1, "ruby", now);
	history_info(h, MASTER, "shop", now);
	for (unsigned i = 0; i < WORKERS; i++)
		fork_worker(&workers[i]);
	for (unsigned step = 0; step < STEPS; step++) {
		struct worker *worker = &workers[draw(WORKERS)];

		now += draw(4) ? draw(50) : draw(8000);
		history_tick(h, now);
		happen(gate, worker);
		worker = &workers[draw(WORKERS)];
		if (!worker->going && !worker->crashed)
			ask(gate, worker);
	}
	gate_free(gate);
	watcher_done(&w);
}

static void test_a_healthy_one_stays(void **state)
{
	uint64_t first = *(uint64_t *)*state;

	for (uint64_t i = 0; i < CASES; i++) {
		seed_of_case = first + i;
		draw_seed(seed_of_case);
		one_case();
	}
	assert_true(let_through > CASES);
	assert_true(refused_none > CASES);
}

/* Any two restarts in a row, whatever the successor is slow with: the second waits until it serves. */
static void test_two_in_a_row(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	struct gate_settings settings = {10000, 10000, WORKERS, 10};

	for (uint64_t i = 0; i < CASES; i++) {
		struct gate *gate = gate_new(&settings, 1);
		bool library = draw(2), held = draw(2);
		unsigned sent = let_through;

		seed_of_case = first + i;
		draw_seed(seed_of_case);
		watcher_init(&w, NULL);
		memset(workers, 0, sizeof(workers));
		for (unsigned k = 2; k < WORKERS; k++)
			workers[k].crashed = true; /* a cluster of two: these are not there */
		now = FIRST;
		next_pid = 0;
		history_watch(h, MASTER, 1, "ruby", now);
		history_info(h, MASTER, "shop", now);
		fork_worker(&workers[0]);
		fork_worker(&workers[1]);
		now += SETTLED_MS + draw(5000);
		history_tick(h, now);
		ask(gate, &workers[0]);
		HOLDS(let_through == sent + 1);
		now += draw(10000);
		end_worker(gate, &workers[0]);
		if (library) {
			uint32_t hold_ms = held ? 1 + (uint32_t)draw(15000) : 0;

			history_hello(h, workers[0].pid, "shop", ACCEPTS_HOLD, now);
			history_welcome(h, workers[0].pid, held ? APP_SERVING : APP_BOOTING, hold_ms, now);
			workers[0].speaks = true;
			workers[0].says_no = !held;
			workers[0].held_until = now + hold_ms;
		}
		ask(gate, &workers[1]);
		HOLDS(let_through == sent + 1);
		now += SETTLED_MS;
		if (library && !held)
			history_state(h, workers[0].pid, APP_SERVING, now);
		workers[0].says_no = false;
		history_tick(h, now);
		ask(gate, &workers[1]);
		HOLDS(let_through == sent + 2);
		gate_free(gate);
		watcher_done(&w);
	}
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 12: whatever restart is let through, a healthy worker stays",
		 test_a_healthy_one_stays, NULL, NULL, &seed},
		{"Property 12: of two restarts in a row the second waits until the successor serves",
		 test_two_in_a_row, NULL, NULL, &seed},
	};

	return cmocka_run_group_tests_name("act: who stays", tests, NULL, NULL);
}
