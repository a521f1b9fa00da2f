/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app socket, RUN_DIR/app.sock (0666): who may speak, how much, and to whom an order goes. A peer that
 * breaks the framing, floods or does not read is cut off with a reason; it never slows the loop or another
 * peer. Who a peer is, the caller says from kernel facts; what it claims is only its app's name inside them.
 *
 *   sessions.c    the pure part: bytes, limits and states of peers, without a socket or a clock; its header
 *                 says what all peers together may cost
 *   app_socket.c  the sockets on the loop; connection.c one of them
 */
#ifndef LAPIDARY_APP_SOCKET_H
#define LAPIDARY_APP_SOCKET_H

#include <uv.h>
#include "user/act/protocol.h"

enum {
	PEERS_MAX = 1024,
	PEERS_OF_UID = 512,   /* the pods of a host often share one uid, so it is */
	PEERS_OF_CGROUP = 64, /* a uid's cgroup that is kept to what an app needs */
	PEERS_OF_PROCESS = 2,
	APPS_OF_CGROUP = 16, /* names, of a uid's cgroup */
	HELLO_MS = 1000,
	LINES_PER_SECOND = 1000,
	IDENTIFY_MS = 450,       /* so long a peer waits to be known; the app waits 500 for its welcome */
	UNSENT_MAX = 256 * 1024, /* bytes owed to a peer that does not read, then it is cut off */
};

/* A peer that has been welcomed. Its pointer is good during the call that hands it out. */
struct peer {
	uint64_t id; /* never used twice */
	uint32_t tgid;
	uint32_t uid; /* of SO_PEERCRED, as tgid */
	uint64_t start_ns;
	struct ev_scope scope;
	struct app_hello hello;
	struct app_pool pool; /* the latest; target "" while none came */
	enum app_phase state;
	uint32_t in_flight;
};

struct app_socket_events {
	void *context;
	/* The cgroup of who has connected, as in ev_scope, if it is known already and without asking; else 0.
	 */
	uint64_t (*place)(void *context, uint32_t tgid);
	/*
	 * A hello has come: fill start_ns and scope (the app's name: the configuration's, else hello.app)
	 * from kernel facts. 0: known; -EAGAIN: not yet, it is asked again each 10 ms up to IDENTIFY_MS; any
	 * other -errno: refused, with `why`.
	 */
	int (*identify)(void *context, struct peer *peer, char *why, size_t why_size);
	/* The welcome's content: strings and breakers stay the callee's until the next call. page_fd -1:
	 * none. */
	void (*welcome)(void *context, const struct peer *peer, struct line_welcome *out, int *page_fd);
	void (*joined)(void *context, const struct peer *peer); /* after the welcome is on its way */
	void (*message)(void *context, const struct peer *peer, const struct app_message *message);
	void (*left)(void *context, const struct peer *peer);
	/* A peer was cut off; at most one call a second each uid, the others are in `more`. */
	void (*cut)(void *context, uint32_t tgid, uint32_t uid, const char *code, const char *why,
		    uint64_t more);
};

struct app_socket_stats {
	uint64_t accepted, refused, cut, lines, bytes;
	size_t peers, unsent_bytes;
};

struct app_socket;

/* As control_listen; the run directory's lock is the control socket. The path is replaced atomically. */
int app_socket_listen(uv_loop_t *loop, const char *run_dir, const struct app_socket_events *events,
		      struct app_socket **out, char *why, size_t why_size);
/*
 * Listens anew where nothing is at its path any more; what somebody else put there stays, and so do the
 * peers. 1: it did, 0: there was no need, -errno: it could not (to be tried again).
 */
int app_socket_keep(struct app_socket *socket);
/* Says nothing more and closes; free when the loop has run the callbacks. NULL-safe. */
void app_socket_close(struct app_socket *socket);
void app_socket_free(struct app_socket *socket);

/*
 * Queues a line (borrowed) for every welcomed peer of the scope whose hello accepts all bits of `needs`, and
 * writes what the sockets take at once. Returns how many peers that is. `but` (a peer's id, 0: none) is left
 * out.
 */
size_t app_socket_tell_scope(struct app_socket *socket, const struct ev_scope *scope, uint32_t needs,
			     const char *line, uint64_t but);
/* -ENOENT: no such peer; -EACCES: it does not accept that. */
int app_socket_tell_peer(struct app_socket *socket, uint64_t peer, uint32_t needs, const char *line);
/* The process's welcomed peer with the fewest unsent bytes, borrowed; NULL: none. */
const struct peer *app_socket_peer_of(const struct app_socket *socket, uint32_t tgid, uint64_t start_ns);
void app_socket_each(const struct app_socket *socket, void (*fn)(void *context, const struct peer *peer),
		     void *context);
/* The process has ended: whoever holds its connections (a child may) does not speak for it. */
void app_socket_process_gone(struct app_socket *socket, uint32_t tgid, uint64_t start_ns);
/* Asks every peer of a scope (NULL: of all) for a new welcome: a new epoch, or a hold that ends. */
void app_socket_welcome_again(struct app_socket *socket, const struct ev_scope *scope);
void app_socket_stats(const struct app_socket *socket, struct app_socket_stats *out);

#endif
