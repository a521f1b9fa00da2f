/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of targets: a real probe, spawner and examiner, and children that map what they are told to.
 * A wait pumps the targets as the agent's loop does, until its condition holds or WAIT_MS have passed.
 */
#ifndef LAPIDARY_PROBE_TARGETS_H
#define LAPIDARY_PROBE_TARGETS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/when.h"
#include "user/probe/targets.h"

enum { TEST_UID = 64323, WAIT_MS = 15000, CHILDREN = 8 };

struct child {
	pid_t pid;
	uint64_t start_ns;
	int to, from; /* pipes */
};

static struct {
	struct spawner *spawner;
	struct probe *probe;
	struct targets *targets;
	struct child children[CHILDREN];
	int child_count;
	uint32_t rubies, problems; /* told */
	uint32_t last_ruby;
	char version[16], dir[64];
} bench;

static inline void on_ruby(void *context, uint32_t tgid, uint64_t start_ns, uint64_t seen_ns,
			   const char *version)
{
	(void)context;
	(void)start_ns;
	assert_true(seen_ns > 0);
	bench.rubies++;
	bench.last_ruby = tgid;
	snprintf(bench.version, sizeof(bench.version), "%s", version);
}

static inline void on_problem(void *context, const char *path, const char *what)
{
	(void)context;
	(void)path;
	(void)what;
	bench.problems++;
}

