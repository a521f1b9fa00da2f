// SPDX-License-Identifier: Apache-2.0
/* The client's side of the control socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
	ssize_t got = 1;

	while (text && got > 0 && (now = when_boot_now()) < deadline) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};

		if (poll(&wait, 1, (int)((deadline - now) / 1000000) + 1) <= 0)
			continue;
		got = read(fd, text + used, room - used - 1);
		if (got > 0)
			used += (size_t)got;
		if (used + 1 < room)
			continue;
		bigger = room < ANSWER_MAX ? realloc(text, room * 2) : NULL;
		if (!bigger)
			break;
		text = bigger;
		room *= 2;
	}
	if (!text || got != 0) {
		free(text);
		return text ? -ETIMEDOUT : -ENOMEM;
	}
	text[used] = '\0';
	*out = text;
	return 0;
}

int control_ask(const char *run_dir, const char *command, cJSON **answer, char *why, size_t why_size)
{
	int fd = dial(run_dir), err = fd < 0 ? fd : 0;
	cJSON *document = NULL;
	char *text = NULL;

	if (!err && (dprintf(fd, "%s\n", command) < 0 || shutdown(fd, SHUT_WR) != 0))
		err = -errno;
	if (!err)
		err = read_answer(fd, &text);
	if (fd >= 0)
		close(fd);
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
