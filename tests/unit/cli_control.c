// SPDX-License-Identifier: Apache-2.0
/* The control socket on a loop of libuv: clients that ask properly, and those that do not. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/json.h"
#include "user/base/when.h"
#include "user/cli/control.h"

enum { WAIT_MS = 10000, BIG = 1 << 20, NOBODY = 65534 };

static uv_loop_t loop;
static struct control *control;
static int asked;
static char dir[64];

static cJSON *answer(void *context, const char *command, const char *argument)
{
	cJSON *document;
	char *big;

	assert_ptr_equal(context, &asked);
	asked++;
	if (strcmp(command, "echo") != 0 && strcmp(command, "big") != 0)
		return NULL;
	document = cJSON_CreateObject();
	cJSON_AddStringToObject(document, "argument", argument);
	if (strcmp(command, "big") == 0) {
		big = malloc(BIG);
		memset(big, 'x', BIG - 1);
		big[BIG - 1] = '\0';
		cJSON_AddStringToObject(document, "big", big);
		free(big);
	}
	return document;
}

static int start(void **state)
{
	char why[256] = "";

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	asked = 0;
	strcpy(dir, "/tmp/lapidary-control-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(uv_loop_init(&loop), 0);
	if (control_listen(&loop, dir, answer, &asked, &control, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	control_close(control);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0); /* no handle was forgotten */
	control_free(control);
	assert_int_equal(rmdir(dir), 0); /* nor the socket */
	return 0;
}

static void wake(uv_timer_t *timer)
{
	(void)timer;
}

/* One turn of the loop, 20 ms at most. The timer repeats: one that is due at once would be over before the
 * turn waits. */
static void turn(void)
{
	uv_timer_t timer;

	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, wake, 20, 20);
	uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *bytes, size_t size)
{
	assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

/* Reads to the end, with the loop turning; returns how much came, at most `size` of it in `out`. */
static size_t read_all(int fd, char *out, size_t size)
{
	uint64_t end = when_boot_now() + WAIT_MS * 1000000ull;
	char scratch[65536];
	size_t total = 0;
	ssize_t got;

	while ((got = read(fd, scratch, sizeof(scratch))) != 0) {
		if (got < 0 && errno != EAGAIN)
			break; /* reset */
		for (ssize_t i = 0; i < got; i++, total++)
			if (total + 1 < size)
				out[total] = scratch[i];
		assert_true(when_boot_now() < end);
		turn();
	}
	out[total < size ? total : size - 1] = '\0';
	close(fd);
	return total;
}

/* A question in a process of its own, under another uid if need be; its exit code and the answer. */
static int ask_with(const char *command, const cJSON *argument, uid_t uid, char *line, size_t size)
{
	int pipes[2], status = 0;
	pid_t child;
	ssize_t got;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		char why[512] = "";
		cJSON *document = NULL;
		int code;

		if (uid && (setgid(uid) != 0 || setuid(uid) != 0))
			_exit(99);
		code = control_ask_with(dir, command, argument, &document, why, sizeof(why));
		dprintf(pipes[1], "%s", code ? why : json_text(document, "argument"));
		_exit(code);
	}
	close(pipes[1]);
	for (uint64_t end = when_boot_now() + WAIT_MS * 1000000ull; waitpid(child, &status, WNOHANG) == 0;) {
		assert_true(when_boot_now() < end);
		turn();
	}
	got = read(pipes[0], line, size - 1);
	line[got > 0 ? got : 0] = '\0';
	close(pipes[0]);
	assert_true(WIFEXITED(status)); /* no SIGPIPE */
	return WEXITSTATUS(status);
}

static int ask(const char *command, uid_t uid, char *line, size_t size)
{
	return ask_with(command, NULL, uid, line, size);
}

static void a_question_is_answered(void **state)
{
	char line[512];

	(void)state;
	assert_int_equal(ask("echo 47 11", 0, line, sizeof(line)), 0);
	assert_string_equal(line, "47 11");
	assert_int_equal(ask("echo", 0, line, sizeof(line)), 0);
	assert_string_equal(line, "");
	assert_int_equal(ask("big x", 0, line, sizeof(line)), 0);
}

