/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit in the store: a line is written when an action begins and again when its outcome is known, and
 * what an agent left in the middle is told so at the next start.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>
#include <cmocka.h>
#include "tests/sink_place.h"

static struct store *store;
static struct store_start found;
static char why[512];
static unsigned written;

static void open_now(void)
{
	struct store_options options = {.state_dir = place};

	if (store_open(&options, place_time(0), &store, &found, why, sizeof(why)))
		fail_msg("%s", why);
	written = 0;
}

static void close_now(void)
{
	assert_int_equal(store_close(store, 5000), 0);
	store = NULL;
}

/* An audit line of second n; "" leaves the id out. */
static void say(const char *id, unsigned n, const char *app, const char *outcome)
{
	cJSON *line = cJSON_CreateObject();

	if (*id)
		cJSON_AddStringToObject(line, "id", id);
	json_add_time(line, "time", place_time(n));
	cJSON_AddStringToObject(line, "app", app);
	cJSON_AddStringToObject(line, "outcome", outcome);
	cJSON_AddStringToObject(line, "outcome_reason", "because");
	assert_int_equal(store_action(store, line), 0);
	assert_true(place_written(store, ++written));
}

/* "id=outcome id=outcome …", as a listing shows them. */
static const char *listed(const char *app)
{
	static char text[512];
	struct store_filter filter = {.app = app};
	struct store_reader *reader;
	cJSON *all = NULL;
	const cJSON *line;
	size_t used = 0;

	text[0] = '\0';
	if (store_reader_open(place, &reader, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(store_actions(reader, &filter, &all), 0);
	cJSON_ArrayForEach(line, cJSON_GetObjectItem(all, "actions")) used +=
		(size_t)snprintf(text + used, sizeof(text) - used, "%s%s=%s", used ? " " : "",
				 json_text(line, "id"), json_text(line, "outcome"));
	cJSON_Delete(all);
	store_reader_close(reader);
	return text;
}

static void sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(place_path("lapidary.db"), &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void test_an_outcome_replaces_its_beginning(void **state)
{
	(void)state;
	open_now();
	say("a1", 1, "shop", "sent");
	say("a2", 1, "shop", "sent");
	say("a3", 2, "blog", "refused");
	assert_string_equal(listed(NULL), "a3=refused a2=sent a1=sent");
	say("a1", 1, "shop", "done");
	assert_string_equal(listed(NULL), "a3=refused a2=sent a1=done");
	/* nothing that a later line says moves the first one's place or app */
	say("a2", 9, "blog", "failed");
	assert_string_equal(listed(NULL), "a3=refused a2=failed a1=done");
	assert_string_equal(listed("blog"), "a3=refused");
	close_now();
}

static void test_one_batch_may_hold_both(void **state)
{
	(void)state;
	open_now();
	for (int i = 0; i < 50; i++) {
		char id[20];

		for (int k = 0; k < 2; k++) {
			cJSON *line = cJSON_CreateObject();

			snprintf(id, sizeof(id), "%02d", i);
			cJSON_AddStringToObject(line, "id", id);
			json_add_time(line, "time", place_time((unsigned)i));
			cJSON_AddStringToObject(line, "outcome", k ? "done" : "sent");
			assert_int_equal(store_action(store, line), 0);
		}
	}
	assert_true(place_written(store, 100));
	assert_null(strstr(listed(NULL), "sent"));
	assert_memory_equal(listed(NULL), "49=done 48=done ", 16);
	close_now();
}

static void test_lines_without_id_are_kept_apart(void **state)
{
	(void)state;
	open_now();
	say("", 1, "shop", "done");
	say("", 1, "shop", "observed");
	assert_string_equal(listed(NULL), "=observed =done");
	close_now();
}

static void test_what_a_dead_agent_left(void **state)
{
	struct store_filter filter = {0};
	struct store_reader *reader;
	cJSON *all = NULL;
	const cJSON *line;

	(void)state;
	open_now();
	assert_int_equal(found.unfinished, 0);
	say("a1", 1, "shop", "done");
	say("a2", 2, "shop", "sent");
	say("a3", 3, "shop", "sent");
	close_now();
	sql("INSERT INTO actions (time, id, outcome, document) VALUES (4, 'a4', 'sent', 'no JSON')");
	assert_non_null(strstr(listed(NULL), "a3=sent"));
	open_now();
	assert_int_equal(found.unfinished, 3);
	assert_string_equal(listed(NULL), "a3=failed a2=failed a1=done");
	assert_int_equal(store_reader_open(place, &reader, why, sizeof(why)), 0);
	assert_int_equal(store_actions(reader, &filter, &all), 0);
	line = cJSON_GetArrayItem(cJSON_GetObjectItem(all, "actions"), 0);
	assert_string_equal(json_text(line, "outcome_reason"),
			    "the agent ended before its outcome was known; it may have happened");
	assert_string_equal(json_text(line, "app"), "shop");
	assert_string_equal(
		json_text(cJSON_GetArrayItem(cJSON_GetObjectItem(all, "actions"), 2), "outcome_reason"),
		"because");
	cJSON_Delete(all);
	store_reader_close(reader);
	close_now();
	open_now(); /* said once */
	assert_int_equal(found.unfinished, 0);
	close_now();
}

/* As version 1 made it. */
static const char version_1[] =
	"CREATE TABLE watches ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT, started INTEGER NOT NULL, first INTEGER,"
	"  watermark INTEGER NOT NULL, ended INTEGER, dropped INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE processes ("
	"  pid INTEGER NOT NULL, start_time TEXT NOT NULL, app TEXT, document TEXT NOT NULL,"
	"  PRIMARY KEY (pid, start_time));"
	"CREATE TABLE crashes ("
	"  id TEXT PRIMARY KEY, time INTEGER NOT NULL, time_text TEXT NOT NULL, app TEXT, pid INTEGER,"
	"  start_time TEXT, comm TEXT, uid INTEGER, signal TEXT, code TEXT, fault_address TEXT, cause TEXT,"
	"  module TEXT, gem TEXT, version TEXT, confidence TEXT, fingerprint TEXT, confirmed_by TEXT,"
	"  status INTEGER, bytes INTEGER NOT NULL DEFAULT 0,"
	"  state TEXT NOT NULL DEFAULT 'whole', problem TEXT);"
	"CREATE INDEX crashes_time ON crashes (time);"
	"CREATE INDEX crashes_fingerprint ON crashes (fingerprint, time);"
	"CREATE TABLE incidents ("
	"  id TEXT PRIMARY KEY, time INTEGER NOT NULL, app TEXT, document TEXT NOT NULL);"
	"CREATE INDEX incidents_time ON incidents (time);"
	"CREATE TABLE decisions ("
	"  id TEXT PRIMARY KEY, time INTEGER NOT NULL, app TEXT, document TEXT NOT NULL);"
	"CREATE INDEX decisions_time ON decisions (time);"
	"CREATE TABLE actions ("
	"  number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, app TEXT, document TEXT NOT "
	"NULL);"
	"CREATE INDEX actions_time ON actions (time);"
	"INSERT INTO watches (started, watermark) VALUES (5, 6);"
	"INSERT INTO decisions VALUES ('d1', 1, 'shop', '{\"id\":\"d1\"}');"
	"INSERT INTO actions (time, app, document) VALUES (1, 'shop', '{\"outcome\":\"done\"}');"
	"INSERT INTO actions (time, app, document) VALUES (2, 'blog', '{\"outcome\":\"observed\"}');"
	"PRAGMA user_version = 1;";

static void test_a_store_of_version_1(void **state)
{
	(void)state;
	sql(version_1);
	assert_string_equal(listed(NULL), "=observed =done"); /* a reader need not wait for an agent */
	open_now();
	assert_false(found.first);
	assert_true(found.unclean);
	assert_int_equal(found.unfinished, 0);
	assert_string_equal(listed(NULL), "=observed =done");
	say("a1", 3, "shop", "sent");
	say("a1", 3, "shop", "done");
	assert_string_equal(listed(NULL), "a1=done =observed =done");
	assert_string_equal(listed("blog"), "=observed");
	close_now();
	open_now(); /* the migration is not run twice */
	assert_string_equal(listed("shop"), "a1=done =done");
	close_now();
}

#define PLACE_TEST(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACE_TEST(test_an_outcome_replaces_its_beginning),
		PLACE_TEST(test_one_batch_may_hold_both),
		PLACE_TEST(test_lines_without_id_are_kept_apart),
		PLACE_TEST(test_what_a_dead_agent_left),
		PLACE_TEST(test_a_store_of_version_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
