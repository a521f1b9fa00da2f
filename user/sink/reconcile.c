/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At the start, folders and rows are brought together. Each has a way to be ahead of the other: a bundle
 * is finished before its row is committed, and a row that the quota marked is committed before its bundle
 * goes. Anything else that differs was done by someone else, and is marked rather than mended. Actions that
 * were under way when the run before ended get the outcome that is left for them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/sink/store_parts.h"

/* The row's state into `out`, "" when there is no row. */
static int state_of(sqlite3 *db, const char *id, char out[16])
{
	sqlite3_stmt *statement = db_prepare(db, "SELECT state FROM crashes WHERE id = ?", "t", id);
	int code;

	if (!statement)
		return -EIO;
	code = sqlite3_step(statement);
	text_copy(out, 16, code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : "");
	sqlite3_finalize(statement);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : -EIO;
}

static uint64_t modified_ns(int crashes_fd, const char *id)
{
	struct stat st;

	if (fstatat(crashes_fd, id, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (uint64_t)st.st_mtim.tv_sec * 1000000000ull + (uint64_t)st.st_mtim.tv_nsec;
}

/*
 * Finished, but its row was not committed when the machine itself stopped: the report was synced, whether the
 * other files were nobody knows. What may be half is no evidence.
 */
static int distrust_raw(int crashes_fd, const char *id, cJSON **report, size_t *bytes)
{
	const struct amendment amendment = {.lost = "the machine stopped before it was on disk"};
	char why[192];
	int err = bundle_amend(crashes_fd, id, &amendment);

	if (!err)
		err = bundle_drop_raw(crashes_fd, id);
	if (!err) {
		cJSON_Delete(*report);
		*report = NULL;
		err = bundle_read(crashes_fd, id, report, bytes, why, sizeof(why));
	}
	return err;
}

static int reconcile_bundle(sqlite3 *db, int crashes_fd, const char *id, bool rebooted,
			    struct store_start *start)
{
	char state[16], problem[192];
	cJSON *report = NULL;
	size_t bytes = 0;
	int err = state_of(db, id, state);

	if (err)
		return err;
	if (!strcmp(state, "expired") || !strcmp(state, "suppressed"))
		return bundle_remove(crashes_fd, id) ? 0 : (start->removed++, 0);
	err = bundle_read(crashes_fd, id, &report, &bytes, problem, sizeof(problem));
	if (err == -ENOENT && !state[0])
		return bundle_remove(crashes_fd, id) ? 0 : (start->removed++, 0);
	if (err)
		return row_damaged(db, id, modified_ns(crashes_fd, id), problem);
	err = 0;
	if (!state[0] && rebooted) {
		err = distrust_raw(crashes_fd, id, &report, &bytes);
		if (err) {
			cJSON_Delete(report);
			return err;
		}
	}
	if (!state[0] || strcmp(state, "whole")) {
		err = row_recover(db, id, report, bytes);
		start->recovered += !err && !state[0];
		if (err == -EBADMSG) {
			snprintf(problem, sizeof(problem), "crashes/%s/report.json: /time: not a time", id);
			err = row_damaged(db, id, modified_ns(crashes_fd, id), problem);
		}
	}
	cJSON_Delete(report);
	return err;
}

static int reconcile_rows(sqlite3 *db, int crashes_fd, struct store_start *start)
{
	sqlite3_stmt *statement =
		db_prepare(db, "SELECT id FROM crashes WHERE state IN ('whole', 'damaged')", "");
	int err = statement ? 0 : -EIO;
	char problem[64];
	struct stat st;

	while (!err && sqlite3_step(statement) == SQLITE_ROW) {
		const char *id = (const char *)sqlite3_column_text(statement, 0);

		if (bundle_id_good(id) && fstatat(crashes_fd, id, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISDIR(st.st_mode))
			continue;
		snprintf(problem, sizeof(problem), "crashes/%.19s: the folder is gone", id);
		err = db_run(db, "UPDATE crashes SET state = 'missing', problem = ? WHERE id = ?", "tt",
			     problem, id);
		start->missing++;
	}
	sqlite3_finalize(statement);
	return err;
}

/*
 * An action that was sent and never came back: whoever would have learnt its outcome is gone. "failed" means
 * that it was tried; a line that says "sent" for ever would have someone wait for it. Whether it happened
 * all the same the reader must look at, and is told so.
 */
static int finish_action(sqlite3 *db, int64_t number, const char *document)
{
	cJSON *line = cJSON_Parse(document);
	char *text = NULL;
	int err;

	if (cJSON_IsObject(line)) {
		cJSON_DeleteItemFromObject(line, "outcome");
		cJSON_DeleteItemFromObject(line, "outcome_reason");
		cJSON_AddStringToObject(line, "outcome", "failed");
		cJSON_AddStringToObject(line, "outcome_reason",
					"the agent ended before its outcome was known; it may have happened");
		text = cJSON_PrintUnformatted(line);
	}
	err = db_run(db,
		     "UPDATE actions SET outcome = 'failed', document = coalesce(?, document)"
		     " WHERE number = ?",
		     "ti", text, number);
	cJSON_free(text);
	cJSON_Delete(line);
	return err;
}

static int reconcile_actions(sqlite3 *db, struct store_start *start)
{
	for (;;) {
		sqlite3_stmt *sent = db_prepare(
			db, "SELECT number, document FROM actions WHERE outcome = 'sent' LIMIT 1", "");
		int code = sent ? sqlite3_step(sent) : SQLITE_ERROR;
		char *document = NULL;
		int64_t number = 0;
		int err;

		if (code == SQLITE_ROW) {
			number = sqlite3_column_int64(sent, 0);
			document = strdup((const char *)sqlite3_column_text(sent, 1));
		}
		sqlite3_finalize(sent);
		if (code != SQLITE_ROW)
			return code == SQLITE_DONE ? 0 : -EIO;
		err = document ? finish_action(db, number, document) : -ENOMEM;
		free(document);
		if (err)
			return err;
		start->unfinished++;
	}
}

int reconcile(sqlite3 *db, int crashes_fd, bool rebooted, struct store_start *start)
{
	int copy = openat(crashes_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!dir) {
		err = -errno;
		if (copy >= 0)
			close(copy);
		return err;
	}
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		err = -EIO;
	while (!err && (entry = readdir(dir)))
		if (bundle_id_good(entry->d_name))
			err = reconcile_bundle(db, crashes_fd, entry->d_name, rebooted, start);
	closedir(dir);
	if (!err)
		err = reconcile_rows(db, crashes_fd, start);
	if (!err)
		err = reconcile_actions(db, start);
	if (sqlite3_exec(db, err ? "ROLLBACK" : "COMMIT", NULL, NULL, NULL) != SQLITE_OK && !err)
		err = -EIO;
	return err;
}
