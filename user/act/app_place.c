/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "user/act/app_place.h"

enum { BACKLOG = 1024 };

/* Bound beside its place, then renamed over it. */
int app_place_bind(const char *path, int fd, ino_t *inode)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat info;
	int err = 0;

	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s.new", path) >=
	    sizeof(address.sun_path))
		return -ENAMETOOLONG;
	unlink(address.sun_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	if (chmod(address.sun_path, 0666) != 0 || listen(fd, BACKLOG) != 0 ||
	    stat(address.sun_path, &info) != 0 || rename(address.sun_path, path) != 0) {
		err = -errno;
		unlink(address.sun_path);
		return err;
	}
	*inode = info.st_ino;
	return 0;
}

bool app_place_is_empty(const char *path)
{
	struct stat info;

	return lstat(path, &info) < 0 && (errno == ENOENT || errno == ENOTDIR);
}
