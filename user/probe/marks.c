/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is watched: the marks in task storage, reached by pidfd, and the list of all processes.
 *
 * A pidfd holds the process, not its id, but it is opened by id: so the start time is compared after the
 * pidfd is held, and the process must still be alive after that comparison. /proc gives the start time in
 * clock ticks, which is coarse, yet an id does not come round within one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "lapidary.skel.h"
#include "user/probe/probe_private.h"

/* What bpf/process.bpf.c writes is what probe.h promises. */
_Static_assert(offsetof(struct probe_task, uid) == 8, "probe_task");
_Static_assert(offsetof(struct probe_task, start_ns) == 16, "probe_task");
_Static_assert(offsetof(struct probe_task, comm) == 32, "probe_task");
_Static_assert(sizeof(struct probe_task) == 32 + EV_COMM, "probe_task");

enum { STAT_START = 22, NS_PER_S = 1000000000 };

/* Start time in clock ticks since boot, from /proc/PID/stat; the name in parentheses may hold anything. */
static int stat_start(uint32_t tgid, uint64_t *ticks)
{
	char path[64], text[1024], *at;
	unsigned long long value;
	ssize_t got;
	int fd, field;

	snprintf(path, sizeof(path), "/proc/%u/stat", tgid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return -ESRCH;
	text[got] = '\0';
	at = strrchr(text, ')');
	for (field = 2; at && field < STAT_START; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, " %llu", &value) != 1)
		return -EBADMSG;
	*ticks = value;
	return 0;
}

/* A pidfd of exactly this process, or -ESRCH. */
static int identity_open(uint32_t tgid, uint64_t start_ns)
{
	uint64_t ticks = 0;
	int fd, err;

	fd = syscall(SYS_pidfd_open, tgid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	err = stat_start(tgid, &ticks);
	if (!err && ticks != start_ns / (NS_PER_S / sysconf(_SC_CLK_TCK)))
		err = -ESRCH;
	/* still there, so what was read was of this process */
	if (!err && syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) && errno != EPERM)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int probe_mark(struct probe *probe, uint32_t tgid, uint64_t start_ns)
{
	const int marks = bpf_map__fd(probe->skeleton->maps.marks);
	struct mark mark = {.start_ns = start_ns};
	int err = 0, fd;

	fd = identity_open(tgid, start_ns);
	if (fd < 0)
		return fd;
	/* the kernel side may have marked it just now, with its claims: that mark stays */
	if (bpf_map_update_elem(marks, &fd, &mark, BPF_NOEXIST) && errno != EEXIST)
		err = -errno;
	if (!err && syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) && errno != EPERM)
		err = -ESRCH;
	close(fd);
	return err;
}

int probe_unmark(struct probe *probe, uint32_t tgid, uint64_t start_ns)
{
	int err = 0, fd;

	fd = identity_open(tgid, start_ns);
	if (fd < 0)
		return fd;
	if (bpf_map_delete_elem(bpf_map__fd(probe->skeleton->maps.marks), &fd))
		err = -errno;
	close(fd);
	return err;
}

int probe_set_place(struct probe *probe, uint32_t tgid, uint64_t start_ns, uint16_t group, uint64_t bias)
{
	const struct ruby_place place = {.bias = bias, .group = group};
	int err = 0, fd;

	fd = identity_open(tgid, start_ns);
	if (fd < 0)
		return fd;
	if (bpf_map_update_elem(bpf_map__fd(probe->skeleton->maps.places), &fd, &place, BPF_ANY))
		err = -errno;
	close(fd);
	return err;
}

int probe_read_place(struct probe *probe, uint32_t tgid, uint64_t start_ns, struct ruby_layout *out)
{
	const struct lapidary_bpf *bpf = probe->skeleton;
	struct ruby_place place;
	int err = 0, fd;

	fd = identity_open(tgid, start_ns);
	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(bpf_map__fd(bpf->maps.places), &fd, &place) ||
	    bpf_map_lookup_elem(bpf_map__fd(bpf->maps.rubies), &place.group, out))
		err = -errno;
	close(fd);
	return err;
}

int probe_read_mark(struct probe *probe, uint32_t tgid, uint64_t start_ns, struct mark *out)
{
	struct mark mark;
	int err = 0, fd;

	fd = syscall(SYS_pidfd_open, tgid, 0);
	if (fd < 0)
		return -ENOENT;
	if (bpf_map_lookup_elem(bpf_map__fd(probe->skeleton->maps.marks), &fd, &mark))
		err = -errno;
	else if (mark.start_ns != start_ns)
		err = -ENOENT;
	else
		*out = mark;
	close(fd);
	return err;
}

int probe_each_task(struct probe *probe, probe_task_fn fn, void *context)
{
	struct probe_task tasks[64];
	size_t held = 0, i;
	ssize_t got;
	int fd;

	if (probe->list_link < 0)
		return -EOPNOTSUPP;
	fd = bpf_iter_create(probe->list_link);
	if (fd < 0)
		return -errno;
	/* a read may end inside a line: what is there of it stays at the front */
	while ((got = read(fd, (char *)tasks + held, sizeof(tasks) - held)) > 0 ||
	       (got < 0 && errno == EAGAIN)) {
		if (got < 0)
			continue;
		held += got;
		for (i = 0; i < held / sizeof(tasks[0]); i++)
			fn(context, &tasks[i]);
		memmove(tasks, &tasks[i], held % sizeof(tasks[0]));
		held %= sizeof(tasks[0]);
	}
	got = got < 0 ? -errno : 0;
	close(fd);
	return got;
}
