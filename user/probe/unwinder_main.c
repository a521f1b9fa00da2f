// SPDX-License-Identifier: Apache-2.0
/* The unwinder's own side: confined before it reads its first byte, it takes a question, unwinds and forgets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/probe/message.h"
#include "user/probe/unwinder.h"
#include "user/probe/unwinder_wire.h"

enum { EXIT_UNCONFINED = 70 };

struct question {
	struct unwinder_head head;
	struct unwinder_source wire[UNWINDER_SOURCES];
	struct unwind_source sources[UNWINDER_SOURCES];
	uint8_t stack[EV_STACK_TOTAL];
};

static int read_whole(int fd, void *out, size_t size, off_t at)
{
	return pread(fd, out, size, at) == (ssize_t)size ? 0 : -EPROTO;
}

static int descriptor(const int *fds, size_t count, int32_t number)
{
	return number >= 0 && (size_t)number + 1 < count ? fds[number + 1] : -1;
}

static int read_question(struct question *question, const int *fds, size_t count)
{
	struct unwinder_head *head = &question->head;
	size_t list, stack;

	if (count == 0 || read_whole(fds[0], head, sizeof(*head), 0) != 0 ||
	    head->source_count > UNWINDER_SOURCES || head->stack_size > EV_STACK_MAX)
		return -EPROTO;
	stack = head->stack_size + unwind_windows_size(head->windows);
	list = head->source_count * sizeof(*question->wire);
	if (stack > sizeof(question->stack) || read_whole(fds[0], question->wire, list, sizeof(*head)) != 0 ||
	    read_whole(fds[0], question->stack, stack, (off_t)(sizeof(*head) + list)) != 0)
		return -EPROTO;
	for (size_t i = 0; i < head->source_count; i++) {
		const struct unwinder_source *from = &question->wire[i];

		question->sources[i] = (struct unwind_source){from->start, from->end, from->offset,
							      descriptor(fds, count, from->file),
							      descriptor(fds, count, from->debug)};
	}
	return 0;
}

static void answer_one(struct question *question, const int *fds, size_t count,
		       struct unwinder_answer *answer)
{
	struct unwind_question asked = {
		.regs = question->head.regs,
		.stack = question->stack,
		.missing = question->head.missing,
		.windows = question->head.windows,
		.sources = question->sources,
	};

	answer->result = read_question(question, fds, count);
	asked.stack_size = question->head.stack_size;
	asked.source_count = question->head.source_count;
	asked.vdso = question->head.vdso;
	asked.code = question->head.code;
	asked.code_start = question->head.code_start;
	if (answer->result == 0)
		answer->result = unwind(&asked, &answer->unwound);
}

void unwinder_main(int socket_fd, uint32_t uid)
{
	static struct unwinder_answer answer;
	static struct question question;

	if (confine_unwinder(uid) != 0)
		_exit(EXIT_UNCONFINED);
	for (;;) {
		struct unwinder_question words;
		int fds[MESSAGE_FDS];
		size_t count;

		if (message_receive_many(socket_fd, &words, sizeof(words), fds, &count, 0) != 1)
			_exit(0);
		if (confine_renew_cpu(UNWINDER_CPU_SECONDS) != 0)
			_exit(EXIT_UNCONFINED);
		memset(&answer, 0, sizeof(answer));
		answer.number = words.number;
		answer_one(&question, fds, count, &answer);
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		if (message_send(socket_fd, &answer, sizeof(answer), -1, 0) != 0)
			_exit(0);
	}
}
