// SPDX-License-Identifier: Apache-2.0
/*
 * Why this order is enough: the pidfd names the process that had the number when it was opened. If that one
 * still lives when all facts are read, the number was its own all the while, so the facts were its own, too.
 * Nothing here may block (these are called on the loop), so the command line is not looked at: a process
 * whose memory is being faulted in from a dead file system would hold its reader.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "user/act/signals.h"
#include "user/base/digest.h"
#include "user/base/file.h"
#include "user/probe/procfs.h"

enum { STATUS_MAX = 65536, SIGNALS = 64 };

struct status {
	char state;
	bool of_uid;  /* all four: a process that changed one of them is somebody else's as well */
	bool is_init; /* process 1 of the innermost pid namespace that it is in */
	uint64_t caught;
};

/* The value of a line of /proc/PID/status (proc(5)), NULL when the kernel wrote none. */
static const char *value_of(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line ? line + strlen(key) : NULL;
}

static bool are_all(const char *numbers, uint32_t wanted)
{
	int count = 0;

	for (char *end; *numbers && *numbers != '\n'; numbers = end) {
		unsigned long number = strtoul(numbers, &end, 10);

		if (end == numbers || number != wanted)
			return false;
		count++;
	}
	return count == 4;
}

static bool ends_in_one(const char *numbers)
{
	unsigned long last = 0;

	for (char *end; *numbers && *numbers != '\n'; numbers = end) {
		last = strtoul(numbers, &end, 10);
		if (end == numbers)
			break;
	}
	return last == 1;
}

static int read_status(const struct signal_order *order, struct status *out)
{
	const char *state, *uids, *pids, *caught;
	char path[64], *text;
	int err;

	snprintf(path, sizeof(path), "/proc/%u/status", order->tgid);
	err = file_read(path, STATUS_MAX, &text, NULL);
	if (err)
		return err == -ENOENT ? -ESRCH : err;
	state = value_of(text, "\nState:\t");
	uids = value_of(text, "\nUid:\t");
	pids = value_of(text, "\nNSpid:\t");
	caught = value_of(text, "\nSigCgt:\t");
	if (state && uids && pids && caught) {
		out->state = *state;
		out->of_uid = are_all(uids, order->uid);
		out->is_init = ends_in_one(pids);
		out->caught = strtoull(caught, NULL, 16);
	} else {
		err = -ESRCH; /* a kernel too old to say, or a process that is half gone: nothing is sent */
	}
	free(text);
	return err;
}

static int say(int err, char *why, size_t why_size, const char *text, uint32_t tgid)
{
	snprintf(why, why_size, "process %u %s", tgid, text);
	return err;
}

static int check_owner(const struct signal_order *order, const struct status *status, char *why, size_t size)
{
	char cgroup[sizeof(((struct procfs_facts *)NULL)->cgroup)];

	if (!status->of_uid)
		return say(-EPERM, why, size, "runs under another uid by now", order->tgid);
	if (procfs_cgroup(order->tgid, cgroup, sizeof(cgroup)) != 0)
		return say(-ESRCH, why, size, "has ended", order->tgid);
	if (digest_text(DIGEST_START, cgroup) != order->cgroup_id)
		return say(-EPERM, why, size, "is in another cgroup by now", order->tgid);
	/* the host's own init is never ours, whatever the configuration says */
	if (order->tgid == 1 || (status->is_init && !order->init_allowed))
		return say(-EPERM, why, size,
			   "is process 1 of a pid namespace, and signal_init is not configured", order->tgid);
	return 0;
}

static int check_facts(const struct signal_order *order, char *why, size_t size)
{
	struct status status = {0};
	int err;

	/* start 0 would match any process */
	if (order->start_ns == 0 || procfs_check(order->tgid, order->start_ns) != 0)
		return say(-ESRCH, why, size, "is another one by now, or gone", order->tgid);
	if (read_status(order, &status) != 0 || status.state == 'Z' || status.state == 'X')
		return say(-ESRCH, why, size, "has ended", order->tgid);
	err = check_owner(order, &status, why, size);
	if (err)
		return err;
	if (order->signal != SIGKILL && !(status.caught >> (order->signal - 1) & 1)) {
		snprintf(why, size, "process %u does not catch SIG%s: it would just die of it, or ignore it",
			 order->tgid, sigabbrev_np(order->signal) ? sigabbrev_np(order->signal) : "?");
		return -ENOTSUP;
	}
	return 0;
}

/* The pidfd of a process that all facts hold for and that lived when they were read, else -errno. */
static int open_checked(const struct signal_order *order, char *why, size_t size)
{
	int err, fd;
	struct pollfd ended;

	if (order->signal < 1 || order->signal > SIGNALS || order->tgid == 0 || order->tgid > INT32_MAX)
		return say(-EINVAL, why, size, "cannot be sent that", order->tgid);
	fd = (int)syscall(SYS_pidfd_open, (pid_t)order->tgid, 0);
	if (fd < 0)
		return say(-ESRCH, why, size, "is gone", order->tgid);
	err = check_facts(order, why, size);
	ended = (struct pollfd){.fd = fd, .events = POLLIN};
	if (!err && poll(&ended, 1, 0) != 0)
		err = say(-ESRCH, why, size, "has ended", order->tgid);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int signals_check(const struct signal_order *order, char *why, size_t why_size)
{
	int fd = open_checked(order, why, why_size);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int signals_send(const struct signal_order *order, char *why, size_t why_size)
{
	int fd = open_checked(order, why, why_size), err = 0;

	if (fd < 0)
		return fd;
	if (syscall(SYS_pidfd_send_signal, fd, order->signal, NULL, 0) != 0) {
		err = -errno;
		say(err, why, why_size, err == -ESRCH ? "has ended" : "may not be signalled by the agent",
		    order->tgid);
	}
	close(fd);
	return err;
}
