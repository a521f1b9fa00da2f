/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of crashes and what is counted alone; and what a bundle learns after it was finished. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>
#include <cmocka.h>
#include "tests/sink_place.h"
#include "user/base/file.h"
#include "user/base/when.h"

static struct store *store;
static struct store_start found;
static char why[512];

static void open_now(struct store_options options)
{
	options.state_dir = place;
	if (store_open(&options, place_time(0), &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
}

static void close_now(void)
{
	assert_int_equal(store_close(store, 5000), 0);
	store = NULL;
}

static void crashes(unsigned from, unsigned to, unsigned kind)
{
	for (unsigned n = from; n <= to; n++)
		assert_int_equal(store_crash(store, place_report(n, kind)), 0);
}

static bool there(const char *name)
{
	return access(place_path(name), F_OK) == 0;
}

/* The one group, or the first; the caller deletes it. */
static cJSON *group(struct store_filter filter, int expected)
{
	struct store_reader *reader;
	cJSON *all = NULL, *list, *one;

	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_groups(reader, &filter, &all), 0);
	store_reader_close(reader);
	list = cJSON_GetObjectItem(all, "groups");
	assert_int_equal(cJSON_GetArraySize(list), expected);
	one = expected ? cJSON_DetachItemFromArray(list, 0) : NULL;
	cJSON_Delete(all);
	return one;
}

static void group_is(int groups, double count, double suppressed, double bundles)
{
	cJSON *one = group((struct store_filter){0}, groups);

	assert_true(json_number(one, "count", -1) == count);
	assert_true(json_number(one, "suppressed", -1) == suppressed);
	assert_true(json_number(one, "bundles", -1) == bundles);
	cJSON_Delete(one);
}

static void test_storm(void **state)
{
	struct store_reader *reader;
	cJSON *one, *report = NULL;
	char bundle[256];

	(void)state;
	open_now((struct store_options){.group_bundles = 3, .group_window_ns = 100 * MADE_SECOND});
	crashes(1, 10, 0);
	assert_true(place_written(store, 10));
	group_is(1, 10, 7, 3);
	assert_true(there("crashes/0000000000000003"));
	assert_false(there("crashes/0000000000000004"));
	/* the next window, and another kind, have room again */
	crashes(104, 104, 0);
	crashes(105, 105, 1);
	assert_true(place_written(store, 12));
	assert_true(there("crashes/0000000000000068"));
	assert_true(there("crashes/0000000000000069"));
	one = group((struct store_filter){.app = "shop", .gem = "pg"}, 2);
	assert_string_equal(json_text(one, "example"), "0000000000000069");
	assert_string_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(one, "hosts"), 0)->valuestring, "test");
	cJSON_Delete(one);
	cJSON_Delete(group((struct store_filter){.app = "blog"}, 0));
	/* its end finds no bundle and harms nothing */
	assert_int_equal(store_crash_end(store, "0000000000000004", SIGABRT), 0);
	assert_true(place_written(store, 13));
	close_now();
	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_report(reader, "0000000000000004", &report, bundle, sizeof(bundle)), -ESTALE);
	store_reader_close(reader);
	open_now((struct store_options){0}); /* the counts outlive a start */
	assert_int_equal(found.missing + found.recovered + found.removed, 0);
	close_now();
}

static void pruned(const char *name)
{
	for (int i = 0; i < 5000 && there(name); i++)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	assert_false(there(name));
}

static void test_age(void **state)
{
	uint64_t age = when_wall_now() - place_time(6); /* 1 to 5 are older */

	(void)state;
	open_now((struct store_options){.age_ns = age});
	crashes(1, 4, 0);
	crashes(5, 5, 1); /* old, and the last of its kind */
	assert_true(place_written(store, 5));
	pruned("crashes/0000000000000003");
	close_now();
	assert_false(there("crashes/0000000000000001"));
	assert_true(there("crashes/0000000000000004"));
	assert_true(there("crashes/0000000000000005"));
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

static void test_stderr(void **state)
{
	static const char words[] = "[BUG] Segmentation fault\n";
	char *text = NULL;
	cJSON *report;
	size_t size;

	(void)state;
	open_now((struct store_options){0});
	crashes(1, 1, 0);
	assert_int_equal(store_crash_end(store, "0000000000000001", SIGABRT), 0);
	assert_int_equal(store_crash_stderr(store, "0000000000000001", strdup(words), strlen(words),
					    "partial", "a head is missing"),
			 0);
	assert_int_equal(store_crash_stderr(store, "../etc", strdup(words), strlen(words), "partial", ""),
			 -EINVAL);
	assert_true(place_written(store, 3));
	close_now();
	assert_int_equal(file_read(place_path("crashes/0000000000000001/stderr.txt"), 4096, &text, &size), 0);
	assert_string_equal(text, words);
	free(text);
	report = report_of("0000000000000001");
	assert_string_equal(json_text(cJSON_GetObjectItem(report, "exit"), "signal"), "SIGABRT");
	assert_string_equal(json_text(cJSON_GetObjectItem(report, "stderr"), "file"), "stderr.txt");
	assert_true(json_number(cJSON_GetObjectItem(report, "stderr"), "bytes", 0) == (double)strlen(words));
	assert_string_equal(
		json_text(cJSON_GetObjectItem(cJSON_GetObjectItem(report, "parts"), "stderr"), "why"),
		"a head is missing");
	cJSON_Delete(report);
}

static void sql(const char *text)
{
	sqlite3 *db;
	char *error = NULL;

	assert_int_equal(sqlite3_open(place_path("lapidary.db"), &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s", error);
	sqlite3_close(db);
}

/* A report was synced before its raw files were: when the machine stops in between, they are no evidence. */
static void test_machine_stopped(void **state)
{
	cJSON *report;

	(void)state;
	open_now((struct store_options){0});
	crashes(1, 2, 0);
	close_now();
	sql("UPDATE watches SET boot = 'another'; DELETE FROM crashes WHERE id = '0000000000000002'");
	open_now((struct store_options){0});
	assert_int_equal(found.recovered, 1);
	close_now();
	assert_true(there("crashes/0000000000000001/stack.bin"));
	assert_false(there("crashes/0000000000000002/stack.bin"));
	report = report_of("0000000000000002");
	assert_string_equal(
		json_text(cJSON_GetObjectItem(cJSON_GetObjectItem(report, "parts"), "stack"), "state"),
		"missing");
	cJSON_Delete(report);
}

/* What the build before groups made of its tables. */
static void test_a_store_of_version_2(void **state)
{
	(void)state;
	open_now((struct store_options){0});
	crashes(1, 4, 0);
	close_now();
	sql("DROP TRIGGER groups_in; DROP TRIGGER groups_move; DROP TABLE groups; DROP INDEX crashes_held;"
	    "DROP INDEX crashes_gone; ALTER TABLE crashes DROP COLUMN host;"
	    "ALTER TABLE crashes DROP COLUMN fault_ns; ALTER TABLE crashes DROP COLUMN finished_ns;"
	    "ALTER TABLE crashes DROP COLUMN stderr; ALTER TABLE watches DROP COLUMN boot;"
	    "PRAGMA user_version = 2");
	open_now((struct store_options){0});
	assert_int_equal(found.missing + found.recovered + found.removed, 0);
	crashes(5, 5, 0);
	assert_true(place_written(store, 1));
	group_is(1, 5, 0, 5);
	close_now();
}

#define PLACE_TEST(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACE_TEST(test_storm),
		PLACE_TEST(test_age),
		PLACE_TEST(test_stderr),
		PLACE_TEST(test_machine_stopped),
		PLACE_TEST(test_a_store_of_version_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
