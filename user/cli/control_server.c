// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's side of the control socket, on its loop. A client that sends more than a line, or nothing,
 * or does not read, costs one of CLIENTS places for PATIENCE_MS and no more.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/cli/control.h"

enum { CLIENTS = 16, PATIENCE_MS = 2000 };

struct control {
	uv_loop_t *loop;
	uv_pipe_t *listener;
	control_fn fn;
	void *context;
	struct client *clients[CLIENTS];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct client {
	uv_pipe_t pipe;
	uv_timer_t patience;
	uv_write_t write;
	struct control *control;
	char line[CONTROL_LINE_MAX + 1];
	size_t length;
	char *answer;
	int handles; /* still open */
};

static void client_handle_closed(uv_handle_t *handle)
{
	struct client *client = handle->data;

	if (--client->handles > 0)
		return;
	for (int i = 0; i < CLIENTS; i++)
		if (client->control->clients[i] == client)
			client->control->clients[i] = NULL;
	free(client->answer);
	free(client);
}

static void client_close(struct client *client)
{
	if (!uv_is_closing((uv_handle_t *)&client->pipe))
		uv_close((uv_handle_t *)&client->pipe, client_handle_closed);
	if (!uv_is_closing((uv_handle_t *)&client->patience))
		uv_close((uv_handle_t *)&client->patience, client_handle_closed);
}

static void written(uv_write_t *write, int status)
{
	(void)status;
	client_close(write->data);
}

static void out_of_patience(uv_timer_t *timer)
{
	client_close(timer->data);
}

static void answer(struct client *client)
{
	struct control *control = client->control;
	char *space = strchr(client->line, ' ');
	cJSON *document;
	uv_buf_t buffer;

	if (space)
		*space++ = '\0';
	document = control->fn(control->context, client->line, space ? space : "");
	if (!document) {
		document = cJSON_CreateObject();
		cJSON_AddStringToObject(document, "error", "unknown command");
	}
	client->answer = cJSON_PrintUnformatted(document);
	cJSON_Delete(document);
	if (!client->answer) {
		client_close(client);
		return;
	}
	buffer = uv_buf_init(client->answer, (unsigned)strlen(client->answer));
	client->write.data = client;
	if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buffer, 1, written) != 0)
		client_close(client);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct client *client = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(client->line + client->length,
			      (unsigned)(sizeof(client->line) - 1 - client->length));
}

static void has_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
	struct client *client = stream->data;
	char *end;

	(void)buffer;
	if (got == 0)
		return;
	if (got < 0) {
		client_close(client);
		return;
	}
	client->length += (size_t)got;
	client->line[client->length] = '\0';
	end = memchr(client->line, '\n', client->length);
	if (!end && client->length + 1 < sizeof(client->line))
		return;
	uv_read_stop(stream);
	if (!end) {
		client_close(client);
		return;
	}
	*end = '\0';
	answer(client);
}

static bool peer_is_allowed(uv_pipe_t *pipe)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd;

	return uv_fileno((uv_handle_t *)pipe, &fd) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

/* A place among the clients, or false when all are taken. */
static bool seat(struct control *control, struct client *client)
{
	for (int i = 0; i < CLIENTS; i++) {
		if (!control->clients[i]) {
			control->clients[i] = client;
			return true;
		}
	}
	return false;
}

static void accept_client(uv_stream_t *listener, int status)
{
	struct control *control = listener->data;
	struct client *client = status == 0 ? calloc(1, sizeof(*client)) : NULL;

	if (!client)
		return;
	client->control = control;
	client->handles = 2;
	client->pipe.data = client->patience.data = client;
	uv_pipe_init(listener->loop, &client->pipe, 0);
	uv_timer_init(listener->loop, &client->patience);
	if (uv_accept(listener, (uv_stream_t *)&client->pipe) != 0 || !seat(control, client) ||
	    !peer_is_allowed(&client->pipe) ||
	    uv_read_start((uv_stream_t *)&client->pipe, give_room, has_read) != 0 ||
	    uv_timer_start(&client->patience, out_of_patience, PATIENCE_MS, 0) != 0)
		client_close(client);
}

/* True when somebody accepts connections there. */
static bool answers(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes;

	text_copy(address.sun_path, sizeof(address.sun_path), path);
	yes = fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN);
	if (fd >= 0)
		close(fd);
	return yes;
}

static void listener_closed(uv_handle_t *listener)
{
	free(listener);
}

static void listener_end(struct control *control)
{
	if (control->listener)
		uv_close((uv_handle_t *)control->listener, listener_closed);
	control->listener = NULL;
}

static int listen_at(struct control *control)
{
	mode_t mask;
	int err;

	control->listener = calloc(1, sizeof(*control->listener));
	if (!control->listener)
		return UV_ENOMEM;
	uv_pipe_init(control->loop, control->listener, 0);
	control->listener->data = control;
	mask = umask(0177);
	err = uv_pipe_bind(control->listener, control->path);
	umask(mask);
	if (!err)
		err = uv_listen((uv_stream_t *)control->listener, CLIENTS, accept_client);
	if (err)
		listener_end(control);
	return err;
}

int control_listen(uv_loop_t *loop, const char *run_dir, control_fn fn, void *context, struct control **out,
		   char *why, size_t why_size)
{
	struct control *control = calloc(1, sizeof(*control));
	int err;

	if (!control)
		return -ENOMEM;
	if ((size_t)snprintf(control->path, sizeof(control->path), "%s/control.sock", run_dir) >=
	    sizeof(control->path)) {
		snprintf(why, why_size, "%s: too long for a socket's path; choose another --run-dir",
			 run_dir);
		err = -ENAMETOOLONG;
		goto out;
	}
	if (answers(control->path)) {
		snprintf(why, why_size,
			 "%s: another agent answers there; stop it, or choose another --run-dir",
			 control->path);
		err = -EADDRINUSE;
		goto out;
	}
	unlink(control->path);
	control->loop = loop;
	control->fn = fn;
	control->context = context;
	signal(SIGPIPE, SIG_IGN); /* libuv writes without MSG_NOSIGNAL, and a client may be gone by then */
	err = listen_at(control);
	if (err) {
		snprintf(why, why_size, "%s: %s; is the directory writable?", control->path,
			 uv_strerror(err));
		uv_run(loop, UV_RUN_NOWAIT);
		goto out;
	}
	*out = control;
	return 0;
out:
	free(control);
	return err;
}

int control_keep(struct control *control)
{
	struct stat there;

	if (lstat(control->path, &there) == 0 || (errno != ENOENT && errno != ENOTDIR))
		return 0;
	listener_end(control); /* before the new one: libuv removes the path of what it closes */
	return listen_at(control) == 0 ? 1 : -EIO;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	unlink(control->path);
	listener_end(control);
	for (int i = 0; i < CLIENTS; i++)
		if (control->clients[i])
			client_close(control->clients[i]);
}

void control_free(struct control *control)
{
	free(control);
}
