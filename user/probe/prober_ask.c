// SPDX-License-Identifier: Apache-2.0
/* The agent's side. The question is smaller than any pipe, so writing it waits for no one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>
#include "user/probe/prober.h"
#include "user/probe/spawner.h"

_Static_assert(sizeof(struct prober_question) <= PIPE_BUF, "a question is written in one piece");

int prober_ask(struct spawner *spawner, const struct prober_question *question, uint64_t token)
{
	const struct spawner_request request = {.verb = SPAWNER_PROBER, .token = token};
	int pipe_fds[2], err = 0;

	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return errno == EMFILE || errno == ENFILE ? -EAGAIN : -errno;
	if (write(pipe_fds[1], question, sizeof(*question)) != sizeof(*question))
		err = -EIO;
	if (!err)
		err = spawner_ask(spawner, &request, pipe_fds[0]);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return err;
}
