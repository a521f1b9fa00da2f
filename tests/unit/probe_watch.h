/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests on the live kernel: an open probe, what it has said so far, and waiting for it to say more.
 *
 * The test process is marked itself, so that whatever it forks is watched. Records are kept as they came;
 * nothing sleeps: a wait polls until its condition holds or WAIT_MS have passed, and then fails.
 */
#ifndef LAPIDARY_PROBE_WATCH_H
#define LAPIDARY_PROBE_WATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/probe/probe.h"

enum { WAIT_MS = 10000, KEPT_MAX = 4096 };

struct watch {
	struct probe *probe;
	uint64_t own_start;
	const struct ev_head *kept[KEPT_MAX];
	size_t count;
};

static int watch_keep(void *context, const void *record, size_t size)
{
	struct watch *watch = context;
	void *copy = malloc(size);

	assert_non_null(copy);
	assert_in_range(watch->count, 0, KEPT_MAX - 1);
	assert_int_equal(((const struct ev_head *)record)->size, size);
	watch->kept[watch->count++] = memcpy(copy, record, size);
	return 0;
}

static inline void watch_drain(struct watch *watch)
{
	bool more;

	do
		assert_true(probe_drain(watch->probe, 1000, watch_keep, watch, &more) >= 0);
	while (more);
}

/* The n-th record (from 0) of a type and process; NULL when there is none yet. tgid 0: of any. */
static inline const void *watch_find(const struct watch *watch, enum event_type type, uint32_t tgid, size_t n)
{
	size_t i;

	for (i = 0; i < watch->count; i++)
		if (watch->kept[i]->type == type && (!tgid || watch->kept[i]->tgid == tgid) && !n--)
			return watch->kept[i];
	return NULL;
}

static inline size_t watch_count(const struct watch *watch, enum event_type type, uint32_t tgid)
{
	size_t n = 0;

	while (watch_find(watch, type, tgid, n))
		n++;
	return n;
}

/* Waits for the n-th such record. */
static inline const void *watch_wait(struct watch *watch, enum event_type type, uint32_t tgid, size_t n)
{
	struct pollfd fd = {.fd = probe_fd(watch->probe), .events = POLLIN};
	const void *found;
	int left;

	for (left = WAIT_MS; left > 0; left -= 10) {
		watch_drain(watch);
		found = watch_find(watch, type, tgid, n);
		if (found)
			return found;
		poll(&fd, 1, 10);
	}
	fail_msg("no record %zu of type %d from process %u", n, type, tgid);
	return NULL;
}

/*
 * Runs `body` in a child and returns its pid. cmocka's handlers for faults are not for the child: signals
 * are held back until it has put the defaults in place.
 */
static inline pid_t watch_fork(void (*body)(void))
{
	const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
	sigset_t all, before;
	pid_t pid;
	size_t i;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	for (i = 0; !pid && i < sizeof(faults) / sizeof(faults[0]); i++)
		signal(faults[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_true(pid >= 0);
	if (!pid) {
		body();
		_exit(0);
	}
	return pid;
}

static inline int watch_reap(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static inline void own_start_fill(void *context, const struct probe_task *task)
{
	if (task->tgid == (uint32_t)getpid())
		*(uint64_t *)context = task->start_ns;
}

static inline void watch_open(struct watch *watch, const struct probe_options *options)
{
	struct features features;
	char why[256] = "";

	memset(watch, 0, sizeof(*watch));
	features_probe(&features);
	assert_null(features_missing(&features));
	if (probe_open(options, &features, &watch->probe, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(probe_each_task(watch->probe, own_start_fill, &watch->own_start), 0);
	assert_true(watch->own_start > 0);
}

static inline int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Every lane's numbers are there, each once. */
static inline void assert_no_hole(const struct watch *watch)
{
	uint64_t seqs[KEPT_MAX];
	size_t lane, i, n;

	for (lane = LANE_LIFE; lane <= LANE_FLOW; lane++) {
		for (i = n = 0; i < watch->count; i++)
			if (watch->kept[i]->lane == lane)
				seqs[n++] = watch->kept[i]->seq;
		qsort(seqs, n, sizeof(seqs[0]), by_value);
		for (i = 0; i < n; i++)
			assert_int_equal(seqs[i], i + 1);
	}
}

static inline void watch_close(struct watch *watch)
{
	size_t i;

	probe_close(watch->probe);
	watch->probe = NULL;
	for (i = 0; i < watch->count; i++)
		free((void *)watch->kept[i]);
	watch->count = 0;
}

/* Where an address of this program lies in its file. */
static inline uint64_t own_offset(const void *place)
{
	const uintptr_t wanted = (uintptr_t)place;
	unsigned long long start, end, offset;
	uint64_t found = 0;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx %*4s %llx", &start, &end, &offset) == 3 && wanted >= start &&
		    wanted < end)
			found = wanted - start + offset;
	fclose(maps);
	assert_true(found > 0);
	return found;
}

#endif
