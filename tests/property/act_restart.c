/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restarts in a crowd of workers: each is ordered, hears, declines, is silent, ends in any way or never. Only
 * the process that was named is ever told or signalled, each restart has one outcome, and that says why the
 * process ended.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/act/restart.h"

enum { CASES = 300, WORKERS = 12 };

#define MS 1000000ull

/* A worker as the test plays it. */
struct worker {
	struct restart_request request;
	char id[20];
	bool begun, silent, declines, alive;
	int status;        /* how it ends */
	uint64_t end_ns;   /* when, after it was told or signalled; UINT64_MAX: never by itself */
	bool dies_of_kill; /* false: stuck in the kernel */
	uint64_t told_ns, kill_ns;
	unsigned orders, finished;
	int first_signal;
	bool answered, killed;
	enum action_outcome outcome;
	char reason[256];
};

static struct worker workers[WORKERS];
static struct restarts *restarts;
static uint64_t now, seed_of_case;
static const struct restart_settings usual = {.ack_ms = 1000, .deadline_ms = 30000, .kill_ms = 5000};

#define HOLDS(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			fail_msg("seed %llu: %s", (unsigned long long)seed_of_case, #condition);             \
	} while (0)

/* `now` where KILL is allowed: a second to end in order. */
static uint64_t deadline_ns(const struct worker *worker)
{
	return worker->request.now && worker->request.signals_allowed ? 1000 * MS : usual.deadline_ms * MS;
}

/* By identity: the pids of the crowd are used twice, with other starts. */
static struct worker *worker_of(const struct restart *restart)
{
	for (unsigned i = 0; i < WORKERS; i++)
		if (workers[i].request.tgid == restart->tgid &&
		    workers[i].request.start_ns == restart->start_ns) {
			HOLDS(workers[i].request.id && strcmp(restart->id, workers[i].id) == 0);
			return &workers[i];
		}
	fail_msg("seed %llu: nobody asked for %u", (unsigned long long)seed_of_case, restart->tgid);
	return NULL;
}

static int on_order(void *context, const struct restart *restart)
{
	struct worker *worker = worker_of(restart);

	(void)context;
	HOLDS(worker->request.by_socket && worker->orders++ == 0);
	worker->told_ns = now;
	return 0;
}

static int on_signal(void *context, const struct restart *restart, int signal, char *why, size_t size)
{
	struct worker *worker = worker_of(restart);

	(void)context;
	HOLDS(worker->request.signals_allowed && !worker->finished);
	snprintf(why, size, "gone");
	if (!worker->alive)
		return -ESRCH;
	if (worker->told_ns == 0)
		worker->told_ns = now;
	if (!worker->first_signal && !worker->answered)
		worker->first_signal = signal;
	if (signal == SIGKILL) {
		HOLDS((worker->request.now && !worker->request.by_socket) ||
		      now >= worker->told_ns + deadline_ns(worker));
		worker->killed = true;
		worker->kill_ns = now;
	}
	return 0;
}

static void on_finished(void *context, const struct restart *restart, enum action_outcome outcome,
			const char *reason, uint64_t now_ns)
{
	struct worker *worker = worker_of(restart);

	(void)context;
	(void)now_ns;
	worker->finished++;
	worker->outcome = outcome;
	snprintf(worker->reason, sizeof(worker->reason), "%s", reason);
}

static int draw_status(void)
{
	static const int deadly[] = {SIGSEGV, SIGABRT, SIGTERM, SIGKILL, SIGBUS, SIGINT};

	switch (draw(3)) {
	case 0:
		return 0;
	case 1:
		return (int)(1 + draw(255)) << 8;
	default:
		return deadly[draw(sizeof(deadly) / sizeof(*deadly))];
	}
}

static void draw_worker(struct worker *worker, unsigned i)
{
	memset(worker, 0, sizeof(*worker));
	snprintf(worker->id, sizeof(worker->id), "%016x", i);
	worker->request = (struct restart_request){
		.id = worker->id,
		.incident = "incident",
		.reason = "drawn",
		.tgid = 100 + i / 2,
		.start_ns = 1 + i,
		.server = draw(2) ? SERVER_PUMA : SERVER_UNICORN,
		.role = APP_WORKER,
		.now = draw(4) == 0,
		.by_socket = draw(3) != 0,
		.signals_allowed = draw(3) != 0,
	};
	scope_set(&worker->request.scope, 1000 + i % 3, 1, 1, "shop");
	worker->silent = draw(4) == 0;
	worker->declines = draw(5) == 0;
	worker->alive = true;
	worker->status = draw_status();
	worker->end_ns = draw(4) ? draw(40000) * MS : UINT64_MAX;
	worker->dies_of_kill = draw(6) != 0;
}

