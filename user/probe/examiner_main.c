// SPDX-License-Identifier: Apache-2.0
/*
 * The examiner's own side: confined before it reads its first byte, it takes a file, looks, answers and
 * forgets. It ends when the agent closes the socket.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/probe/examiner.h"
#include "user/probe/examiner_wire.h"
#include "user/probe/message.h"

enum { EXIT_UNCONFINED = 70 };

void examiner_main(int socket_fd, uint32_t uid)
{
	static struct examiner_answer answer;

	if (confine_examiner(uid) != 0)
		_exit(EXIT_UNCONFINED);
	for (;;) {
		struct examiner_question question;
		int file_fd;

		if (message_receive(socket_fd, &question, sizeof(question), &file_fd, 0) != 1)
			_exit(0);
		memset(&answer, 0, sizeof(answer));
		answer.token = question.token;
		if (confine_renew_cpu(EXAMINER_CPU_PER_QUESTION) != 0)
			_exit(EXIT_UNCONFINED);
		answer.result = file_fd < 0 ? -EBADF : library_examine(file_fd, &answer.library);
		if (file_fd >= 0)
			close(file_fd);
		if (message_send(socket_fd, &answer, sizeof(answer), -1, 0) != 0)
			_exit(0);
	}
}
