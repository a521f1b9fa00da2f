/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database: one file, WAL, migrated by user_version. A migration is a text that takes the version
 * before it one further; shipped ones are never edited. synchronous=FULL: a commit that returned has reached
 * the disk, which is what the watermark promises.
 *
 * Times are nanoseconds since 1970 (INTEGER), so that they sort and compare; documents of the rules are
 * kept as they came, beside the columns by which they are found.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "user/sink/store_parts.h"

static const char *const migrations[] = {
	/* 1 */
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
	"CREATE INDEX actions_time ON actions (time);",
	/* 2: an action's outcome comes later, under its id; lines of version 1 have neither */
	"ALTER TABLE actions ADD COLUMN id TEXT;"
	"ALTER TABLE actions ADD COLUMN outcome TEXT;"
	"CREATE UNIQUE INDEX actions_id ON actions (id);"
	"CREATE INDEX actions_sent ON actions (number) WHERE outcome = 'sent';",
	/*
	 * 3: groups of like crashes, counted by the database itself, so that no way to a row passes them by.
	 * When a report was finished; which boot a run belongs to.
	 */
	"ALTER TABLE crashes ADD COLUMN host TEXT;"
	"ALTER TABLE crashes ADD COLUMN fault_ns INTEGER;"
	"ALTER TABLE crashes ADD COLUMN finished_ns INTEGER;"
	"ALTER TABLE crashes ADD COLUMN stderr TEXT;"
	"ALTER TABLE watches ADD COLUMN boot TEXT;"
	"CREATE INDEX crashes_held ON crashes (fingerprint, time) WHERE state IN ('whole', 'damaged');"
	"CREATE INDEX crashes_gone ON crashes (time) WHERE state IN ('expired', 'suppressed');"
	"CREATE TABLE groups ("
	"  fingerprint TEXT PRIMARY KEY, count INTEGER NOT NULL, suppressed INTEGER NOT NULL,"
	"  first INTEGER NOT NULL, last INTEGER NOT NULL);"
	"CREATE INDEX groups_last ON groups (last);"
	"INSERT INTO groups SELECT fingerprint, count(*), 0, min(time), max(time) FROM crashes"
	"  WHERE fingerprint IS NOT NULL GROUP BY fingerprint;"
	"CREATE TRIGGER groups_in AFTER INSERT ON crashes WHEN new.fingerprint IS NOT NULL BEGIN"
	"  INSERT INTO groups VALUES (new.fingerprint, 1, new.state = 'suppressed', new.time, new.time)"
	"  ON CONFLICT (fingerprint) DO UPDATE SET count = count + 1,"
	"    suppressed = suppressed + excluded.suppressed, first = min(first, excluded.first),"
	"    last = max(last, excluded.last);"
	"END;"
	/* a damaged bundle's row has no fingerprint until someone mends the bundle */
	"CREATE TRIGGER groups_move AFTER UPDATE OF fingerprint ON crashes"
	"  WHEN new.fingerprint IS NOT old.fingerprint BEGIN"
	"  UPDATE groups SET count = count - 1 WHERE fingerprint = old.fingerprint;"
	"  INSERT INTO groups SELECT new.fingerprint, 1, 0, new.time, new.time"
	"    WHERE new.fingerprint IS NOT NULL"
	"  ON CONFLICT (fingerprint) DO UPDATE SET count = count + 1, first = min(first, excluded.first),"
	"    last = max(last, excluded.last);"
	"END;",
};

enum { VERSION = sizeof(migrations) / sizeof(*migrations) };

int schema_error(sqlite3 *db, char *why, size_t why_size)
{
	int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;

	snprintf(why, why_size, "%s", db ? sqlite3_errmsg(db) : "out of memory");
	switch (code) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

static void bind_all(sqlite3_stmt *statement, const char *types, va_list args)
{
	for (int i = 1; *types; types++, i++) {
		if (*types == 't') {
			const char *text = va_arg(args, const char *);

			if (text)
				sqlite3_bind_text(statement, i, text, -1, SQLITE_TRANSIENT);
		} else {
			sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
		}
	}
}

sqlite3_stmt *db_prepare(sqlite3 *db, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement = NULL;
	va_list args;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		return NULL;
	va_start(args, types);
	bind_all(statement, types, args);
	va_end(args);
	return statement;
}

int db_run(sqlite3 *db, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement = NULL;
	int code = SQLITE_ROW;
	va_list args;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		return -EIO;
	va_start(args, types);
	bind_all(statement, types, args);
	va_end(args);
	while (code == SQLITE_ROW)
		code = sqlite3_step(statement);
	sqlite3_finalize(statement);
	return code == SQLITE_DONE ? 0 : -EIO;
}

const char *db_text(sqlite3_stmt *row, int column)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	return text ? text : "";
}

/* The one number that a pragma or query gives, or -1. */
static int64_t number_of(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = db_prepare(db, sql, "");
	int64_t value = -1;

	if (statement && sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

static bool check_passes(sqlite3 *db)
{
	sqlite3_stmt *statement = db_prepare(db, "PRAGMA quick_check(1)", "");
	bool good = false;

	if (statement && sqlite3_step(statement) == SQLITE_ROW)
		good = !strcmp((const char *)sqlite3_column_text(statement, 0), "ok");
	sqlite3_finalize(statement);
	return good;
}

static int migrate(sqlite3 *db, int64_t version)
{
	char pragma[48];

	for (; version < VERSION; version++) {
		snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %lld; COMMIT",
			 (long long)version + 1);
		if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
			return -EIO;
		if (sqlite3_exec(db, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
		    sqlite3_exec(db, pragma, NULL, NULL, NULL) != SQLITE_OK)
			return -EIO;
	}
	return 0;
}

int schema_open(const char *path, sqlite3 **out, char *why, size_t why_size)
{
	sqlite3 *db = NULL;
	int64_t version;
	int err;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW,
			    NULL) != SQLITE_OK)
		goto fail;
	sqlite3_busy_timeout(db, 2000);
	sqlite3_extended_result_codes(db, 1);
	if (sqlite3_exec(db,
			 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF",
			 NULL, NULL, NULL) != SQLITE_OK)
		goto fail;
	version = number_of(db, "PRAGMA user_version");
	if (version < 0)
		goto fail;
	if (version > VERSION) {
		snprintf(why, why_size, "made by a newer lapidary (version %lld, this one knows %d)",
			 (long long)version, VERSION);
		sqlite3_close(db);
		return -EPROTO;
	}
	if (!check_passes(db)) {
		snprintf(why, why_size, "its own check finds damage");
		sqlite3_close(db);
		return -EBADMSG;
	}
	if (migrate(db, version))
		goto fail;
	*out = db;
	return 0;
fail:
	err = schema_error(db, why, why_size);
	sqlite3_close(db);
	return err;
}
