/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's side, for client commands: read only, beside a running agent or without one. What is listed
 * was committed; whether each bundle still is what it was is looked at anew, since files can be damaged
 * after the fact, and such a crash is listed with what is wrong and where.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/sink/store_parts.h"

enum { LIMIT = 1000 };

static int reader_fail(struct store_reader *reader, int err, char *why, size_t why_size, const char *problem)
{
	snprintf(why, why_size, "%s: %s", reader->state_dir, problem);
	store_reader_close(reader);
	return err;
}

/* A clean shutdown leaves no log; then a reader who may not make one can still read the file as it lies. */
static int database_open(struct store_reader *reader, char *why, size_t why_size)
{
	char uri[PATH_MAX + 48];
	int err;

	for (int immutable = 0; immutable < 2; immutable++) {
		snprintf(uri, sizeof(uri), "file:%s/lapidary.db%s", reader->state_dir,
			 immutable ? "?immutable=1" : "");
		if (sqlite3_open_v2(uri, &reader->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) ==
		    SQLITE_OK) {
			sqlite3_busy_timeout(reader->db, 2000);
			if (sqlite3_exec(reader->db,
					 "PRAGMA trusted_schema = OFF; SELECT count(*) FROM watches", NULL,
					 NULL, NULL) == SQLITE_OK)
				return 0;
		}
		err = schema_error(reader->db, why, why_size);
		if (err == -EBADMSG)
			return err;
		sqlite3_close(reader->db);
		reader->db = NULL;
	}
	return err;
}

