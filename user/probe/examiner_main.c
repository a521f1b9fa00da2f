// SPDX-License-Identifier: Apache-2.0
/*
 * The examiner's own side: confined before it reads its first byte, it takes a file, looks, answers and
 * forgets. It ends when the agent closes the socket.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/elf/distil.h"
#include "user/probe/examiner.h"
#include "user/probe/examiner_wire.h"
#include "user/probe/message.h"

enum { EXIT_UNCONFINED = 70 };

static void examine_debug(const struct examiner_question *question, const int *fds, size_t count,
			  struct examiner_answer *answer)
{
	int64_t copied;

	copied = count != 2 || question->wanted.build_id_len > sizeof(question->wanted.build_id)
			 ? -EINVAL
			 : distil_debug(fds[0], fds[1], &question->wanted);
	answer->result = copied < 0 ? (int32_t)copied : 0;
	answer->copied = copied > 0;
	memset(&answer->library.layout, 0xff, sizeof(answer->library.layout)); /* LAYOUT_UNKNOWN */
}

static void examine(const struct examiner_question *question, const int *fds, size_t count,
		    struct examiner_answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->token = question->token;
	if (question->debug) {
		examine_debug(question, fds, count, answer);
		return;
	}
	answer->result = count == 0 ? -EBADF : library_examine(fds[0], &answer->library);
	if (count == 2 && answer->result == 0 &&
	    (question->copy == EXAMINER_COPY_ALL || answer->library.kind != LIBRARY_NEITHER))
		answer->copied = distil(fds[0], fds[1]) > 0;
}

void examiner_main(int socket_fd, uint32_t uid)
{
	static struct examiner_answer answer;

	if (confine_examiner(uid) != 0)
		_exit(EXIT_UNCONFINED);
	for (;;) {
		struct examiner_question question;
		int fds[MESSAGE_FDS];
		size_t count;

		if (message_receive_many(socket_fd, &question, sizeof(question), fds, &count, 0) != 1)
			_exit(0);
		if (confine_renew_cpu(EXAMINER_CPU_PER_QUESTION) != 0)
			_exit(EXIT_UNCONFINED);
		examine(&question, fds, count, &answer);
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		if (message_send(socket_fd, &answer, sizeof(answer), -1, 0) != 0)
			_exit(0);
	}
}
