// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/text.h"

int file_read_fd(int fd, size_t limit, char **out, size_t *size)
{
	size_t used = 0, room = 4096;
	char *data = malloc(room + 1), *bigger;
	ssize_t got;
	int err = -ENOMEM;

	while (data) {
		got = read(fd, data + used, room - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			err = -errno;
			break;
		}
		used += (size_t)got;
		if (used > limit) {
			err = -EFBIG;
			break;
		}
		if (got == 0) {
			data[used] = '\0';
			*out = data;
			if (size)
				*size = used;
			return 0;
		}
		if (used < room)
			continue;
		room *= 2;
		bigger = realloc(data, room + 1);
		if (!bigger)
			break;
		data = bigger;
	}
	free(data);
	return err;
}

static int read_open(int fd, size_t limit, char **out, size_t *size)
{
	int err;

	if (fd < 0)
		return -errno;
	err = file_read_fd(fd, limit, out, size);
	close(fd);
	return err;
}

int file_read(const char *path, size_t limit, char **out, size_t *size)
{
	return read_open(open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), limit, out, size);
}

int file_read_at(int dir_fd, const char *name, size_t limit, char **out, size_t *size)
{
	return read_open(openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), limit, out,
			 size);
}

int file_write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t put = write(fd, at, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		size -= (size_t)put;
	}
	return 0;
}

int file_replace_at(int dir_fd, const char *name, const void *data, size_t size, mode_t mode)
{
	char temporary[NAME_MAX + 1];
	int err, fd;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.tmp", name) >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	err = file_write_all(fd, data, size);
	if (!err && fsync(fd) != 0)
		err = -errno;
	if (close(fd) != 0 && !err)
		err = -errno;
	if (!err && renameat(dir_fd, temporary, dir_fd, name) != 0)
		err = -errno;
	if (err)
		unlinkat(dir_fd, temporary, 0);
	else if (fsync(dir_fd) != 0)
		err = -errno;
	return err;
}

int file_make_dirs(const char *path, mode_t mode)
{
	char part[PATH_MAX];

	if (text_copy(part, sizeof(part), path) < strlen(path))
		return -ENAMETOOLONG;
	for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(part, mode) != 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(part, mode) != 0 && errno != EEXIST ? -errno : 0;
}
