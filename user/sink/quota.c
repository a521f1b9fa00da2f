/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes room when the bundles pass their quota. The largest group of like crashes pays, with its
 * oldest bundle, and never with its last one: ten thousand instances of one bug must not push out the one
 * report of another. The row is marked first and stays, so that counts remain true and a removal that is
 * cut short is finished at the next start. Marked rows are pruned beyond ROWS_KEPT, oldest first.
 */
#include <errno.h>
#include "user/base/text.h"
#include "user/sink/store_parts.h"

enum { ROWS_KEPT = 100000, AT_ONCE = 256 };

static int64_t bytes_held(sqlite3 *db)
{
	sqlite3_stmt *statement =
		db_prepare(db, "SELECT sum(bytes) FROM crashes WHERE state != 'expired'", "");
	int64_t bytes = 0;

	if (statement && sqlite3_step(statement) == SQLITE_ROW)
		bytes = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return bytes;
}

/* The oldest of the largest group that has more than one bundle: 1 with id and size, 0 when there is none. */
static int next_to_go(sqlite3 *db, char id[20], int64_t *bytes)
{
	sqlite3_stmt *statement = db_prepare(
		db,
		"SELECT id, bytes FROM crashes WHERE state != 'expired' AND fingerprint ="
		" (SELECT fingerprint FROM crashes WHERE state != 'expired' AND fingerprint IS NOT NULL"
		"  GROUP BY fingerprint HAVING count(*) > 1 ORDER BY sum(bytes) DESC, fingerprint LIMIT 1)"
		" ORDER BY time, id LIMIT 1",
		"");
	int found = 0;

	if (!statement)
		return -EIO;
	if (sqlite3_step(statement) == SQLITE_ROW) {
		text_copy(id, 20, (const char *)sqlite3_column_text(statement, 0));
		*bytes = sqlite3_column_int64(statement, 1);
		found = 1;
	}
	sqlite3_finalize(statement);
	return found;
}

int quota_enforce(sqlite3 *db, int crashes_fd, uint64_t quota_bytes)
{
	int64_t held = quota_bytes ? bytes_held(db) : 0, bytes = 0;
	char id[20];
	int err = 0;

	for (int i = 0; i < AT_ONCE && quota_bytes && held > (int64_t)quota_bytes; i++) {
		int found = next_to_go(db, id, &bytes);

		if (found <= 0)
			return found;
		err = db_run(db, "UPDATE crashes SET state = 'expired', bytes = 0 WHERE id = ?", "t", id);
		if (err)
			return err;
		bundle_remove(crashes_fd, id);
		held -= bytes;
	}
	return db_run(db,
		      "DELETE FROM crashes WHERE state = 'expired' AND id IN (SELECT id FROM crashes"
		      " WHERE state = 'expired' ORDER BY time DESC LIMIT -1 OFFSET ?)",
		      "i", (int64_t)ROWS_KEPT);
}