static void play_worker(struct worker *worker)
{
	const struct restart_request *request = &worker->request;

	if (!worker->begun || !worker->alive || worker->told_ns == 0)
		return;
	if (request->by_socket && !worker->silent && !worker->answered && draw(3)) {
		worker->answered = true;
		restarts_ack(restarts, request->tgid, request->start_ns, request->id, !worker->declines,
			     "busy", now);
		if (worker->declines)
			worker->end_ns = UINT64_MAX;
	}
	if (worker->killed && worker->dies_of_kill && now > worker->kill_ns) {
		worker->status = SIGKILL;
	} else if (worker->end_ns == UINT64_MAX || now < worker->told_ns + worker->end_ns) {
		return;
	}
	worker->alive = false;
	restarts_ended(restarts, request->tgid, request->start_ns, worker->status, now);
}

/* Property 16: the reason is the wait status and nothing else. */
static void check_end(const struct worker *worker)
{
	int signal = WIFSIGNALED(worker->status) ? WTERMSIG(worker->status) : 0;
	bool ours = signal == SIGKILL && worker->killed &&
		    worker->kill_ns >= worker->told_ns + deadline_ns(worker);
	char words[64];

	if (signal == 0)
		snprintf(words, sizeof(words), "exited with %d ", WEXITSTATUS(worker->status));
	else if (ours)
		snprintf(words, sizeof(words), "killed by SIGKILL at the deadline");
	else if (signal == worker->first_signal)
		snprintf(words, sizeof(words), "ended by SIG%s, as signalled", sigabbrev_np(signal));
	else
		snprintf(words, sizeof(words), "died of SIG%s ", sigabbrev_np(signal));
	HOLDS(worker->outcome == ACTION_DONE);
	if (strstr(worker->reason, words) != worker->reason)
		fail_msg("seed %llu: \"%s\" instead of \"%s\"", (unsigned long long)seed_of_case,
			 worker->reason, words);
	if (strncmp(words, "died", 4) == 0)
		HOLDS(strstr(worker->reason, "did not send"));
}

static void check(const struct worker *worker)
{
	if (!worker->begun) {
		HOLDS(worker->finished == 0 && worker->orders == 0 && worker->first_signal == 0);
		return;
	}
	HOLDS(worker->finished == 1); /* one outcome, however it went */
	if (worker->declines && worker->answered && strstr(worker->reason, "declined")) {
		HOLDS(worker->outcome == ACTION_FAILED && !worker->killed && worker->alive);
	} else if (worker->outcome == ACTION_DONE) {
		HOLDS(!worker->alive);
		check_end(worker);
	} else { /* never ended, as far as anybody waited */
		HOLDS(worker->outcome == ACTION_FAILED);
		HOLDS(strstr(worker->reason, "never ended") || strstr(worker->reason, "no answer within"));
		if (worker->request.signals_allowed)
			HOLDS(worker->killed && !worker->dies_of_kill);
	}
}

static void play_case(void)
{
	const struct restarts_events events = {NULL, on_order, on_signal, on_finished};
	char why[256];

	restarts = restarts_new(&usual, &events);
	now = (1 + draw(1000000)) * MS;
	for (unsigned i = 0; i < WORKERS; i++)
		draw_worker(&workers[i], i);
	for (unsigned step = 0; step < 700; step++) {
		struct worker *worker = &workers[draw(WORKERS)];

		if (step < 400 && !worker->begun && draw(20) == 0) {
			int err;

			worker->begun = true;
			err = restarts_begin(restarts, &worker->request, now, why, sizeof(why));
			HOLDS((err == 0) == (worker->request.by_socket || worker->request.signals_allowed));
			worker->begun = err == 0;
			if (err == 0)
				HOLDS(restarts_begin(restarts, &worker->request, now, why, sizeof(why)) ==
				      -EEXIST);
		}
		for (unsigned i = 0; i < WORKERS; i++)
			play_worker(&workers[i]);
		now += 200 * MS;
		restarts_tick(restarts, now);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		check(&workers[i]);
	restarts_free(restarts);
}

static void test_restarts(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	unsigned begun = 0;

	for (uint64_t i = 0; i < CASES; i++) {
		seed_of_case = first + i;
		draw_seed(seed_of_case);
		play_case();
		for (unsigned k = 0; k < WORKERS; k++)
			begun += workers[k].begun;
	}
	assert_true(begun > CASES);
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 10, 11 and 16: a restart touches whom it names, and its outcome says how that "
		 "ended",
		 test_restarts, NULL, NULL, &seed},
	};

	return cmocka_run_group_tests_name("act: restarts", tests, NULL, NULL);
}
