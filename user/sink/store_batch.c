/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's thread. It takes what is queued, writes the bundles, and commits rows and watermark in one
 * transaction. When that fails (disk full, I/O error), the same batch is tried again with growing delay: the
 * bundles already written are kept, the queue keeps filling up to its bound, and the error stands in
 * the statistics until a batch goes through.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/sink/store_parts.h"

enum { BATCH_MAX = 256, RETRY_FIRST_MS = 50, RETRY_MAX_MS = 5000, PRUNE_MISSES = 64 };

void item_free(struct item *item)
{
	if (!item)
		return;
	crash_report_free(item->report);
	cJSON_Delete(item->json);
	free(item->text.text);
	free(item);
}

/* The first of these that a document has: each kind names its moment by what happened then. */
static int64_t document_time(const cJSON *json)
{
	static const char *const keys[] = {"updated", "time", "opened", "updated_at", "opened_at", "at"};
	uint64_t wall = 0;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (when_parse(json_text(json, keys[i]), &wall))
			break;
	return (int64_t)wall;
}

static int document_write(sqlite3 *db, const char *sql, const cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);
	int err = -ENOMEM;

	if (text)
		err = db_run(db, sql, "titt", json_text(json, "id"), document_time(json),
			     json_text(json, "app"), text);
	cJSON_free(text);
	return err;
}

/*
 * An audit line is written when the action begins and again, under the same id, when its outcome is known.
 * It keeps the place and the time of its beginning, so that a listing does not shuffle under its reader. NULL
 * is no id, and never the same as another.
 */
static int action_write(sqlite3 *db, const cJSON *json)
{
	const char *id = json_text(json, "id");
	char *text = cJSON_PrintUnformatted(json);
	int err = -ENOMEM;

	if (text)
		err = db_run(db,
			     "INSERT INTO actions (id, time, app, outcome, document) VALUES (?, ?, ?, ?, ?)"
			     " ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome,"
			     " document = excluded.document",
			     "tittt", *id ? id : NULL, document_time(json), json_text(json, "app"),
			     json_text(json, "outcome"), text);
	cJSON_free(text);
	return err;
}

static int process_write(sqlite3 *db, const cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);
	int err = -ENOMEM;

	if (text)
		err = db_run(db,
			     "INSERT OR REPLACE INTO processes (pid, start_time, app, document) VALUES (?, "
			     "?, ?, ?)",
			     "ittt", (int64_t)json_number(json, "pid", 0), json_text(json, "start_time"),
			     json_text(json, "app"), text);
	cJSON_free(text);
	return err;
}

static int row_for(struct store *store, const struct item *item)
{
	switch (item->kind) {
	case ITEM_CRASH:
		return row_insert(store->db, item);
	case ITEM_CRASH_END:
		return db_run(store->db, "UPDATE crashes SET status = ? WHERE id = ?", "it",
			      (int64_t)item->status, item->id);
	case ITEM_STDERR:
		return db_run(store->db, "UPDATE crashes SET stderr = ?, bytes = bytes + ? WHERE id = ?",
			      "tit", item->text.state, (int64_t)item->bundle_bytes, item->id);
	case ITEM_INCIDENT:
		return document_write(
			store->db,
			"INSERT OR REPLACE INTO incidents (id, time, app, document) VALUES (?, ?, ?, ?)",
			item->json);
	case ITEM_DECISION:
		return document_write(
			store->db,
			"INSERT OR REPLACE INTO decisions (id, time, app, document) VALUES (?, ?, ?, ?)",
			item->json);
	case ITEM_ACTION:
		return action_write(store->db, item->json);
	case ITEM_PROCESS:
		return process_write(store->db, item->json);
	case ITEM_WATERMARK:
		return db_run(store->db,
			      "UPDATE watches SET first = coalesce(first, ?1), watermark = max(watermark, ?1)"
			      " WHERE id = ?2",
			      "ii", (int64_t)item->wall_ns, store->watch);
	}
	return 0;
}

