// SPDX-License-Identifier: Apache-2.0
/*
 * The examiner as it runs: a real child, confined, asked about real and damaged files; and the agent's side
 * against a child that dies, hangs or lies. Needs root, as the agent does.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/confine.h"
#include "user/probe/examiner.h"
#include "user/probe/examiner_wire.h"
#include "user/probe/message.h"

enum { TEST_UID = 64321, PATIENCE_MS = 10000 };

static int need_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

static struct examiner *start(pid_t *pid)
{
	struct examiner *examiner;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		close(pair[0]);
		examiner_main(pair[1], TEST_UID);
	}
	close(pair[1]);
	examiner = examiner_new(pair[0]);
	assert_non_null(examiner);
	return examiner;
}

/* Waits for an answer; -ETIME when none comes. */
static int read_answer(struct examiner *examiner, struct examiner_answer *out)
{
	struct pollfd poll_fd = {.fd = examiner_fd(examiner), .events = POLLIN};
	int got = examiner_read(examiner, out);

	if (got != 0)
		return got;
	return poll(&poll_fd, 1, PATIENCE_MS) == 1 ? examiner_read(examiner, out) : -ETIME;
}

static int wait_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int open_first(const char *pattern)
{
	glob_t found;
	int fd;

	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	fd = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	globfree(&found);
	assert_true(fd >= 0);
	return fd;
}

static void answers_as_the_library_does(void **state)
{
	static const char *const patterns[] = {"/usr/lib/*/libpq.so.5", "/usr/lib/*/libruby-*.so.*.*.*",
					       "/bin/ls", "/etc/passwd", "/dev/null"};
	struct examiner_answer answer;
	pid_t pid;
	struct examiner *examiner = start(&pid);

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct library library = {0};
		int fd = open_first(patterns[i]), result = library_examine(fd, &library);

		assert_int_equal(examiner_ask(examiner, 100 + i, fd), 0);
		close(fd);
		assert_int_equal(read_answer(examiner, &answer), 1);
		assert_int_equal(answer.token, 100 + i);
		assert_int_equal(answer.result, result);
		assert_memory_equal(&answer.library, &library, sizeof(library));
	}
	examiner_free(examiner);
	assert_int_equal(wait_status(pid), 0); /* it ends with its socket */
}

static void many_questions_are_answered_in_order(void **state)
{
	struct examiner_answer answer;
	uint64_t asked = 0, answered = 0;
	pid_t pid;
	struct examiner *examiner = start(&pid);
	int fd = open_first("/bin/ls");

	(void)state;
	while (answered < 200) {
		while (asked < 200 && examiner_ask(examiner, asked, fd) == 0)
			asked++;
		assert_true(asked > answered);
		assert_int_equal(read_answer(examiner, &answer), 1);
		assert_int_equal(answer.token, answered++);
	}
	close(fd);
	examiner_free(examiner);
	assert_int_equal(wait_status(pid), 0);
}

static void damaged_files_are_survived(void **state)
{
	struct examiner_answer answer;
	unsigned int random = 88172645u;
	pid_t pid;
	struct examiner *examiner = start(&pid);
	int from = open_first("/usr/lib/*/libpq.so.5"), fd = memfd_create("copy", MFD_CLOEXEC);
	struct stat st;
	char *bytes;

	(void)state;
	assert_int_equal(fstat(from, &st), 0);
	bytes = malloc(st.st_size);
	assert_int_equal(pread(from, bytes, st.st_size, 0), st.st_size);
	for (int i = 0; i < 300; i++) {
		random ^= random << 13, random ^= random >> 17, random ^= random << 5;
		bytes[i % 2 ? random % 1024 : st.st_size - 1 - random % 2000] ^= 1 << random % 8;
		assert_int_equal(pwrite(fd, bytes, st.st_size, 0), st.st_size);
		assert_int_equal(ftruncate(fd, random % 5 ? st.st_size : random % st.st_size), 0);
		assert_int_equal(examiner_ask(examiner, i, fd), 0);
		assert_int_equal(read_answer(examiner, &answer), 1);
		assert_true(answer.result == 0 || answer.result == -ENOEXEC || answer.result == -ENOTSUP);
	}
	free(bytes);
	close(from);
	close(fd);
	examiner_free(examiner);
	assert_int_equal(wait_status(pid), 0);
}

