/* SPDX-License-Identifier: Apache-2.0 */
/* A state directory of the test's own, and waiting for the store's thread. */
#ifndef LAPIDARY_TESTS_SINK_PLACE_H
#define LAPIDARY_TESTS_SINK_PLACE_H

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "tests/crash_make.h"
#include "user/base/json.h"
#include "user/sink/store.h"

static char place[64];

static inline int place_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int place_remove(void **state)
{
	(void)state;
	return place[0] ? nftw(place, place_remove_one, 16, FTW_DEPTH | FTW_PHYS) : 0;
}

static inline int place_make(void **state)
{
	(void)state;
	snprintf(place, sizeof(place), "/tmp/lapidary-test-XXXXXX");
	return mkdtemp(place) ? 0 : -1;
}

static inline const char *place_path(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", place, name);
	return path;
}

/* A report of crash number n: its id, time and fingerprint follow from n and kind. */
static inline struct crash_report *place_report(unsigned n, unsigned kind)
{
	static struct made made;
	struct crash_report *report = NULL;
	char id[20];

	snprintf(id, sizeof(id), "%016x", n);
	crash_make(&made, id);
	made.crash.time_ns = n * MADE_SECOND;
	made_locate(&made, PG_PATH, MADE_PG, 0x1000 + kind);
	return crash_report_new(&made.input, &report) ? NULL : report;
}

static inline uint64_t place_time(unsigned n)
{
	return MADE_WALL + n * MADE_SECOND;
}

/* Waits until the store has written so many items; false after ten seconds. */
static inline bool place_written(struct store *store, uint64_t count)
{
	struct store_stats stats;

	for (int i = 0; i < 5000; i++) {
		store_stats(store, &stats);
		if (stats.written >= count)
			return true;
		nanosleep(&(struct timespec){0, 2000000}, NULL);
	}
	return false;
}

#endif