static int rows_write(struct store *store, struct item *batch, char *why, size_t why_size)
{
	uint64_t dropped;
	int err = 0;

	pthread_mutex_lock(&store->lock);
	dropped = store->stats.dropped_items;
	pthread_mutex_unlock(&store->lock);
	if (sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return schema_error(store->db, why, why_size);
	for (struct item *item = batch; item && !err; item = item->next)
		err = row_for(store, item);
	if (!err)
		err = db_run(store->db, "UPDATE watches SET dropped = ? WHERE id = ? AND dropped != ?", "iii",
			     (int64_t)dropped, store->watch, (int64_t)dropped);
	if (!err && sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	err = schema_error(store->db, why, why_size);
	sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

/*
 * A folder that was removed takes writes like any other, so a commit counts only where the folder is there
 * after it.
 */
int batch_write(struct store *store, struct item *batch, char *why, size_t why_size)
{
	int err = 0;

	for (int tries = 0; tries < 3; tries++) {
		err = place_keep(store, why, why_size);
		if (err)
			return err;
		err = bundles_write(store, batch, why, why_size);
		if (!err)
			err = rows_write(store, batch, why, why_size);
		if (place_is_there(store))
			return err;
	}
	snprintf(why, why_size, "%.120s: removed while it was written to", store->state_dir);
	return -ESTALE;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Call with the lock held. */
static bool time_is_over(const struct store *store)
{
	return store->stopping && monotonic_ns() >= store->stop_by_ns;
}

static void wait_ms(struct store *store, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&store->wake, &store->lock, &until);
}

/* Takes up to BATCH_MAX items off the queue; call with the lock held. */
static void batch_take(struct store *store)
{
	struct item **end = &store->first;
	size_t count = 0;

	while (*end && count++ < BATCH_MAX)
		end = &(*end)->next;
	store->batch = store->first;
	store->first = *end;
	*end = NULL;
	if (!store->first)
		store->last = &store->first;
}

/* The batch is durable: tell who waits for its crashes, then let go of it. */
static void batch_finish(struct store *store, store_durable_fn notify, void *context)
{
	size_t items = 0, bytes = 0;

	for (struct item *item = store->batch, *next; item; item = next) {
		next = item->next;
		if (item->kind == ITEM_CRASH && notify)
			notify(context, item->report->id);
		items++;
		bytes += item->bytes;
		item_free(item);
	}
	pthread_mutex_lock(&store->lock);
	store->batch = NULL;
	store->stats.written += items;
	store->stats.queue_items -= items;
	store->stats.queue_bytes -= bytes;
	store->stats.last_error[0] = '\0';
	pthread_mutex_unlock(&store->lock);
}

/* One batch, tried once. Call with the lock held; it is released meanwhile. Returns 0 or -errno. */
static int batch_try(struct store *store)
{
	store_durable_fn notify = store->notify;
	void *context = store->notify_context;
	char why[160] = "";
	int err;

	pthread_mutex_unlock(&store->lock);
	err = batch_write(store, store->batch, why, sizeof(why));
	if (!err)
		batch_finish(store, notify, context);
	pthread_mutex_lock(&store->lock);
	store->prune = store->prune || !err;
	if (err) {
		store->stats.errors++;
		text_copy(store->stats.last_error, sizeof(store->stats.last_error), why);
	}
	return err;
}

/*
 * Makes room when nobody waits for the disk, or when there was no such moment for long. Call with the lock
 * held; it is released meanwhile. What fails is tried again after the next batch.
 */
static void prune(struct store *store)
{
	if (store->first && ++store->prune_misses < PRUNE_MISSES)
		return;
	store->prune_misses = 0;
	pthread_mutex_unlock(&store->lock);
	store->prune =
		store->db && quota_step(store->db, store->crashes_fd, &store->keeping, when_wall_now()) > 0;
	pthread_mutex_lock(&store->lock);
}

void *store_thread(void *argument)
{
	struct store *store = argument;
	unsigned delay_ms = RETRY_FIRST_MS;

	pthread_mutex_lock(&store->lock);
	for (;;) {
		while (!store->first && !store->batch && !store->stopping) {
			if (store->prune)
				prune(store);
			else
				pthread_cond_wait(&store->wake, &store->lock);
		}
		if (!store->batch)
			batch_take(store);
		if (!store->batch || time_is_over(store))
			break;
		if (!batch_try(store)) {
			delay_ms = RETRY_FIRST_MS;
			if (store->prune)
				prune(store);
			continue;
		}
		wait_ms(store, delay_ms);
		delay_ms = delay_ms * 2 < RETRY_MAX_MS ? delay_ms * 2 : RETRY_MAX_MS;
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}
