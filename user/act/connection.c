// SPDX-License-Identifier: Apache-2.0
/*
 * Reads are small and one a wake, so that a flooder takes its turn like everybody. Writes never wait. When
 * the peer closes with lines of ours unread, the kernel says so before what it wrote last is read; that may
 * be the ack of an order, so it is read to its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "user/act/connection.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum {
	READ_BYTES = 4096,
	LAST_READS = 64,
	SEND_BUFFER = 32 * 1024, /* the kernel doubles it: what a peer that does not read may cost there */
};

struct chunk {
	struct chunk *next;
	size_t size, sent;
	int fd; /* goes with the first byte; -1: none */
	char bytes[];
};

struct connection {
	uv_poll_t poll;
	struct session *session;
	const struct connection_events *events;
	int fd, pidfd, watching;
	ino_t page; /* that was passed on */
	struct chunk *first, *last;
	size_t unsent;
};

/* --- writing --------------------------------------------------------------------------------------- */

/* How much the kernel took, 0: nothing now; -errno. */
static ssize_t put(const struct connection *connection, const char *bytes, size_t size, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {(void *)bytes, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t sent;

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	do
		sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN ? 0 : -errno;
	return sent;
}

static void chunk_free(struct connection *connection)
{
	struct chunk *chunk = connection->first;

	connection->first = chunk->next;
	if (!connection->first)
		connection->last = NULL;
	if (chunk->fd >= 0)
		close(chunk->fd);
	free(chunk);
}

/* Keeps what was not taken; the descriptor as well, which the caller may close meanwhile. */
static int keep(struct connection *connection, const char *bytes, size_t size, int fd)
{
	struct chunk *chunk = malloc(sizeof(*chunk) + size);

	if (!chunk)
		return -ENOMEM;
	*chunk = (struct chunk){.size = size, .fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0)};
	if (fd >= 0 && chunk->fd < 0) {
		free(chunk);
		return -errno;
	}
	memcpy(chunk->bytes, bytes, size);
	*(connection->last ? &connection->last->next : &connection->first) = chunk;
	connection->last = chunk;
	connection->unsent += sizeof(*chunk) + size;
	return 0;
}

static int flush(struct connection *connection)
{
	while (connection->first) {
		struct chunk *chunk = connection->first;
		ssize_t sent = put(connection, chunk->bytes + chunk->sent, chunk->size - chunk->sent,
				   chunk->sent ? -1 : chunk->fd);

		if (sent <= 0)
			return (int)sent;
		chunk->sent += (size_t)sent;
		connection->unsent -= (size_t)sent;
		if (chunk->sent < chunk->size)
			continue;
		connection->unsent -= sizeof(*chunk);
		chunk_free(connection);
	}
	return 0;
}

int connection_say(struct connection *connection, const char *line, size_t size, int fd)
{
	ssize_t sent = connection->first ? 0 : put(connection, line, size, fd);
	int err = sent < 0 ? (int)sent : 0;

	if (sent == (ssize_t)size)
		return 0;
	if (!err)
		err = keep(connection, line + sent, size - (size_t)sent, sent ? -1 : fd);
	if (err)
		sessions_end(connection->session, NULL, NULL);
	else
		sessions_owe(connection->session, connection->unsent, uv_hrtime());
	connection_watch(connection);
	connection->events->waits(connection->events->context);
	return session_is_over(connection->session) ? -EPIPE : 0;
}

int connection_say_page(struct connection *connection, const char *line, size_t size, int page_fd)
{
	struct stat page;
	int err;

	if (page_fd >= 0 && fstat(page_fd, &page) != 0)
		return -errno;
	if (page_fd < 0 || page.st_ino == connection->page)
		return connection_say(connection, line, size, -1);
	err = connection_say(connection, line, size, page_fd);
	if (!err)
		connection->page = page.st_ino;
	return err;
}

/* --- the loop -------------------------------------------------------------------------------------- */

/* False when there is nothing more. */
static bool take(struct connection *connection)
{
	char bytes[READ_BYTES];
	ssize_t got = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got > 0)
		sessions_feed(connection->session, bytes, (size_t)got, uv_hrtime());
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		sessions_end(connection->session, NULL, NULL);
	return got > 0;
}

static void ready(uv_poll_t *poll, int status, int events)
{
	struct connection *connection = poll->data;
	int left = status < 0 ? LAST_READS : 1;

	connection->events->enter(connection->events->context);
	if (status < 0)
		connection->watching = 0; /* the loop has stopped it */
	if (status < 0 || events & UV_READABLE)
		while (left-- > 0 && sessions_wants(connection->session) && take(connection))
			;
	if (status < 0)
		sessions_end(connection->session, NULL, NULL);
	if (events & UV_WRITABLE && !session_is_over(connection->session)) {
		if (flush(connection) != 0)
			sessions_end(connection->session, NULL, NULL);
		sessions_owe(connection->session, connection->unsent, uv_hrtime());
	}
	connection_watch(connection);
	connection->events->leave(connection->events->context);
}

void connection_watch(struct connection *connection)
{
	int wanted = 0;

	if (!session_is_over(connection->session))
		wanted = (sessions_wants(connection->session) ? UV_READABLE : 0) |
			 (connection->first ? UV_WRITABLE : 0);
	if (wanted == connection->watching)
		return;
	connection->watching = wanted;
	if (!wanted)
		uv_poll_stop(&connection->poll);
	else if (uv_poll_start(&connection->poll, wanted, ready) != 0)
		sessions_end(connection->session, NULL, NULL);
}

/* --- coming and going ------------------------------------------------------------------------------ */

/* A pidfd of the connector; -errno, also when it has ended. */
static int connector(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t size = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) != 0 && errno == ENOPROTOOPT)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* before Linux 6.5 */
	return pidfd < 0 ? -errno : pidfd;
}

int connection_new(uv_loop_t *loop, int fd, pid_t pid, struct session *session,
		   const struct connection_events *events, struct connection **out)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	const int buffer = SEND_BUFFER;
	int err = -ENOMEM;

	if (!connection)
		return err;
	*connection = (struct connection){.session = session, .events = events, .fd = fd, .pidfd = -1};
	err = connection->pidfd = connector(fd, pid);
	if (err >= 0)
		err = uv_poll_init(loop, &connection->poll, fd);
	if (err) {
		connection_known(connection);
		free(connection);
		return err;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	connection->poll.data = connection;
	session_own(session, connection);
	connection_watch(connection);
	*out = connection;
	return 0;
}

static void closed(uv_handle_t *handle)
{
	free(handle->data);
}

void connection_close(struct connection *connection, const char *words)
{
	if (words && !connection->first)
		put(connection, words, strlen(words), -1);
	while (connection->first)
		chunk_free(connection);
	connection_known(connection);
	uv_poll_stop(&connection->poll);
	close(connection->fd);
	uv_close((uv_handle_t *)&connection->poll, closed);
}

bool connection_is_orphan(struct connection *connection)
{
	struct pollfd ended = {connection->pidfd, POLLIN, 0};

	return connection->pidfd >= 0 && poll(&ended, 1, 0) == 1;
}

void connection_known(struct connection *connection)
{
	if (connection->pidfd >= 0)
		close(connection->pidfd);
	connection->pidfd = -1;
}
