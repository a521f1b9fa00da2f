// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's side. Time limits are held in two places: the child's CPU limit ends a parser that loops, and
 * the clock here gives up on one that hangs in a read from a dead file system or was taken over. Closing
 * the socket is then all that the agent does: the spawner kills the old examiner before it starts a new one.
 *
 * The first unanswered question was the one in work and fails with -EIO or -ETIMEDOUT; those behind it were
 * never looked at and come back with -EAGAIN, to be asked of the next examiner.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "user/probe/examiner.h"
#include "user/probe/examiner_wire.h"
#include "user/probe/message.h"
#include "user/probe/pending.h"

struct examiner {
	int fd;
	int32_t dead;        /* 0, or the -errno that the question in work gets */
	uint64_t waiting_ms; /* since when the oldest question is in work */
	uint64_t wait_ms;
	struct pending pending;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct examiner *examiner_new(int socket_fd)
{
	struct examiner *examiner = calloc(1, sizeof(*examiner));

	if (!examiner)
		return NULL;
	examiner->fd = socket_fd;
	examiner->wait_ms = EXAMINER_WAIT_MS;
	return examiner;
}

void examiner_free(struct examiner *examiner)
{
	if (!examiner)
		return;
	close(examiner->fd);
	free(examiner);
}

void examiner_set_wait(struct examiner *examiner, uint64_t ms)
{
	examiner->wait_ms = ms;
}

int examiner_fd(const struct examiner *examiner)
{
	return examiner->fd;
}

int examiner_ask(struct examiner *examiner, uint64_t token, int file_fd)
{
	return examiner_ask_copy(examiner, token, file_fd, -1, EXAMINER_COPY_NOT);
}

static int send_question(struct examiner *examiner, const struct examiner_question *question, int file_fd,
			 int copy_fd)
{
	const int fds[] = {file_fd, copy_fd};
	struct stat st;
	int err;

	if (examiner->dead)
		return -EPIPE;
	if (pending_count(&examiner->pending) == PENDING_MAX)
		return -EAGAIN;
	if (fstat(file_fd, &st) != 0)
		return -errno;
	err = message_send_many(examiner->fd, question, sizeof(*question), fds, copy_fd >= 0 ? 2 : 1,
				MSG_DONTWAIT);
	if (err == -EAGAIN || err == -EWOULDBLOCK || err == -ETOOMANYREFS)
		return -EAGAIN;
	if (err) {
		examiner->dead = -EIO;
		return -EPIPE;
	}
	if (pending_count(&examiner->pending) == 0)
		examiner->waiting_ms = now_ms();
	pending_add(&examiner->pending, question->token, st.st_size);
	return 0;
}

int examiner_ask_copy(struct examiner *examiner, uint64_t token, int file_fd, int copy_fd,
		      enum examiner_copy copy)
{
	const struct examiner_question question = {.token = token,
						   .copy = copy_fd >= 0 ? copy : EXAMINER_COPY_NOT};

	return send_question(examiner, &question, file_fd, copy_fd);
}

int examiner_ask_debug(struct examiner *examiner, uint64_t token, int file_fd, int copy_fd,
		       const struct distil_debug *wanted)
{
	const struct examiner_question question = {.token = token, .debug = 1, .wanted = *wanted};

	return send_question(examiner, &question, file_fd, copy_fd);
}

/* Answers what the dead examiner left open, one question a call. */
static int answer_for_dead(struct examiner *examiner, struct examiner_answer *out)
{
	const struct pending_question *oldest = pending_oldest(&examiner->pending);

	if (!oldest)
		return -EPIPE;
	memset(out, 0, sizeof(*out));
	out->token = oldest->token;
	out->result = examiner->dead;
	examiner->dead = -EAGAIN;
	pending_remove_oldest(&examiner->pending);
	return 1;
}

/* Makes sure that the answer is one that an honest examiner could give to the oldest question. */
static bool is_believable(const struct pending_question *oldest, struct examiner_answer *answer)
{
	if (!oldest || answer->token != oldest->token || answer->result > 0 || answer->result < -4095)
		return false;
	if (answer->result < 0)
		memset(&answer->library, 0, sizeof(answer->library));
	return answer->result < 0 || library_check(&answer->library, oldest->detail);
}

int examiner_read(struct examiner *examiner, struct examiner_answer *out)
{
	const struct pending_question *oldest = pending_oldest(&examiner->pending);
	struct examiner_answer answer;
	int fd, got;

	if (examiner->dead)
		return answer_for_dead(examiner, out);
	got = message_receive(examiner->fd, &answer, sizeof(answer), &fd, MSG_DONTWAIT);
	if (fd >= 0)
		close(fd); /* never sent by an honest one */
	if (got == -EAGAIN) {
		if (!oldest || now_ms() - examiner->waiting_ms < examiner->wait_ms)
			return 0;
		examiner->dead = -ETIMEDOUT;
		return answer_for_dead(examiner, out);
	}
	if (got <= 0 || !is_believable(oldest, &answer)) {
		examiner->dead = got == 0 ? -EIO : -EPROTO;
		return answer_for_dead(examiner, out);
	}
	pending_remove_oldest(&examiner->pending);
	examiner->waiting_ms = now_ms();
	*out = answer;
	out->copied = answer.copied == 1;
	return 1;
}
