// SPDX-License-Identifier: Apache-2.0
/*
 * The spawner's probers: each is forked for one test, ends by itself, and is reaped when its pidfd says so.
 * There are so few at once that a database farm which hangs costs a handful of processes.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "user/probe/prober.h"
#include "user/probe/prober_private.h"
#include "user/probe/spawner_wire.h"

static int free_place(const struct spawner_probers *probers)
{
	for (int i = 0; i < SPAWNER_PROBERS; i++)
		if (probers->pids[i] == 0)
			return i;
	return -EAGAIN;
}

void spawner_probers_init(struct spawner_probers *probers)
{
	for (int i = 0; i < SPAWNER_PROBERS; i++) {
		probers->pids[i] = 0;
		probers->fds[i] = -1;
	}
}

/* The child is there: without a pidfd nobody would learn of its end, so then it does not live. */
static int adopt(struct spawner_probers *probers, int place, pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), err;

	if (fd >= 0) {
		probers->pids[place] = pid;
		probers->fds[place] = fd;
		return 0;
	}
	err = -errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return err;
}

int spawner_probers_start(struct spawner_probers *probers, int question_fd)
{
	int place = free_place(probers), pair[2], err;
	pid_t parent = getpid(), pid;

	if (question_fd < 0)
		return -EBADF;
	if (place < 0)
		return place;
	prober_load();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		spawner_child_start("lapidary-probe", parent, SIGKILL);
		spawner_close_others(pair[1], question_fd);
		prober_main(question_fd, pair[1]);
	}
	err = pid < 0 ? -errno : adopt(probers, place, pid);
	close(pair[1]);
	if (err) {
		close(pair[0]);
		return err;
	}
	return pair[0];
}

void spawner_probers_reap(struct spawner_probers *probers)
{
	for (int i = 0; i < SPAWNER_PROBERS; i++) {
		if (probers->pids[i] == 0 || waitpid(probers->pids[i], NULL, WNOHANG) == 0)
			continue;
		close(probers->fds[i]);
		probers->pids[i] = 0;
		probers->fds[i] = -1;
	}
}

void spawner_probers_end(struct spawner_probers *probers)
{
	for (int i = 0; i < SPAWNER_PROBERS; i++)
		if (probers->pids[i] != 0)
			kill(probers->pids[i], SIGKILL); /* not reaped yet, so the pid is still its own */
	for (int i = 0; i < SPAWNER_PROBERS; i++) {
		if (probers->pids[i] == 0)
			continue;
		while (waitpid(probers->pids[i], NULL, 0) < 0 && errno == EINTR)
			;
		close(probers->fds[i]);
		probers->pids[i] = 0;
		probers->fds[i] = -1;
	}
}