static void a_killed_examiner_fails_one_question(void **state)
{
	struct examiner_answer answer;
	pid_t pid;
	struct examiner *examiner = start(&pid);
	int fd = open_first("/bin/ls");

	(void)state;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(examiner_ask(examiner, i, fd), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(WIFSIGNALED(wait_status(pid)));
	assert_int_equal(read_answer(examiner, &answer), 1);
	assert_int_equal(answer.token, 0);
	assert_int_equal(answer.result, -EIO);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(read_answer(examiner, &answer), 1);
		assert_int_equal(answer.token, i);
		assert_int_equal(answer.result, -EAGAIN);
	}
	assert_int_equal(read_answer(examiner, &answer), -EPIPE);
	assert_int_equal(examiner_ask(examiner, 9, fd), -EPIPE);
	close(fd);
	examiner_free(examiner);
}

static void a_hanging_examiner_is_given_up(void **state)
{
	struct examiner_answer answer;
	pid_t pid;
	struct examiner *examiner = start(&pid);
	int fd = open_first("/bin/ls"), got;

	(void)state;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	examiner_set_wait(examiner, 30);
	assert_int_equal(examiner_ask(examiner, 7, fd), 0);
	assert_int_equal(examiner_read(examiner, &answer), 0);
	while ((got = examiner_read(examiner, &answer)) == 0)
		poll(NULL, 0, 5);
	assert_int_equal(got, 1);
	assert_int_equal(answer.token, 7);
	assert_int_equal(answer.result, -ETIMEDOUT);
	assert_int_equal(examiner_read(examiner, &answer), -EPIPE);
	close(fd);
	examiner_free(examiner);
	kill(pid, SIGKILL);
	wait_status(pid);
}

/* Plays an examiner that was taken over: what it sends reaches the agent as -EPROTO and ends it. */
static void lie(const void *data, size_t size)
{
	struct examiner_answer answer;
	struct examiner *examiner;
	int pair[2], fd = open_first("/bin/ls");

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	examiner = examiner_new(pair[0]);
	assert_int_equal(examiner_ask(examiner, 5, fd), 0);
	assert_int_equal(message_send(pair[1], data, size, fd, 0), 0); /* with a descriptor nobody wants */
	assert_int_equal(read_answer(examiner, &answer), 1);
	assert_int_equal(answer.token, 5);
	assert_int_equal(answer.result, -EPROTO);
	assert_int_equal(answer.library.site_count, 0);
	assert_int_equal(read_answer(examiner, &answer), -EPIPE);
	close(fd);
	close(pair[1]);
	examiner_free(examiner);
}

static void a_lying_examiner_is_not_believed(void **state)
{
	struct examiner_answer good = {.token = 5}, bad;

	(void)state;
	lie("short", 5);
	bad = good;
	bad.token = 6;
	lie(&bad, sizeof(bad));
	bad = good;
	bad.result = 1;
	lie(&bad, sizeof(bad));
	bad = good;
	bad.library.site_count = 1000000;
	lie(&bad, sizeof(bad));
	bad = good;
	bad.library.kind = LIBRARY_LIBPQ;
	bad.library.site_count = 1;
	bad.library.sites[0].offset = UINT64_C(1) << 40; /* beyond the file's end */
	lie(&bad, sizeof(bad));
}

/* Returns how a confined process ends that does `what`. */
static int confined(void (*what)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (confine_examiner(TEST_UID) != 0)
			_exit(99);
		what();
		_exit(7);
	}
	return wait_status(pid);
}

