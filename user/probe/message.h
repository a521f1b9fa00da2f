/* SPDX-License-Identifier: Apache-2.0 */
/* One message with its descriptors, most often one or none, over a SOCK_SEQPACKET socket. */
#ifndef LAPIDARY_PROBE_MESSAGE_H
#define LAPIDARY_PROBE_MESSAGE_H

#include <stddef.h>

/* `fd` goes along unless it is -1, and stays the caller's. flags: MSG_DONTWAIT or 0. Returns 0 or -errno. */
int message_send(int socket_fd, const void *data, size_t size, int fd, int flags);

/*
 * Receives a message of exactly `size` bytes and the descriptor that came with it (else -1, the caller's to
 * close, close-on-exec). Returns 1, 0 at the end of the stream, -EAGAIN, or -EPROTO for a message of
 * another size or with more than one descriptor (all of which are closed).
 */
int message_receive(int socket_fd, void *data, size_t size, int *fd, int flags);

enum { MESSAGE_FDS = 250 }; /* the kernel takes 253 (SCM_MAX_FD of net/scm.h) */

/* The same with several descriptors: `count` of at most MESSAGE_FDS, and room for so many. */
int message_send_many(int socket_fd, const void *data, size_t size, const int *fds, size_t count, int flags);
int message_receive_many(int socket_fd, void *data, size_t size, int fds[MESSAGE_FDS], size_t *count,
			 int flags);

#endif
