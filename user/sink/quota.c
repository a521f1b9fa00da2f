/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many bundles are kept.
 *
 * A storm is stopped at the door: of like crashes (one fingerprint) only so many get a bundle in a time, the
 * others are rows that count. Beyond their quota and their age bundles are taken away again. The largest
 * group of like crashes pays, with its oldest bundle, and never with its last whole one: ten thousand
 * instances of one bug must not push out the one report of another. The row is marked first and stays, so
 * that counts remain true and a removal that is cut short is finished at the next start. Rows without a
 * bundle are pruned beyond ROWS_KEPT, oldest first; the group's counts keep them.
 *
 * It is done in steps, each one commit, when the store has nothing else to write.
 */
#include <errno.h>
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/sink/store_parts.h"

enum { ROWS_KEPT = 100000, A_STEP = 16 };

#define HELD "state IN ('whole', 'damaged')"

static int number(sqlite3_stmt *statement, int64_t *out)
{
	int code = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	*out = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
	sqlite3_finalize(statement);
	return code == SQLITE_ROW ? 0 : -EIO;
}

/* The window is the crashes' own time: what is recorded late counts where it belongs. */
int group_is_full(sqlite3 *db, const struct crash_report *report, const struct keeping *keeping,
		  uint32_t kept, bool *full)
{
	int64_t held = 0;
	uint64_t wall = 0;
	int err;

	*full = false;
	if (!keeping->group_bundles || !report->fingerprint[0] || !when_parse(report->time, &wall))
		return 0;
	err = number(
		db_prepare(db,
			   "SELECT count(*) FROM crashes WHERE fingerprint = ? AND time > ? AND time <= ?"
			   " AND state != 'suppressed'",
			   "tii", report->fingerprint, (int64_t)(wall - keeping->group_window_ns),
			   (int64_t)wall),
		&held);
	*full = !err && (uint64_t)held + kept >= keeping->group_bundles;
	return err;
}

/*
 * The bundle that goes next, of those from before `before`: 1 with id and size, 0 when there is none. Of the
 * group the damaged ones go first, then the oldest; one whole one is always left.
 */
static int next_to_go(sqlite3 *db, int64_t before, char id[20], int64_t *bytes)
{
	sqlite3_stmt *statement = db_prepare(
		db,
		"SELECT id, bytes FROM crashes WHERE " HELD " AND time < ?1 AND fingerprint ="
		" (SELECT fingerprint FROM crashes WHERE " HELD " AND fingerprint IS NOT NULL"
		"  GROUP BY fingerprint HAVING count(*) > 1 AND min(time) < ?1"
		"  AND (sum(state = 'whole') != 1 OR min(CASE state WHEN 'damaged' THEN time END) < ?1)"
		"  ORDER BY sum(bytes) DESC, fingerprint LIMIT 1)"
		" AND id != coalesce((SELECT id FROM crashes AS c WHERE c.fingerprint = crashes.fingerprint"
		"  AND c.state = 'whole' ORDER BY time DESC, id DESC LIMIT 1), '')"
		" ORDER BY state, time, id LIMIT 1",
		"i", before);
	int code = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	if (code == SQLITE_ROW) {
		text_copy(id, 20, db_text(statement, 0));
		*bytes = sqlite3_column_int64(statement, 1);
	}
	sqlite3_finalize(statement);
	return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : -EIO;
}

/* Marks up to A_STEP of them: how many, or -errno. */
static int mark(sqlite3 *db, const struct keeping *keeping, uint64_t now_wall_ns, char ids[A_STEP][20])
{
	int64_t held = 0, bytes = 0, old = 0;
	int count = 0, found = 1, err = 0;

	if (keeping->age_ns && now_wall_ns > keeping->age_ns)
		old = (int64_t)(now_wall_ns - keeping->age_ns);
	if (keeping->quota_bytes)
		err = number(db_prepare(db, "SELECT sum(bytes) FROM crashes WHERE " HELD, ""), &held);
	while (!err && count < A_STEP && found) {
		bool over = keeping->quota_bytes && held > (int64_t)keeping->quota_bytes;

		found = over || old ? next_to_go(db, over ? INT64_MAX : old, ids[count], &bytes) : 0;
		if (found < 0)
			return found;
		if (!found)
			break;
		held -= bytes;
		err = db_run(db, "UPDATE crashes SET state = 'expired', bytes = 0 WHERE id = ?", "t",
			     ids[count++]);
	}
	return err ? err : count;
}

static int rows_prune(sqlite3 *db)
{
	return db_run(
		db,
		"DELETE FROM crashes WHERE state IN ('expired', 'suppressed') AND id IN (SELECT id FROM"
		" crashes WHERE state IN ('expired', 'suppressed') ORDER BY time DESC LIMIT -1 OFFSET ?)",
		"i", (int64_t)ROWS_KEPT);
}

int quota_step(sqlite3 *db, int crashes_fd, const struct keeping *keeping, uint64_t now_wall_ns)
{
	char ids[A_STEP][20];
	int count, err;

	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return -EIO;
	count = mark(db, keeping, now_wall_ns, ids);
	err = count < 0 ? count : rows_prune(db);
	if (err || sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
		return err ? err : -EIO;
	}
	for (int i = 0; i < count; i++)
		bundle_remove(crashes_fd, ids[i]);
	return count == A_STEP;
}
