/* SPDX-License-Identifier: Apache-2.0 */
/* The store as the agent and the client commands use it. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <cmocka.h>
#include "tests/sink_place.h"
#include "user/base/file.h"

static struct store *store;
static struct store_start found;
static char why[512];

static void open_now(struct store_options options, uint64_t now)
{
	options.state_dir = place;
	if (store_open(&options, now, &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
}

static void close_now(void)
{
	assert_int_equal(store_close(store, 5000), 0);
	store = NULL;
}

static cJSON *list(int (*read)(struct store_reader *, const struct store_filter *, cJSON **),
		   const char *name, struct store_filter filter)
{
	struct store_reader *reader;
	cJSON *all = NULL, *array;

	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(read(reader, &filter, &all), 0);
	store_reader_close(reader);
	array = cJSON_DetachItemFromObject(all, name);
	cJSON_Delete(all);
	return array;
}

static int count_crashes(struct store_filter filter)
{
	cJSON *array = list(store_crashes, "crashes", filter);
	int count = cJSON_GetArraySize(array);

	cJSON_Delete(array);
	return count;
}

static void mode_is(const char *name, mode_t mode)
{
	struct stat st;

	assert_int_equal(stat(place_path(name), &st), 0);
	assert_int_equal(st.st_mode & 0777, mode);
}

static void test_crash(void **state)
{
	struct store_reader *reader;
	cJSON *all, *report = NULL;
	const cJSON *crash;
	char bundle[256];

	(void)state;
	open_now((struct store_options){0}, place_time(0));
	assert_true(found.first);
	assert_int_equal(found.unwatched_to_ns, 0);
	assert_int_equal(store_crash(store, place_report(7, 0)), 0);
	assert_true(place_written(store, 1));
	mode_is("crashes/0000000000000007", 0700);
	mode_is("crashes/0000000000000007/report.json", 0600);
	mode_is("crashes/0000000000000007/stack.bin", 0600);
	mode_is("crashes/0000000000000007/maps.txt", 0600);
	mode_is("lapidary.db", 0600);
	all = list(store_crashes, "crashes", (struct store_filter){0});
	assert_int_equal(cJSON_GetArraySize(all), 1);
	crash = cJSON_GetArrayItem(all, 0);
	assert_string_equal(json_text(crash, "app"), "shop");
	assert_string_equal(json_text(crash, "bundle_state"), "whole");
	assert_string_equal(json_text(crash, "bundle"), place_path("crashes/0000000000000007"));
	assert_string_equal(json_text(cJSON_GetObjectItem(crash, "blame"), "gem"), "pg");
	cJSON_Delete(all);
	/* it lived when it was recorded, and died since */
	assert_int_equal(store_crash_end(store, "0000000000000007", SIGABRT), 0);
	assert_true(place_written(store, 2));
	assert_int_equal(store_reader_open(place, &reader, why, sizeof(why)), 0);
	assert_int_equal(store_report(reader, "00000000", &report, bundle, sizeof(bundle)), 0);
	assert_string_equal(json_text(cJSON_GetObjectItem(report, "exit"), "signal"), "SIGABRT");
	assert_string_equal(bundle, place_path("crashes/0000000000000007"));
	assert_int_equal(store_report(reader, "1", &report, bundle, sizeof(bundle)), -ENOENT);
	assert_int_equal(store_report(reader, "../x", &report, bundle, sizeof(bundle)), -ENOENT);
	cJSON_Delete(report);
	store_reader_close(reader);
	close_now();
}

static void test_filters(void **state)
{
	cJSON *all;
	char fingerprint[20];

	(void)state;
	open_now((struct store_options){0}, place_time(0));
	for (unsigned n = 1; n <= 6; n++)
		assert_int_equal(store_crash(store, place_report(n, n % 2)), 0);
	assert_true(place_written(store, 6));
	all = list(store_crashes, "crashes", (struct store_filter){0});
	assert_string_equal(json_text(cJSON_GetArrayItem(all, 0), "id"),
			    "0000000000000006"); /* newest first */
	snprintf(fingerprint, sizeof(fingerprint), "%s",
		 json_text(cJSON_GetArrayItem(all, 0), "fingerprint"));
	cJSON_Delete(all);
	assert_int_equal(count_crashes((struct store_filter){.limit = 4}), 4);
	assert_int_equal(count_crashes((struct store_filter){.app = "shop"}), 6);
	assert_int_equal(count_crashes((struct store_filter){.app = "other"}), 0);
	assert_int_equal(count_crashes((struct store_filter){.gem = "pg", .cause = "null"}), 6);
	assert_int_equal(count_crashes((struct store_filter){.cause = "bus"}), 0);
	assert_int_equal(count_crashes((struct store_filter){.fingerprint = fingerprint}), 3);
	assert_int_equal(count_crashes((struct store_filter){.since_wall_ns = place_time(3),
							     .until_wall_ns = place_time(4)}),
			 2);
	close_now();
}

