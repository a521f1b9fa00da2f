// SPDX-License-Identifier: Apache-2.0
/*
 * The spawner: one question after the other, each of which may take for ever. It has one examiner
 * of each kind at a time and is its parent: a new one is started only when the old one is dead and reaped. Of
 * probers it has a few.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "user/probe/examiner.h"
#include "user/probe/message.h"
#include "user/probe/spawner_wire.h"
#include "user/probe/unwinder.h"

struct examiner_child {
	pid_t pid; /* 0: none */
	int fd;    /* pidfd, -1: none */
};

static void end_examiner(struct examiner_child *child)
{
	if (child->pid == 0)
		return;
	kill(child->pid, SIGKILL); /* not reaped yet, so the pid is still its own */
	while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(child->fd);
	*child = (struct examiner_child){.fd = -1};
}

/* Returns the agent's end of the new examiner's socket. */
static int start_examiner(struct examiner_child *child, uint32_t uid, uint32_t kind)
{
	pid_t parent = getpid();
	int pair[2];

	if (uid == 0)
		return -EINVAL;
	end_examiner(child);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	child->pid = fork();
	if (child->pid < 0) {
		int err = -errno;

		child->pid = 0;
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (child->pid == 0) {
		spawner_child_start(kind == EXAMINER_OF_FILES ? "lapidary-exam" : "lapidary-unwind", parent,
				    SIGKILL);
		spawner_close_others(pair[1], -1);
		if (kind == EXAMINER_OF_FILES)
			examiner_main(pair[1], uid);
		unwinder_main(pair[1], uid);
	}
	close(pair[1]);
	child->fd = syscall(SYS_pidfd_open, child->pid, 0);
	return pair[0];
}

struct family {
	struct examiner_child examiners[EXAMINER_KINDS];
	struct spawner_probers probers;
};

static int carry_out(const struct spawner_request *request, int file_fd, struct family *family)
{
	if (!memchr(request->path, '\0', sizeof(request->path)) ||
	    !memchr(request->link, '\0', sizeof(request->link)))
		return -EINVAL;
	switch (request->verb) {
	case SPAWNER_OPEN_MAPPED:
		return spawner_open_mapped(request);
	case SPAWNER_OPEN_DEBUG:
		return spawner_open_debug(request);
	case SPAWNER_PERF_UPROBE:
		return spawner_open_uprobe(file_fd, request->offset);
	case SPAWNER_EXAMINER:
		if (request->kind >= EXAMINER_KINDS)
			return -EINVAL;
		return start_examiner(&family->examiners[request->kind], request->uid, request->kind);
	case SPAWNER_PROBER:
		return spawner_probers_start(&family->probers, file_fd);
	default:
		return -EINVAL;
	}
}

static int answer(int work_fd, const struct spawner_request *request, int result)
{
	struct spawner_answer answer = {.token = request->token, .verb = request->verb, .fd = -1};
	struct stat st;
	int err;

	answer.result = result < 0 ? result : 0;
	if ((request->verb == SPAWNER_OPEN_MAPPED || request->verb == SPAWNER_OPEN_DEBUG) && result >= 0 &&
	    fstat(result, &st) == 0) {
		answer.device = st.st_dev;
		answer.inode = st.st_ino;
		answer.size = st.st_size;
		answer.changed_ns = st.st_ctim.tv_sec * 1000000000ull + st.st_ctim.tv_nsec;
		answer.uid = st.st_uid;
	}
	err = message_send(work_fd, &answer, sizeof(answer), result >= 0 ? result : -1, 0);
	if (result >= 0)
		close(result);
	return err;
}

/* Waits for work and reaps who has ended meanwhile; true when there is work. */
static bool wait_for_work(int work_fd, struct family *family)
{
	enum { FIRST_PROBER = 1 + EXAMINER_KINDS, POLLS = FIRST_PROBER + SPAWNER_PROBERS };
	struct pollfd polls[POLLS] = {{.fd = work_fd, .events = POLLIN}};

	for (int i = 0; i < EXAMINER_KINDS; i++)
		polls[1 + i] = (struct pollfd){.fd = family->examiners[i].fd, .events = POLLIN};
	for (int i = 0; i < SPAWNER_PROBERS; i++)
		polls[FIRST_PROBER + i] = (struct pollfd){.fd = family->probers.fds[i], .events = POLLIN};
	if (poll(polls, POLLS, -1) < 0) {
		if (errno != EINTR)
			_exit(1);
		return false;
	}
	for (int i = 0; i < EXAMINER_KINDS; i++)
		if (polls[1 + i].revents)
			end_examiner(&family->examiners[i]);
	spawner_probers_reap(&family->probers);
	return polls[0].revents != 0;
}

void spawner_main(int work_fd)
{
	struct family family = {.examiners = {{.fd = -1}, {.fd = -1}}};

	spawner_probers_init(&family.probers);
	for (;;) {
		struct spawner_request request;
		int file_fd, got;

		if (!wait_for_work(work_fd, &family))
			continue;
		got = message_receive(work_fd, &request, sizeof(request), &file_fd, MSG_DONTWAIT);
		if (got == -EAGAIN)
			continue;
		if (got == 0 ||
		    (got == 1 && answer(work_fd, &request, carry_out(&request, file_fd, &family)) != 0)) {
			spawner_probers_end(&family.probers);
			for (int i = 0; i < EXAMINER_KINDS; i++)
				end_examiner(&family.examiners[i]);
			_exit(0);
		}
		if (file_fd >= 0)
			close(file_fd);
	}
}
