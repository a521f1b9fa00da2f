// SPDX-License-Identifier: Apache-2.0
/*
 * From where a process stands: its network, its mounts, its root. A pidfd and the start time say that it is
 * still the process that was meant; the namespaces come from the same pidfd (Linux 5.8), so nobody can
 * slip in between. Its user and pid namespaces are not entered: nothing in there may see or signal the
 * prober.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "user/probe/prober_private.h"
#include "user/probe/spawner_wire.h"

static int fail(int err, const char *what, char *why, size_t why_size)
{
	if (err == -ESRCH || err == -ENOENT)
		snprintf(why, why_size, "the process is gone");
	else
		snprintf(why, why_size, "%s: %s", what, strerror(-err));
	return err;
}

static int enter(int pidfd, int root, char *why, size_t why_size)
{
	if (setns(pidfd, CLONE_NEWNET | CLONE_NEWNS) != 0)
		return fail(-errno, "entering its namespaces", why, why_size);
	if (fchdir(root) != 0 || chroot(".") != 0)
		return fail(-errno, "entering its root", why, why_size);
	return 0;
}

int prober_enter(uint32_t tgid, uint64_t start_ns, char *why, size_t why_size)
{
	int pidfd = (int)syscall(SYS_pidfd_open, tgid, 0), root = -1, err;
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	char name[40];

	if (pidfd < 0)
		return fail(-errno, "finding the process", why, why_size);
	snprintf(name, sizeof(name), "/proc/%u/root", tgid);
	root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		err = fail(-errno, "opening its root", why, why_size);
		goto out;
	}
	/* after opening, and alive after that: the root and the namespaces are of the process that was meant
	 */
	err = spawner_check_start(tgid, start_ns);
	if (!err && poll(&ended, 1, 0) != 0)
		err = -ESRCH;
	err = err ? fail(err, "its start time", why, why_size) : enter(pidfd, root, why, why_size);
out:
	if (root >= 0)
		close(root);
	close(pidfd);
	return err;
}
