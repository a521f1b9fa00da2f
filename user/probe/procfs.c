// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/text.h"
#include "user/probe/maps_text.h"
#include "user/probe/procfs.h"

enum { SMALL = 65536, TICK_NS = 10000000 };

static int read_one(uint32_t tgid, const char *name, size_t limit, char **out, size_t *size)
{
	char path[64];
	int err;

	snprintf(path, sizeof(path), "/proc/%u/%s", tgid, name);
	err = file_read(path, limit, out, size);
	return err == -ENOENT ? -ESRCH : err;
}

/* The fields of /proc/PID/stat that follow the command's closing parenthesis (proc(5), numbered from 3). */
struct stat_fields {
	char state;
	unsigned long long field[53];
};

static int read_stat(uint32_t tgid, struct stat_fields *out)
{
	char *text, *at;
	int err = read_one(tgid, "stat", SMALL, &text, NULL);

	if (err)
		return err;
	memset(out, 0, sizeof(*out));
	at = strrchr(text, ')'); /* the command may hold anything, parentheses too */
	at = at ? strchr(at, ' ') : NULL;
	for (int i = 3; at && i <= 52; i++) {
		while (*at == ' ')
			at++;
		if (i == 3)
			out->state = *at;
		else
			out->field[i] = strtoull(at, NULL, 10);
		at = strchr(at, ' ');
	}
	free(text);
	return 0;
}

static bool is_start(const struct stat_fields *stat, uint64_t start_ns)
{
	return start_ns == 0 || stat->field[22] == start_ns / TICK_NS;
}

int procfs_check(uint32_t tgid, uint64_t start_ns)
{
	struct stat_fields stat;
	int err = read_stat(tgid, &stat);

	if (err)
		return err;
	return is_start(&stat, start_ns) ? 0 : -ESRCH;
}

bool procfs_ended(uint32_t tgid, uint64_t start_ns)
{
	struct stat_fields stat;
	int err = read_stat(tgid, &stat);

	if (err || !is_start(&stat, start_ns))
		return err == 0 || err == -ESRCH;
	/* a leader that ended before its threads is a zombie as well (field 20 counts those that live) */
	return (stat.state == 'Z' || stat.state == 'X') && stat.field[20] <= 1;
}

static void read_status(uint32_t tgid, struct procfs_facts *out)
{
	char *text, *line;

	if (read_one(tgid, "status", SMALL, &text, NULL) != 0)
		return;
	if ((line = strstr(text, "\nUid:\t")))
		out->uid = (uint32_t)strtoul(line + 6, NULL, 10);
	if ((line = strstr(text, "\nGid:\t")))
		out->gid = (uint32_t)strtoul(line + 6, NULL, 10);
	if ((line = strstr(text, "\nPPid:\t")))
		out->parent_tgid = (uint32_t)strtoul(line + 7, NULL, 10);
	free(text);
}

static void read_exe(uint32_t tgid, struct procfs_facts *out)
{
	struct stat info;
	char path[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%u/exe", tgid);
	length = readlink(path, out->exe, sizeof(out->exe) - 1);
	out->exe[length > 0 ? length : 0] = '\0';
	text_clean(out->exe);
	if (stat(path, &info) == 0) {
		out->exe_inode = info.st_ino;
		out->exe_dev = (uint32_t)info.st_dev;
	}
}

static void read_netns(uint32_t tgid, struct procfs_facts *out)
{
	struct stat info;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/ns/net", tgid);
	if (stat(path, &info) == 0)
		out->netns = (uint32_t)info.st_ino; /* namespaces are numbered in 32 bits */
}

/* Lines are "number:controllers:path"; number 0 is cgroup v2. A hybrid host has both: v2 wins if it says
 * more. */
int procfs_cgroup(uint32_t tgid, char *out, size_t size)
{
	char *text, *save = NULL;
	int err = read_one(tgid, "cgroup", SMALL, &text, NULL);

	if (err)
		return err;
	out[0] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(line, ':'),
		     *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		path++;
		if (!out[0] || (strncmp(line, "0::", 3) == 0 && path[1]) ||
		    (strncmp(controllers, ":memory:", 8) == 0 && strcmp(out, "/") == 0))
			text_copy(out, size, path);
	}
	text_clean(out);
	free(text);
	return 0;
}

/* Options, assignments and addresses, looked at whole, however much of them would be kept. */
static bool may_be_secret(const char *word, size_t size)
{
	return (size > 0 && word[0] == '-') || memchr(word, '=', size) || memmem(word, size, "://", 3) ||
	       memchr(word, '@', size);
}

/*
 * Where the script of a Ruby's command line is named, behind its options (ruby(1)); NULL when there is none:
 * the program came from -e or from standard input. -C, -E, -I and -r take the next word when they stand
 * alone.
 */
static const char *script_of(const char *word, const char *end)
{
	while (word < end && word[0] == '-') {
		size_t length = strnlen(word, end - word);
		bool takes_next = length == 2 && strchr("CEIr", word[1]);

		if (length == 1 || (length >= 2 && word[1] == 'e'))
			return NULL;
		word += length + 1;
		if (length == 2 && word[-2] == '-') /* "--" */
			break;
		if (takes_next && word < end)
			word += strnlen(word, end - word) + 1;
	}
	return word < end ? word : NULL;
}

