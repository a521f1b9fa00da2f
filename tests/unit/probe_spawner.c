// SPDX-License-Identifier: Apache-2.0
/*
 * Nursery, spawner and examiner as real processes: what they open, what they refuse, how they are replaced,
 * and that nothing of them outlives the agent. Needs root, as the agent does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <setjmp.h>
#include <stdbool.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/confine.h"
#include "user/probe/examiner.h"
#include "user/probe/spawner.h"

enum { TEST_UID = 64322, PATIENCE_MS = 10000 };

static struct spawner *spawner;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Fields of /proc/PID/stat: parent and start ticks; false when the process is not there. */
static bool read_stat(pid_t pid, char *comm, pid_t *parent, uint64_t *ticks)
{
	char name[64], text[1024], *at, state;
	int fd, ppid;
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	at = strrchr(text, ')');
	snprintf(comm, 17, "%.*s", (int)(at - strchr(text, '(') - 1), strchr(text, '(') + 1);
	sscanf(at + 2, "%c %d", &state, &ppid);
	*parent = ppid;
	for (int field = 2; field < 22; field++)
		at = strchr(at + 1, ' ');
	*ticks = strtoull(at + 1, NULL, 10);
	return state != 'Z';
}

static uint64_t start_ns(pid_t pid)
{
	char comm[17];
	uint64_t ticks;
	pid_t parent;

	assert_true(read_stat(pid, comm, &parent, &ticks));
	return ticks * (UINT64_C(1000000000) / sysconf(_SC_CLK_TCK)) + 1234567; /* anywhere inside the tick */
}

/* The child of `parent` of that name, 0 when there is none. */
static pid_t find_child(pid_t parent, const char *name)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	assert_non_null(proc);
	while (!found && (entry = readdir(proc))) {
		char comm[17];
		uint64_t ticks;
		pid_t pid = atoi(entry->d_name), of;

		if (pid > 0 && read_stat(pid, comm, &of, &ticks) && of == parent && strcmp(comm, name) == 0)
			found = pid;
	}
	closedir(proc);
	return found;
}

static pid_t wait_child(pid_t parent, const char *name)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	pid_t pid;

	while (!(pid = find_child(parent, name))) {
		assert_true(now_ms() < end);
		poll(NULL, 0, 5);
	}
	return pid;
}

static pid_t spawner_pid(void)
{
	return wait_child(wait_child(getpid(), "lapidary-nurse"), "lapidary-spawn");
}

static int start(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return spawner_start(&spawner);
}

static int stop(void **state)
{
	(void)state;
	spawner_stop(spawner);
	spawner = NULL;
	return 0;
}

static int read_answer(struct spawner_answer *out)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	int got;

	while ((got = spawner_read(spawner, out)) == 0) {
		struct pollfd poll_fd = {.fd = spawner_fd(spawner), .events = POLLIN};

		assert_true(now_ms() < end);
		poll(&poll_fd, 1, 100);
	}
	return got;
}

/* Asks and waits; returns the descriptor or the error. */
static int ask(struct spawner_request request, int file_fd, struct spawner_answer *answer)
{
	static uint64_t token = 1000;

	request.token = ++token;
	assert_int_equal(spawner_ask(spawner, &request, file_fd), 0);
	assert_int_equal(read_answer(answer), 1);
	assert_int_equal(answer->token, token);
	assert_int_equal(answer->verb, request.verb);
	assert_true((answer->result == 0) == (answer->fd >= 0));
	return answer->result ? answer->result : answer->fd;
}

/* A file of three pages, mapped by this process. */
struct mapped {
	char path[64];
	void *at;
	struct stat st;
};

static struct spawner_request map_file(struct mapped *mapped)
{
	int fd;

	strcpy(mapped->path, "/tmp/lapidary-mapped-XXXXXX");
	fd = mkstemp(mapped->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 12288), 0);
	assert_int_equal(fstat(fd, &mapped->st), 0);
	mapped->at = mmap(NULL, 12288, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(mapped->at, MAP_FAILED);
	close(fd);
	return (struct spawner_request){.verb = SPAWNER_OPEN_MAPPED,
					.tgid = getpid(),
					.start_ns = start_ns(getpid()),
					.start = (uintptr_t)mapped->at,
					.end = (uintptr_t)mapped->at + 12288};
}

