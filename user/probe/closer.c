// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include "user/probe/closer.h"

struct closer {
	int from, to; /* a pipe of descriptor numbers */
	bool running;
	pthread_t thread;
};

static void *close_all(void *argument)
{
	struct closer *closer = argument;
	int fd;

	while (read(closer->from, &fd, sizeof(fd)) == sizeof(fd))
		close(fd);
	return NULL;
}

struct closer *closer_new(void)
{
	struct closer *closer = calloc(1, sizeof(*closer));
	int pipe_fds[2];

	if (!closer || pipe2(pipe_fds, O_CLOEXEC) != 0) {
		free(closer);
		return NULL;
	}
	closer->from = pipe_fds[0];
	closer->to = pipe_fds[1];
	fcntl(closer->to, F_SETFL, O_NONBLOCK); /* a full pipe must not hold who closes */
	return closer;
}

void closer_close(struct closer *closer, int fd)
{
	if (closer && !closer->running)
		closer->running = pthread_create(&closer->thread, NULL, close_all, closer) == 0;
	/* so small a write is whole or not at all (pipe(7)) */
	if (!closer || !closer->running || write(closer->to, &fd, sizeof(fd)) != sizeof(fd))
		close(fd);
}

void closer_free(struct closer *closer)
{
	if (!closer)
		return;
	close(closer->to);
	if (closer->running)
		pthread_join(closer->thread, NULL);
	close(closer->from);
	free(closer);
}
