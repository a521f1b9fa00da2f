/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The row of a crash: from the report as it was handed over, or from a report.json that outlived its row.
 * Both ways lead through the same statement, and an amended bundle keeps the status it already had.
 */
#include <errno.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/when.h"
#include "user/sink/store_parts.h"

static const char *text_or_null(const char *text)
{
	return text && *text ? text : NULL;
}

struct row {
	const char *id, *time, *app, *start_time, *comm, *signal, *code, *address, *cause, *module, *gem,
		*version, *confidence, *fingerprint, *confirmed_by, *host, *state;
	int64_t pid, uid, bytes;
};

static int row_write(sqlite3 *db, const struct row *row)
{
	uint64_t wall = 0;

	if (!when_parse(row->time, &wall))
		return -EBADMSG;
	return db_run(
		db,
		"INSERT INTO crashes (id, time, time_text, app, pid, start_time, comm, uid, signal, code,"
		" fault_address, cause, module, gem, version, confidence, fingerprint, confirmed_by, bytes,"
		" host, state)"
		" VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
		" ON CONFLICT (id) DO UPDATE SET time = excluded.time, time_text = excluded.time_text,"
		" app = excluded.app, pid = excluded.pid, start_time = excluded.start_time, comm = "
		"excluded.comm,"
		" uid = excluded.uid, signal = excluded.signal, code = excluded.code,"
		" fault_address = excluded.fault_address, cause = excluded.cause, module = excluded.module,"
		" gem = excluded.gem, version = excluded.version, confidence = excluded.confidence,"
		" fingerprint = excluded.fingerprint, confirmed_by = excluded.confirmed_by,"
		" bytes = excluded.bytes, host = excluded.host, state = excluded.state, problem = NULL",
		"tittittittttttttttitt", row->id, (int64_t)wall, row->time, text_or_null(row->app), row->pid,
		text_or_null(row->start_time), text_or_null(row->comm), row->uid, text_or_null(row->signal),
		text_or_null(row->code), text_or_null(row->address), text_or_null(row->cause),
		text_or_null(row->module), text_or_null(row->gem), text_or_null(row->version),
		text_or_null(row->confidence), text_or_null(row->fingerprint),
		text_or_null(row->confirmed_by), row->bytes, text_or_null(row->host), row->state);
}

static int row_status(sqlite3 *db, const char *id, int64_t status)
{
	return db_run(db, "UPDATE crashes SET status = ? WHERE id = ?", "it", status, id);
}

static int row_times(sqlite3 *db, const struct item *item)
{
	return db_run(db, "UPDATE crashes SET fault_ns = ?, finished_ns = ? WHERE id = ?", "iit",
		      (int64_t)item->report->fault_ns, (int64_t)item->finished_ns, item->report->id);
}

int row_insert(sqlite3 *db, const struct item *item)
{
	const struct crash_report *report = item->report;
	const struct row row = {
		report->id,
		report->time,
		report->app,
		report->start_time,
		report->comm,
		report->signal,
		report->code,
		report->fault_address,
		report->cause,
		report->blame.module,
		report->blame.gem,
		report->blame.version,
		report->blame.confidence,
		report->fingerprint,
		report->confirmed_by,
		report->host,
		item->suppressed ? "suppressed" : "whole",
		report->pid,
		report->uid,
		(int64_t)item->bundle_bytes,
	};
	int err = row_write(db, &row);

	if (!err && item->finished_ns)
		err = row_times(db, item);
	return err || report->status < 0 ? err : row_status(db, report->id, report->status);
}

int row_recover(sqlite3 *db, const char *id, const cJSON *report, size_t bytes)
{
	const cJSON *blame = cJSON_GetObjectItem(report, "blame"), *end = cJSON_GetObjectItem(report, "exit");
	const struct row row = {
		id,
		json_text(report, "time"),
		json_text(report, "app"),
		json_text(report, "start_time"),
		json_text(report, "comm"),
		json_text(report, "signal"),
		json_text(report, "code"),
		json_text(report, "fault_address"),
		json_text(report, "cause"),
		json_text(blame, "module"),
		json_text(blame, "gem"),
		json_text(blame, "version"),
		json_text(blame, "confidence"),
		json_text(report, "fingerprint"),
		json_text(report, "confirmed_by"),
		json_text(report, "host"),
		"whole",
		(int64_t)json_number(report, "pid", 0),
		(int64_t)json_number(report, "uid", 0),
		(int64_t)bytes,
	};
	int err = row_write(db, &row);

	if (!err && cJSON_IsObject(end))
		err = row_status(db, id, (int64_t)json_number(end, "status", 0));
	if (!err)
		err = db_run(db, "UPDATE crashes SET stderr = ? WHERE id = ?", "tt",
			     text_or_null(json_text(cJSON_GetObjectItem(report, "stderr"), "state")), id);
	return err;
}

int row_damaged(sqlite3 *db, const char *id, uint64_t wall_ns, const char *problem)
{
	char time[WHEN_SIZE];

	when_rfc3339(wall_ns, time);
	return db_run(
		db,
		"INSERT INTO crashes (id, time, time_text, state, problem) VALUES (?, ?, ?, 'damaged', ?)"
		" ON CONFLICT (id) DO UPDATE SET state = 'damaged', problem = excluded.problem",
		"titt", id, (int64_t)wall_ns, time, problem);
}
