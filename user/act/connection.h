/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connected socket on the loop: what it is sent goes out at once where the kernel takes it, and waits in
 * order where not. A line that is taken whole costs one system call and no memory.
 */
#ifndef LAPIDARY_CONNECTION_H
#define LAPIDARY_CONNECTION_H

#include <uv.h>
#include "user/act/sessions.h"

struct connection;

struct connection_events {
	void *context;
	void (*enter)(void *context); /* around each turn of the loop with it */
	void (*leave)(void *context);
	void (*waits)(void *context); /* something now waits for the clock */
};

/* Owns the socket of an accepted peer, on success, and is the session's owner. pid: who connected. */
int connection_new(uv_loop_t *loop, int fd, pid_t pid, struct session *session,
		   const struct connection_events *events, struct connection **out);
/* Says the words (NULL: none) if it can at once, and closes; freed by the loop. */
void connection_close(struct connection *connection, const char *words);

/* 0 also when it only waits; -errno: the session is over. fd: passed on with the first byte, -1: none. */
int connection_say(struct connection *connection, const char *line, size_t size, int fd);
/* The same with a state page, which goes along unless it is the one that was passed before. */
int connection_say_page(struct connection *connection, const char *line, size_t size, int page_fd);
/* Reads again, or not, as the session wants. */
void connection_watch(struct connection *connection);
/* Whoever connected has ended, so its pid may be another's. To be asked until it is known. */
bool connection_is_orphan(struct connection *connection);
void connection_known(struct connection *connection);

#endif
