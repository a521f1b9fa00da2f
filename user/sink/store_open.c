/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing the store. The lock comes first, before anything is read or mended: two agents on
 * one state directory would take each other's half-written bundles for rubbish. It is a lock of the open
 * file, so it ends with the process however that ends, and readers can ask whether it is held.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/sink/store_parts.h"

enum { QUEUE_ITEMS = 1024, QUEUE_BYTES = 16 << 20 };

static int directories_open(struct store *store, const char *state_dir, char *why, size_t why_size)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int err = file_make_dirs(state_dir, 0700);

	if (err) {
		snprintf(why, why_size, "%s: %s; give another with --state-dir", state_dir, strerror(-err));
		return err;
	}
	store->state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->state_fd >= 0)
		store->lock_fd = openat(store->state_fd, "lapidary.lock",
					O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (store->state_fd < 0 || store->lock_fd < 0) {
		err = -errno;
		snprintf(why, why_size, "%s: %s; give another with --state-dir", state_dir, strerror(-err));
		return err;
	}
	if (fcntl(store->lock_fd, F_OFD_SETLK, &lock) < 0) {
		err = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
		snprintf(why, why_size, "%s: %s", state_dir,
			 err == -EBUSY ? "another agent uses it; stop that one or give another --state-dir"
				       : strerror(-err));
		return err;
	}
	if (mkdirat(store->state_fd, "crashes", 0700) < 0 && errno != EEXIST)
		err = -errno;
	else if ((store->crashes_fd = openat(store->state_fd, "crashes",
					     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		err = -errno;
	if (err)
		snprintf(why, why_size, "%s/crashes: %s", state_dir, strerror(-err));
	return err;
}

/* Moves a damaged database out of the way, with its log; `name` gets what it is called now. */
static int set_aside(struct store *store, uint64_t now_ns, char *name, size_t size)
{
	static const char *const parts[] = {"-wal", "-shm"};
	char from[32], to[96];

	snprintf(name, size, "lapidary.db.damaged-%llu", (unsigned long long)(now_ns / 1000000000));
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		snprintf(from, sizeof(from), "lapidary.db%s", parts[i]);
		snprintf(to, sizeof(to), "%s%s", name, parts[i]);
		renameat(store->state_fd, from, store->state_fd, to);
	}
	if (renameat(store->state_fd, "lapidary.db", store->state_fd, name) < 0)
		return -errno;
	return fsync(store->state_fd) < 0 ? -errno : 0;
}

static int database_open(struct store *store, const char *state_dir, uint64_t now_ns, bool *rescued,
			 char *why, size_t why_size)
{
	char real[PATH_MAX], path[PATH_MAX + 16], reason[160], aside[64];
	int fd, err;

	if (!realpath(state_dir, real))
		return -errno;
	snprintf(path, sizeof(path), "%s/lapidary.db", real);
	/* SQLite gives its own files the mode of this one */
	fd = openat(store->state_fd, "lapidary.db", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = -errno;
		snprintf(why, why_size, "%s: %s", path, strerror(-err));
		return err;
	}
	close(fd);
	err = schema_open(path, &store->db, reason, sizeof(reason));
	if (err == -EBADMSG) {
		err = set_aside(store, now_ns, aside, sizeof(aside));
		if (err) {
			snprintf(why, why_size, "%s: damaged (%s), and it cannot be set aside: %s", path,
				 reason, strerror(-err));
			return err;
		}
		*rescued = true;
		snprintf(why, why_size,
			 "%.160s: damaged (%.100s); set aside as %s, crashes recovered from their bundles",
			 path, reason, aside);
		err = schema_open(path, &store->db, reason, sizeof(reason));
	}
	if (err)
		snprintf(why, why_size, "%s: %s", path, reason);
	return err;
}

/* Of this boot of the machine, "" where the kernel does not say. */
static void boot_id(char out[64])
{
	char *text = NULL;

	out[0] = '\0';
	if (file_read("/proc/sys/kernel/random/boot_id", 128, &text, NULL) == 0) {
		text[strcspn(text, "\n")] = '\0';
		text_copy(out, 64, text);
	}
	free(text);
}

/* Whether the machine has stopped since the run before; a run that did not say of which boot it was counts as
 * of this one. */
static bool is_rebooted(sqlite3 *db, const char *boot)
{
	sqlite3_stmt *last = db_prepare(db, "SELECT boot FROM watches ORDER BY id DESC LIMIT 1", "");
	bool rebooted = last && sqlite3_step(last) == SQLITE_ROW && *db_text(last, 0) &&
			strcmp(db_text(last, 0), boot) != 0;

	sqlite3_finalize(last);
	return rebooted;
}

/* What the run before left: when it ended, and whether by intent. Then this run's own row. */
static int watch_begin(struct store *store, uint64_t now_ns, const char *boot, struct store_start *start)
{
	sqlite3_stmt *last =
		db_prepare(store->db, "SELECT watermark, ended FROM watches ORDER BY id DESC LIMIT 1", "");
	int err;

	if (!last)
		return -EIO;
	start->first = sqlite3_step(last) != SQLITE_ROW;
	if (!start->first) {
		start->unclean = sqlite3_column_type(last, 1) == SQLITE_NULL;
		start->unwatched_from_ns = (uint64_t)sqlite3_column_int64(last, start->unclean ? 0 : 1);
		start->unwatched_to_ns = now_ns;
	}
	sqlite3_finalize(last);
	err = db_run(store->db, "INSERT INTO watches (started, watermark, boot) VALUES (?, ?, ?)", "iit",
		     (int64_t)now_ns, (int64_t)now_ns, boot);
	store->watch = sqlite3_last_insert_rowid(store->db);
	return err;
}

static void lock_init(struct store *store)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&store->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&store->lock, NULL);
}

