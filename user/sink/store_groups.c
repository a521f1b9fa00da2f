/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of like crashes for the reader: the counts are the database's own (store_schema.c), the words are
 * those of the group's latest crash whose bundle is there, else of its latest.
 */
#include <errno.h>
#include "user/base/json.h"
#include "user/sink/store_parts.h"

enum { GROUPS = 1000, NAMES = 64 };

/* The distinct values of a column of the group's crashes. */
static void add_names(struct store_reader *reader, cJSON *group, const char *key, const char *sql,
		      const char *fingerprint)
{
	sqlite3_stmt *row = db_prepare(reader->db, sql, "ti", fingerprint, (int64_t)NAMES);
	cJSON *names = cJSON_AddArrayToObject(group, key);

	while (row && sqlite3_step(row) == SQLITE_ROW)
		cJSON_AddItemToArray(names, cJSON_CreateString(db_text(row, 0)));
	sqlite3_finalize(row);
}

static cJSON *group_json(struct store_reader *reader, sqlite3_stmt *row)
{
	cJSON *group = cJSON_CreateObject(), *blame;
	const char *fingerprint = db_text(row, 0);

	cJSON_AddStringToObject(group, "fingerprint", fingerprint);
	cJSON_AddNumberToObject(group, "count", (double)sqlite3_column_int64(row, 1));
	cJSON_AddNumberToObject(group, "suppressed", (double)sqlite3_column_int64(row, 2));
	cJSON_AddNumberToObject(group, "bundles", (double)sqlite3_column_int64(row, 5));
	json_add_time(group, "first", (uint64_t)sqlite3_column_int64(row, 3));
	json_add_time(group, "last", (uint64_t)sqlite3_column_int64(row, 4));
	add_names(reader, group, "apps",
		  "SELECT DISTINCT app FROM crashes WHERE fingerprint = ? AND app IS NOT NULL ORDER BY app"
		  " LIMIT ?",
		  fingerprint);
	add_names(reader, group, "hosts",
		  "SELECT DISTINCT host FROM crashes WHERE fingerprint = ? AND host IS NOT NULL ORDER BY host"
		  " LIMIT ?",
		  fingerprint);
	json_add_text(group, "cause", db_text(row, 6));
	blame = cJSON_AddObjectToObject(group, "blame");
	json_add_text(blame, "module", db_text(row, 7));
	json_add_text(blame, "gem", db_text(row, 8));
	json_add_text(blame, "version", db_text(row, 9));
	json_add_text(blame, "confidence", db_text(row, 10));
	json_add_text(group, "example", db_text(row, 11));
	return group;
}

int store_groups(struct store_reader *reader, const struct store_filter *filter, cJSON **out)
{
	sqlite3_stmt *row = db_prepare(
		reader->db,
		"SELECT g.fingerprint, g.count, g.suppressed, g.first, g.last,"
		" (SELECT count(*) FROM crashes AS k WHERE k.fingerprint = g.fingerprint"
		"  AND k.state IN ('whole', 'damaged')),"
		" c.cause, c.module, c.gem, c.version, c.confidence, c.id"
		" FROM groups AS g JOIN crashes AS c ON c.id = (SELECT id FROM crashes AS e"
		"  WHERE e.fingerprint = g.fingerprint ORDER BY state = 'whole' DESC, time DESC, id LIMIT 1)"
		" WHERE g.count > 0 AND (?1 IS NULL OR EXISTS (SELECT 1 FROM crashes AS a"
		"  WHERE a.fingerprint = g.fingerprint AND a.app = ?1))"
		" AND (?2 IS NULL OR c.cause = ?2) AND (?3 IS NULL OR c.gem = ?3)"
		" AND (?4 IS NULL OR g.fingerprint = ?4) AND g.last >= ?5 AND g.first <= ?6"
		" ORDER BY g.last DESC, g.fingerprint LIMIT ?7",
		"ttttiii", filter->app, filter->cause, filter->gem, filter->fingerprint,
		(int64_t)filter->since_wall_ns,
		filter->until_wall_ns ? (int64_t)filter->until_wall_ns : INT64_MAX,
		filter->limit ? (int64_t)filter->limit : (int64_t)GROUPS);
	cJSON *all = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(all, "groups");
	int code = SQLITE_ERROR;

	while (row && (code = sqlite3_step(row)) == SQLITE_ROW)
		cJSON_AddItemToArray(list, group_json(reader, row));
	sqlite3_finalize(row);
	if (code != SQLITE_DONE || !list) {
		cJSON_Delete(all);
		return -EIO;
	}
	*out = all;
	return 0;
}