/* Whatever stands in a JSON argument, the question stays one line. */
static void an_argument_may_be_json(void **state)
{
	cJSON *argument = cJSON_CreateObject(), *back;
	char line[1024];

	(void)state;
	cJSON_AddStringToObject(argument, "target", "postgres://db:5432/a b");
	cJSON_AddStringToObject(argument, "reason", "two\nlines \"quoted\" \xc3\xa4");
	cJSON_AddNumberToObject(argument, "for_ms", 30000);
	assert_int_equal(ask_with("echo", argument, 0, line, sizeof(line)), 0);
	assert_null(strchr(line, '\n'));
	back = cJSON_Parse(line);
	assert_true(cJSON_Compare(argument, back, 1));
	cJSON_Delete(back);
	cJSON_Delete(argument);
}

static void a_question_has_a_limit(void **state)
{
	char filler[CONTROL_LINE_MAX + 2], line[CONTROL_LINE_MAX + 64], expected[64];
	cJSON *argument = cJSON_CreateObject();
	int fd;

	(void)state;
	/* {"a":"…"} and "echo " and the newline are 14 bytes: the longest that goes, and one more */
	memset(filler, 'x', sizeof(filler));
	filler[CONTROL_LINE_MAX - 14] = '\0';
	cJSON_AddStringToObject(argument, "a", filler);
	assert_int_equal(ask_with("echo", argument, 0, line, sizeof(line)), 0);
	assert_int_equal(strlen(line), CONTROL_LINE_MAX - 6);
	filler[CONTROL_LINE_MAX - 14] = 'x';
	filler[CONTROL_LINE_MAX - 13] = '\0';
	cJSON_ReplaceItemInObject(argument, "a", cJSON_CreateString(filler));
	asked = 0;
	assert_int_equal(ask_with("echo", argument, 0, line, sizeof(line)), 1);
	snprintf(expected, sizeof(expected), "the question is longer than %d bytes", CONTROL_LINE_MAX);
	assert_string_equal(line, expected);
	cJSON_Delete(argument);
	/* a client that does not keep to it is cut off */
	memset(filler, 'x', sizeof(filler));
	memcpy(filler, "echo ", 5);
	filler[sizeof(filler) - 1] = '\n';
	fd = dial();
	say(fd, filler, sizeof(filler));
	assert_int_equal(read_all(fd, line, sizeof(line)), 0);
	assert_int_equal(asked, 0);
}

static void an_unknown_command_is_said_to_be(void **state)
{
	char line[512];

	(void)state;
	assert_int_equal(ask("open-sesame", 0, line, sizeof(line)), 1);
	assert_string_equal(line, "unknown command");
}

static void half_lines_are_put_together(void **state)
{
	char line[512];
	int fd = dial();

	(void)state;
	say(fd, "ec", 2);
	turn();
	say(fd, "ho a", 4);
	turn();
	assert_int_equal(asked, 0);
	say(fd, "b\nnonsense behind it", 20);
	read_all(fd, line, sizeof(line));
	assert_string_equal(line, "{\"argument\":\"ab\"}");
}

static void a_half_line_is_not_waited_for_long(void **state)
{
	uint64_t before = when_boot_now();
	char line[512];
	int fd = dial();

	(void)state;
	say(fd, "ech", 3);
	assert_int_equal(read_all(fd, line, sizeof(line)), 0);
	assert_true(when_boot_now() - before < 4000000000ull);
	fd = dial();
	say(fd, "ech", 3);
	shutdown(fd, SHUT_WR); /* it will send no more */
	assert_int_equal(read_all(fd, line, sizeof(line)), 0);
	assert_int_equal(asked, 0);
}

