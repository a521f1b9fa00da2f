// SPDX-License-Identifier: Apache-2.0
/* Descriptors that nobody asked for must not pile up, so every path here closes what it does not hand out. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "user/probe/message.h"

enum { CONTROL_FDS = MESSAGE_FDS + 3 }; /* all that can come, to see and close what should not be there */

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
};

int message_send_many(int socket_fd, const void *data, size_t size, const int *fds, size_t count, int flags)
{
	struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	union control control;
	ssize_t n;

	if (count > MESSAGE_FDS)
		return -EINVAL;
	if (count > 0) {
		struct cmsghdr *header = &control.align;

		memset(&control, 0, CMSG_SPACE(count * sizeof(int)));
		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	}
	do {
		n = sendmsg(socket_fd, &message, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int message_send(int socket_fd, const void *data, size_t size, int fd, int flags)
{
	return message_send_many(socket_fd, data, size, &fd, fd >= 0, flags);
}

/* Takes the first `room` descriptors, closes the others, and returns how many there were. */
static size_t take_descriptors(struct msghdr *message, int *fds, size_t room)
{
	size_t count = 0;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		size_t bytes;

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		bytes = header->cmsg_len - CMSG_LEN(0);
		for (size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
			int one;

			memcpy(&one, CMSG_DATA(header) + at, sizeof(one));
			if (count < room)
				fds[count] = one;
			else
				close(one);
			count++;
		}
	}
	return count;
}

static int receive(int socket_fd, void *data, size_t size, int *fds, size_t room, size_t *count, int flags)
{
	struct iovec part = {.iov_base = data, .iov_len = size};
	union control control;
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	size_t came;
	ssize_t n;

	*count = 0;
	do {
		n = recvmsg(socket_fd, &message, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	came = take_descriptors(&message, fds, room);
	*count = came < room ? came : room;
	if (n == 0 && came == 0)
		return 0;
	if ((size_t)n == size && came <= room && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	for (size_t i = 0; i < *count; i++)
		close(fds[i]);
	*count = 0;
	return -EPROTO;
}

int message_receive_many(int socket_fd, void *data, size_t size, int fds[MESSAGE_FDS], size_t *count,
			 int flags)
{
	return receive(socket_fd, data, size, fds, MESSAGE_FDS, count, flags);
}

int message_receive(int socket_fd, void *data, size_t size, int *fd, int flags)
{
	size_t count;
	int one, got = receive(socket_fd, data, size, &one, 1, &count, flags);

	*fd = count ? one : -1;
	return got;
}