static void try_open(void)
{
	close(open("/etc/passwd", O_RDONLY));
}

static void try_socket(void)
{
	close(socket(AF_INET, SOCK_STREAM, 0));
}

static void try_fork(void)
{
	if (fork() == 0)
		_exit(0);
}

static void try_exec(void)
{
	execl("/bin/true", "true", NULL);
}

static void try_map_file(void)
{
	mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 0, 0);
}

static void try_executable_memory(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_trace(void)
{
	kill(getppid(), 0);
}

static void do_nothing(void)
{
}

static void what_is_not_needed_kills(void **state)
{
	void (*const forbidden[])(void) = {try_open,     try_socket,           try_fork, try_exec, try_trace,
					   try_map_file, try_executable_memory};
	int status = confined(do_nothing);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
		status = confined(forbidden[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

#ifndef __SANITIZE_ADDRESS__ /* which needs terabytes of address space itself */
static void use_too_much_memory(void)
{
	void *volatile block = malloc((size_t)600 << 20);

	_exit(block ? 1 : 0);
}
#endif

static void loop_for_ever(void)
{
	confine_renew_cpu(0);
	for (volatile unsigned int i = 0;; i++)
		;
}

static void memory_and_time_are_limited(void **state)
{
	int status;

	(void)state;
#ifndef __SANITIZE_ADDRESS__
	assert_int_equal(confined(use_too_much_memory), 0);
#endif
	status = confined(loop_for_ever);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGXCPU);
}

static void expect_status(const char *text, const char *field, const char *value)
{
	const char *line = strstr(text, field);

	assert_non_null(line);
	line += strlen(field) + strspn(line + strlen(field), "\t ");
	if (strncmp(line, value, strlen(value)) != 0)
		fail_msg("%s is not '%s' but '%.40s'", field, value, line);
}

static void nothing_is_left_to_take(void **state)
{
	static const char none[] = "0000000000000000\n";
	struct examiner_answer answer;
	char name[64], text[4096];
	pid_t pid;
	struct examiner *examiner = start(&pid);
	int fd = open_first("/bin/ls");
	ssize_t n;

	(void)state;
	assert_int_equal(examiner_ask(examiner, 1, fd), 0);
	assert_int_equal(read_answer(examiner, &answer), 1); /* confined for sure by now */
	close(fd);
	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	close(fd);
	expect_status(text, "\nUid:", "64321\t64321\t64321\t64321\n");
	expect_status(text, "\nGid:", "64321\t64321\t64321\t64321\n");
	expect_status(text, "\nGroups:", "\n");
	expect_status(text, "\nCapInh:", none);
	expect_status(text, "\nCapPrm:", none);
	expect_status(text, "\nCapEff:", none);
	expect_status(text, "\nCapBnd:", none);
	expect_status(text, "\nCapAmb:", none);
	expect_status(text, "\nNoNewPrivs:", "1");
	expect_status(text, "\nSeccomp:", "2");
	examiner_free(examiner);
	assert_int_equal(wait_status(pid), 0);
}

static void root_is_no_uid_for_it(void **state)
{
	(void)state;
	assert_int_equal(confine_examiner(0), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(answers_as_the_library_does, need_root),
		cmocka_unit_test_setup(many_questions_are_answered_in_order, need_root),
		cmocka_unit_test_setup(damaged_files_are_survived, need_root),
		cmocka_unit_test_setup(a_killed_examiner_fails_one_question, need_root),
		cmocka_unit_test_setup(a_hanging_examiner_is_given_up, need_root),
		cmocka_unit_test(a_lying_examiner_is_not_believed),
		cmocka_unit_test_setup(what_is_not_needed_kills, need_root),
		cmocka_unit_test_setup(memory_and_time_are_limited, need_root),
		cmocka_unit_test_setup(nothing_is_left_to_take, need_root),
		cmocka_unit_test(root_is_no_uid_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
