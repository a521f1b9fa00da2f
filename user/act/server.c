// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <string.h>
#include "user/act/server.h"

/*
 * One row a server. USR1 reopens logs in Unicorn and ends a process that does not handle it, so nothing is
 * sent to a server that is not surely this one. A plain preforking parent is only known to fork again, so
 * its children get the TERM that ends any process in order, and the parent gets nothing.
 */
static const struct {
	const char *name, *extension;
	int worker, roll;
} servers[] = {
	[SERVER_UNKNOWN] = {"", NULL, 0, 0},
	[SERVER_PUMA] = {"puma", "puma_http11.so", SIGTERM, SIGUSR1},
	[SERVER_UNICORN] = {"unicorn", "unicorn_http.so", SIGQUIT, SIGHUP},
	[SERVER_PITCHFORK] = {"pitchfork", "pitchfork_http.so", SIGQUIT, SIGUSR2},
	[SERVER_IODINE] = {"iodine", "iodine_ext.so", SIGTERM, SIGUSR1},
	[SERVER_PREFORK] = {"prefork", NULL, SIGTERM, 0},
};

enum { SERVERS = sizeof(servers) / sizeof(*servers) };

enum server server_of_file(const char *base)
{
	for (int i = 0; i < SERVERS; i++)
		if (servers[i].extension && strcmp(servers[i].extension, base) == 0)
			return (enum server)i;
	return SERVER_UNKNOWN;
}

enum server server_recognise(const char *title_server, enum server mapped, enum app_role role)
{
	if (servers[mapped].extension && title_server && strcmp(title_server, servers[mapped].name) == 0)
		return mapped;
	return role == APP_SINGLE ? SERVER_UNKNOWN : SERVER_PREFORK;
}

const char *server_name(enum server server)
{
	return servers[server].name;
}

/* A single process is not replaced by a signal: it would end, and nobody is known to start it again. */
int server_worker_signal(enum server server, enum app_role role)
{
	return role == APP_WORKER ? servers[server].worker : 0;
}

int server_roll_signal(enum server server)
{
	return servers[server].roll;
}
