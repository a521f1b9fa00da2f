// SPDX-License-Identifier: Apache-2.0
/*
 * Whatever happens inside a callback, sessions only end there; they are buried, and told about, when the loop
 * comes back to this file. So the agent may tell a scope from within a message of one of its peers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "user/act/app_place.h"
#include "user/act/connection.h"
#include "user/base/text.h"

enum {
	TICK_MS = 10,
	ACCEPTS_PER_WAKE = 64,
	PAUSE_TICKS = 10, /* without a descriptor left, the listener rests 100 ms */
};

struct app_socket {
	uv_loop_t *loop;
	struct app_socket_events events;
	struct sessions *sessions;
	uv_poll_t listener;
	uv_timer_t timer;
	struct connection_events turns;
	int fd, pause;
	int inside; /* callbacks of the loop: what is over is buried when the last returns */
	bool closing;
	ino_t inode;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void ticked(uv_timer_t *timer);

/* The clock runs only while something waits for it. */
static void wind(void *context)
{
	struct app_socket *socket = context;

	if (!socket->closing && !uv_is_active((uv_handle_t *)&socket->timer) &&
	    (socket->pause > 0 || sessions_busy(socket->sessions)))
		uv_timer_start(&socket->timer, ticked, TICK_MS, TICK_MS);
}

static void enter(void *context)
{
	struct app_socket *socket = context;

	socket->inside++;
}

static void leave(void *context)
{
	struct app_socket *socket = context;

	if (--socket->inside == 0)
		sessions_reap(socket->sessions);
	wind(socket);
}

/* --- what sessions ask for ------------------------------------------------------------------------- */

static int identify(void *context, struct session *session, struct peer *peer, char *why, size_t why_size)
{
	struct app_socket *socket = context;
	struct connection *connection = session_owner(session);
	int err = socket->events.identify(socket->events.context, peer, why, why_size);

	/* asked last: while it lives its pid is nobody else's */
	if (connection_is_orphan(connection)) {
		text_copy(why, why_size, "the process that connected has ended");
		return -ESRCH;
	}
	if (!err)
		connection_known(connection);
	return err;
}

static void greet(void *context, struct session *session)
{
	struct app_socket *socket = context;
	struct line_welcome welcome = {0};
	int page_fd = -1;
	char *line;

	socket->events.welcome(socket->events.context, session_peer(session), &welcome, &page_fd);
	line = protocol_welcome(&welcome);
	if (!line || connection_say_page(session_owner(session), line, strlen(line), page_fd) != 0)
		sessions_end(session, NULL, NULL);
	free(line);
}

static void say(void *context, struct session *session, const char *line)
{
	(void)context;
	connection_say(session_owner(session), line, strlen(line), -1);
}

static void resume(void *context, struct session *session)
{
	(void)context;
	connection_watch(session_owner(session));
}

static void gone(void *context, struct session *session, const char *last_words)
{
	(void)context;
	if (session_owner(session))
		connection_close(session_owner(session), last_words);
}

/* --- coming ---------------------------------------------------------------------------------------- */

static void turn_away(int fd, const char *code, const char *why)
{
	char *line = protocol_error(code, why);

	if (line)
		(void)!send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	free(line);
}

static void admit(struct app_socket *socket, int fd)
{
	struct connection *connection;
	struct session *session = NULL;
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	uint64_t cgroup_id = 0;
	const char *code = NULL;
	char why[160] = "";

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
		close(fd);
		return;
	}
	if (socket->events.place)
		cgroup_id = socket->events.place(socket->events.context, (uint32_t)peer.pid);
	if (sessions_open(socket->sessions, (uint32_t)peer.pid, peer.uid, cgroup_id, uv_hrtime(), &session,
			  &code, why, sizeof(why)) == 0) {
		if (connection_new(socket->loop, fd, peer.pid, session, &socket->turns, &connection) == 0)
			return;
		sessions_end(session, NULL, NULL);
	}
	if (code)
		turn_away(fd, code, why);
	close(fd);
}

/* The listener would be ready again at once, for as long as no descriptor is free. */
static void rest(struct app_socket *socket)
{
	socket->pause = PAUSE_TICKS;
	uv_poll_stop(&socket->listener);
}

static void has_callers(uv_poll_t *poll, int status, int events)
{
	struct app_socket *socket = poll->data;

	(void)status;
	(void)events;
	enter(socket);
	for (int i = 0; i < ACCEPTS_PER_WAKE && !socket->closing; i++) {
		int fd = accept4(socket->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				rest(socket);
			break;
		}
		admit(socket, fd);
	}
	leave(socket);
}

static void ticked(uv_timer_t *timer)
{
	struct app_socket *socket = timer->data;

	enter(socket);
	sessions_tick(socket->sessions, uv_hrtime());
	leave(socket);
	if (socket->closing)
		return;
	if (socket->pause > 0 && --socket->pause == 0 &&
	    uv_poll_start(&socket->listener, UV_READABLE, has_callers) != 0)
		socket->pause = PAUSE_TICKS;
	if (socket->pause == 0 && !sessions_busy(socket->sessions))
		uv_timer_stop(timer);
}

/* --- opening and closing --------------------------------------------------------------------------- */

static int open_sessions(struct app_socket *socket)
{
	const struct sessions_events events = {
		.app = socket->events,
		.context = socket,
		.identify = identify,
		.greet = greet,
		.say = say,
		.resume = resume,
		.gone = gone,
	};

	socket->sessions = sessions_new(&events);
	return socket->sessions ? 0 : -ENOMEM;
}

