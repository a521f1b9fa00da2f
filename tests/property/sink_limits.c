/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes of a few kinds, limits of all sorts, and a writer that is killed at a random moment. Whatever comes
 * of it: what is listed as whole is whole, nothing durable goes but by a limit, the last bundle of a kind
 * never goes, no kind gets more than its share, and the counts add up. LAPIDARY_SEED repeats the draws (not
 * what the scheduler makes of the moments).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "tests/sink_place.h"
#include "user/base/digest.h"
#include "user/base/parse.h"
#include "user/base/when.h"

enum { CASES = 100, LIVES = 3, KINDS = 4, A_LIFE = 24, LATEST_US = 30000 };

static uint64_t seed;
static unsigned kept, suppressed_seen, expired_seen;

static uint64_t draw(uint64_t below)
{
	return digest_mix(seed += 0x9e3779b97f4a7c15ull) % below;
}

static struct store_options options_draw(void)
{
	struct store_options options = {.state_dir = place};

	if (draw(2))
		options.quota_bytes = 40000 + draw(200000);
	if (draw(3) == 0)
		options.age_ns = when_wall_now() - place_time((unsigned)draw(A_LIFE * LIVES));
	if (draw(2)) {
		options.group_bundles = 1 + (uint32_t)draw(8);
		options.group_window_ns = 1000 * MADE_SECOND; /* all of them lie in it */
	}
	return options;
}

static void writer(const struct store_options *options, int ready, unsigned first, const uint8_t *kinds)
{
	struct store_start found;
	struct store *store;
	char why[256];

	if (store_open(options, place_time(first), &store, &found, why, sizeof(why)))
		_exit(1);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (unsigned n = 0; n < A_LIFE; n++) {
		char id[20];

		store_crash(store, place_report(first + n, kinds[n]));
		snprintf(id, sizeof(id), "%016x", first + n);
		store_crash_end(store, id, SIGABRT);
		store_crash_stderr(store, id, strdup("[BUG]\n"), 6, "complete", "");
	}
	pause();
}

static void kill_one(const struct store_options *options, unsigned first)
{
	uint8_t kinds[A_LIFE];
	useconds_t us = (useconds_t)draw(LATEST_US);
	int fds[2], status;
	char byte;
	pid_t pid;

	for (unsigned n = 0; n < A_LIFE; n++)
		kinds[n] = (uint8_t)(draw(3) ? 0 : draw(KINDS)); /* one crowd, some others */
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		writer(options, fds[1], first, kinds);
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	usleep(us);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* What the rows say of one fingerprint. */
struct tally {
	unsigned rows, whole, suppressed, expired;
};

static void check_whole(const cJSON *crash)
{
	const char *bundle = json_text(crash, "bundle");
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/stack.bin", bundle);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, MADE_STACK);
	snprintf(path, sizeof(path), "%s/stderr.txt", bundle);
	if (!strcmp(json_text(crash, "stderr"), "complete"))
		assert_int_equal(stat(path, &st), 0);
}

static struct tally tally_of(const cJSON *crashes, const char *fingerprint)
{
	struct tally tally = {0};
	const cJSON *crash;

	cJSON_ArrayForEach(crash, crashes)
	{
		const char *state = json_text(crash, "bundle_state");

		if (strcmp(json_text(crash, "fingerprint"), fingerprint))
			continue;
		tally.rows++;
		if (!strcmp(state, "whole"))
			check_whole(crash);
		tally.whole += !strcmp(state, "whole");
		tally.suppressed += !strcmp(state, "suppressed");
		tally.expired += !strcmp(state, "expired");
	}
	assert_int_equal(tally.rows, tally.whole + tally.suppressed + tally.expired);
	return tally;
}

static void check(const struct store_options *options)
{
	struct store_filter filter = {.limit = 100000};
	cJSON *all = NULL, *groups = NULL;
	struct store_reader *reader;
	const cJSON *group;
	unsigned rows = 0;
	char why[256];

	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_crashes(reader, &filter, &all), 0);
	assert_int_equal(store_groups(reader, &filter, &groups), 0);
	store_reader_close(reader);
	cJSON_ArrayForEach(group, cJSON_GetObjectItem(groups, "groups"))
	{
		struct tally tally =
			tally_of(cJSON_GetObjectItem(all, "crashes"), json_text(group, "fingerprint"));

		assert_int_equal((unsigned)json_number(group, "count", 0), tally.rows);
		assert_int_equal((unsigned)json_number(group, "suppressed", 0), tally.suppressed);
		assert_int_equal((unsigned)json_number(group, "bundles", 0), tally.whole);
		assert_true(tally.whole >= 1); /* never the last */
		if (options->group_bundles)
			assert_true(tally.whole + tally.expired <= options->group_bundles);
		rows += tally.rows;
		kept += tally.whole;
		suppressed_seen += tally.suppressed;
		expired_seen += tally.expired;
	}
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "crashes")), rows);
	cJSON_Delete(groups);
	cJSON_Delete(all);
}

/* A start and a stop in order: what the killed one left half is mended. */
static void mend(const struct store_options *options)
{
	struct store_start found;
	struct store *store;
	char why[256];

	if (store_open(options, place_time(1000), &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
	assert_string_equal(why, "");
	assert_int_equal(found.missing, 0);
	assert_int_equal(store_close(store, 5000), 0);
}

static void test_limits(void **state)
{
	for (unsigned i = 0; i < CASES; i++) {
		struct store_options options;

		assert_int_equal(place_make(state), 0);
		options = options_draw();
		for (unsigned life = 0; life < LIVES; life++) {
			kill_one(&options, 1 + life * A_LIFE);
			mend(&options);
			check(&options);
		}
		assert_int_equal(place_remove(state), 0);
	}
	print_message("%u kept, %u counted alone, %u taken away again\n", kept, suppressed_seen,
		      expired_seen);
	assert_true(kept && suppressed_seen && expired_seen); /* else it has shown nothing */
}

static int start(void **state)
{
	const char *text = getenv("LAPIDARY_SEED");

	(void)state;
	if (!text || !parse_u64(text, &seed))
		seed = when_wall_now();
	print_message("LAPIDARY_SEED=%llu\n", (unsigned long long)seed);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 17: limits and kills: what is listed is there, the last of a kind stays, counts "
		 "add up",
		 test_limits, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
