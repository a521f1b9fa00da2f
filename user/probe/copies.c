// SPDX-License-Identifier: Apache-2.0
/*
 * The size is sealed before the examiner gets the file and its contents after: it can neither make a later
 * reader fault beyond an end that moved, nor change what was checked. What it wrote is counted in blocks of
 * memory, whatever it says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/table.h"
#include "user/probe/copies.h"

#define FILE_SIZE_MAX  (UINT64_C(1) << 32)
#define FILE_BYTES_MAX (UINT64_C(64) << 20) /* above what an honest examiner writes */

struct copy {
	int fd, debug_fd;        /* debug_fd 0: none */
	uint64_t bytes;          /* of both */
	uint64_t debug_asked_ns; /* 0: not yet */
};

struct copies {
	struct table *table;
	uint64_t bytes;
};

static void copy_gone(void *context, const void *key, void *value)
{
	struct copies *copies = context;
	struct copy *copy = value;

	(void)key;
	if (copy->fd <= 0)
		return;
	close(copy->fd);
	if (copy->debug_fd > 0)
		close(copy->debug_fd);
	copies->bytes -= copy->bytes;
}

struct copies *copies_new(void)
{
	struct copies *copies = calloc(1, sizeof(*copies));

	if (!copies)
		return NULL;
	copies->table = table_new(sizeof(struct file_key), sizeof(struct copy), COPIES, copy_gone, copies);
	if (copies->table)
		return copies;
	free(copies);
	return NULL;
}

void copies_free(struct copies *copies)
{
	if (!copies)
		return;
	table_free(copies->table);
	free(copies);
}

int copies_make(int file_fd)
{
	struct stat st;
	int fd, err;

	if (fstat(file_fd, &st) != 0)
		return -errno;
	if (st.st_size <= 0 || (uint64_t)st.st_size > FILE_SIZE_MAX)
		return -EFBIG;
	fd = memfd_create("lapidary-copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, st.st_size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

struct oldest {
	const void *key;
};

static void find_oldest(void *context, const void *key, void *value)
{
	struct oldest *oldest = context;

	(void)value;
	if (!oldest->key)
		oldest->key = key;
}

static void make_room(struct copies *copies, uint64_t bytes)
{
	while (copies->bytes + bytes > COPIES_BYTES_MAX) {
		struct oldest oldest = {NULL};
		struct file_key key;

		table_each(copies->table, find_oldest, &oldest);
		if (!oldest.key)
			return;
		key = *(const struct file_key *)oldest.key;
		table_delete(copies->table, &key);
	}
}

/* Nothing can change the file any more. Returns the memory that it takes, or -errno with it closed. */
static int64_t seal(int fd)
{
	struct stat st;
	uint64_t bytes;
	int err;

	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) != 0 || fstat(fd, &st) != 0) {
		err = errno ? -errno : -EIO;
		close(fd);
		return err;
	}
	bytes = (uint64_t)st.st_blocks * 512;
	if (bytes > 0 && bytes <= FILE_BYTES_MAX)
		return (int64_t)bytes;
	close(fd);
	return -EFBIG;
}

int copies_keep(struct copies *copies, const struct file_key *key, int fd)
{
	int64_t bytes = seal(fd);
	struct copy *copy;

	if (bytes < 0)
		return (int)bytes;
	table_delete(copies->table, key);
	make_room(copies, (uint64_t)bytes);
	copy = table_put(copies->table, key, NULL);
	if (!copy) {
		close(fd);
		return -ENOMEM;
	}
	*copy = (struct copy){.fd = fd, .bytes = (uint64_t)bytes};
	copies->bytes += (uint64_t)bytes;
	return 0;
}

int copies_keep_debug(struct copies *copies, const struct file_key *key, int fd)
{
	int64_t bytes = seal(fd);
	struct copy *copy;

	if (bytes < 0)
		return (int)bytes;
	table_get(copies->table, key); /* the most recently used: it goes last */
	make_room(copies, (uint64_t)bytes);
	copy = table_get(copies->table, key);
	if (!copy || copy->debug_fd > 0) {
		close(fd);
		return copy ? -EEXIST : -ENOENT;
	}
	copy->debug_fd = fd;
	copy->bytes += (uint64_t)bytes;
	copies->bytes += (uint64_t)bytes;
	return 0;
}

bool copies_ask_debug(struct copies *copies, const struct file_key *key, uint64_t now_ns, uint64_t every_ns)
{
	struct copy *copy = table_peek(copies->table, key);

	if (!copy || copy->debug_fd > 0 || (copy->debug_asked_ns && now_ns - copy->debug_asked_ns < every_ns))
		return false;
	copy->debug_asked_ns = now_ns;
	return true;
}

int copies_find(struct copies *copies, const struct file_key *key)
{
	const struct copy *copy = table_get(copies->table, key);

	return copy ? copy->fd : -1;
}

int copies_find_debug(struct copies *copies, const struct file_key *key)
{
	const struct copy *copy = table_peek(copies->table, key);

	return copy && copy->debug_fd > 0 ? copy->debug_fd : -1;
}

size_t copies_count(const struct copies *copies)
{
	return table_count(copies->table);
}

uint64_t copies_bytes(const struct copies *copies)
{
	return copies->bytes;
}
