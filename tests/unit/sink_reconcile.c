/* SPDX-License-Identifier: Apache-2.0 */
/* What a start makes of a state directory that something happened to. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>
#include <cmocka.h>
#include "tests/sink_place.h"
#include "user/base/file.h"

#define FIRST  "crashes/0000000000000001"
#define SECOND "crashes/0000000000000002"

static struct store_start found;
static char why[512];

static void open_and_close(unsigned crashes)
{
	struct store_options options = {.state_dir = place};
	struct store *store;

	if (store_open(&options, place_time(0), &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
	for (unsigned n = 1; n <= crashes; n++)
		assert_int_equal(store_crash(store, place_report(n, 0)), 0);
	assert_int_equal(store_close(store, 5000), 0);
}

static int two_crashes(void **state)
{
	if (place_make(state))
		return -1;
	open_and_close(2);
	return 0;
}

static void write_file(const char *name, const char *text)
{
	int fd = open(place_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static bool there(const char *name)
{
	struct stat st;

	return lstat(place_path(name), &st) == 0;
}

/* bundle_state and bundle_problem of one crash, as a listing shows them. */
static void listed(const char *id, const char *bundle_state, const char *problem)
{
	struct store_filter filter = {0};
	struct store_reader *reader;
	cJSON *all = NULL;
	const cJSON *crash;
	bool seen = false;

	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_crashes(reader, &filter, &all), 0);
	cJSON_ArrayForEach(crash, cJSON_GetObjectItem(all, "crashes"))
	{
		if (strcmp(json_text(crash, "id"), id))
			continue;
		seen = true;
		assert_string_equal(json_text(crash, "bundle_state"), bundle_state);
		if (!strstr(json_text(crash, "bundle_problem"), problem))
			fail_msg("'%s' is not in '%s'", problem, json_text(crash, "bundle_problem"));
	}
	assert_true(seen);
	cJSON_Delete(all);
	store_reader_close(reader);
}

static void sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(place_path("lapidary.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_half_written(void **state)
{
	(void)state;
	assert_int_equal(mkdir(place_path("crashes/00000000000000aa"), 0700), 0);
	write_file("crashes/00000000000000aa/stack.bin", "x");
	write_file("crashes/00000000000000aa/report.json.tmp", "{");
	open_and_close(0);
	assert_int_equal(found.removed, 1);
	assert_false(there("crashes/00000000000000aa"));
	assert_int_equal(found.recovered + found.missing, 0);
	listed("0000000000000001", "whole", "");
}

static void test_finished_without_row(void **state)
{
	(void)state;
	sql("DELETE FROM crashes WHERE id = '0000000000000002'");
	open_and_close(0);
	assert_int_equal(found.recovered, 1);
	listed("0000000000000002", "whole", "");
}

static void test_row_without_bundle(void **state)
{
	(void)state;
	unlink(place_path(FIRST "/report.json"));
	unlink(place_path(FIRST "/stack.bin"));
	unlink(place_path(FIRST "/maps.txt"));
	unlink(place_path(FIRST "/events.jsonl"));
	assert_int_equal(rmdir(place_path(FIRST)), 0);
	listed("0000000000000001", "missing", FIRST); /* even before anyone reconciles */
	open_and_close(0);
	assert_int_equal(found.missing, 1);
	listed("0000000000000001", "missing", "folder is gone");
	open_and_close(0);
	assert_int_equal(found.missing, 0); /* said once */
}

static void test_damaged(void **state)
{
	(void)state;
	write_file(FIRST "/report.json", "{\"id\": \"0000000000000001\",\n  \"time\": }");
	listed("0000000000000001", "damaged", "report.json:2:");
	open_and_close(0);
	listed("0000000000000001", "damaged", "report.json:2:");
	assert_true(there(FIRST "/stack.bin")); /* what is left may be of use */
	/* another crash's report is not this one's */
	write_file(SECOND "/report.json", "{\"id\": \"0000000000000001\"}");
	listed("0000000000000002", "damaged", "not the report of this crash");
	/* a report without a row that says no time */
	sql("DELETE FROM crashes");
	write_file(FIRST "/report.json", "{\"id\": \"0000000000000001\"}");
	open_and_close(0);
	listed("0000000000000001", "damaged", "/time");
}

static void test_report_gone_row_there(void **state)
{
	(void)state;
	unlink(place_path(FIRST "/report.json"));
	open_and_close(0);
	assert_int_equal(found.removed,
			 0); /* it was finished once: someone took it, we do not take the rest */
	assert_true(there(FIRST "/stack.bin"));
	listed("0000000000000001", "damaged", "report.json");
}

static void test_expired_leftover(void **state)
{
	(void)state;
	sql("UPDATE crashes SET state = 'expired' WHERE id = '0000000000000001'");
	open_and_close(0);
	assert_int_equal(found.removed, 1);
	assert_false(there(FIRST));
	listed("0000000000000001", "expired", "");
}

static void test_links_are_not_followed(void **state)
{
	(void)state;
	write_file("outside.json", "{\"id\": \"0000000000000001\", \"time\": \"2026-11-22T20:00:00Z\"}");
	unlink(place_path(FIRST "/report.json"));
	assert_int_equal(symlink("../../outside.json", place_path(FIRST "/report.json")), 0);
	assert_int_equal(symlink("../", place_path("crashes/00000000000000bb")), 0);
	open_and_close(0);
	listed("0000000000000001", "damaged", FIRST);
	assert_true(there("outside.json"));
}

static void test_foreign_files(void **state)
{
	(void)state;
	assert_int_equal(mkdir(place_path("crashes/Keep.this"), 0700), 0);
	write_file("crashes/README.txt", "mine");
	open_and_close(0);
	assert_true(there("crashes/Keep.this"));
	assert_true(there("crashes/README.txt"));
}

static int user_version(void)
{
	sqlite3_stmt *row;
	sqlite3 *db;
	int version;

	assert_int_equal(sqlite3_open(place_path("lapidary.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &row, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(row), SQLITE_ROW);
	version = sqlite3_column_int(row, 0);
	sqlite3_finalize(row);
	sqlite3_close(db);
	return version;
}

static void test_newer_version(void **state)
{
	struct store_options options = {.state_dir = place};
	struct store *store;
	char back[48];

	(void)state;
	snprintf(back, sizeof(back), "PRAGMA user_version = %d", user_version());
	sql("PRAGMA user_version = 9999");
	assert_int_equal(store_open(&options, place_time(0), &store, &found, why, sizeof(why)), -EPROTO);
	assert_non_null(strstr(why, "newer"));
	sql(back);
	open_and_close(0);
}

#define TWO(test) cmocka_unit_test_setup_teardown(test, two_crashes, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TWO(test_half_written),           TWO(test_finished_without_row),
		TWO(test_row_without_bundle),     TWO(test_damaged),
		TWO(test_report_gone_row_there),  TWO(test_expired_leftover),
		TWO(test_links_are_not_followed), TWO(test_foreign_files),
		TWO(test_newer_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