static void test_documents(void **state)
{
	cJSON *all;

	(void)state;
	open_now((struct store_options){0}, place_time(0));
	store_incident(store, cJSON_Parse("{\"id\":\"i1\",\"app\":\"shop\",\"state\":\"open\",\"updated\":"
					  "\"2026-11-22T20:00:00Z\"}"));
	store_incident(store, cJSON_Parse("{\"id\":\"i1\",\"app\":\"shop\",\"state\":\"closed\",\"updated\":"
					  "\"2026-11-22T21:00:00Z\"}"));
	store_decision(store,
		       cJSON_Parse("{\"id\":\"d1\",\"app\":\"shop\",\"time\":\"2026-11-22T20:00:00Z\"}"));
	store_action(
		store,
		cJSON_Parse("{\"app\":\"shop\",\"time\":\"2026-11-22T20:00:00Z\",\"action\":\"alert\"}"));
	store_process(store, cJSON_Parse("{\"pid\":1,\"start_time\":\"x\",\"app\":\"shop\"}"));
	assert_true(place_written(store, 5));
	all = list(store_incidents, "incidents", (struct store_filter){0});
	assert_int_equal(cJSON_GetArraySize(all), 1);
	assert_string_equal(json_text(cJSON_GetArrayItem(all, 0), "state"), "closed");
	cJSON_Delete(all);
	all = list(store_decisions, "decisions", (struct store_filter){.app = "shop"});
	assert_int_equal(cJSON_GetArraySize(all), 1);
	cJSON_Delete(all);
	all = list(store_actions, "actions", (struct store_filter){.app = "other"});
	assert_int_equal(cJSON_GetArraySize(all), 0);
	cJSON_Delete(all);
	close_now();
}

static void test_second_agent(void **state)
{
	struct store_options options = {.state_dir = place};
	struct store_start other_found;
	struct store *other = NULL;

	(void)state;
	open_now((struct store_options){0}, place_time(0));
	assert_int_equal(store_open(&options, place_time(1), &other, &other_found, why, sizeof(why)), -EBUSY);
	assert_non_null(strstr(why, "another agent"));
	close_now();
	open_now((struct store_options){0}, place_time(2));
	close_now();
}

static void test_gaps(void **state)
{
	struct store_reader *reader;
	cJSON *all = NULL;
	const cJSON *gap;

	(void)state;
	open_now((struct store_options){0}, place_time(10));
	store_watermark(store, place_time(12));
	store_watermark(store, place_time(11)); /* never goes back */
	close_now();
	/* the stop is recorded with the real clock; what follows here lies after it */
	open_now((struct store_options){0}, 2 * MADE_WALL);
	assert_false(found.first);
	assert_false(found.unclean);
	assert_true(found.unwatched_from_ns > place_time(12));
	assert_int_equal(found.unwatched_to_ns, 2 * MADE_WALL);
	store_watermark(store, 2 * MADE_WALL + 5);
	assert_true(place_written(store, 1));
	assert_int_equal(store_reader_open(place, &reader, why, sizeof(why)), 0);
	assert_int_equal(store_gaps(reader, &all), 0);
	/* an agent holds the place: one gap, which ends when that had its first watermark */
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "gaps")), 1);
	gap = cJSON_GetArrayItem(cJSON_GetObjectItem(all, "gaps"), 0);
	assert_true(json_true(gap, "graceful"));
	assert_string_equal(json_text(gap, "to"), "2077-09-27T20:26:40.000000005Z");
	cJSON_Delete(all);
	close_now();
	assert_int_equal(store_gaps(reader, &all), 0);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "gaps")), 2);
	gap = cJSON_GetArrayItem(cJSON_GetObjectItem(all, "gaps"), 0);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(gap, "to")));
	cJSON_Delete(all);
	store_reader_close(reader);
}

/* The store's thread stands still while the test holds this. */
static pthread_mutex_t brake = PTHREAD_MUTEX_INITIALIZER;
static unsigned durable;

static void on_durable(void *context, const char *id)
{
	(void)context;
	(void)id;
	pthread_mutex_lock(&brake);
	durable++;
	pthread_mutex_unlock(&brake);
}