static void opens_what_is_mapped_even_when_deleted(void **state)
{
	struct spawner_answer answer;
	struct mapped mapped;
	struct spawner_request request = map_file(&mapped);
	struct stat st;

	(void)state;
	assert_int_equal(unlink(mapped.path), 0);
	assert_true(ask(request, -1, &answer) >= 0);
	assert_int_equal(fstat(answer.fd, &st), 0);
	assert_int_equal(st.st_ino, mapped.st.st_ino);
	assert_int_equal(answer.inode, mapped.st.st_ino);
	assert_int_equal(answer.device, mapped.st.st_dev);
	assert_int_equal(answer.size, 12288);
	assert_int_equal(fcntl(answer.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(answer.fd);
	munmap(mapped.at, 12288);
}

static void another_process_with_that_pid_is_refused(void **state)
{
	struct spawner_answer answer;
	struct mapped mapped;
	struct spawner_request request = map_file(&mapped);

	(void)state;
	request.start_ns += 10000000;
	assert_int_equal(ask(request, -1, &answer), -ESRCH);
	unlink(mapped.path);
	munmap(mapped.at, 12288);
}

static void falls_back_to_the_path(void **state)
{
	struct spawner_answer answer;
	struct mapped mapped;
	struct spawner_request request = map_file(&mapped);

	(void)state;
	request.end += 4096; /* no such mapping */
	assert_int_equal(ask(request, -1, &answer), -ENOENT);
	strcpy(request.path, mapped.path);
	assert_true(ask(request, -1, &answer) >= 0);
	assert_int_equal(answer.inode, mapped.st.st_ino);
	close(answer.fd);
	unlink(mapped.path);
	munmap(mapped.at, 12288);
}

static void only_regular_files_are_opened(void **state)
{
	char folder[] = "/tmp/lapidary-spawner-XXXXXX";
	struct spawner_request request = {.verb = SPAWNER_OPEN_MAPPED, .tgid = getpid()};
	struct spawner_answer answer;

	(void)state;
	request.start_ns = start_ns(getpid());
	assert_non_null(mkdtemp(folder));
	snprintf(request.path, sizeof(request.path), "%s/fifo", folder);
	assert_int_equal(mkfifo(request.path, 0600), 0);
	assert_int_equal(ask(request, -1, &answer), -EINVAL); /* and does not hang */
	unlink(request.path);
	rmdir(folder);
	strcpy(request.path, "/dev/null");
	assert_int_equal(ask(request, -1, &answer), -EINVAL);
	strcpy(request.path, "/proc/self/exe"); /* a magic link */
	assert_int_equal(ask(request, -1, &answer), -ELOOP);
	strcpy(request.path, "etc/passwd");
	assert_int_equal(ask(request, -1, &answer), -ENOENT);
	memset(request.path, 'x', sizeof(request.path));
	assert_int_equal(ask(request, -1, &answer), -EINVAL);
}

/* A process with a root of its own; returns when it has it. */
static pid_t start_jailed(const char *root)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (chroot(root) != 0 || chdir("/") != 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void no_link_leads_out_of_a_container(void **state)
{
	char folder[] = "/tmp/lapidary-jail-XXXXXX", path[128];
	struct spawner_request request = {.verb = SPAWNER_OPEN_MAPPED};
	struct spawner_answer answer;
	struct stat st;
	pid_t pid;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/inside", folder);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/evil", folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	pid = start_jailed(folder);
	request.tgid = pid;
	request.start_ns = start_ns(pid);
	strcpy(request.path, "/evil");
	assert_int_equal(ask(request, -1, &answer), -ENOENT);
	strcpy(request.path, "/../../../etc/passwd");
	assert_int_equal(ask(request, -1, &answer), -ENOENT);
	strcpy(request.path, "/inside");
	assert_true(ask(request, -1, &answer) >= 0);
	assert_int_equal(answer.inode, st.st_ino);
	close(answer.fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(path);
	snprintf(path, sizeof(path), "%s/inside", folder);
	unlink(path);
	rmdir(folder);
}

static void opens_perf_uprobes(void **state)
{
	struct spawner_request request = {.verb = SPAWNER_PERF_UPROBE};
	struct spawner_answer answer;
	struct library library;
	char link[64] = "", name[64];
	glob_t found;
	int fd, got;

	(void)state;
	assert_int_equal(glob("/usr/lib/*/libpq.so.5", 0, NULL, &found), 0);
	fd = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	globfree(&found);
	assert_int_equal(library_examine(fd, &library), 0);
	request.offset = library.sites[0].offset;
	got = ask(request, fd, &answer);
	if (got == -EOPNOTSUPP) {
		close(fd);
		skip(); /* this kernel has no uprobe PMU */
	}
	assert_true(got >= 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", answer.fd);
	assert_true(readlink(name, link, sizeof(link) - 1) > 0);
	assert_string_equal(link, "anon_inode:[perf_event]");
	close(answer.fd);
	assert_int_equal(ask(request, -1, &answer), -EBADF); /* no file came along */
	request.offset = UINT64_C(1) << 40;
	assert_true(ask(request, fd, &answer) < 0);
	close(fd);
}

static struct examiner *start_examiner(void)
{
	struct spawner_request request = {.verb = SPAWNER_EXAMINER, .uid = TEST_UID};
	struct spawner_answer answer;
	struct examiner *examiner;

	assert_true(ask(request, -1, &answer) >= 0);
	examiner = examiner_new(answer.fd);
	assert_non_null(examiner);
	return examiner;
}

static int read_examiner(struct examiner *examiner, struct examiner_answer *out)
{
	struct pollfd poll_fd = {.fd = examiner_fd(examiner), .events = POLLIN};

	assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
	return examiner_read(examiner, out);
}

static void there_is_one_examiner_at_a_time(void **state)
{
	struct spawner_request root = {.verb = SPAWNER_EXAMINER, .uid = 0};
	struct spawner_answer refused;
	struct examiner_answer answer;
	struct examiner *first = start_examiner(), *second;
	pid_t spawner_id = spawner_pid(), pid = wait_child(spawner_id, "lapidary-exam"), next;
	int fd = open("/bin/ls", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(examiner_ask(first, 1, fd), 0);
	assert_int_equal(read_examiner(first, &answer), 1);
	assert_int_equal(answer.result, 0);
	second = start_examiner();
	assert_int_equal(read_examiner(first, &answer), -EPIPE);
	next = wait_child(spawner_id, "lapidary-exam");
	assert_int_not_equal(next, pid);
	assert_int_equal(examiner_ask(second, 2, fd), 0);
	assert_int_equal(read_examiner(second, &answer), 1);
	assert_int_equal(answer.token, 2);
	assert_int_equal(ask(root, -1, &refused), -EINVAL);
	close(fd);
	examiner_free(first);
	examiner_free(second);
}

static void an_unknown_verb_is_refused(void **state)
{
	struct spawner_answer answer;

	(void)state;
	assert_int_equal(ask((struct spawner_request){.verb = 99}, -1, &answer), -EINVAL);
}

static void a_killed_spawner_is_replaced(void **state)
{
	struct spawner_answer answer;
	struct mapped mapped;
	struct spawner_request request = map_file(&mapped);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kill(spawner_pid(), SIGKILL), 0);
		/* the next spawner finds the question in the socket, unless the notice was read first: then
		 * it is answered with -EPIPE, and asked again works */
		int got = ask(request, -1, &answer);

		if (got == -EPIPE)
			got = ask(request, -1, &answer);
		assert_true(got >= 0);
		close(answer.fd);
	}
	unlink(mapped.path);
	munmap(mapped.at, 12288);
}

static void a_hanging_spawner_is_given_up(void **state)
{
	struct spawner_answer answer;
	struct mapped mapped;
	struct spawner_request request = map_file(&mapped);
	pid_t hanging = spawner_pid();
	int fd = spawner_fd(spawner);

	(void)state;
	assert_int_equal(kill(hanging, SIGSTOP), 0);
	request.token = 1;
	assert_int_equal(spawner_ask(spawner, &request, -1), 0);
	spawner_watchdog(spawner, 50000, 3000);
	spawner_watchdog(spawner, 52000, 3000);
	assert_int_equal(spawner_read(spawner, &answer), 0); /* not yet */
	spawner_watchdog(spawner, 53000, 3000);
	assert_int_equal(read_answer(&answer), 1);
	assert_int_equal(answer.token, 1);
	assert_int_equal(answer.result, -ETIMEDOUT);
	assert_int_equal(answer.fd, -1);
	assert_int_equal(spawner_fd(spawner), fd);
	assert_true(ask(request, -1, &answer) >= 0); /* the late answer to token 1 is dropped */
	close(answer.fd);
	assert_int_not_equal(spawner_pid(), hanging);
	unlink(mapped.path);
	munmap(mapped.at, 12288);
}

static void without_a_nursery_all_questions_fail(void **state)
{
	struct spawner_request request = {.verb = SPAWNER_EXAMINER, .token = 4, .uid = TEST_UID};
	struct spawner_answer answer;
	pid_t nursery = wait_child(getpid(), "lapidary-nurse"), child = spawner_pid();

	(void)state;
	assert_int_equal(kill(child, SIGSTOP), 0);
	assert_int_equal(spawner_ask(spawner, &request, -1), 0);
	assert_int_equal(kill(nursery, SIGKILL), 0);
	assert_int_equal(read_answer(&answer), 1);
	assert_int_equal(answer.token, 4);
	assert_int_equal(answer.result, -EPIPE);
	assert_int_equal(read_answer(&answer), -EPIPE);
	assert_int_equal(spawner_ask(spawner, &request, -1), -EPIPE);
}

static void nothing_outlives_a_killed_agent(void **state)
{
	int ready[2], status;
	pid_t agent, family[3];
	char byte;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become ours, to be waited for */
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	agent = fork();
	assert_true(agent >= 0);
	if (agent == 0) {
		struct examiner *examiner;

		if (spawner_start(&spawner) != 0)
			_exit(1);
		examiner = start_examiner();
		if (confine_agent(NULL) != 0 || examiner_fd(examiner) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	family[0] = wait_child(agent, "lapidary-nurse");
	family[1] = wait_child(family[0], "lapidary-spawn");
	family[2] = wait_child(family[1], "lapidary-exam");
	assert_int_equal(kill(family[2], SIGSTOP), 0); /* one that hangs must go too */
	assert_int_equal(kill(agent, SIGKILL), 0);
	assert_int_equal(waitpid(agent, &status, 0), agent);
	for (int i = 0; i < 3; i++) {
		uint64_t end = now_ms() + PATIENCE_MS;
		pid_t got;

		while ((got = waitpid(family[i], &status, WNOHANG)) == 0 ||
		       (got < 0 && kill(family[i], 0) == 0)) {
			assert_true(now_ms() < end);
			poll(NULL, 0, 5);
		}
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void expect_kept(pid_t pid, uint64_t expected)
{
	char name[64], text[4096], *line;
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	line = strstr(text, "\nCapPrm:");
	assert_int_equal(strtoull(line + 8, NULL, 16), expected);
	line = strstr(text, "\nCapEff:");
	assert_int_equal(strtoull(line + 8, NULL, 16), expected);
	line = strstr(text, "\nCapBnd:");
	assert_int_equal(strtoull(line + 8, NULL, 16), 0);
	line = strstr(text, "\nNoNewPrivs:");
	assert_int_equal(strtoull(line + 12, NULL, 10), 1);
}

static void capabilities_are_those_of_the_tables(void **state)
{
	const struct confine_capability *row;
	uint64_t expected = 0;
	size_t count;
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	row = confine_spawner_capabilities(&count);
	for (size_t i = 0; i < count; i++)
		expected |= UINT64_C(1) << row[i].number;
	expect_kept(spawner_pid(), expected);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (confine_agent(NULL) != 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	expected = 0;
	row = confine_agent_capabilities(&count);
	for (size_t i = 0; i < count; i++)
		expected |= UINT64_C(1) << row[i].number;
	expect_kept(pid, expected);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void stopping_leaves_nothing(void **state)
{
	pid_t nursery = wait_child(getpid(), "lapidary-nurse"), child = spawner_pid();
	uint64_t end = now_ms() + PATIENCE_MS, ticks;
	char comm[17];
	pid_t parent;

	(void)state;
	spawner_stop(spawner);
	assert_int_equal(find_child(getpid(), "lapidary-nurse"), 0);
	while (read_stat(child, comm, &parent, &ticks)) {
		assert_true(now_ms() < end);
		poll(NULL, 0, 5);
	}
	assert_false(read_stat(nursery, comm, &parent, &ticks));
	assert_int_equal(spawner_start(&spawner), 0); /* and it can be started again */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opens_what_is_mapped_even_when_deleted),
		TEST(another_process_with_that_pid_is_refused),
		TEST(falls_back_to_the_path),
		TEST(only_regular_files_are_opened),
		TEST(no_link_leads_out_of_a_container),
		TEST(opens_perf_uprobes),
		TEST(there_is_one_examiner_at_a_time),
		TEST(an_unknown_verb_is_refused),
		TEST(a_killed_spawner_is_replaced),
		TEST(a_hanging_spawner_is_given_up),
		TEST(without_a_nursery_all_questions_fail),
		TEST(capabilities_are_those_of_the_tables),
		TEST(stopping_leaves_nothing),
		cmocka_unit_test(nothing_outlives_a_killed_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
