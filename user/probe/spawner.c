// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's side of the spawner: it asks, never waits, and gives up a spawner that hangs. A question whose
 * spawner died is answered with -EPIPE or -ETIMEDOUT; those behind it are still in the socket, where the
 * next spawner finds them.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "user/probe/message.h"
#include "user/probe/pending.h"
#include "user/probe/spawner.h"
#include "user/probe/spawner_wire.h"

enum { STOP_MS = 3000 };

struct spawner {
	int work_fd, control_fd;
	pid_t nursery;
	bool gone;              /* the nursery is: nothing will be answered any more */
	bool replacing;         /* asked the nursery to, no word yet */
	uint64_t watched;       /* number of the question that the watchdog looks at */
	uint64_t watched_ms;    /* since when */
	struct pending pending; /* detail: the verb */
};

int spawner_start(struct spawner **out)
{
	struct spawner *spawner = calloc(1, sizeof(*spawner));
	int work[2] = {-1, -1}, control[2] = {-1, -1}, err = 0;
	pid_t parent = getpid();

	if (!spawner)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, work) != 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) {
		err = -errno;
		goto out;
	}
	spawner->nursery = fork();
	if (spawner->nursery < 0) {
		err = -errno;
		goto out;
	}
	if (spawner->nursery == 0) {
		spawner_child_start("lapidary-nurse", parent, SIGALRM);
		spawner_close_others(work[1], control[1]);
		nursery_main(work[1], control[1]);
	}
	spawner->work_fd = work[0];
	spawner->control_fd = control[0];
	spawner->watched = UINT64_MAX;
	work[0] = control[0] = -1;
	*out = spawner;
	spawner = NULL;
out:
	for (int i = 0; i < 2; i++) {
		if (work[i] >= 0)
			close(work[i]);
		if (control[i] >= 0)
			close(control[i]);
	}
	free(spawner);
	return err;
}

/*
 * The end of its sockets tells the nursery to reap its family and go, which takes a millisecond. If it does
 * not, the kernel takes the others with it: each asked to be killed when its parent dies.
 */
static void end_nursery(pid_t nursery)
{
	struct pollfd ended = {.fd = syscall(SYS_pidfd_open, nursery, 0), .events = POLLIN};

	if (ended.fd < 0 || poll(&ended, 1, STOP_MS) != 1)
		kill(nursery, SIGKILL);
	while (waitpid(nursery, NULL, 0) < 0 && errno == EINTR)
		;
	if (ended.fd >= 0)
		close(ended.fd);
}

void spawner_stop(struct spawner *spawner)
{
	if (!spawner)
		return;
	close(spawner->work_fd);
	close(spawner->control_fd);
	end_nursery(spawner->nursery);
	free(spawner);
}

int spawner_fd(const struct spawner *spawner)
{
	return spawner->work_fd;
}

int spawner_ask(struct spawner *spawner, const struct spawner_request *request, int file_fd)
{
	int err;

	if (spawner->gone)
		return -EPIPE;
	if (pending_count(&spawner->pending) == PENDING_MAX)
		return -EAGAIN;
	err = message_send(spawner->work_fd, request, sizeof(*request), file_fd, MSG_DONTWAIT);
	if (err == -ETOOMANYREFS)
		return -EAGAIN;
	if (err)
		return err;
	pending_add(&spawner->pending, request->token, request->verb);
	return 0;
}

/* Answers the oldest open question with a failure; false when there is none. */
static bool fail_oldest(struct spawner *spawner, int result, struct spawner_answer *out)
{
	const struct pending_question *oldest = pending_oldest(&spawner->pending);

	if (!oldest)
		return false;
	*out = (struct spawner_answer){
		.token = oldest->token, .verb = oldest->detail, .result = result, .fd = -1};
	pending_remove_oldest(&spawner->pending);
	return true;
}

int spawner_read(struct spawner *spawner, struct spawner_answer *out)
{
	while (!spawner->gone) {
		const struct pending_question *oldest = pending_oldest(&spawner->pending);
		struct spawner_answer answer;
		int fd, got = message_receive(spawner->work_fd, &answer, sizeof(answer), &fd, MSG_DONTWAIT);

		if (got == -EAGAIN)
			return 0;
		if (got <= 0) {
			spawner->gone = true;
			break;
		}
		if (answer.verb == SPAWNER_REPLACED) {
			int result = spawner->replacing ? -ETIMEDOUT : -EPIPE;

			spawner->replacing = false;
			if (fail_oldest(spawner, result, out))
				return 1;
			continue;
		}
		if (!oldest || oldest->token != answer.token) {
			/* the last word of a spawner whose question was given up already */
			if (fd >= 0)
				close(fd);
			continue;
		}
		pending_remove_oldest(&spawner->pending);
		*out = answer;
		out->fd = fd;
		return 1;
	}
	return fail_oldest(spawner, -EPIPE, out) ? 1 : -EPIPE;
}

void spawner_watchdog(struct spawner *spawner, uint64_t now_ms, uint64_t limit_ms)
{
	const struct pending_question *oldest = pending_oldest(&spawner->pending);
	const char replace = SPAWNER_REPLACE;

	if (spawner->gone || !oldest)
		return;
	if (oldest->number != spawner->watched) {
		spawner->watched = oldest->number;
		spawner->watched_ms = now_ms;
		return;
	}
	if (now_ms - spawner->watched_ms < limit_ms || spawner->replacing)
		return;
	if (message_send(spawner->control_fd, &replace, sizeof(replace), -1, MSG_DONTWAIT) == 0)
		spawner->replacing = true;
}