static void test_full_queue(void **state)
{
	struct store_stats stats;
	unsigned refused = 0;
	struct crash_report *sample;
	cJSON *report = NULL;
	struct store_reader *reader;
	char bundle[256];
	size_t room;

	(void)state;
	durable = 0;
	open_now((struct store_options){.queue_items = 8, .queue_bytes = 200000}, place_time(0));
	store_on_durable(store, on_durable, NULL);
	pthread_mutex_lock(&brake);
	for (unsigned n = 1; n <= 20; n++)
		refused += store_crash(store, place_report(n, 0)) == -ENOSPC;
	assert_in_range(refused, 12, 12);
	/* documents leave the last places to crashes */
	assert_int_equal(store_incident(store, cJSON_CreateObject()), -ENOSPC);
	store_stats(store, &stats);
	assert_int_equal(stats.queue_items, 8);
	assert_true(stats.queue_bytes <= 200000);
	pthread_mutex_unlock(&brake);
	assert_true(place_written(store, 8));
	close_now();
	assert_int_equal(count_crashes((struct store_filter){0}), 8);
	/* stacks go before crashes do; there is room for four but for half a stack, because what the thread
	 * has taken already keeps its own */
	sample = place_report(30, 0);
	room = 4 * crash_report_memory(sample) + 1024 - sample->stack_size / 2;
	crash_report_free(sample);
	open_now((struct store_options){.queue_bytes = room}, place_time(0));
	store_on_durable(store, on_durable, NULL);
	pthread_mutex_lock(&brake);
	for (unsigned n = 31; n <= 34; n++)
		assert_int_equal(store_crash(store, place_report(n, 0)), 0);
	store_stats(store, &stats);
	assert_true(stats.dropped_stacks >= 1);
	pthread_mutex_unlock(&brake);
	assert_true(place_written(store, 4));
	close_now();
	assert_int_equal(store_reader_open(place, &reader, why, sizeof(why)), 0);
	assert_int_equal(store_report(reader, "0000000000000022", &report, bundle, sizeof(bundle)), 0);
	assert_string_equal(
		json_text(cJSON_GetObjectItem(cJSON_GetObjectItem(report, "parts"), "stack"), "state"),
		"missing");
	assert_int_not_equal(access(place_path("crashes/0000000000000022/stack.bin"), F_OK), 0);
	cJSON_Delete(report);
	store_reader_close(reader);
}