int store_reader_open(const char *state_dir, struct store_reader **out, char *why, size_t why_size)
{
	struct store_reader *reader = calloc(1, sizeof(*reader));
	char problem[256], reason[160];
	int err;

	if (!reader)
		return -ENOMEM;
	reader->state_fd = reader->crashes_fd = -1;
	if (!realpath(state_dir, reader->state_dir)) {
		err = -errno;
		text_copy(reader->state_dir, sizeof(reader->state_dir), state_dir);
		snprintf(problem, sizeof(problem), "%s; start the agent, or give its folder with --state-dir",
			 err == -ENOENT ? "no store there" : strerror(-err));
		return reader_fail(reader, err, why, why_size, problem);
	}
	reader->state_fd = open(reader->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (reader->state_fd < 0)
		return reader_fail(reader, -errno, why, why_size, strerror(errno));
	if (faccessat(reader->state_fd, "lapidary.db", R_OK, 0) < 0) {
		err = -errno;
		return reader_fail(
			reader, err, why, why_size,
			err == -ENOENT
				? "no store there; start the agent, or give its folder with --state-dir"
				: strerror(-err));
	}
	reader->crashes_fd =
		openat(reader->state_fd, "crashes", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = database_open(reader, reason, sizeof(reason));
	if (err) {
		snprintf(problem, sizeof(problem), "lapidary.db: %s%s", reason,
			 err == -EBADMSG ? "; the agent's next start sets it aside and recovers the crashes"
					 : "");
		return reader_fail(reader, err, why, why_size, problem);
	}
	*out = reader;
	return 0;
}

void store_reader_close(struct store_reader *reader)
{
	if (!reader)
		return;
	sqlite3_close(reader->db);
	if (reader->crashes_fd >= 0)
		close(reader->crashes_fd);
	if (reader->state_fd >= 0)
		close(reader->state_fd);
	free(reader);
}

/* Whether the bundle is there and whole: its path, or null and what is wrong. */
static void add_bundle(struct store_reader *reader, cJSON *crash, const char *id, const char *state,
		       const char *problem)
{
	char path[PATH_MAX + 32], why[192] = "";
	cJSON *report = NULL;
	bool there;

	text_copy(why, sizeof(why), problem);
	if (!strcmp(state, "whole")) {
		int err = bundle_read(reader->crashes_fd, id, &report, NULL, why, sizeof(why));

		cJSON_Delete(report);
		if (err)
			state = err == -ENOENT ? "missing" : "damaged";
		else
			why[0] = '\0';
	}
	snprintf(path, sizeof(path), "%s/crashes/%s", reader->state_dir, id);
	there = !strcmp(state, "whole") || !strcmp(state, "damaged");
	json_add_text(crash, "bundle", there ? path : "");
	cJSON_AddStringToObject(crash, "bundle_state", state);
	json_add_text(crash, "bundle_problem", why);
}

static cJSON *crash_json(struct store_reader *reader, sqlite3_stmt *row)
{
	cJSON *crash = cJSON_CreateObject(), *blame;

	cJSON_AddStringToObject(crash, "id", db_text(row, 0));
	json_add_text(crash, "time", db_text(row, 1));
	json_add_text(crash, "app", db_text(row, 2));
	cJSON_AddNumberToObject(crash, "pid", (double)sqlite3_column_int64(row, 3));
	json_add_text(crash, "start_time", db_text(row, 4));
	json_add_text(crash, "comm", db_text(row, 5));
	cJSON_AddNumberToObject(crash, "uid", (double)sqlite3_column_int64(row, 6));
	json_add_text(crash, "signal", db_text(row, 7));
	json_add_text(crash, "code", db_text(row, 8));
	json_add_text(crash, "fault_address", db_text(row, 9));
	json_add_text(crash, "cause", db_text(row, 10));
	blame = cJSON_AddObjectToObject(crash, "blame");
	json_add_text(blame, "module", db_text(row, 11));
	json_add_text(blame, "gem", db_text(row, 12));
	json_add_text(blame, "version", db_text(row, 13));
	json_add_text(blame, "confidence", db_text(row, 14));
	json_add_text(crash, "fingerprint", db_text(row, 15));
	json_add_text(crash, "confirmed_by", db_text(row, 16));
	if (sqlite3_column_type(row, 17) == SQLITE_NULL)
		cJSON_AddNullToObject(crash, "status");
	else
		cJSON_AddNumberToObject(crash, "status", (double)sqlite3_column_int64(row, 17));
	add_bundle(reader, crash, db_text(row, 0), db_text(row, 18), db_text(row, 19));
	json_add_text(crash, "host", db_text(row, 20));
	json_add_text(crash, "stderr", db_text(row, 21));
	if (sqlite3_column_type(row, 23) == SQLITE_NULL)
		cJSON_AddNullToObject(crash, "finished_after_ms");
	else
		cJSON_AddNumberToObject(
			crash, "finished_after_ms",
			(double)(sqlite3_column_int64(row, 23) - sqlite3_column_int64(row, 22)) / 1e6);
	return crash;
}

static int64_t limit_of(const struct store_filter *filter)
{
	return filter->limit ? filter->limit : LIMIT;
}

static int64_t until_of(const struct store_filter *filter)
{
	return filter->until_wall_ns ? (int64_t)filter->until_wall_ns : INT64_MAX;
}

int store_crashes(struct store_reader *reader, const struct store_filter *filter, cJSON **out)
{
	sqlite3_stmt *row = db_prepare(
		reader->db,
		"SELECT id, time_text, app, pid, start_time, comm, uid, signal, code, fault_address, cause, "
		"module,"
		" gem, version, confidence, fingerprint, confirmed_by, status, state, problem, host,"
		" stderr, fault_ns, finished_ns FROM crashes"
		" WHERE (?1 IS NULL OR app = ?1) AND (?2 IS NULL OR cause = ?2) AND (?3 IS NULL OR gem = ?3)"
		" AND (?4 IS NULL OR fingerprint = ?4) AND time >= ?5 AND time <= ?6"
		" ORDER BY time DESC, id LIMIT ?7",
		"ttttiii", filter->app, filter->cause, filter->gem, filter->fingerprint,
		(int64_t)filter->since_wall_ns, until_of(filter), limit_of(filter));
	cJSON *all = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(all, "crashes");
	int code = SQLITE_ERROR;

	while (row && (code = sqlite3_step(row)) == SQLITE_ROW)
		cJSON_AddItemToArray(list, crash_json(reader, row));
	sqlite3_finalize(row);
	if (code != SQLITE_DONE || !list) {
		cJSON_Delete(all);
		return -EIO;
	}
	*out = all;
	return 0;
}

/* Documents kept as they came: the newest first, one that does not parse is left out and counted. */
static int documents(struct store_reader *reader, const char *sql, const char *name,
		     const struct store_filter *filter, cJSON **out)
{
	sqlite3_stmt *row = db_prepare(reader->db, sql, "tiii", filter->app, (int64_t)filter->since_wall_ns,
				       until_of(filter), limit_of(filter));
	cJSON *all = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(all, name);
	int code = SQLITE_ERROR, damaged = 0;

	while (row && (code = sqlite3_step(row)) == SQLITE_ROW) {
		cJSON *one = cJSON_Parse(db_text(row, 0));

		if (!cJSON_AddItemToArray(list, one))
			damaged++;
	}
	sqlite3_finalize(row);
	if (code != SQLITE_DONE || !list) {
		cJSON_Delete(all);
		return -EIO;
	}
	if (damaged)
		cJSON_AddNumberToObject(all, "damaged", damaged);
	*out = all;
	return 0;
}

#define DOCUMENTS(table, order)                                                                              \
	"SELECT document FROM " table " WHERE (?1 IS NULL OR app = ?1) AND time >= ?2 AND time <= ?3"        \
	" ORDER BY time DESC, " order " DESC LIMIT ?4"

int store_incidents(struct store_reader *reader, const struct store_filter *filter, cJSON **out)
{
	return documents(reader, DOCUMENTS("incidents", "id"), "incidents", filter, out);
}

int store_decisions(struct store_reader *reader, const struct store_filter *filter, cJSON **out)
{
	return documents(reader, DOCUMENTS("decisions", "id"), "decisions", filter, out);
}

int store_actions(struct store_reader *reader, const struct store_filter *filter, cJSON **out)
{
	return documents(reader, DOCUMENTS("actions", "number"), "actions", filter, out);
}

/* Whether an agent holds the state directory now. */
static bool is_watched(const struct store_reader *reader)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int fd = openat(reader->state_fd, "lapidary.lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool held = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return held;
}

static void add_gap(cJSON *list, int64_t from, int64_t to, bool graceful, int64_t dropped)
{
	cJSON *gap = cJSON_CreateObject();

	json_add_time(gap, "from", (uint64_t)from);
	json_add_time(gap, "to", (uint64_t)to);
	cJSON_AddBoolToObject(gap, "graceful", graceful);
	cJSON_AddNumberToObject(gap, "dropped_before", (double)dropped);
	cJSON_InsertItemInArray(list, 0, gap);
}

/*
 * Between two runs nobody watched; nor did a run before its first watermark, since it opens the store ahead
 * of its probes. So a gap lasts until that, and a run that never got so far ends no gap of its own.
 */
int store_gaps(struct store_reader *reader, cJSON **out)
{
	sqlite3_stmt *row = db_prepare(
		reader->db, "SELECT started, first, watermark, ended, dropped FROM watches ORDER BY id", "");
	cJSON *all = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(all, "gaps");
	int64_t last = 0, dropped = 0;
	bool graceful = true;
	int code = SQLITE_ERROR;

	while (row && (code = sqlite3_step(row)) == SQLITE_ROW) {
		bool watched = sqlite3_column_type(row, 1) != SQLITE_NULL;

		if (last)
			add_gap(list, last, sqlite3_column_int64(row, watched ? 1 : 0), graceful, dropped);
		graceful = sqlite3_column_type(row, 3) != SQLITE_NULL;
		last = sqlite3_column_int64(row, !watched ? 0 : graceful ? 3 : 2);
		dropped = sqlite3_column_int64(row, 4);
	}
	sqlite3_finalize(row);
	if (code != SQLITE_DONE || !list) {
		cJSON_Delete(all);
		return -EIO;
	}
	if (last && !is_watched(reader))
		add_gap(list, last, 0, graceful, dropped);
	*out = all;
	return 0;
}

int store_report(struct store_reader *reader, const char *prefix, cJSON **out, char *bundle,
		 size_t bundle_size)
{
	char id[20] = "", state[16] = "", why[192];
	sqlite3_stmt *row;
	int found = 0, err;

	bundle[0] = '\0';
	if (!bundle_id_good(prefix))
		return -ENOENT;
	row = db_prepare(reader->db,
			 "SELECT id, state FROM crashes WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", "t",
			 prefix);
	while (row && sqlite3_step(row) == SQLITE_ROW && ++found == 1) {
		text_copy(id, sizeof(id), db_text(row, 0));
		text_copy(state, sizeof(state), db_text(row, 1));
	}
	sqlite3_finalize(row);
	if (!row)
		return -EIO;
	if (found != 1)
		return found ? -ENOTUNIQ : -ENOENT;
	snprintf(bundle, bundle_size, "%s/crashes/%s", reader->state_dir, id);
	if (!strcmp(state, "expired") || !strcmp(state, "suppressed"))
		return -ESTALE;
	err = bundle_read(reader->crashes_fd, id, out, NULL, why, sizeof(why));
	if (err)
		snprintf(bundle, bundle_size, "%s/%s", reader->state_dir, why);
	return err == -ENOENT ? -ESTALE : err;
}
