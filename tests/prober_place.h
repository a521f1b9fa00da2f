/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place for the prober's tests: a PostgreSQL of their own, processes to look from, servers that behave
 * badly. Everything lives below one temporary folder and dies with the test.
 */
#ifndef LAPIDARY_TESTS_PROBER_PLACE_H
#define LAPIDARY_TESTS_PROBER_PLACE_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PLACE_PATIENCE_MS = 20000 };

static char place[64];       /* the folder */
static char place_bin[64];   /* of initdb, postgres, psql */
static int place_port;       /* of the PostgreSQL */
static pid_t place_postgres; /* its postmaster; 0: it is stopped */

static inline uint64_t place_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void place_path(char *out, size_t size, const char *name)
{
	snprintf(out, size, "%s/%s", place, name);
}

static inline void place_write(const char *name, const char *text, mode_t mode)
{
	char path[256];
	int fd;

	place_path(path, sizeof(path), name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	fchmod(fd, mode);
	close(fd);
}

static inline void place_mkdir(const char *name)
{
	char path[256];

	place_path(path, sizeof(path), name);
	assert_int_equal(mkdir(path, 0755), 0);
	chmod(path, 0777);
}

/* The child dies with the test. */
static inline pid_t place_fork(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static inline void place_end(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Becomes the user postgres and the program; its words go into the place's log. */
static inline void place_exec(char *const *arguments)
{
	const struct passwd *user = getpwnam("postgres");
	char path[256], log[256];
	int fd;

	place_path(log, sizeof(log), "log");
	fd = open(log, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0666);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	snprintf(path, sizeof(path), "%s/%s", place_bin, arguments[0]);
	if (!user || chdir(place) != 0 || setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 ||
	    setuid(user->pw_uid) != 0)
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGQUIT); /* after the change of identity, which forgets it */
	execv(path, arguments);
	_exit(127);
}

static inline int place_run(char *const *arguments)
{
	pid_t pid = place_fork();
	int status;

	if (pid == 0)
		place_exec(arguments);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static inline int place_sql(const char *statement)
{
	char socket_dir[256], port[16];

	place_path(socket_dir, sizeof(socket_dir), "socket");
	snprintf(port, sizeof(port), "%d", place_port);
	return place_run((char *[]){"psql", "-qAtX", "-h", socket_dir, "-p", port, "-d", "postgres", "-c",
				    (char *)statement, NULL});
}

/* A listening socket on the loopback; *port 0: any. */
static inline int place_listen(int type, int *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons((uint16_t)*port)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    (type == SOCK_STREAM && listen(fd, 64) != 0) ||
	    getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*port = ntohs(address.sin_port);
	return fd;
}

/* Starts PostgreSQL; `setting` is one more name=value. */
static inline void place_start(const char *setting)
{
	char data[256], sockets[256], port[16];
	pid_t pid;

	place_path(data, sizeof(data), "data");
	snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s/socket,%s/jail/run", place, place);
	snprintf(port, sizeof(port), "%d", place_port);
	pid = place_fork();
	if (pid == 0)
		place_exec((char *[]){"postgres",
				      "-D",
				      data,
				      "-p",
				      port,
				      "-c",
				      sockets,
				      "-c",
				      "listen_addresses=127.0.0.1",
				      "-c",
				      "fsync=off",
				      "-c",
				      "max_connections=4",
				      "-c",
				      "superuser_reserved_connections=1",
				      "-c",
				      "max_wal_senders=0",
				      "-c",
				      "max_parallel_workers=0",
				      "-c",
				      "shared_buffers=8MB",
				      "-c",
				      (char *)setting,
				      NULL});
	place_postgres = pid;
}

static inline void place_stop(void)
{
	if (place_postgres == 0)
		return;
	kill(place_postgres, SIGQUIT);
	while (waitpid(place_postgres, NULL, 0) < 0 && errno == EINTR)
		;
	place_postgres = 0;
}

static inline void place_await_sql(void)
{
	uint64_t end = place_ms() + PLACE_PATIENCE_MS;

	while (place_sql("select 1") != 0) {
		assert_true(place_ms() < end);
		poll(NULL, 0, 20);
	}
}

/* Sends a signal to the postmaster and all its children. */
static inline void place_signal_all(int number)
{
	char name[64], text[512];
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	kill(place_postgres, number);
	while ((entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name), parent = 0;
		FILE *stat;

		snprintf(name, sizeof(name), "/proc/%d/stat", pid);
		stat = pid > 0 ? fopen(name, "re") : NULL;
		if (!stat)
			continue;
		if (fgets(text, sizeof(text), stat) && strrchr(text, ')'))
			sscanf(strrchr(text, ')') + 2, "%*c %d", &parent);
		fclose(stat);
		if (parent == place_postgres)
			kill(pid, number);
	}
	closedir(proc);
}

static inline void place_make(void)
{
	char data[256];
	glob_t found;
	int fd;

	assert_int_equal(glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found), 0);
	snprintf(place_bin, sizeof(place_bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
	*strrchr(place_bin, '/') = '\0';
	globfree(&found);
	strcpy(place, "/tmp/lapidary-prober-XXXXXX");
	assert_non_null(mkdtemp(place));
	chmod(place, 0777);
	place_mkdir("socket");
	place_mkdir("jail");
	place_mkdir("jail/run");
	place_mkdir("jail/etc");
	fd = place_listen(SOCK_STREAM, &place_port);
	assert_true(fd >= 0);
	close(fd);
	place_path(data, sizeof(data), "data");
	assert_int_equal(
		place_run((char *[]){"initdb", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256",
				     "-E", "UTF8", "--locale=C", "-D", data, NULL}),
		0);
	place_start("hot_standby=on");
	place_await_sql();
	assert_int_equal(place_sql("create role probe login password 'geheim'"), 0);
}

static inline void place_remove(void)
{
	char command[128];

	place_stop();
	snprintf(command, sizeof(command), "rm -rf %s", place);
	assert_int_equal(system(command), 0);
}

/* Starts a process to look from: `live` prepares and returns true, then it waits for its end. */
static inline pid_t place_process(bool (*live)(void *argument), void *argument)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = place_fork();
	if (pid == 0) {
		if ((live && !live(argument)) || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

/* A network namespace of its own, with the loopback up. */
static inline bool place_unshare_network(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (unshare(CLONE_NEWNET) != 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		return false;
	close(fd);
	return true;
}

static inline bool place_chroot(void)
{
	char path[256];

	place_path(path, sizeof(path), "jail");
	return chroot(path) == 0 && chdir("/") == 0;
}

#endif
