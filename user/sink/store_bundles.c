/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a batch, in the order that finishes reports soonest: the reports of all its crashes, one
 * fsync each; then what finished ones have learnt since; then the syncs that nobody waits for but the rows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "user/sink/store_parts.h"

static int failed(const char *id, int err, char *why, size_t why_size)
{
	snprintf(why, why_size, "crashes/%s: %s", id, strerror(-err));
	return err;
}

/* Bundles of the batch before `end` that are like this one; they have no row yet. */
static uint32_t kept_before(const struct item *batch, const struct item *end)
{
	uint32_t kept = 0;

	for (const struct item *item = batch; item != end; item = item->next)
		kept += item->kind == ITEM_CRASH && !item->suppressed &&
			!strcmp(item->report->fingerprint, end->report->fingerprint);
	return kept;
}

static int crash_write(struct store *store, struct item *batch, struct item *item)
{
	int err = group_is_full(store->db, item->report, &store->keeping, kept_before(batch, item),
				&item->suppressed);

	/* a database that cannot be asked is no reason to lose a report */
	if (err)
		item->suppressed = false;
	if (item->suppressed)
		return 0;
	return bundle_write(store->crashes_fd, item->report, item->stack_shed, &item->bundle_bytes,
			    &item->finished_ns);
}

/* All that the batch has for the bundle of `item`, at once; only the first of its items comes here. */
static int crash_amend(struct store *store, struct item *item)
{
	struct amendment amendment = {0};
	int err;

	for (struct item *each = item; each; each = each->next) {
		if ((each->kind != ITEM_CRASH_END && each->kind != ITEM_STDERR) || strcmp(each->id, item->id))
			continue;
		if (each->kind == ITEM_STDERR) {
			amendment.written = &each->text;
		} else {
			amendment.ended = true;
			amendment.status = each->status;
		}
	}
	err = bundle_amend(store->crashes_fd, item->id, &amendment);
	for (struct item *each = item; each; each = each->next) {
		if ((each->kind != ITEM_CRASH_END && each->kind != ITEM_STDERR) || strcmp(each->id, item->id))
			continue;
		/* dropped, suppressed, taken by the quota, or damaged: the row alone has it */
		each->bundled = !err || err == -ENOENT || err == -EBADMSG;
		each->bundle_bytes = err ? 0 : each->text.size;
	}
	return item->bundled ? 0 : err;
}

static int reports_write(struct store *store, struct item *batch, char *why, size_t why_size)
{
	int err;

	for (struct item *item = batch; item; item = item->next) {
		if (item->kind != ITEM_CRASH || item->bundled)
			continue;
		err = crash_write(store, batch, item);
		if (err)
			return failed(item->report->id, err, why, why_size);
		item->bundled = true;
	}
	for (struct item *item = batch; item; item = item->next) {
		if ((item->kind != ITEM_CRASH_END && item->kind != ITEM_STDERR) || item->bundled)
			continue;
		err = crash_amend(store, item);
		if (err)
			return failed(item->id, err, why, why_size);
	}
	return 0;
}

int bundles_write(struct store *store, struct item *batch, char *why, size_t why_size)
{
	bool any = false;
	int err = reports_write(store, batch, why, why_size);

	for (struct item *item = batch; item && !err; item = item->next) {
		if (item->kind != ITEM_CRASH || item->suppressed)
			continue;
		any = true;
		err = bundle_sync(store->crashes_fd, item->report->id);
		if (err)
			failed(item->report->id, err, why, why_size);
	}
	if (!err && any && fsync(store->crashes_fd) < 0) {
		err = -errno;
		snprintf(why, why_size, "crashes: %s", strerror(-err));
	}
	return err;
}
