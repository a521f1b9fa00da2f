/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer is killed at a random moment, again and again on one state directory. Whatever the moment:
 * every listed crash has a whole bundle, what was said to be durable is listed, and everything before the
 * watermark is there. LAPIDARY_SEED repeats a run (the moments, not what the scheduler makes of them).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "tests/sink_place.h"
#include "user/base/digest.h"
#include "user/base/parse.h"
#include "user/base/when.h"

enum { ROUNDS = 100, A_ROUND = 40, LATEST_US = 60000 };

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	return digest_mix(seed += 0x9e3779b97f4a7c15ull) % below;
}

/* The writer tells what became durable over a pipe, which outlives it. */
static void tell(void *context, const char *id)
{
	ssize_t written = write(*(int *)context, id, 16);

	(void)written;
}

/* Crash n lies in second n; after some of them comes a watermark for all before. Ends by being killed. */
static void writer(int pipe_fd, unsigned first)
{
	struct store_options options = {.state_dir = place, .quota_bytes = 0};
	struct store_start found;
	struct store *store;
	char why[256];

	if (store_open(&options, place_time(first), &store, &found, why, sizeof(why)))
		_exit(1);
	store_on_durable(store, tell, &pipe_fd);
	if (write(pipe_fd, "ready           ", 16) != 16)
		_exit(1);
	for (unsigned n = first; n < first + A_ROUND; n++) {
		store_crash(store, place_report(n, n % 5));
		if (n % 4 == 1)
			store_crash_end(store, "0000000000000001", SIGABRT);
		store_watermark(store, place_time(n + 1));
		if (draw(2))
			sched_yield();
	}
	pause();
}

static void read_ids(int fd, bool *durable, unsigned first)
{
	char id[17] = "";

	while (read(fd, id, 16) == 16) {
		unsigned n = (unsigned)strtoul(id, NULL, 16);

		if (strcmp(id, "ready           ")) {
			assert_in_range(n, first, first + A_ROUND - 1);
			durable[n] = true;
		}
	}
}

/* The file of a bundle has its whole size. */
static void has_size(const char *bundle, const char *name, off_t size)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", bundle, name);
	assert_int_equal(stat(path, &st), 0);
	assert_true(size ? st.st_size == size : st.st_size > 0);
}

static void check_listed(bool *listed)
{
	struct store_filter filter = {.limit = 100000};
	struct store_reader *reader;
	const cJSON *crash;
	cJSON *all = NULL;
	char why[256];

	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_crashes(reader, &filter, &all), 0);
	cJSON_ArrayForEach(crash, cJSON_GetObjectItem(all, "crashes"))
	{
		unsigned n = (unsigned)strtoul(json_text(crash, "id"), NULL, 16);
		const char *bundle = json_text(crash, "bundle");

		assert_string_equal(json_text(crash, "bundle_state"), "whole");
		assert_false(listed[n]); /* once */
		listed[n] = true;
		has_size(bundle, "stack.bin", MADE_STACK);
		has_size(bundle, "events.jsonl", 3);
		has_size(bundle, "maps.txt", 0);
	}
	cJSON_Delete(all);
	store_reader_close(reader);
}

/* One life of a writer; returns the watermark that the next start finds, as a crash number. */
static unsigned kill_one(unsigned first, bool *durable)
{
	struct store_options options = {.state_dir = place};
	struct store_start found;
	struct store *store;
	int fds[2], status;
	char why[256], id[17] = "";
	uint64_t us = draw(LATEST_US);
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(fds[0]);
		writer(fds[1], first);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], id, 16), 16);
	usleep((useconds_t)us);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	read_ids(fds[0], durable, first);
	close(fds[0]);
	if (store_open(&options, place_time(first + A_ROUND), &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
	assert_string_equal(why, ""); /* nothing had to be rescued */
	assert_true(found.unclean);
	assert_int_equal(found.missing, 0);
	assert_int_equal(store_close(store, 5000), 0);
	return (unsigned)((found.unwatched_from_ns - MADE_WALL) / MADE_SECOND);
}

static void test_kills(void **state)
{
	static bool durable[ROUNDS * A_ROUND + 1], listed[ROUNDS * A_ROUND + 1];
	unsigned kept = 0, between = 0;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned first = round * A_ROUND + 1, here = 0;
		unsigned watermark = kill_one(first, durable);

		memset(listed, 0, sizeof(listed));
		check_listed(listed);
		for (unsigned n = first; n < first + A_ROUND; n++) {
			if (durable[n] && !listed[n])
				fail_msg("round %u: crash %u was durable and is gone", round, n);
			if (n < watermark && !listed[n])
				fail_msg("round %u: crash %u lies before the watermark %u and is gone", round,
					 n, watermark);
			here += listed[n];
		}
		kept += here;
		between += here > 0 && here < A_ROUND;
	}
	print_message("%u of %u crashes kept, %u of %u kills came between the first and the last\n", kept,
		      ROUNDS * A_ROUND, between, ROUNDS);
	assert_true(kept > 0 &&
		    between > ROUNDS / 20); /* else the kills came too early or too late to show anything */
}

static int start(void **state)
{
	const char *text = getenv("LAPIDARY_SEED");

	if (!text || !parse_u64(text, &seed))
		seed = when_wall_now();
	print_message("LAPIDARY_SEED=%llu\n", (unsigned long long)seed);
	return place_make(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 17: what was captured survives a kill of the agent at any moment, whole",
		 test_kills, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, start, place_remove);
}
