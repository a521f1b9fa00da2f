/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on a small file system that somebody else fills: what a crash wrote and the rows of like crashes
 * wait, what was there stays whole and readable, and once there is room all of it is there. Needs root, to
 * mount.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <cmocka.h>
#include "tests/sink_place.h"

enum { WRITTEN = 200 * 1024, LIKE = 40 };

static struct store *store;
static char why[512];

static int mount_place(void **state)
{
	if (place_make(state) != 0)
		return -1;
	if (geteuid() != 0)
		return 0;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", place, "tmpfs", 0, "size=2m,mode=0700") != 0)
		return -1;
	return 0;
}

static int remove_place(void **state)
{
	if (geteuid() == 0 && umount(place) != 0)
		return -1;
	return place_remove(state);
}

static void open_now(void)
{
	const struct store_options options = {
		.state_dir = place, .group_bundles = 3, .group_window_ns = 3600 * MADE_SECOND};
	struct store_start found;

	if (geteuid() != 0)
		skip();
	if (store_open(&options, place_time(0), &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
}

/* Up to the last byte, by a file beside. */
static void fill(void)
{
	static const char zeros[4096];
	int fd = open(place_path("other"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	for (size_t size = sizeof(zeros); size > 0; size /= 2)
		while (write(fd, zeros, size) == (ssize_t)size)
			;
	close(fd);
}

static void make_room(void)
{
	assert_int_equal(unlink(place_path("other")), 0);
}

/* It tried twice and says what is the matter, while `items` wait. */
static void expect_waiting(uint64_t items)
{
	struct store_stats stats = {0};
	uint64_t before;

	store_stats(store, &stats);
	before = stats.errors;
	for (int i = 0; i < 5000 && stats.errors < before + 2; i++) {
		nanosleep(&(struct timespec){0, 2000000}, NULL);
		store_stats(store, &stats);
	}
	assert_true(stats.errors >= before + 2);
	assert_true(strstr(stats.last_error, "full") || strstr(stats.last_error, "No space left"));
	assert_int_equal(stats.queue_items, items);
	assert_int_equal(stats.dropped_items, 0);
}

static void expect_recovered(uint64_t written)
{
	struct store_stats stats;

	assert_true(place_written(store, written));
	store_stats(store, &stats);
	assert_string_equal(stats.last_error, "");
	assert_int_equal(store_close(store, 5000), 0);
	store = NULL;
}

static cJSON *report_of(const char *id)
{
	struct store_reader *reader;
	cJSON *report = NULL;
	char bundle[256];

	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_report(reader, id, &report, bundle, sizeof(bundle)), 0);
	store_reader_close(reader);
	return report;
}

static void expect_stderr(const char *id, const char *expected)
{
	cJSON *report = report_of(id);

	assert_string_equal(json_text(cJSON_GetObjectItem(report, "stderr"), "state"), expected);
	cJSON_Delete(report);
}

static void what_a_crash_wrote_waits_for_room(void **state)
{
	char *text = malloc(WRITTEN);
	struct stat st;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', WRITTEN);
	open_now();
	assert_int_equal(store_crash(store, place_report(1, 0)), 0);
	assert_true(place_written(store, 1));
	fill();
	assert_int_equal(store_crash_stderr(store, "0000000000000001", text, WRITTEN, "complete", ""), 0);
	expect_waiting(1);
	/* the report is the old one, whole, and no half file lies beside it */
	expect_stderr("0000000000000001", "missing");
	assert_int_equal(access(place_path("crashes/0000000000000001/stderr.txt"), F_OK), -1);
	assert_int_equal(access(place_path("crashes/0000000000000001/stderr.txt.tmp"), F_OK), -1);
	make_room();
	expect_recovered(2);
	expect_stderr("0000000000000001", "complete");
	assert_int_equal(stat(place_path("crashes/0000000000000001/stderr.txt"), &st), 0);
	assert_int_equal(st.st_size, WRITTEN);
}

static void rows_of_like_crashes_wait_for_room(void **state)
{
	struct store_reader *reader;
	cJSON *groups = NULL;
	const cJSON *group;

	(void)state;
	open_now();
	assert_int_equal(store_crash(store, place_report(1, 0)), 0);
	assert_true(place_written(store, 1));
	fill();
	for (unsigned n = 2; n < 2 + LIKE; n++)
		assert_int_equal(store_crash(store, place_report(n, 0)), 0);
	expect_waiting(LIKE);
	make_room();
	expect_recovered(1 + LIKE);
	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_groups(reader, &(struct store_filter){0}, &groups), 0);
	store_reader_close(reader);
	group = cJSON_GetArrayItem(cJSON_GetObjectItem(groups, "groups"), 0);
	assert_int_equal(json_number(group, "count", 0), 1 + LIKE);
	assert_int_equal(json_number(group, "suppressed", 0), 1 + LIKE - 3);
	cJSON_Delete(groups);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_crash_wrote_waits_for_room, mount_place, remove_place),
		cmocka_unit_test_setup_teardown(rows_of_like_crashes_wait_for_room, mount_place,
						remove_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
