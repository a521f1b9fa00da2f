/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the store: the queue's items, the thread's state, and the steps of a batch. */
#ifndef LAPIDARY_STORE_PARTS_H
#define LAPIDARY_STORE_PARTS_H

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include "user/sink/store.h"

/* What a crash wrote as it died. */
struct stderr_text {
	char *text; /* may be NULL */
	size_t size;
	char state[12], why[160];
};

enum item_kind {
	ITEM_CRASH,
	ITEM_CRASH_END,
	ITEM_STDERR,
	ITEM_INCIDENT,
	ITEM_DECISION,
	ITEM_ACTION,
	ITEM_PROCESS,
	ITEM_WATERMARK,
};

struct item {
	struct item *next;
	enum item_kind kind;
	size_t bytes;
	struct crash_report *report; /* CRASH */
	bool stack_shed;             /* CRASH: its stack was dropped in the queue */
	bool bundled;    /* CRASH, CRASH_END, STDERR: its files are as they should be, a retry need
			    not write them again */
	bool suppressed; /* CRASH: over the limit of its group, it gets no bundle */
	size_t bundle_bytes;
	uint64_t finished_ns;    /* CRASH: CLOCK_BOOTTIME of the rename of report.json */
	struct stderr_text text; /* STDERR */
	cJSON *json;             /* INCIDENT … PROCESS */
	char id[20];             /* CRASH_END, STDERR */
	int32_t status;          /* CRASH_END */
	uint64_t wall_ns;        /* WATERMARK */
};

/* What is kept of crashes, see struct store_options. */
struct keeping {
	uint64_t quota_bytes, age_ns, group_window_ns;
	uint32_t group_bundles;
};

void item_free(struct item *item);

struct store {
	/* set by store_open, then the thread's alone */
	char state_dir[PATH_MAX];
	int state_fd, lock_fd, crashes_fd;
	sqlite3 *db;       /* NULL: the folder was taken away and could not be made anew yet */
	uint64_t db_inode; /* of lapidary.db */
	int64_t watch;     /* row of this run */
	struct keeping keeping;
	bool prune;            /* something may be over the limits */
	unsigned prune_misses; /* batches since there was time to look */
	struct item *batch;    /* taken from the queue, not yet committed */
	/* shared, under the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	struct item *first, **last;
	size_t items_max, bytes_max;
	bool running; /* the thread was started */
	bool stopping;
	uint64_t stop_by_ns; /* CLOCK_MONOTONIC */
	store_durable_fn notify;
	void *notify_context;
	struct store_stats stats;
};

/*
 * Opens the folder that state_dir names, creating it, with lock, database and reconciliation, and begins this
 * run's row. After a failure place_close is due.
 */
int place_open(struct store *store, uint64_t now_wall_ns, struct store_start *start, char *why,
	       size_t why_size);
void place_close(struct store *store);
/* Whether what is written lies in the folder that state_dir names, so that somebody will find it. */
bool place_is_there(const struct store *store);
/* Where it is not: opens it anew, counted. 0 also when there was nothing to do. */
int place_keep(struct store *store, char *why, size_t why_size);

/* Runs until stopping is set and the queue is empty, or the time to stop is over. */
void *store_thread(void *store);
/* Its files first; items that are done are marked so. */
int bundles_write(struct store *store, struct item *batch, char *why, size_t why_size);
/* Writes one batch durably; 0 or -errno with `why` (then nothing of it counts as written). */
int batch_write(struct store *store, struct item *batch, char *why, size_t why_size);

/* --- the database --- */
/* Opens and migrates. -EBADMSG: damaged; -EPROTO: made by a newer version; else -EIO and the like. */
int schema_open(const char *path, sqlite3 **out, char *why, size_t why_size);
int schema_error(sqlite3 *db, char *why, size_t why_size); /* -errno of the last error */
/* Prepares and binds in one go: 't' const char * (NULL binds NULL), 'i' int64_t. NULL on error. */
sqlite3_stmt *db_prepare(sqlite3 *db, const char *sql, const char *types, ...);
/* The same, run to its end: 0 or -EIO. */
int db_run(sqlite3 *db, const char *sql, const char *types, ...);

/* --- crash rows --- */
int row_insert(sqlite3 *db, const struct item *item);
/* A row from a bundle's report.json. */
int row_recover(sqlite3 *db, const char *id, const cJSON *report, size_t bytes);
/* Marks the row, or makes one with this time where there is none. */
int row_damaged(sqlite3 *db, const char *id, uint64_t wall_ns, const char *problem);

/* --- bundles: everything below the descriptor of crashes/ --- */
bool bundle_id_good(const char *id);             /* 1 to 19 letters of [0-9a-z]: no path can be made of it */
int bundle_open(int crashes_fd, const char *id); /* its folder's descriptor or -errno */
/* Finishes it, and says when; the other files and the folder are not synced yet. */
int bundle_write(int crashes_fd, const struct crash_report *report, bool stack_shed, size_t *bytes,
		 uint64_t *finished_ns);
int bundle_sync(int crashes_fd, const char *id);
/* Takes all but the report away. */
int bundle_drop_raw(int crashes_fd, const char *id);
/* What report.json learns later; -ENOENT when there is none. */
struct amendment {
	bool ended;
	int32_t status;                    /* where ended */
	const struct stderr_text *written; /* may be NULL */
	const char *lost;                  /* why the raw parts are missing; NULL: they are not */
};
int bundle_amend(int crashes_fd, const char *id, const struct amendment *amendment);
int bundle_remove(int crashes_fd, const char *id);
/* Reads report.json: 0, -ENOENT, or -EBADMSG with `why`. Sums the files' sizes into *bytes (may be NULL). */
int bundle_read(int crashes_fd, const char *id, cJSON **out, size_t *bytes, char *why, size_t why_size);

/* `rebooted`: the machine has stopped since the run before. */
int reconcile(sqlite3 *db, int crashes_fd, bool rebooted, struct store_start *start);
/*
 * One step of taking bundles away until quota and age are kept; rows stay, marked expired. 1: there is more
 * to do, 0: there is not, or -errno.
 */
int quota_step(sqlite3 *db, int crashes_fd, const struct keeping *keeping, uint64_t now_wall_ns);
/* Whether a crash's group has all the bundles that it may have; `kept`: those of this batch that are not in
 * the database yet. */
int group_is_full(sqlite3 *db, const struct crash_report *report, const struct keeping *keeping,
		  uint32_t kept, bool *full);

struct store_reader {
	sqlite3 *db;
	int state_fd, crashes_fd;
	char state_dir[PATH_MAX];
};
/* A row's column as text, "" for NULL; borrowed. */
const char *db_text(sqlite3_stmt *row, int column);

#endif