static void store_free(struct store *store)
{
	struct item *next;

	for (struct item *item = store->batch; item; item = next) {
		next = item->next;
		item_free(item);
	}
	for (struct item *item = store->first; item; item = next) {
		next = item->next;
		item_free(item);
	}
	place_close(store);
	free(store);
}

int place_open(struct store *store, uint64_t now_wall_ns, struct store_start *start, char *why,
	       size_t why_size)
{
	bool rescued = false;
	struct stat database;
	char boot[64];
	int err = directories_open(store, store->state_dir, why, why_size);

	if (!err)
		err = database_open(store, store->state_dir, now_wall_ns, &rescued, why, why_size);
	if (err)
		return err;
	boot_id(boot);
	err = reconcile(store->db, store->crashes_fd, is_rebooted(store->db, boot), start);
	if (!err)
		err = watch_begin(store, now_wall_ns, boot, start);
	if (!err && rescued)
		start->first = false;
	if (err) {
		char reason[160];

		schema_error(store->db, reason, sizeof(reason));
		snprintf(why, why_size, "%s/lapidary.db: %s", store->state_dir, reason);
		return err;
	}
	if (fstatat(store->state_fd, "lapidary.db", &database, AT_SYMLINK_NOFOLLOW) == 0)
		store->db_inode = database.st_ino;
	return 0;
}

int store_open(const struct store_options *options, uint64_t now_wall_ns, struct store **out,
	       struct store_start *start, char *why, size_t why_size)
{
	struct store *store = calloc(1, sizeof(*store));
	int err;

	memset(start, 0, sizeof(*start));
	why[0] = '\0';
	if (!store)
		return -ENOMEM;
	store->state_fd = store->lock_fd = store->crashes_fd = -1;
	text_copy(store->state_dir, sizeof(store->state_dir), options->state_dir);
	store->last = &store->first;
	store->items_max = options->queue_items ? options->queue_items : QUEUE_ITEMS;
	store->bytes_max = options->queue_bytes ? options->queue_bytes : QUEUE_BYTES;
	store->keeping = (struct keeping){.quota_bytes = options->quota_bytes,
					  .age_ns = options->age_ns,
					  .group_window_ns = options->group_window_ns,
					  .group_bundles = options->group_bundles};
	store->prune = true;
	err = place_open(store, now_wall_ns, start, why, why_size);
	if (err) {
		store_free(store);
		return err;
	}
	lock_init(store);
	*out = store;
	return 0;
}

int store_close(struct store *store, unsigned limit_ms)
{
	struct timespec until;
	bool whole;
	int err;

	if (!store)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	store->stop_by_ns =
		(uint64_t)until.tv_sec * 1000000000ull + (uint64_t)until.tv_nsec + limit_ms * 1000000ull;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	until.tv_sec += limit_ms / 1000 + 1; /* a write that hangs is given a second more, then left behind */
	err = store->running ? pthread_clockjoin_np(store->thread, NULL, CLOCK_MONOTONIC, &until) : 0;
	if (err)
		return -err; /* the thread still uses it all: nothing may be freed */
	whole = !store->batch && !store->first;
	if (whole && store->db)
		err = db_run(store->db,
			     "UPDATE watches SET ended = ?, watermark = max(watermark, ?) WHERE id = ?",
			     "iii", (int64_t)when_wall_now(), (int64_t)when_wall_now(), store->watch);
	pthread_cond_destroy(&store->wake);
	pthread_mutex_destroy(&store->lock);
	store_free(store);
	return whole ? err : -ETIMEDOUT;
}
