/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store: SQLite (WAL) in the state directory, and the crash bundles beside it.
 *
 * One thread of its own (from the first item on) behind a bounded queue; the loop only enqueues. A crash is
 * durable when its bundle's report.json was written, fsynced and renamed into place and then its row
 * committed. The watermark, "every crash up to here is in the store", is committed with each batch: after a
 * kill the next start says from when to when nobody watched. A full queue drops stacks first, then whole
 * items, counted. A folder that was taken away under the agent is made anew; what was being written then is
 * written to the new one.
 */
#ifndef LAPIDARY_STORE_H
#define LAPIDARY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>
#include "user/crash/bundle.h"

struct store;

struct store_options {
	const char *state_dir;
	size_t queue_items;   /* default 1024 */
	size_t queue_bytes;   /* default 16 MiB; stacks are dropped beyond */
	uint64_t quota_bytes; /* of crashes/, 0: none; the oldest of the largest group goes first */
	uint64_t age_ns;      /* bundles older than this go too, but for the last of each group; 0: none do */
	uint32_t group_bundles;   /* of like crashes so many are kept in group_window_ns, 0: all; */
	uint64_t group_window_ns; /* of the others the row alone */
};

/* What the start found. */
struct store_start {
	bool first;                                  /* the store was created */
	bool unclean;                                /* the run before did not stop gracefully */
	uint64_t unwatched_from_ns, unwatched_to_ns; /* wall clock, both 0 on the first start */
	uint32_t removed;                            /* half-written bundles taken away */
	uint32_t recovered;                          /* finished bundles that had no row */
	uint32_t missing;                            /* rows whose bundle is gone, marked so */
	uint32_t unfinished; /* actions under way when the run before ended, now "failed" */
};

/*
 * Opens or creates, takes the exclusive lock of the state directory (-EBUSY: a second agent), migrates,
 * reconciles. A damaged database is set aside as lapidary.db.damaged-<time> and its crashes are recovered
 * from the bundles. `why` gets one line on failure and after such a rescue.
 */
int store_open(const struct store_options *options, uint64_t now_wall_ns, struct store **out,
	       struct store_start *start, char *why, size_t why_size);
/* Writes what is queued (at most limit_ms), records a graceful stop, closes. */
int store_close(struct store *store, unsigned limit_ms);

/* All of these only enqueue. 0, or -ENOSPC when the item was dropped (counted). */
int store_crash(struct store *store, struct crash_report *report); /* takes ownership, also on failure */
/* A crash confirmed by its handler has died: amends row and report. */
int store_crash_end(struct store *store, const char *id, int32_t status);
/*
 * What it wrote as it died, as stderr.txt: takes `text` over (size may be 0). `state` and `why` are the
 * report's: "complete", "partial", "missing". After store_crash.
 */
int store_crash_stderr(struct store *store, const char *id, char *text, size_t size, const char *state,
		       const char *why);
int store_incident(struct store *store, cJSON *incident); /* upsert by id; takes ownership */
int store_decision(struct store *store, cJSON *decision); /* takes ownership */
/* Audit line of the gate; a later one with the same "id" replaces the earlier; takes ownership. */
int store_action(struct store *store, cJSON *action);
int store_process(struct store *store, cJSON *process); /* upsert by (pid, start_time); takes ownership */
/* Everything before wall_ns that is to be stored has been enqueued. */
int store_watermark(struct store *store, uint64_t wall_ns);

/* `notify` is called on the store's thread after each commit with the ids of crashes made durable. */
typedef void (*store_durable_fn)(void *context, const char *crash_id);
void store_on_durable(struct store *store, store_durable_fn notify, void *context);

struct store_stats {
	uint64_t queued, written, dropped_items, dropped_stacks, errors;
	size_t queue_items, queue_bytes;
	uint64_t lost;        /* times that the folder was taken away under the agent, with all in it */
	char last_error[160]; /* "" when the last batch went well */
};
void store_stats(struct store *store, struct store_stats *out);

/* Reading, for the client commands: opens read-only, without the agent's lock. -ENOENT: no store there. */
struct store_reader;
int store_reader_open(const char *state_dir, struct store_reader **out, char *why, size_t why_size);
void store_reader_close(struct store_reader *reader);

struct store_filter {
	const char *app, *cause, *gem, *fingerprint; /* NULL: any */
	uint64_t since_wall_ns, until_wall_ns;       /* 0: open */
	uint32_t limit;                              /* 0: 1000 */
};
/* Each: one object with one array named after the listing, newest first; the caller deletes it. */
int store_crashes(struct store_reader *reader, const struct store_filter *filter, cJSON **out);
/* Crashes by fingerprint, the group with the latest first; its counts include what was not kept. */
int store_groups(struct store_reader *reader, const struct store_filter *filter, cJSON **out);
int store_incidents(struct store_reader *reader, const struct store_filter *filter, cJSON **out);
int store_decisions(struct store_reader *reader, const struct store_filter *filter, cJSON **out);
int store_actions(struct store_reader *reader, const struct store_filter *filter, cJSON **out);
int store_gaps(struct store_reader *reader, cJSON **out); /* times when nobody watched */
/*
 * The report.json of the one crash whose id starts with `prefix`, and its folder in `bundle`. -ENOENT: no
 * such crash, -ENOTUNIQ: several, -ESTALE: known, but there is no bundle (over the limit of its group,
 * taken by quota or age, or removed by hand),
 * -EBADMSG: damaged, and `bundle` gets "FILE: what is wrong" instead.
 */
int store_report(struct store_reader *reader, const char *prefix, cJSON **out, char *bundle,
		 size_t bundle_size);

#endif
