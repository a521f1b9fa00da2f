/* SPDX-License-Identifier: Apache-2.0 */
/* One message with at most one descriptor, over a SOCK_SEQPACKET socket. */
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

#endif