int app_socket_listen(uv_loop_t *loop, const char *run_dir, const struct app_socket_events *events,
		      struct app_socket **out, char *why, size_t why_size)
{
	struct app_socket *new = calloc(1, sizeof(*new));
	int err = -ENOMEM, fd = -1;

	if (!new)
		goto out;
	new->loop = loop;
	new->events = *events;
	new->turns = (struct connection_events){new, enter, leave, wind};
	if (open_sessions(new) != 0)
		goto out;
	err = -ENAMETOOLONG;
	if ((size_t)snprintf(new->path, sizeof(new->path), "%s/app.sock", run_dir) >= sizeof(new->path))
		goto out;
	fd = new->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = fd < 0 ? -errno : app_place_bind(new->path, fd, &new->inode);
	if (!err)
		err = uv_poll_init(loop, &new->listener, fd);
	if (err)
		goto out;
	new->listener.data = new->timer.data = new;
	uv_timer_init(loop, &new->timer);
	uv_poll_start(&new->listener, UV_READABLE, has_callers);
	*out = new;
	return 0;
out:
	snprintf(why, why_size, "%s/app.sock: %s; is the directory there, writable, and its path short?",
		 run_dir, strerror(-err));
	if (fd >= 0)
		close(fd);
	if (new)
		sessions_free(new->sessions);
	free(new);
	return err;
}

int app_socket_keep(struct app_socket *apps)
{
	int fd, err;

	if (!app_place_is_empty(apps->path))
		return 0;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = app_place_bind(apps->path, fd, &apps->inode);
	if (!err) {
		/* Under the old one's number, which the loop's handle knows and must have let go of before.
		 */
		uv_poll_stop(&apps->listener);
		err = dup3(fd, apps->fd, O_CLOEXEC) < 0 ? -errno : 0;
		if (apps->pause == 0)
			uv_poll_start(&apps->listener, UV_READABLE, has_callers);
	}
	close(fd);
	return err ? err : 1;
}

void app_socket_close(struct app_socket *socket)
{
	struct stat info;

	if (!socket || socket->closing)
		return;
	socket->closing = true;
	if (stat(socket->path, &info) == 0 && info.st_ino == socket->inode) /* a successor's stays */
		unlink(socket->path);
	sessions_end_all(socket->sessions);
	if (socket->inside == 0)
		sessions_reap(socket->sessions);
	uv_poll_stop(&socket->listener);
	close(socket->fd);
	uv_close((uv_handle_t *)&socket->listener, NULL);
	uv_close((uv_handle_t *)&socket->timer, NULL);
}

void app_socket_free(struct app_socket *socket)
{
	if (!socket)
		return;
	sessions_free(socket->sessions);
	free(socket);
}

/* --- telling --------------------------------------------------------------------------------------- */

static bool accepts(const struct session *session, uint32_t needs)
{
	return (session_peer(session)->hello.accepts & needs) == needs;
}

size_t app_socket_tell_scope(struct app_socket *socket, const struct ev_scope *scope, uint32_t needs,
			     const char *line, uint64_t but)
{
	struct session *session = sessions_of_scope(socket->sessions, scope);
	size_t size = strlen(line), told = 0;

	for (; session; session = session_next_of_scope(session))
		if (accepts(session, needs) && session_peer(session)->id != but)
			told += connection_say(session_owner(session), line, size, -1) == 0;
	return told;
}

int app_socket_tell_peer(struct app_socket *socket, uint64_t peer, uint32_t needs, const char *line)
{
	struct session *session = sessions_find(socket->sessions, peer);

	if (!session)
		return -ENOENT;
	if (!accepts(session, needs))
		return -EACCES;
	return connection_say(session_owner(session), line, strlen(line), -1) == 0 ? 0 : -ENOENT;
}

const struct peer *app_socket_peer_of(const struct app_socket *socket, uint32_t tgid, uint64_t start_ns)
{
	struct session *session = sessions_of_process(socket->sessions, tgid, start_ns);

	return session ? session_peer(session) : NULL;
}

void app_socket_process_gone(struct app_socket *socket, uint32_t tgid, uint64_t start_ns)
{
	struct session *session;

	while ((session = sessions_of_process(socket->sessions, tgid, start_ns)))
		sessions_end(session, NULL, NULL);
	wind(socket);
}

struct each {
	void (*fn)(void *context, const struct peer *peer);
	void *context;
};

static void each_peer(void *context, struct session *session)
{
	const struct each *each = context;

	each->fn(each->context, session_peer(session));
}

void app_socket_each(const struct app_socket *socket, void (*fn)(void *context, const struct peer *peer),
		     void *context)
{
	struct each each = {fn, context};

	sessions_each(socket->sessions, each_peer, &each);
}

void app_socket_welcome_again(struct app_socket *socket, const struct ev_scope *scope)
{
	struct session *session;

	if (!scope) {
		sessions_each(socket->sessions, greet, socket);
		return;
	}
	session = sessions_of_scope(socket->sessions, scope);
	for (; session; session = session_next_of_scope(session))
		greet(socket, session);
}

void app_socket_stats(const struct app_socket *socket, struct app_socket_stats *out)
{
	sessions_stats(socket->sessions, out);
}