static inline void bench_start(struct targets_options options)
{
	const struct probe_options rings = {.life_ring_bytes = 1 << 18,
					    .capture_ring_bytes = 1 << 20,
					    .flow_ring_bytes = 1 << 18,
					    .no_captures = true};
	const struct targets_events events = {.ruby = on_ruby, .problem = on_problem};
	struct features features;
	char why[256] = "";

	if (geteuid() != 0)
		skip();
	memset(&bench, 0, sizeof(bench));
	strcpy(bench.dir, "/tmp/lapidary-targets-XXXXXX");
	assert_non_null(mkdtemp(bench.dir));
	assert_int_equal(chmod(bench.dir, 0755), 0);
	features_probe(&features);
	assert_int_equal(spawner_start(&bench.spawner), 0);
	if (probe_open(&rings, &features, &bench.probe, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	options.probe = bench.probe;
	options.spawner = bench.spawner;
	options.examiner_uid = TEST_UID;
	options.uprobe_multi = features.state[FEATURE_UPROBE_MULTI].present;
	assert_int_equal(targets_new(&options, &events, &bench.targets), 0);
}

static inline int bench_stop(void **state)
{
	char command[160];

	(void)state;
	for (int i = 0; i < bench.child_count; i++) {
		kill(bench.children[i].pid, SIGKILL);
		waitpid(bench.children[i].pid, NULL, 0);
		close(bench.children[i].to);
		close(bench.children[i].from);
	}
	targets_free(bench.targets);
	probe_close(bench.probe);
	spawner_stop(bench.spawner);
	snprintf(command, sizeof(command), "rm -rf '%s'", bench.dir);
	if (bench.dir[0])
		assert_int_equal(system(command), 0);
	memset(&bench, 0, sizeof(bench));
	return 0;
}

static inline void pump(void)
{
	struct pollfd fd = {.fd = targets_fd(bench.targets), .events = POLLIN};

	poll(&fd, 1, 10);
	targets_ready(bench.targets);
	targets_tick(bench.targets, when_boot_now());
}

#define PUMP_UNTIL(condition)                                                                                \
	do {                                                                                                 \
		uint64_t end_ = when_boot_now() + WAIT_MS * 1000000ull;                                      \
		while (!(condition)) {                                                                       \
			if (when_boot_now() > end_)                                                          \
				fail_msg("not in time: %s", #condition);                                     \
			pump();                                                                              \
		}                                                                                            \
	} while (0)

static inline struct targets_stats stats(void)
{
	struct targets_stats out;

	targets_stats(bench.targets, &out);
	return out;
}

static inline void count_users(void *context, const char *path, const struct library *library, uint32_t users)
{
	(void)path;
	(void)library;
	*(uint32_t *)context += users;
}

static inline uint32_t all_users(void)
{
	uint32_t users = 0;

	targets_each(bench.targets, count_users, &users);
	return users;
}

struct sought {
	uint32_t tgid;
	uint64_t start_ns;
};

static inline void match(void *context, const struct probe_task *task)
{
	struct sought *sought = context;

	if (task->tgid == sought->tgid)
		sought->start_ns = task->start_ns;
}

static inline void map_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		_exit(1);
	close(fd);
}

/* Told "mPATH": maps it; "cPATH": makes it its root; "nPATH": that, in mounts of its own; "qPATH": calls its
 * PQsendQuery ten times; answers with a byte. */
static inline void child_main(int from, int to)
{
	char line[256];

	while (read(from, line, sizeof(line)) == sizeof(line)) {
		if (line[0] == 'm') {
			map_file(line + 1);
		} else if (line[0] == 'c' || line[0] == 'n') {
			if ((line[0] == 'n' && unshare(CLONE_NEWNS) != 0) || chroot(line + 1) != 0)
				_exit(1);
		} else {
			void *library = dlopen(line + 1, RTLD_NOW);
			int (*send)(void *, const char *) =
				library ? (int (*)(void *, const char *))dlsym(library, "PQsendQuery") : NULL;

			for (int i = 0; send && i < 10; i++)
				send(NULL, "");
			if (!send)
				_exit(1);
		}
		if (write(to, "x", 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static inline struct child *child_new(void)
{
	struct child *child = &bench.children[bench.child_count];
	struct sought sought = {0};
	int to[2], from[2];

	assert_in_range(bench.child_count, 0, CHILDREN - 1);
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (child->pid == 0) {
		close(to[1]);
		close(from[0]);
		child_main(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	child->to = to[1];
	child->from = from[0];
	bench.child_count++;
	sought.tgid = child->pid;
	assert_int_equal(probe_each_task(bench.probe, match, &sought), 0);
	assert_true(sought.start_ns > 0);
	child->start_ns = sought.start_ns;
	return child;
}

static inline void child_tell(const struct child *child, char what, const char *path)
{
	char line[256] = {what}, byte;

	snprintf(line + 1, sizeof(line) - 1, "%s", path);
	assert_int_equal(write(child->to, line, sizeof(line)), sizeof(line));
	assert_int_equal(read(child->from, &byte, 1), 1);
}

/* Its executable mapping of that file; path is borrowed. */
static inline struct maps_region mapping_of(const struct child *child, const char *path)
{
	char name[64], line[512], found[256];
	struct maps_region region = {.path = path};
	unsigned long long start, end, inode;
	unsigned major, minor;
	FILE *maps;

	snprintf(name, sizeof(name), "/proc/%d/maps", child->pid);
	maps = fopen(name, "re");
	assert_non_null(maps);
	while (!region.end && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx r-xp %*x %x:%x %llu %255s", &start, &end, &major, &minor, &inode,
			   found) == 6 &&
		    strcmp(found, path) == 0) {
			region.start = start;
			region.end = end;
			region.inode = inode;
			region.device_major = major;
			region.device_minor = minor;
		}
	fclose(maps);
	if (!region.end)
		fail_msg("%s is not mapped by %d", path, child->pid);
	return region;
}

/* Hands it to the targets, as the mmap record would. */
static inline void show(const struct child *child, const char *path, bool watched)
{
	struct maps_region region = mapping_of(child, path);

	targets_mapping(bench.targets, child->pid, watched ? child->start_ns : 0, &region);
}

static inline void map_and_show(const struct child *child, const char *path, bool watched)
{
	child_tell(child, 'm', path);
	show(child, path, watched);
}

/* Copies what the pattern finds to NAME in the bench's folder, in place if that is there; returns its path.
 */
static inline char *copy_of(const char *pattern, const char *name)
{
	static char paths[8][128];
	static int next;
	char *path = paths[next++ % 8], command[512];
	glob_t found;

	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	snprintf(path, sizeof(paths[0]), "%s/%s", bench.dir, name);
	snprintf(command, sizeof(command), "cat '%s' > '%s' && chmod 0755 '%s'", found.gl_pathv[0], path,
		 path);
	globfree(&found);
	assert_int_equal(system(command), 0);
	return path;
}

#define LIBPQ   "/usr/lib/*/libpq.so.5"
#define LIBRUBY "/usr/lib/*/libruby-*.so.?.?"

static inline size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* The process of that name among the children of `parent`. */
static inline pid_t family(pid_t parent, const char *name)
{
	char command[128], text[32] = "";
	FILE *out;

	snprintf(command, sizeof(command), "pgrep -P %d -x %s", parent, name);
	out = popen(command, "re");
	assert_non_null(out);
	if (!fgets(text, sizeof(text), out))
		text[0] = '\0';
	pclose(out);
	return atoi(text);
}

static inline pid_t spawner_process(void)
{
	pid_t nursery = family(getpid(), "lapidary-nurse"), found = 0;

	PUMP_UNTIL((found = family(nursery, "lapidary-spawn")) != 0);
	return found;
}

#endif