/* The program's first argument that says what it runs, NULL when there is none. */
static const char *subject_of(const char *program, const char *cmdline, size_t first, size_t size)
{
	const char *argument = cmdline + first + 1, *end = cmdline + size;

	return strncmp(text_base(program), "ruby", 4) == 0 ? script_of(argument, end) : argument;
}

void procfs_title(const char *cmdline, size_t size, char *out, size_t out_size)
{
	size_t first, second;
	const char *argument;

	while (size > 0 && (cmdline[size - 1] == '\0' || cmdline[size - 1] == ' '))
		size--; /* setproctitle pads with NULs or blanks */
	first = strnlen(cmdline, size);
	text_copy_bytes(out, out_size, cmdline, first);
	if (first < size) {
		char word[128];
		size_t used = strlen(out);

		argument = subject_of(out, cmdline, first, size);
		second = argument ? strnlen(argument, cmdline + size - argument) : 0;
		text_copy_bytes(word, sizeof(word), argument ? argument : "", second);
		if (argument && word[0] && !may_be_secret(argument, second))
			text_add(out, out_size, &used, " %s", word);
	} else if (strchr(out, ' ') && may_be_secret(cmdline, first)) {
		/* a title of its own making may repeat what it was started with: puma names its listeners */
		char *from = strchr(out, ' '), *bracket = strrchr(out, '[');

		if (bracket && bracket > from && !may_be_secret(bracket, strlen(bracket)))
			memmove(from + 1, bracket, strlen(bracket) + 1);
		else
			*from = '\0';
	}
	text_clean(out);
}

const char *procfs_server(const char *title)
{
	static const char *const servers[] = {"puma", "unicorn", "pitchfork", "iodine"};

	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
		const char *at = strstr(title, servers[i]), *end = at ? at + strlen(servers[i]) : NULL;

		/* a word of its own, maybe behind a path: not "pumapark.rb" */
		if (at && (at == title || at[-1] == '/' || at[-1] == ' ') &&
		    (*end == '\0' || *end == ' ' || *end == ':' || *end == '.'))
			return servers[i];
	}
	return "";
}

int procfs_facts(uint32_t tgid, uint64_t start_ns, struct procfs_facts *out)
{
	struct procfs_facts facts = {0};
	char *text;
	size_t size;
	int err = read_one(tgid, "comm", SMALL, &text, &size);

	if (err)
		return err;
	text_copy_bytes(facts.comm, sizeof(facts.comm), text, strcspn(text, "\n"));
	text_clean(facts.comm);
	free(text);
	err = read_one(tgid, "cmdline", SMALL, &text, &size);
	if (err && err != -EFBIG)
		return err;
	if (!err) {
		procfs_title(text, size, facts.title, sizeof(facts.title));
		free(text);
	}
	read_status(tgid, &facts);
	read_exe(tgid, &facts);
	read_netns(tgid, &facts);
	procfs_cgroup(tgid, facts.cgroup, sizeof(facts.cgroup));
	err = procfs_check(tgid, start_ns);
	if (!err)
		*out = facts;
	return err;
}

int procfs_scope(uint32_t tgid, uint64_t start_ns, struct procfs_facts *out)
{
	struct procfs_facts facts = {0};
	int err;

	read_status(tgid, &facts);
	read_netns(tgid, &facts);
	err = procfs_cgroup(tgid, facts.cgroup, sizeof(facts.cgroup));
	if (!err)
		err = procfs_check(tgid, start_ns);
	if (!err)
		*out = facts;
	return err;
}

int procfs_usage(uint32_t tgid, uint64_t start_ns, struct procfs_usage *out)
{
	struct stat_fields stat;
	int err = read_stat(tgid, &stat);

	if (err)
		return err;
	if (!is_start(&stat, start_ns))
		return -ESRCH;
	out->minor_faults = stat.field[10];
	out->major_faults = stat.field[12];
	out->cpu_ns = (stat.field[14] + stat.field[15]) * (uint64_t)TICK_NS;
	out->rss_bytes = stat.field[24] * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

int procfs_pss(uint32_t tgid, uint64_t start_ns, uint64_t *bytes)
{
	char *text, *line;
	int err = read_one(tgid, "smaps_rollup", SMALL, &text, NULL);

	if (err)
		return err;
	line = strstr(text, "\nPss:");
	if (line && (err = procfs_check(tgid, start_ns)) == 0)
		*bytes = strtoull(line + 5, NULL, 10) * 1024;
	free(text);
	return line ? err : -ENODATA;
}

/* The kernel gives paths as this reader has them; of a process in a chroot they begin with its root. */
static void paths_inside(uint32_t tgid, char *text, size_t *size)
{
	char name[32], root[MAPS_PATH];
	ssize_t length;

	snprintf(name, sizeof(name), "/proc/%u/root", tgid);
	length = readlink(name, root, sizeof(root));
	if (length <= 0 || length == (ssize_t)sizeof(root))
		return;
	root[length] = '\0';
	maps_text_inside(text, size, root);
}

int procfs_maps(uint32_t tgid, uint64_t start_ns, char **text, size_t *size)
{
	int err = read_one(tgid, "maps", PROCFS_MAPS_MAX, text, size);

	if (err)
		return err;
	paths_inside(tgid, *text, size);
	if ((err = procfs_check(tgid, start_ns)) != 0)
		free(*text);
	return err;
}
