/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay SOCKET PAGE UID: the shortest way from a fault to a client over a Unix socket (BPF, ring, process,
 * socket), and to who looks at a page of memory: the file PAGE, which holds the time of the last fault. It
 * does nothing else: no model, no rule, no consent, no audit. The latency bench runs it beside the agent, so
 * that what the agent adds can be told from what this host takes for the way alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/types.h>
#include "tests/bench/relay.h"
#include "relay.skel.h"

static int client_accept(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 1))
		return -1;
	puts("listening");
	fflush(stdout);
	client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	return client;
}

struct way {
	int page, client;
};

static int on_fault(void *context, void *data, size_t size)
{
	const struct way *way = context;
	const struct relay_fault *fault = data;
	char line[80];
	int length;

	(void)size;
	if (pwrite(way->page, &fault->time_ns, sizeof(fault->time_ns), 0) != sizeof(fault->time_ns))
		return -EIO;
	length = snprintf(line, sizeof(line), "{\"time\":%llu,\"pid\":%llu}\n",
			  (unsigned long long)fault->time_ns, (unsigned long long)fault->tgid);
	return send(way->client, line, (size_t)length, MSG_NOSIGNAL) == length ? 0 : -EPIPE;
}

int main(int argc, char **argv)
{
	struct ring_buffer *ring = NULL;
	struct relay_bpf *relay;
	struct way way;
	int got;

	if (argc != 4)
		return 2;
	way.page = open(argv[2], O_WRONLY | O_CLOEXEC);
	if (way.page < 0)
		return 1;
	relay = relay_bpf__open();
	if (!relay)
		return 1;
	relay->rodata->watched_uid = (__u32)strtoul(argv[3], NULL, 10);
	if (relay_bpf__load(relay) || relay_bpf__attach(relay))
		return 1;
	way.client = client_accept(argv[1]);
	if (way.client >= 0)
		ring = ring_buffer__new(bpf_map__fd(relay->maps.ring), on_fault, &way, NULL);
	if (!ring)
		return 1;
	do {
		got = ring_buffer__poll(ring, -1);
	} while (got >= 0);
	ring_buffer__free(ring);
	relay_bpf__destroy(relay);
	return got == -EINTR || got == -EPIPE ? 0 : 1;
}
