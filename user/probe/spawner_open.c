// SPDX-License-Identifier: Apache-2.0
/*
 * Files that only a privileged process can open. What a mapping shows is opened through map_files, which
 * leads to the very file that is mapped, even when it was deleted or lies in a container; without that, by
 * path below the process's root, where no symlink leads out and no magic link is followed. It is looked
 * at before it is opened for reading: opening a device or a FIFO can do things.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "user/probe/spawner_wire.h"

#define UPROBE_TYPE "/sys/bus/event_source/devices/uprobe/type"

/* Turns an O_PATH descriptor (closed here) of a regular file into one to read. */
static int reopen(int path_fd)
{
	char name[40];
	struct stat st;
	int fd;

	if (path_fd < 0)
		return path_fd;
	if (fstat(path_fd, &st) != 0) {
		fd = -errno;
	} else if (!S_ISREG(st.st_mode)) {
		fd = -EINVAL;
	} else {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			fd = -errno;
	}
	close(path_fd);
	return fd;
}

static int open_map_file(const struct spawner_request *request)
{
	char name[96];
	int fd;

	snprintf(name, sizeof(name), "/proc/%u/map_files/%llx-%llx", request->tgid,
		 (unsigned long long)request->start, (unsigned long long)request->end);
	fd = open(name, O_PATH | O_CLOEXEC);
	return reopen(fd < 0 ? -errno : fd);
}

int spawner_open_below(uint32_t tgid, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	char name[40];
	int root, fd;

	if (path[0] != '/')
		return -ENOENT;
	snprintf(name, sizeof(name), "/proc/%u/root", tgid);
	root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (fd < 0)
		fd = -errno;
	close(root);
	return reopen(fd);
}

/* Field 22 of /proc/PID/stat, in clock ticks. The command in field 2 may hold anything, ')' too. */
static int read_start_ticks(uint32_t tgid, uint64_t *ticks)
{
	char name[40], text[1024], *at;
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "/proc/%u/stat", tgid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -ESRCH;
	*ticks = strtoull(at + 1, NULL, 10);
	return 0;
}

/* The kernel shows a process's start cut to clock ticks, so that is how fine two can be told apart. */
int spawner_check_start(uint32_t tgid, uint64_t start_ns)
{
	uint64_t ticks, tick_ns = UINT64_C(1000000000) / sysconf(_SC_CLK_TCK);
	int err = start_ns ? read_start_ticks(tgid, &ticks) : 0;

	if (start_ns == 0)
		return 0;
	return err ? err : ticks == start_ns / tick_ns ? 0 : -ESRCH;
}

int spawner_open_mapped(const struct spawner_request *request)
{
	int fd = open_map_file(request), err;

	if (fd < 0 && fd != -EINVAL) {
		int below = spawner_open_below(request->tgid, request->path);

		if (below >= 0 || request->path[0])
			fd = below;
	}
	if (fd < 0)
		return fd;
	err = spawner_check_start(
		request->tgid,
		request->start_ns); /* after opening: what was opened was that process's, or is given up */
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static int read_uprobe_type(uint32_t *type)
{
	char text[16];
	int fd = open(UPROBE_TYPE, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -EOPNOTSUPP;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EOPNOTSUPP;
	text[n] = '\0';
	*type = strtoul(text, NULL, 10);
	return 0;
}

/*
 * A probe on the file, not on a process: pid -1 wants a CPU, but a BPF program attached to the event runs
 * wherever it is hit.
 */
int spawner_open_uprobe(int file_fd, uint64_t offset)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};
	char name[40];
	uint32_t type;
	int err = read_uprobe_type(&type), fd;

	if (file_fd < 0)
		return -EBADF;
	if (err)
		return err;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", file_fd);
	attr.type = type;
	attr.config1 = (uintptr_t)name;
	attr.config2 = offset;
	fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
