/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peers of the app socket without their sockets: bytes in, messages, lines and verdicts out. Who gets in,
 * how much each may say and owe, when one is cut off and with which word. Pure: time is an argument, effects
 * are callbacks, and the owner is whatever holds the socket.
 *
 *   new ──hello──▶ asking (who is it?) ──known──▶ welcomed          each ──▶ over ──sessions_reap──▶ gone
 *
 * What is over stays in its lists until sessions_reap, so a callback may end any session, its own too, while
 * others walk. Only sessions_reap frees, and only sessions_open adds.
 *
 * Memory: a session is about 1 KiB; beside it a peer holds at most one unfinished line and what it does not
 * read, together HELD_MAX for all: past that, whoever holds most is cut off. So all peers together cost at
 * most 1024 × 1.2 KiB + 32 MiB + the tables' 1.5 MiB here, and in the kernel the socket buffers, 64 KiB a
 * peer.
 */
#ifndef LAPIDARY_SESSIONS_H
#define LAPIDARY_SESSIONS_H

#include "user/act/app_socket.h"

enum {
	BYTES_PER_SECOND = 1024 * 1024, /* of a peer; past that it rests until the second is over */
	ERRORS_PER_SECOND = 8, /* answers to a peer's mistakes and errors of its own that are passed on */
	UNREAD_MS = 10000,     /* a peer that takes nothing of what it is owed for so long is cut */
	HELD_MAX = 32 * 1024 * 1024,
};

struct session;
struct sessions;

struct sessions_events {
	/* joined, message, left and cut are called as they stand there, identify and welcome are not. */
	struct app_socket_events app;
	void *context; /* of those below */
	int (*identify)(void *context, struct session *session, struct peer *peer, char *why,
			size_t why_size);
	void (*greet)(void *context, struct session *session); /* say welcome */
	void (*say)(void *context, struct session *session, const char *line);
	void (*resume)(void *context, struct session *session); /* sessions_wants is true again */
	/* The last: close. `last_words` is a line for the peer, NULL when it left by itself. */
	void (*gone)(void *context, struct session *session, const char *last_words);
};

struct sessions *sessions_new(const struct sessions_events *events);
void sessions_free(struct sessions *sessions); /* says nothing to anybody */

/* Lets a connection in; cgroup_id 0: not known before its hello. -EUSERS with code and why: it is refused
 * (and reported by `cut`); -ENOMEM. */
int sessions_open(struct sessions *sessions, uint32_t tgid, uint32_t uid, uint64_t cgroup_id, uint64_t now_ns,
		  struct session **out, const char **code, char *why, size_t why_size);
/* At most PROTOCOL_LINE_MAX bytes, and only while sessions_wants. */
void sessions_feed(struct session *session, const char *bytes, size_t size, uint64_t now_ns);
/* False while it is being identified, rests, or is over: do not read from it. */
bool sessions_wants(const struct session *session);
/* How many bytes the owner keeps for the peer, after each change. */
void sessions_owe(struct session *session, size_t unsent, uint64_t now_ns);
/* The peer is gone (code NULL), or is cut off with a static word. */
void sessions_end(struct session *session, const char *code, const char *why);
void sessions_end_all(struct sessions *sessions);
/* Deadlines; wanted every 10 ms while sessions_busy. */
void sessions_tick(struct sessions *sessions, uint64_t now_ns);
bool sessions_busy(const struct sessions *sessions);
/* Buries what is over; no-op inside itself. */
void sessions_reap(struct sessions *sessions);

bool session_is_over(const struct session *session);
void session_own(struct session *session, void *owner);
void *session_owner(const struct session *session); /* NULL: nobody yet */
const struct peer *session_peer(const struct session *session);

/* Welcomed ones. The next of its scope, NULL: none; good while sessions_reap is not called. */
struct session *sessions_of_scope(const struct sessions *sessions, const struct ev_scope *scope);
struct session *session_next_of_scope(const struct session *session);
struct session *sessions_find(const struct sessions *sessions, uint64_t id);
struct session *sessions_of_process(const struct sessions *sessions, uint32_t tgid, uint64_t start_ns);
void sessions_each(const struct sessions *sessions, void (*fn)(void *context, struct session *session),
		   void *context);
void sessions_stats(const struct sessions *sessions, struct app_socket_stats *out);
/* Bytes held for peers: unfinished lines and unread ones. */
size_t sessions_held(const struct sessions *sessions);

#endif