/* No file may grow: what a full disk does to every write, without one. */
static void disk_full(bool full)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = full ? 16 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full_disk(void **state)
{
	struct store_stats stats = {0};

	(void)state;
	open_now((struct store_options){0}, place_time(0));
	disk_full(true);
	assert_int_equal(store_crash(store, place_report(1, 0)), 0);
	for (int i = 0; i < 5000 && stats.errors < 2; i++) {
		store_stats(store, &stats);
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	disk_full(false);
	assert_true(stats.errors >= 2);
	assert_true(stats.last_error[0]);
	assert_int_equal(stats.queue_items, 1);
	assert_true(place_written(store, 1));
	store_stats(store, &stats);
	assert_string_equal(stats.last_error, "");
	close_now();
	assert_int_equal(count_crashes((struct store_filter){0}), 1);
}

static void test_quota(void **state)
{
	(void)state;
	open_now((struct store_options){.quota_bytes = 100000}, place_time(0));
	/* a crowd of one bug, and one of another kind that came before them all */
	assert_int_equal(store_crash(store, place_report(1, 77)), 0);
	for (unsigned n = 2; n <= 20; n++)
		assert_int_equal(store_crash(store, place_report(n, 0)), 0);
	assert_true(place_written(store, 20));
	close_now();
	assert_int_equal(count_crashes((struct store_filter){0}), 20); /* rows stay */
	assert_int_equal(access(place_path("crashes/0000000000000001"), F_OK), 0);
	assert_int_equal(access(place_path("crashes/0000000000000014"), F_OK), 0);
	assert_int_not_equal(access(place_path("crashes/0000000000000002"), F_OK), 0);
}

static void test_damaged_database(void **state)
{
	static char noise[8192];

	(void)state;
	open_now((struct store_options){0}, place_time(0));
	for (unsigned n = 1; n <= 3; n++)
		assert_int_equal(store_crash(store, place_report(n, 0)), 0);
	assert_int_equal(store_crash_end(store, "0000000000000002", SIGSEGV), 0);
	close_now();
	memset(noise, 'x', sizeof(noise));
	int fd = open(place_path("lapidary.db"), O_WRONLY);
	assert_int_equal(file_write_all(fd, noise, sizeof(noise)), 0);
	close(fd);
	open_now((struct store_options){0}, place_time(100));
	assert_non_null(strstr(why, "set aside as lapidary.db.damaged-1700000100"));
	assert_int_equal(found.recovered, 3);
	assert_int_equal(access(place_path("lapidary.db.damaged-1700000100"), F_OK), 0);
	close_now();
	cJSON *all = list(store_crashes, "crashes", (struct store_filter){0});
	assert_int_equal(cJSON_GetArraySize(all), 3);
	assert_int_equal(json_number(cJSON_GetArrayItem(all, 1), "status", -1), SIGSEGV);
	cJSON_Delete(all);
}

static void remove_all(const char *path)
{
	assert_int_equal(nftw(path, place_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static uint64_t times_lost(void)
{
	struct store_stats stats;

	store_stats(store, &stats);
	assert_string_equal(stats.last_error, "");
	return stats.lost;
}

/* Each removal is noticed with the next item, which lies in the store made anew, bundle and row. */
static void test_removed(void **state)
{
	(void)state;
	open_now((struct store_options){0}, place_time(0));
	assert_int_equal(store_crash(store, place_report(1, 0)), 0);
	assert_true(place_written(store, 1));
	assert_int_equal(times_lost(), 0);

	remove_all(place);
	assert_int_equal(store_crash(store, place_report(2, 0)), 0);
	assert_true(place_written(store, 2));
	assert_int_equal(times_lost(), 1);
	assert_int_equal(count_crashes((struct store_filter){0}), 1);
	assert_int_equal(access(place_path("crashes/0000000000000002/report.json"), F_OK), 0);

	assert_int_equal(unlink(place_path("lapidary.db")), 0);
	assert_int_equal(store_crash(store, place_report(3, 0)), 0);
	assert_true(place_written(store, 3));
	assert_int_equal(times_lost(), 2);
	assert_int_equal(count_crashes((struct store_filter){0}), 2); /* the one before from its bundle */

	remove_all(place_path("crashes"));
	assert_int_equal(store_crash(store, place_report(4, 0)), 0);
	assert_true(place_written(store, 4));
	assert_int_equal(times_lost(), 3);
	assert_int_equal(access(place_path("crashes/0000000000000004/report.json"), F_OK), 0);
	close_now();
}

/* Where it cannot be made anew, what is queued waits until it can. */
static void test_removed_and_blocked(void **state)
{
	struct store_stats stats = {0};
	int fd;

	(void)state;
	open_now((struct store_options){0}, place_time(0));
	assert_int_equal(store_crash(store, place_report(1, 0)), 0);
	assert_true(place_written(store, 1));
	remove_all(place);
	fd = open(place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(store_crash(store, place_report(2, 0)), 0);
	for (int i = 0; i < 1000 && !stats.errors; i++) {
		usleep(5000);
		store_stats(store, &stats);
	}
	assert_non_null(strstr(stats.last_error, place));
	assert_int_equal(stats.queue_items, 1);
	assert_int_equal(unlink(place), 0);
	assert_true(place_written(store, 2));
	assert_int_equal(times_lost(), 1);
	assert_int_equal(count_crashes((struct store_filter){0}), 1);
	close_now();
}

static void test_unusable_places(void **state)
{
	struct store_options options = {.state_dir = "/proc/nowhere"};
	struct store_reader *reader;

	(void)state;
	assert_true(store_open(&options, 1, &store, &found, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "/proc/nowhere"));
	assert_int_equal(store_reader_open(place_path("nothing"), &reader, why, sizeof(why)), -ENOENT);
	assert_int_equal(store_reader_open(place, &reader, why, sizeof(why)), -ENOENT);
	assert_int_equal(store_close(NULL, 0), 0);
	store_reader_close(NULL);
}

#define PLACE_TEST(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACE_TEST(test_crash),
		PLACE_TEST(test_filters),
		PLACE_TEST(test_documents),
		PLACE_TEST(test_second_agent),
		PLACE_TEST(test_gaps),
		PLACE_TEST(test_full_queue),
		PLACE_TEST(test_full_disk),
		PLACE_TEST(test_quota),
		PLACE_TEST(test_damaged_database),
		PLACE_TEST(test_unusable_places),
		PLACE_TEST(test_removed),
		PLACE_TEST(test_removed_and_blocked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
