// SPDX-License-Identifier: Apache-2.0
/*
 * The caller's side. Within a batch the answers come in order, so the first one that is missing when the
 * child is gone names the file that it died on; those behind it are asked again, of the next child.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/elf/object.h"
#include "user/probe/inspector_wire.h"
#include "user/probe/message.h"

enum { ANSWER_MAX = 16 << 20, SOCKET = 3 /* of the child */ };

struct inspector {
	uint32_t uid;
	pid_t child;         /* 0: none */
	int socket, answers; /* answers: the file of memory, -1: none */
	unsigned int deaths, wait_ms;
	uint64_t number;
};

struct inspector *inspector_new(uint32_t uid)
{
	struct inspector *inspector = calloc(1, sizeof(*inspector));

	if (!inspector)
		return NULL;
	inspector->uid = uid;
	inspector->answers = -1;
	inspector->wait_ms = INSPECTOR_WAIT_MS;
	return inspector;
}

static void end_child(struct inspector *inspector)
{
	if (!inspector->child)
		return;
	close(inspector->socket);
	kill(inspector->child, SIGKILL);
	/* in a read of a dead file system it cannot even die: it is not waited for longer than a moment */
	for (int i = 0; i < 50 && waitpid(inspector->child, NULL, WNOHANG) == 0; i++)
		poll(NULL, 0, 2);
	inspector->child = 0;
}

void inspector_free(struct inspector *inspector)
{
	if (!inspector)
		return;
	end_child(inspector);
	if (inspector->answers >= 0)
		close(inspector->answers);
	free(inspector);
}

void inspector_set_wait(struct inspector *inspector, unsigned int ms)
{
	inspector->wait_ms = ms;
}

static int start_child(struct inspector *inspector)
{
	int pair[2];

	if (inspector->child)
		return 0;
	if (inspector->answers < 0)
		inspector->answers = memfd_create("lapidary-answers", MFD_CLOEXEC);
	if (inspector->answers < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	inspector->child = fork();
	if (inspector->child == 0) {
		/* nothing else of the caller's may be in its reach, nor count against its limit */
		if (dup3(pair[1], SOCKET, 0) != SOCKET && pair[1] != SOCKET)
			_exit(1);
		close_range(SOCKET + 1, ~0u, 0);
		inspector_main(SOCKET, inspector->uid);
	}
	close(pair[1]);
	inspector->socket = pair[0];
	if (inspector->child > 0)
		return 0;
	inspector->child = 0;
	close(pair[0]);
	return -EAGAIN;
}

static void fail(struct inspection *one, int result, const char *why)
{
	one->result = result;
	one->answer = NULL;
	one->size = 0;
	text_copy(one->why, sizeof(one->why), why);
}

static bool take_answer(struct inspector *inspector, const struct inspector_answer *answer,
			struct inspection *one)
{
	void *bytes;

	if (answer->result > 0 || answer->result < -4095)
		return false;
	if (answer->result < 0) {
		char why[sizeof(answer->why) + 1];

		text_copy_bytes(why, sizeof(why), answer->why, sizeof(answer->why));
		text_clean(why);
		fail(one, answer->result, *why ? why : strerror(-answer->result));
		return true;
	}
	if (answer->size == 0 || answer->size > ANSWER_MAX || answer->offset > INT64_MAX - ANSWER_MAX)
		return false;
	/* a copy that the child cannot change any more, then checked */
	bytes = malloc(answer->size);
	if (!bytes) {
		fail(one, -ENOMEM, "out of memory");
		return true;
	}
	if (pread(inspector->answers, bytes, answer->size, (off_t)answer->offset) != (ssize_t)answer->size ||
	    !inspector_check(one->kind, bytes, answer->size)) {
		free(bytes);
		return false;
	}
	one->result = 0;
	one->why[0] = '\0';
	one->answer = bytes;
	one->size = answer->size;
	return true;
}

static int wait_answer(const struct inspector *inspector, struct inspector_answer *answer)
{
	struct pollfd wait = {.fd = inspector->socket, .events = POLLIN};
	int fd, got;

	if (poll(&wait, 1, (int)inspector->wait_ms) <= 0)
		return -ETIMEDOUT;
	got = message_receive(inspector->socket, answer, sizeof(*answer), &fd, MSG_DONTWAIT);
	if (fd >= 0)
		close(fd); /* never sent by an honest one */
	return got == 1 ? 0 : -EIO;
}

/* Asks about at most a batch. Returns how many have their answer; fewer: the child is gone. */
static size_t run_batch(struct inspector *inspector, struct inspection *list, size_t count)
{
	struct inspector_question question = {.number = ++inspector->number, .count = (uint32_t)count};
	int fds[INSPECTOR_BATCH + 1], err;

	fds[0] = inspector->answers;
	for (size_t i = 0; i < count; i++) {
		fds[1 + i] = list[i].fd;
		question.kinds[i] = list[i].kind;
	}
	err = ftruncate(inspector->answers, 0) ? -EIO : 0;
	if (!err)
		err = message_send_many(inspector->socket, &question, sizeof(question), fds, count + 1, 0);
	for (size_t i = 0; i < count; i++) {
		struct inspector_answer answer;

		if (!err)
			err = wait_answer(inspector, &answer);
		if (!err && answer.number == question.number && answer.index == i &&
		    take_answer(inspector, &answer, &list[i]))
			continue;
		if (err == -ETIMEDOUT)
			fail(&list[i], err, "the examiner took too long over it");
		else
			fail(&list[i], -EIO,
			     err ? "the examiner died on it" : "the examiner's answer could not be believed");
		end_child(inspector);
		inspector->deaths++;
		return i + 1; /* it has its answer: that it is the one */
	}
	return count;
}

void inspector_run(struct inspector *inspector, struct inspection *list, size_t count)
{
	size_t at = 0;

	while (at < count) {
		size_t batch = count - at < INSPECTOR_BATCH ? count - at : INSPECTOR_BATCH;
		int err = inspector->deaths < INSPECTOR_DEATHS ? start_child(inspector) : -ECANCELED;

		if (err) {
			fail(&list[at++], err,
			     err == -ECANCELED ? "too many files here killed the examiner" : strerror(-err));
			continue;
		}
		at += run_batch(inspector, list + at, batch);
	}
}
