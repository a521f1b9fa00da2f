// SPDX-License-Identifier: Apache-2.0
/*
 * Separate debug files, where distributions put them: by build-id, and for the rare file without one by the
 * name that it gives. They are looked for in the root of the process, and for one that lives in a root of its
 * own within the host's mounts (a chroot) in the host's as well; a container has nothing to do with
 * what is installed beside it. Names are put together here, so that whoever asks cannot ask for another file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/elf/debug_link.h"
#include "user/probe/spawner_wire.h"

enum { NAMES = 3, INIT = 1 };

#define DEBUG_FOLDER "/usr/lib/debug"

struct names {
	char name[NAMES][400];
	int count;
};

static void by_build_id(const struct spawner_request *request, struct names *names)
{
	char *out = names->name[names->count++];
	size_t size = sizeof(names->name[0]), used = 0;

	text_add(out, size, &used, "%s/.build-id/%02x/", DEBUG_FOLDER, request->build_id[0]);
	for (uint8_t i = 1; i < request->build_id_len; i++)
		text_add(out, size, &used, "%02x", request->build_id[i]);
	text_add(out, size, &used, ".debug");
}

/* Beside the file, below it, and in the folder that mirrors the file system, as gdb does. */
static void by_link(const struct spawner_request *request, struct names *names)
{
	const char *end = strrchr(request->path, '/');
	int length = end ? (int)(end - request->path) : 0;

	if (request->path[0] != '/')
		return;
	for (int i = 0; i < NAMES; i++)
		snprintf(names->name[i], sizeof(names->name[i]), "%s%.*s/%s%s", i == 2 ? DEBUG_FOLDER : "",
			 length, request->path, i == 1 ? ".debug/" : "", request->link);
	names->count = NAMES;
}

static bool same(uint32_t tgid, uint32_t other, const char *what)
{
	char name[48];
	struct stat one, two;

	snprintf(name, sizeof(name), "/proc/%u/%s", tgid, what);
	if (stat(name, &one) != 0)
		return false;
	snprintf(name, sizeof(name), "/proc/%u/%s", other, what);
	return stat(name, &two) == 0 && one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

static int open_first(uint32_t root, const struct names *names)
{
	int fd = -ENOENT;

	for (int i = 0; i < names->count && fd < 0; i++)
		fd = spawner_open_below(root, names->name[i]);
	return fd;
}

/* In whose root the process would look if it had none of its own; 0: in nobody's. */
static uint32_t host_of(uint32_t tgid)
{
	/* we may run in a container ourselves, or be forbidden to look at init */
	const uint32_t hosts[] = {INIT, (uint32_t)getpid()};

	for (int i = 0; i < 2; i++)
		if (same(tgid, hosts[i], "ns/mnt") && !same(tgid, hosts[i], "root"))
			return hosts[i];
	return 0;
}

int spawner_open_debug(const struct spawner_request *request)
{
	struct names names = {.count = 0};
	uint32_t host;
	int fd, err;

	if (request->build_id_len > 1 && request->build_id_len <= sizeof(request->build_id))
		by_build_id(request, &names);
	else if (request->build_id_len == 0 && debug_link_is_name(request->link))
		by_link(request, &names);
	else
		return -EINVAL;
	fd = open_first(request->tgid, &names);
	host = fd == -ENOENT || fd == -ENOTDIR ? host_of(request->tgid) : 0;
	/* after looking: whose root it was */
	err = spawner_check_start(request->tgid, request->start_ns);
	if (err && fd >= 0)
		close(fd);
	if (err)
		return err;
	return host ? open_first(host, &names) : fd;
}
