// SPDX-License-Identifier: Apache-2.0
/* The client's side of the control socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/control.h"

enum { ANSWER_MAX = 64 << 20, PATIENCE_MS = 2000, EXIT_NOBODY = 4, EXIT_REFUSED = 1 };

static int dial(const char *run_dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
	size_t length =
		(size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", run_dir);
	int fd;

	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* Reads to the end of the stream; a stopped agent costs PATIENCE_MS, not forever. */
static int read_answer(int fd, char **out)
{
	uint64_t deadline = when_boot_now() + PATIENCE_MS * 1000000ull, now;
	size_t used = 0, room = 1 << 16;
	char *text = malloc(room), *bigger;
	int err = text ? -ETIMEDOUT : -ENOMEM;
	ssize_t got;

	while (err == -ETIMEDOUT && (now = when_boot_now()) < deadline) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};

		if (poll(&wait, 1, (int)((deadline - now) / 1000000) + 1) <= 0)
			continue;
		got = read(fd, text + used, room - used - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			/* closed before, or without, reading what was asked */
			err = used == 0 && (got == 0 || errno == ECONNRESET) ? -EBUSY : got < 0 ? -errno : 0;
			break;
		}
		used += (size_t)got;
		if (used + 1 < room)
			continue;
		bigger = room < ANSWER_MAX ? realloc(text, room * 2) : NULL;
		if (!bigger)
			err = room < ANSWER_MAX ? -ENOMEM : -EFBIG;
		else
			text = bigger;
		room *= 2;
	}
	if (err) {
		free(text);
		return err;
	}
	text[used] = '\0';
	*out = text;
	return 0;
}

/* One line; an agent that closed at once has said why by closing, if it has written nothing. */
static int send_line(int fd, const char *command)
{
	size_t size = strlen(command);
	struct iovec parts[] = {{(char *)command, size}, {"\n", 1}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);

	if (sent < 0)
		return errno == EPIPE ? -EBUSY : -errno;
	if ((size_t)sent != size + 1)
		return -EMSGSIZE;
	shutdown(fd, SHUT_WR);
	return 0;
}

int control_ask_with(const char *run_dir, const char *command, const cJSON *argument, cJSON **answer,
		     char *why, size_t why_size)
{
	char line[CONTROL_LINE_MAX];
	char *text = argument ? cJSON_PrintUnformatted(argument) : NULL; /* escapes every line break */
	int length = snprintf(line, sizeof(line), "%s%s%s", command, text ? " " : "", text ? text : "");

	cJSON_free(text);
	if (argument && !text) {
		snprintf(why, why_size, "out of memory");
		return EXIT_NOBODY;
	}
	if (length < 0 || (size_t)length >= sizeof(line)) {
		snprintf(why, why_size, "the question is longer than %d bytes", CONTROL_LINE_MAX);
		return EXIT_REFUSED;
	}
	return control_ask(run_dir, line, answer, why, why_size);
}

int control_ask(const char *run_dir, const char *command, cJSON **answer, char *why, size_t why_size)
{
	int fd = dial(run_dir), err = fd < 0 ? fd : 0;
	cJSON *document = NULL;
	char *text = NULL;

	if (!err)
		err = send_line(fd, command);
	if (!err)
		err = read_answer(fd, &text);
	if (fd >= 0)
		close(fd);
	if (err == -EBUSY) {
		snprintf(why, why_size,
			 "%s/control.sock: the agent gave no answer; it serves its own user and root, and a "
			 "few "
			 "clients at a time: try again",
			 run_dir);
		return EXIT_NOBODY;
	}
	if (err) {
		snprintf(why, why_size,
			 "%s/control.sock: %s; is the agent running? (lapidary agent, --run-dir)", run_dir,
			 strerror(-err));
		return EXIT_NOBODY;
	}
	err = json_parse("the agent's answer", text, &document, why, why_size);
	free(text);
	if (err)
		return EXIT_NOBODY;
	if (cJSON_HasObjectItem(document, "error")) {
		text_copy(why, why_size, json_text(document, "error"));
		cJSON_Delete(document);
		return EXIT_REFUSED;
	}
	*answer = document;
	return 0;
}
