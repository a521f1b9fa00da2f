/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of the store, taken away under the agent. Descriptors and SQLite go on as before then, and what
 * they write nobody finds. So the place is asked for by its name, with each batch; where it is another one,
 * or none, the folder is made anew and the batch goes there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/when.h"
#include "user/sink/store_parts.h"

/* Only what is certain: a file system that does not answer is no removed folder. */
static bool is_another(int err, const struct stat *named, uint64_t device, uint64_t inode)
{
	return err ? errno == ENOENT || errno == ENOTDIR : named->st_dev != device || named->st_ino != inode;
}

bool place_is_there(const struct store *store)
{
	struct stat ours, named;
	int err;

	if (!store->db || fstat(store->state_fd, &ours) < 0)
		return false;
	err = stat(store->state_dir, &named);
	if (is_another(err, &named, ours.st_dev, ours.st_ino))
		return false;
	err = fstatat(store->state_fd, "lapidary.db", &named, AT_SYMLINK_NOFOLLOW);
	if (is_another(err, &named, ours.st_dev, store->db_inode))
		return false;
	return fstat(store->crashes_fd, &named) == 0 && named.st_nlink > 0;
}

void place_close(struct store *store)
{
	int *fds[] = {&store->crashes_fd, &store->lock_fd, &store->state_fd};

	sqlite3_close(store->db);
	store->db = NULL;
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

int place_keep(struct store *store, char *why, size_t why_size)
{
	struct store_start start = {0};
	bool fresh = store->db != NULL;
	int err;

	if (place_is_there(store))
		return 0;
	if (fresh) {
		pthread_mutex_lock(&store->lock);
		store->stats.lost++;
		pthread_mutex_unlock(&store->lock);
	}
	place_close(store);
	/* What this batch has written lies in the old folder. */
	for (struct item *item = store->batch; item; item = item->next)
		item->bundled = item->suppressed = false;
	err = place_open(store, when_wall_now(), &start, why, why_size);
	if (err)
		place_close(store);
	return err;
}
