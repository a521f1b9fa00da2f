/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue between the loop and the store's thread. Enqueuing never waits for anything but the lock, which
 * the thread holds for list work alone. Bounds: items and bytes, the batch being written included. When
 * bytes run out, stacks go first (the newest queued ones: what came first stays whole), then the item;
 * documents leave the last quarter of the places to crashes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/sink/store_parts.h"

enum { DOCUMENT_BYTES = 2048 }; /* what a parsed document holds, about */

static void stack_shed(struct store *store, struct item *item)
{
	item->bytes -= item->report->stack_size;
	free(item->report->stack);
	item->report->stack = NULL;
	item->report->stack_size = 0;
	item->stack_shed = true;
	store->stats.dropped_stacks++;
}

/* Frees queued stacks until `wanted` more bytes fit; call with the lock held. */
static void stacks_shed(struct store *store, size_t wanted)
{
	while (store->stats.queue_bytes + wanted > store->bytes_max) {
		struct item *newest = NULL;

		for (struct item *item = store->first; item; item = item->next)
			if (item->kind == ITEM_CRASH && item->report->stack)
				newest = item;
		if (!newest)
			return;
		store->stats.queue_bytes -= newest->report->stack_size;
		stack_shed(store, newest);
	}
}

static bool fits(struct store *store, struct item *item)
{
	size_t places = item->kind == ITEM_CRASH || item->kind == ITEM_CRASH_END || item->kind == ITEM_STDERR
				? store->items_max
				: store->items_max - store->items_max / 4;

	if (store->stats.queue_items >= places)
		return false;
	if (store->stats.queue_bytes + item->bytes <= store->bytes_max)
		return true;
	if (item->kind == ITEM_CRASH && item->report->stack)
		stack_shed(store, item);
	stacks_shed(store, item->bytes);
	return store->stats.queue_bytes + item->bytes <= store->bytes_max;
}

/* Takes the item over, also on failure. NULL: there was no memory for it. */
static int enqueue(struct store *store, struct item *item)
{
	int err = 0;

	pthread_mutex_lock(&store->lock);
	/* Not before the first item: until then the agent drops its capabilities, which every thread has for
	 * itself. A thread that could not be started is tried again with the next item. */
	if (!store->running)
		store->running = pthread_create(&store->thread, NULL, store_thread, store) == 0;
	if (!item || store->stopping || !fits(store, item)) {
		store->stats.dropped_items++;
		err = -ENOSPC;
	} else {
		*store->last = item;
		store->last = &item->next;
		store->stats.queued++;
		store->stats.queue_items++;
		store->stats.queue_bytes += item->bytes;
		pthread_cond_signal(&store->wake);
	}
	pthread_mutex_unlock(&store->lock);
	if (err)
		item_free(item);
	return err;
}

static struct item *item_new(enum item_kind kind, size_t bytes)
{
	struct item *item = calloc(1, sizeof(*item));

	if (item) {
		item->kind = kind;
		item->bytes = sizeof(*item) + bytes;
	}
	return item;
}

int store_crash(struct store *store, struct crash_report *report)
{
	struct item *item;

	if (!bundle_id_good(report->id)) {
		crash_report_free(report);
		return -EINVAL;
	}
	item = item_new(ITEM_CRASH, crash_report_memory(report));
	if (item)
		item->report = report;
	else
		crash_report_free(report);
	return enqueue(store, item);
}

int store_crash_end(struct store *store, const char *id, int32_t status)
{
	struct item *item;

	if (!bundle_id_good(id))
		return -EINVAL;
	item = item_new(ITEM_CRASH_END, 0);
	if (item) {
		text_copy(item->id, sizeof(item->id), id);
		item->status = status;
	}
	return enqueue(store, item);
}

int store_crash_stderr(struct store *store, const char *id, char *text, size_t size, const char *state,
		       const char *why)
{
	struct item *item = bundle_id_good(id) ? item_new(ITEM_STDERR, size) : NULL;

	if (!item) {
		free(text);
		return bundle_id_good(id) ? enqueue(store, NULL) : -EINVAL;
	}
	text_copy(item->id, sizeof(item->id), id);
	item->text.text = text;
	item->text.size = size;
	text_copy(item->text.state, sizeof(item->text.state), state);
	text_copy(item->text.why, sizeof(item->text.why), why);
	return enqueue(store, item);
}

static int store_document(struct store *store, enum item_kind kind, cJSON *json)
{
	struct item *item = item_new(kind, DOCUMENT_BYTES);

	if (item)
		item->json = json;
	else
		cJSON_Delete(json);
	return enqueue(store, item);
}

int store_incident(struct store *store, cJSON *incident)
{
	return store_document(store, ITEM_INCIDENT, incident);
}

int store_decision(struct store *store, cJSON *decision)
{
	return store_document(store, ITEM_DECISION, decision);
}

int store_action(struct store *store, cJSON *action)
{
	return store_document(store, ITEM_ACTION, action);
}

int store_process(struct store *store, cJSON *process)
{
	return store_document(store, ITEM_PROCESS, process);
}

int store_watermark(struct store *store, uint64_t wall_ns)
{
	struct item *item = item_new(ITEM_WATERMARK, 0);

	if (item)
		item->wall_ns = wall_ns;
	return enqueue(store, item);
}

void store_on_durable(struct store *store, store_durable_fn notify, void *context)
{
	pthread_mutex_lock(&store->lock);
	store->notify = notify;
	store->notify_context = context;
	pthread_mutex_unlock(&store->lock);
}

void store_stats(struct store *store, struct store_stats *out)
{
	pthread_mutex_lock(&store->lock);
	*out = store->stats;
	pthread_mutex_unlock(&store->lock);
}