static void garbage_is_cut_off_at_once(void **state)
{
	uint64_t before = when_boot_now();
	char bytes[4096], line[512];
	int fd = dial();

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	say(fd, bytes, sizeof(bytes));
	assert_int_equal(read_all(fd, line, sizeof(line)), 0);
	fd = dial();
	say(fd, "\0\1\2\n", 4); /* a NUL hides no end of line */
	read_all(fd, line, sizeof(line));
	assert_string_equal(line, "{\"error\":\"unknown command\"}");
	assert_true(when_boot_now() - before < 1500000000ull);
}

static void who_goes_before_the_answer_takes_nobody_along(void **state)
{
	char line[512];

	(void)state;
	for (int i = 0; i < 8; i++) {
		int fd = dial();

		say(fd, "big\n", 4);
		close(fd);
		turn();
	}
	assert_int_equal(ask("echo x", 0, line, sizeof(line)), 0);
}

static void who_does_not_read_costs_a_place_for_a_while(void **state)
{
	uint64_t end = when_boot_now() + WAIT_MS * 1000000ull;
	char line[512];
	int fds[20];

	(void)state;
	for (int i = 0; i < 20; i++) {
		fds[i] = dial();
		say(fds[i], "big\n", 4);
		turn();
	}
	assert_int_equal(asked, 16);
	assert_int_equal(ask("echo x", 0, line, sizeof(line)), 4);
	assert_non_null(strstr(line, "try again"));
	while (ask("echo x", 0, line, sizeof(line)) != 0)
		assert_true(when_boot_now() < end);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
}

static void another_user_is_refused(void **state)
{
	char line[512], path[96];
	struct stat info;

	(void)state;
	if (geteuid() != 0)
		skip();
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(ask("echo x", NOBODY, line, sizeof(line)), 4);
	assert_non_null(strstr(line, "Permission denied"));
	assert_int_equal(chmod(path, 0666), 0); /* even who gets at it is not served */
	assert_int_equal(ask("echo x", NOBODY, line, sizeof(line)), 4);
	assert_non_null(strstr(line, "its own user"));
	assert_int_equal(asked, 0);
	assert_int_equal(ask("echo x", 0, line, sizeof(line)), 0);
}

static void a_second_server_is_refused_and_a_dead_one_replaced(void **state)
{
	struct control *second = NULL;
	char why[256] = "", path[96];
	int fd;

	(void)state;
	assert_int_equal(control_listen(&loop, dir, answer, &asked, &second, why, sizeof(why)), -EADDRINUSE);
	assert_non_null(strstr(why, "another agent"));
	assert_null(second);
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	assert_int_equal(unlink(path), 0);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600); /* nobody listens at it */
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(control_listen(&loop, dir, answer, &asked, &second, why, sizeof(why)), 0);
	control_close(second);
	uv_run(&loop, UV_RUN_NOWAIT);
	control_free(second);
}

static void a_removed_directory_is_listened_in_again(void **state)
{
	char path[128];
	struct stat info;
	int fd;

	(void)state;
	assert_int_equal(control_keep(control), 0);
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(control_keep(control), -EIO);
	assert_int_equal(control_keep(control), -EIO);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(control_keep(control), 1);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	fd = dial();
	say(fd, "echo again\n", strlen("echo again\n"));
	for (int i = 0; i < 500 && !asked; i++)
		turn();
	assert_int_equal(asked, 1);
	close(fd);
}

static void what_another_put_there_stays(void **state)
{
	char path[128], other[8] = "";

	(void)state;
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_int_equal(control_keep(control), 0);
	assert_int_equal(readlink(path, other, sizeof(other)), strlen("nowhere"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_question_is_answered),
		TEST(an_argument_may_be_json),
		TEST(a_question_has_a_limit),
		TEST(an_unknown_command_is_said_to_be),
		TEST(half_lines_are_put_together),
		TEST(a_half_line_is_not_waited_for_long),
		TEST(garbage_is_cut_off_at_once),
		TEST(who_goes_before_the_answer_takes_nobody_along),
		TEST(who_does_not_read_costs_a_place_for_a_while),
		TEST(another_user_is_refused),
		TEST(a_second_server_is_refused_and_a_dead_one_replaced),
		TEST(a_removed_directory_is_listened_in_again),
		TEST(what_another_put_there_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
