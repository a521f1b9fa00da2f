// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's side. The question lies in a file of memory because a stack may be larger than a message; it is
 * written once, sent and forgotten.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "user/probe/message.h"
#include "user/probe/unwinder.h"
#include "user/probe/unwinder_wire.h"

#define WAIT_NS (UNWINDER_WAIT_MS * 1000000ull)

struct unwinder {
	int fd;
	bool busy, dead;
	uint64_t number, asked_ns;
	size_t source_count; /* of the question that is open */
	struct unwinder_answer answer;
};

struct unwinder *unwinder_new(int socket_fd)
{
	struct unwinder *unwinder = calloc(1, sizeof(*unwinder));

	if (unwinder)
		unwinder->fd = socket_fd;
	return unwinder;
}

void unwinder_free(struct unwinder *unwinder)
{
	if (!unwinder)
		return;
	close(unwinder->fd);
	free(unwinder);
}

int unwinder_fd(const struct unwinder *unwinder)
{
	return unwinder->fd;
}

bool unwinder_busy(const struct unwinder *unwinder)
{
	return unwinder->busy;
}

/* The segments of one file stand together. Returns the descriptor's number, -1 when there is no room. */
static int32_t add_file(int *fds, size_t *count, size_t first, int fd)
{
	if (fd < 0)
		return -1;
	if (*count == first || fds[*count - 1] != fd) {
		if (*count == MESSAGE_FDS)
			return -1;
		fds[(*count)++] = fd;
	}
	return (int32_t)*count - 2;
}

/*
 * The sources as they are sent; their files go into fds from [1] on, then symbols as far as there is room.
 * Returns how many fds there are.
 */
static size_t list_sources(const struct unwind_question *question, struct unwinder_source *sources, int *fds)
{
	size_t count = 1, first;

	for (size_t i = 0; i < question->source_count; i++) {
		const struct unwind_source *from = &question->sources[i];

		sources[i] = (struct unwinder_source){from->start, from->end, from->offset,
						      add_file(fds, &count, 1, from->fd), -1};
	}
	first = count;
	for (size_t i = 0; i < question->source_count; i++)
		sources[i].debug = add_file(fds, &count, first, question->sources[i].debug_fd);
	return count;
}

static int write_question(const struct unwind_question *question, const struct unwinder_source *sources)
{
	struct unwinder_head head = {.vdso = question->vdso,
				     .stack_size = question->stack_size,
				     .source_count = question->source_count};
	size_t stack = question->stack_size + unwind_windows_size(question->windows);
	struct iovec parts[] = {
		{&head, sizeof(head)},
		{(void *)sources, question->source_count * sizeof(*sources)},
		{(void *)question->stack, stack},
	};
	size_t size = parts[0].iov_len + parts[1].iov_len + parts[2].iov_len;
	int fd = memfd_create("lapidary-crash", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (question->code) {
		head.code_start = question->code_start;
		memcpy(head.code, question->code, sizeof(head.code));
	}
	memcpy(head.regs, question->regs, sizeof(head.regs));
	if (question->missing)
		memcpy(head.missing, question->missing, sizeof(head.missing));
	if (question->windows)
		memcpy(head.windows, question->windows, sizeof(head.windows));
	if (pwritev(fd, parts, 3, 0) == (ssize_t)size)
		return fd;
	close(fd);
	return -ENOSPC;
}

int unwinder_ask(struct unwinder *unwinder, const struct unwind_question *question, uint64_t now_ns)
{
	struct unwinder_question words = {.number = unwinder->number + 1};
	struct unwinder_source *sources;
	int fds[MESSAGE_FDS], err;
	size_t count;

	if (unwinder->dead)
		return -EPIPE;
	if (unwinder->busy)
		return -EBUSY;
	if (question->source_count > UNWINDER_SOURCES)
		return -E2BIG;
	sources = calloc(question->source_count + 1, sizeof(*sources));
	if (!sources)
		return -ENOMEM;
	count = list_sources(question, sources, fds);
	fds[0] = write_question(question, sources);
	free(sources);
	if (fds[0] < 0)
		return fds[0];
	err = message_send_many(unwinder->fd, &words, sizeof(words), fds, count, MSG_DONTWAIT);
	close(fds[0]);
	if (err) {
		unwinder->dead = true;
		return err == -ECONNRESET ? -EPIPE : err;
	}
	unwinder->busy = true;
	unwinder->number = words.number;
	unwinder->asked_ns = now_ns;
	unwinder->source_count = question->source_count;
	return 0;
}

static int give_up(struct unwinder *unwinder, int err)
{
	unwinder->busy = false;
	unwinder->dead = true;
	return err;
}

int unwinder_read(struct unwinder *unwinder, uint64_t now_ns, struct unwind_result *out)
{
	struct unwinder_answer *answer = &unwinder->answer;
	int fd, got;

	if (unwinder->dead)
		return -EIO;
	got = message_receive(unwinder->fd, answer, sizeof(*answer), &fd, MSG_DONTWAIT);
	if (fd >= 0)
		close(fd); /* never sent by an honest one */
	if (got == -EAGAIN)
		return unwinder->busy && now_ns - unwinder->asked_ns > WAIT_NS ? give_up(unwinder, -ETIMEDOUT)
									       : 0;
	if (got == 0 || got == -EPIPE)
		return give_up(unwinder, -EIO);
	if (got < 0 || !unwinder->busy || answer->number != unwinder->number)
		return give_up(unwinder, -EPROTO);
	unwinder->busy = false;
	if (answer->result)
		return answer->result == -ENOMEM ? -ENOMEM : give_up(unwinder, -EPROTO);
	if (!unwind_check(&answer->unwound, unwinder->source_count))
		return give_up(unwinder, -EPROTO);
	*out = answer->unwound;
	return 1;
}
