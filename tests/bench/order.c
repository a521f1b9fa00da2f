/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order agent|relay SOCKET: a client in C. It prints each line that it reads with the moment of the read
 * (CLOCK_MONOTONIC in ns) before it, and nothing of the line is looked at before that moment is taken. To the
 * agent it says hello, as protocol 1 wants it; the relay needs no word.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char hello[] = "{\"type\":\"hello\",\"protocol\":1,\"app\":\"bench\",\"role\":\"single\","
			    "\"accepts\":[\"breaker\"]}\n";

static int dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static unsigned long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long long)now.tv_sec * 1000000000ULL + (unsigned long long)now.tv_nsec;
}

int main(int argc, char **argv)
{
	static char text[1 << 17];
	size_t held = 0;
	int fd;

	if (argc != 3 || (strcmp(argv[1], "agent") != 0 && strcmp(argv[1], "relay") != 0))
		return 2;
	fd = dial(argv[2]);
	if (fd < 0) {
		fprintf(stderr, "order: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	if (argv[1][0] == 'a' && write(fd, hello, sizeof(hello) - 1) != (ssize_t)sizeof(hello) - 1)
		return 1;
	for (;;) {
		ssize_t got = read(fd, text + held, sizeof(text) - held);
		unsigned long long at = now_ns();
		char *begin = text, *end;

		if (got <= 0)
			return got == 0 ? 0 : 1;
		held += (size_t)got;
		while ((end = memchr(begin, '\n', held))) {
			printf("%llu %.*s\n", at, (int)(end - begin), begin);
			held -= (size_t)(end + 1 - begin);
			begin = end + 1;
		}
		memmove(text, begin, held);
		fflush(stdout);
	}
}
