// SPDX-License-Identifier: Apache-2.0
/*
 * The prober on real parts: a PostgreSQL that is up, down, frozen, full and starting; namespaces and roots of
 * other processes; servers and name servers that behave badly; an agent that lost interest. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/prober_place.h"
#include <sys/mount.h>
#include "bpf/event.h"
#include "user/probe/prober.h"
#include "user/probe/spawner.h"

enum { TEST_UID = 64323, TIMEOUT_MS = 2000, SHORT_MS = 400, GRACE_MS = 100 };

static struct spawner *spawner;
static pid_t here; /* a process in our own namespaces */

static uint64_t start_ns(pid_t pid)
{
	char name[64], text[1024], *at;
	int fd;
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	at = strrchr(text, ')');
	for (int field = 2; field < 22; field++)
		at = strchr(at + 1, ' ');
	return strtoull(at + 1, NULL, 10) * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK)) + 1;
}

static struct prober_question question(pid_t process, const char *host, int port)
{
	struct prober_question out = {.tgid = (uint32_t)process,
				      .uid = TEST_UID,
				      .timeout_ms = TIMEOUT_MS,
				      .start_ns = start_ns(process)};

	snprintf(out.target, sizeof(out.target), "postgres://%s:%d/postgres", host, port);
	return out;
}

static struct prober_question with_password(struct prober_question question, const char *file)
{
	question.has_credentials = 1;
	strcpy(question.user, "probe");
	snprintf(question.password_file, sizeof(question.password_file), "%s/%s", place, file);
	return question;
}

/* The answer's socket, or the error. */
static int begin(const struct prober_question *question)
{
	static uint64_t token = 100;
	struct pollfd ready = {.fd = spawner_fd(spawner), .events = POLLIN};
	struct spawner_answer answer;
	int got;

	assert_int_equal(prober_ask(spawner, question, ++token), 0);
	while ((got = spawner_read(spawner, &answer)) == 0)
		assert_int_equal(poll(&ready, 1, PLACE_PATIENCE_MS), 1);
	assert_int_equal(got, 1);
	assert_int_equal(answer.token, token);
	assert_int_equal(answer.verb, SPAWNER_PROBER);
	return answer.result ? answer.result : answer.fd;
}

static struct prober_answer finish(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct prober_answer answer;

	assert_int_equal(poll(&ready, 1, PLACE_PATIENCE_MS), 1);
	assert_int_equal(recv(fd, &answer, sizeof(answer), 0), sizeof(answer));
	close(fd);
	assert_non_null(memchr(answer.detail, '\0', sizeof(answer.detail)));
	return answer;
}

static struct prober_answer ask(struct prober_question question)
{
	int fd = begin(&question);
	struct prober_answer answer;

	assert_true(fd >= 0);
	answer = finish(fd);
	print_message("%s: result %u %s %s, %u ms\n", question.target, answer.result, answer.sqlstate,
		      answer.detail, answer.ms);
	return answer;
}

static void expect_at(int line, struct prober_question question, enum probe_result result,
		      const char *sqlstate)
{
	struct prober_answer answer = ask(question);

	if (answer.result != result || strcmp(answer.sqlstate, sqlstate) != 0)
		fail_msg("line %d: expected %d '%s'", line, result, sqlstate);
	assert_true((answer.result == PROBE_NOT_RUN) == (answer.detail[0] != '\0'));
}
#define expect(...) expect_at(__LINE__, __VA_ARGS__)

static void expect_not_run_at(int line, struct prober_question question, const char *detail)
{
	struct prober_answer answer = ask(question);

	if (answer.result != PROBE_NOT_RUN || !strstr(answer.detail, detail))
		fail_msg("line %d: expected not run: %s", line, detail);
}
#define expect_not_run(...) expect_not_run_at(__LINE__, __VA_ARGS__)

/* In time: the limit and a tenth of a second for everything around it. */
static void expect_timeout_at(int line, struct prober_question question)
{
	uint64_t began = place_ms(), took;

	question.timeout_ms = SHORT_MS;
	expect_at(line, question, PROBE_TIMEOUT, "");
	took = place_ms() - began;
	print_message("line %d: timed out after %llu ms\n", line, (unsigned long long)took);
	assert_in_range(took, SHORT_MS, SHORT_MS + GRACE_MS);
}
#define expect_timeout(...) expect_timeout_at(__LINE__, __VA_ARGS__)

static void one_that_serves(void **state)
{
	char socket_dir[256] = "";
	struct prober_question local;
	size_t used = 0;

	(void)state;
	expect(question(here, "127.0.0.1", place_port), PROBE_OK, "");
	expect(question(here, "localhost", place_port), PROBE_OK, "");
	for (const char *at = place; *at; at++)
		used += (size_t)snprintf(socket_dir + used, sizeof(socket_dir) - used,
					 *at == '/' ? "%%2F" : "%c", *at);
	strcat(socket_dir, "%2Fsocket");
	local = question(here, socket_dir, place_port);
	expect(local, PROBE_OK, "28000"); /* no role lapidary, and local connections are trusted */
	strcpy(local.user, "probe");
	expect(local, PROBE_OK, "");
	local.has_credentials = 1;
	expect(local, PROBE_OK, "");
	strcpy(strrchr(local.target, '/'), "/nowhere");
	expect(local, PROBE_REJECTED, "3D000");
	local.has_credentials = 0;
	expect(local, PROBE_OK, "3D000");
}

static void a_password_from_a_file(void **state)
{
	struct prober_question q = question(here, "127.0.0.1", place_port);

	(void)state;
	place_write("password", "geheim\n", 0600);
	expect(with_password(q, "password"), PROBE_OK, "");
	place_write("password", "falsch", 0600);
	expect(with_password(q, "password"), PROBE_NOT_RUN, "28P01");
	expect_not_run(with_password(q, "password"), "refused the prober's credentials");
	place_write("password", "geheim\n", 0644);
	expect_not_run(with_password(q, "password"), "all users may read it (mode 0644)");
	place_write("password", "geheim\nzwei\n", 0600);
	expect_not_run(with_password(q, "password"), "one line");
	place_write("password", "", 0600);
	expect_not_run(with_password(q, "password"), "one line");
	expect_not_run(with_password(q, "absent"), "No such file");
	expect_not_run(with_password(q, "jail"), "not a regular file");
	q = with_password(q, "password");
	q.password_file[0] = '\0';
	expect_not_run(q, "asks for a password and none is configured");
}

static void a_service_file(void **state)
{
	struct prober_question q = question(here, "127.0.0.1", place_port);

	(void)state;
	place_write("services",
		    "[shop]\nuser=probe\npassword=geheim\nhost=192.0.2.1\nport=1\nhostaddr=192.0.2.1\n"
		    "[strict]\nuser=probe\npassword=geheim\nsslmode=verify-full\n",
		    0600);
	q.has_credentials = 1;
	snprintf(q.service_file, sizeof(q.service_file), "%s/services", place);
	strcpy(q.service, "shop");
	expect(q, PROBE_OK, "");
	strcpy(q.service, "absent");
	expect_not_run(q, "service: not found, or empty");
	strcpy(q.service, "strict");
	expect_not_run(q, "sslmode=verify-full");
	strcpy(q.service, "shop");
	strcpy(q.service_file, "/nonexistent");
	expect_not_run(q, "service: not found, or empty");
}

/* With TLS, whose library works under the confinement; a database that speaks no TLS is asked without. */
static void over_tls(void **state)
{
	struct prober_question q = question(here, "127.0.0.1", place_port);
	char command[512];

	(void)state;
	snprintf(
		command, sizeof(command),
		"cd %s/data && openssl req -new -x509 -days 2 -nodes -subj /CN=test -newkey rsa:2048 -keyout "
		"server.key -out server.crt 2>/dev/null && chmod 0600 server.key && chown postgres server.*",
		place);
	assert_int_equal(system(command), 0);
	place_stop();
	place_start("ssl=on");
	place_await_sql();
	place_write("password", "geheim\n", 0600);
	place_write("services", "[shop]\nuser=probe\npassword=geheim\nsslmode=require\n", 0600);
	expect(q, PROBE_OK, "");
	expect(with_password(q, "password"), PROBE_OK, "");
	q.has_credentials = 1;
	snprintf(q.service_file, sizeof(q.service_file), "%s/services", place);
	strcpy(q.service, "shop");
	expect(q, PROBE_OK, "");
	place_stop();
	place_start("ssl=off");
	place_await_sql();
	expect(q, PROBE_BROKEN, "");
}

static void frozen(void **state)
{
	struct prober_question q = question(here, "127.0.0.1", place_port);

	(void)state;
	place_write("password", "geheim\n", 0600);
	place_signal_all(SIGSTOP);
	expect_timeout(q);
	expect_timeout(with_password(q, "password"));
	place_signal_all(SIGCONT);
	expect(with_password(q, "password"), PROBE_OK, "");
}

/* A session of the superuser over the socket; returns when it is ready for a query. */
static int open_session(void)
{
	static const char startup[] = "\0\0\0\x29\0\3\0\0user\0postgres\0database\0postgres\0";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[4096];
	size_t used = 0;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket/.s.PGSQL.%d", place, place_port);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, startup, sizeof(startup), 0), sizeof(startup));
	do {
		ssize_t n = recv(fd, text + used, sizeof(text) - used, 0);

		if (n <= 0 || text[0] == 'E') {
			close(fd);
			return -1;
		}
		used += (size_t)n;
	} while (used < 6 || memcmp(text + used - 6, "Z\0\0\0\5I", 6) != 0);
	return fd;
}

static void too_many_connections(void **state)
{
	struct prober_question q = question(here, "127.0.0.1", place_port);
	int sessions[8], count = 0;
	uint64_t end = place_ms() + PLACE_PATIENCE_MS;

	(void)state;
	place_write("password", "geheim\n", 0600);
	while (count < 4) { /* earlier ones may still be ending */
		int fd = open_session();

		assert_true(place_ms() < end);
		if (fd >= 0)
			sessions[count++] = fd;
	}
	expect(q, PROBE_REJECTED, "53300");
	expect(with_password(q, "password"), PROBE_REJECTED, "53300");
	while (count > 0)
		close(sessions[--count]);
}

static void stopped_and_starting(void **state)
{
	struct prober_question q = question(here, "127.0.0.1", place_port), local;
	uint64_t end = place_ms() + PLACE_PATIENCE_MS;
	struct prober_answer answer;
	char standby[256];

	(void)state;
	place_stop();
	expect(q, PROBE_REFUSED, "");
	local = question(here, "%2Frun%2Fnowhere", place_port);
	expect(local, PROBE_REFUSED, "");
	place_write("data/standby.signal", "", 0644);
	place_start("hot_standby=off"); /* so it stays as one that is starting */
	do {
		assert_true(place_ms() < end);
		answer = ask(q);
	} while (answer.result == PROBE_REFUSED);
	expect(q, PROBE_REJECTED, "57P03");
	place_stop();
	q.timeout_ms = TIMEOUT_MS;
	place_path(standby, sizeof(standby), "data/standby.signal");
	assert_int_equal(unlink(standby), 0);
	place_start("hot_standby=on");
	place_await_sql();
	expect(q, PROBE_OK, "");
}

static bool in_other_network(void *argument)
{
	int port = place_port;

	if (!place_unshare_network())
		return false;
	return !argument || place_listen(SOCK_STREAM, &port) >= 0;
}

static void another_network_has_its_own_loopback(void **state)
{
	pid_t empty = place_process(in_other_network, NULL), silent;
	struct prober_question q = question(empty, "127.0.0.1", place_port);

	(void)state;
	expect(q, PROBE_REFUSED, ""); /* ours is up, on the same address and port */
	expect(question(here, "127.0.0.1", place_port), PROBE_OK, "");
	silent = place_process(in_other_network, &silent);
	expect_timeout(question(silent, "127.0.0.1", place_port));
	place_end(empty);
	place_end(silent);
}

static bool in_jail(void *argument)
{
	int port = 53;

	(void)argument;
	/* a name server that never answers */
	return place_unshare_network() && place_listen(SOCK_DGRAM, &port) >= 0 && place_chroot();
}

static bool in_chroot(void *argument)
{
	(void)argument;
	return place_chroot();
}

static void another_root_has_its_own_files(void **state)
{
	pid_t jailed = place_process(in_chroot, NULL), alone = place_process(in_jail, NULL);
	struct prober_question q;
	char folder[256];

	(void)state;
	place_write("jail/etc/hosts", "127.0.0.1 db.test\n", 0644);
	place_write("jail/etc/resolv.conf", "nameserver 127.0.0.1\noptions attempts:1\n", 0644);
	q = question(jailed, "%2Frun", place_port);
	strcpy(q.user, "probe");
	expect(q, PROBE_OK, "");
	expect(question(here, "%2Frun", place_port), PROBE_REFUSED, "");
	place_path(folder, sizeof(folder), "jail/run");
	chmod(folder, 0700); /* where the app may go and the prober may not, nothing is known */
	expect_not_run(q, "permission denied");
	chmod(folder, 0777);
	expect(question(jailed, "db.test", place_port), PROBE_OK, "");
	expect(question(jailed, "nobody.test", place_port), PROBE_NO_HOST, "");
	expect_timeout(question(alone, "nobody.test", place_port)); /* in the resolver */
	place_end(jailed);
	place_end(alone);
}

static void a_process_that_is_gone(void **state)
{
	pid_t pid = place_process(NULL, NULL);
	struct prober_question q = question(pid, "127.0.0.1", place_port);
	siginfo_t info;

	(void)state;
	q.start_ns += 20000000; /* another process with that number */
	expect_not_run(q, "the process is gone");
	q.start_ns -= 20000000;
	kill(pid, SIGKILL);
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	expect_not_run(q, "the process is gone"); /* not reaped yet */
	place_end(pid);
	expect_not_run(q, "the process is gone");
}

enum manner { SILENT, CLOSES, GARBAGE, ENDLESS, ENDLESS_ERROR, RESET_LATE };

/* Serves each connection in one manner, for ever. */
static pid_t hostile(enum manner manner, int *port)
{
	int listener, fd;
	char text[65536];
	pid_t pid;

	*port = 0;
	listener = place_listen(SOCK_STREAM, port);
	pid = place_fork();
	if (pid) {
		close(listener);
		return pid;
	}
	signal(SIGPIPE, SIG_IGN);
	memset(text, 'S', sizeof(text));
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (manner == SILENT)
			continue;
		if (manner != CLOSES && recv(fd, text + 1024, 1024, 0) < 0)
			_exit(1);
		if (manner == GARBAGE)
			send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
		if (manner == ENDLESS_ERROR) { /* no TLS, then an error without an end */
			send(fd, "N", 1, MSG_NOSIGNAL);
			recv(fd, text + 1024, 1024, 0);
			memset(text, 'E', sizeof(text));
		}
		while (manner == ENDLESS || manner == ENDLESS_ERROR)
			if (send(fd, text, sizeof(text), MSG_NOSIGNAL) < 0)
				break;
		close(fd);
	}
	_exit(0);
}

static void hostile_servers(void **state)
{
	static const struct {
		enum manner manner;
		enum probe_result result;
	} cases[] = {{SILENT, PROBE_TIMEOUT},
		     {CLOSES, PROBE_BROKEN},
		     {GARBAGE, PROBE_BROKEN},
		     {ENDLESS, PROBE_BROKEN},
		     {RESET_LATE, PROBE_BROKEN}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int port;
		pid_t pid = hostile(cases[i].manner, &port);

		print_message("manner %d\n", cases[i].manner);
		if (cases[i].result == PROBE_TIMEOUT)
			expect_timeout(question(here, "127.0.0.1", port));
		else
			expect(question(here, "127.0.0.1", port), cases[i].result, "");
		place_end(pid);
	}
}

/* Bounded in memory and time, whatever libpq makes of it. */
static void an_error_without_an_end(void **state)
{
	struct prober_answer answer;
	int port;
	pid_t pid = hostile(ENDLESS_ERROR, &port);
	uint64_t began = place_ms();

	(void)state;
	answer = ask(question(here, "127.0.0.1", port));
	assert_true(answer.result == PROBE_BROKEN || answer.result == PROBE_TIMEOUT);
	assert_in_range(place_ms() - began, 0, TIMEOUT_MS + GRACE_MS);
	place_end(pid);
}

static void targets_are_no_connection_strings(void **state)
{
	static const char *const bad[] = {
		"",
		"postgres://",
		"postgres://h",
		"postgres://h:1",
		"postgres://:1/d",
		"postgres://h:/d",
		"postgres://h:0/d",
		"postgres://h:65536/d",
		"postgres://h:0x15/d",
		"postgres://h:1,2/d",
		"postgres://h:-1/d",
		"postgresql://h:1/d",
		"host=/tmp dbname=d",
		"postgres://127.0.0.1:1/d?host=192.0.2.1",
		"postgres://127.0.0.1:1/d%00x",
		"postgres://user:password@127.0.0.1:1/d",
		"postgres://[::1:1/d",
		"postgres://[::1]x:1/d",
		"postgres://h:1/a%2",
		"postgres://h:1/a%zz",
		"postgres://h:1/a b",
	};
	struct prober_question q = question(here, "127.0.0.1", place_port);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		strcpy(q.target, bad[i]);
		expect_not_run(q, "the target is not postgres://host:port/dbname");
	}
	strcpy(q.target, "postgres://a%2Cb:1/d");
	expect_not_run(q, "several hosts");
	memset(q.target, 'x', sizeof(q.target));
	expect_not_run(q, "the question is malformed");
	/* as a name, this is a database that is not there */
	q = question(here, "%2Frun", place_port);
	snprintf(q.target, sizeof(q.target),
		 "postgres://127.0.0.1:%d/host%%3D192.0.2.1%%20connect_timeout%%3D9", place_port);
	expect(q, PROBE_OK, "");
	snprintf(q.target, sizeof(q.target), "postgres://127.0.0.1:%d/postgres%%3A%%2F%%2F192.0.2.1%%2Fx",
		 place_port);
	expect(q, PROBE_OK, "");
}

static void a_question_that_is_none(void **state)
{
	const struct spawner_request request = {.verb = SPAWNER_PROBER, .token = 1};
	struct prober_question q = question(here, "127.0.0.1", place_port);
	struct pollfd ready = {.fd = spawner_fd(spawner), .events = POLLIN};
	struct spawner_answer answer;
	struct prober_answer last;
	int pipe_fds[2];

	(void)state;
	q.uid = 0;
	expect_not_run(q, "the question is malformed");
	q.uid = TEST_UID;
	q.timeout_ms = 3600000;
	expect_not_run(q, "the question is malformed");
	assert_int_equal(spawner_ask(spawner, &request, -1), 0); /* no pipe */
	assert_int_equal(poll(&ready, 1, PLACE_PATIENCE_MS), 1);
	assert_int_equal(spawner_read(spawner, &answer), 1);
	assert_int_equal(answer.result, -EBADF);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0); /* a writer that says half of it, and stays */
	assert_int_equal(write(pipe_fds[1], &q, 100), 100);
	assert_int_equal(spawner_ask(spawner, &request, pipe_fds[0]), 0);
	assert_int_equal(poll(&ready, 1, PLACE_PATIENCE_MS), 1);
	assert_int_equal(spawner_read(spawner, &answer), 1);
	assert_int_equal(answer.result, 0);
	last = finish(answer.fd);
	assert_int_equal(last.result, PROBE_NOT_RUN);
	assert_string_equal(last.detail, "the question is malformed");
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* Name and parent; false when it is not there. */
static bool read_process(pid_t pid, char *comm, pid_t *parent)
{
	char name[64], text[512];
	bool found = false;
	FILE *stat;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	stat = fopen(name, "re");
	if (!stat)
		return false;
	if (fgets(text, sizeof(text), stat) && strrchr(text, ')'))
		found = sscanf(text, "%*d (%16[^)])", comm) == 1 &&
			sscanf(strrchr(text, ')') + 2, "%*c %d", parent) == 1;
	fclose(stat);
	return found;
}

/* The probers of our own spawner: other tests and agents have theirs. The last one's pid goes into *one. */
static int count_probers(pid_t *one)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(proc))) {
		char comm[17] = "", above[17];
		pid_t pid = atoi(entry->d_name), parent, nursery, agent;

		if (pid <= 0 || !read_process(pid, comm, &parent) || strcmp(comm, "lapidary-probe") != 0 ||
		    !read_process(parent, above, &nursery) || !read_process(nursery, above, &agent) ||
		    agent != getpid())
			continue;
		*one = pid;
		count++;
	}
	closedir(proc);
	return count;
}

static pid_t await_probers(int count)
{
	uint64_t end = place_ms() + PLACE_PATIENCE_MS;
	pid_t one = 0;

	while (count_probers(&one) != count) {
		assert_true(place_ms() < end);
		poll(NULL, 0, 5);
	}
	return one;
}

/* Slow targets fill their places and delay nobody who has one; who closes gets the place back at once. */
static void many_at_once(void **state)
{
	int port, fds[16];
	pid_t silent = hostile(SILENT, &port);
	struct prober_question slow = question(here, "127.0.0.1", port),
			       good = question(here, "127.0.0.1", place_port);
	uint64_t began;

	(void)state;
	slow.timeout_ms = 60000;
	for (int i = 0; i < 15; i++)
		assert_true((fds[i] = begin(&slow)) >= 0);
	began = place_ms();
	expect(good, PROBE_OK, "");
	assert_in_range(place_ms() - began, 0, 1000);
	await_probers(15);
	assert_true((fds[15] = begin(&slow)) >= 0);
	assert_int_equal(begin(&good), -EAGAIN);
	for (int i = 0; i < 16; i++)
		close(fds[i]);
	await_probers(0);
	expect(good, PROBE_OK, "");
	place_end(silent);
}

static void a_test_ends_with_its_asker_in_the_resolver_too(void **state)
{
	pid_t alone = place_process(in_jail, NULL);
	struct prober_question q = question(alone, "nobody.test", place_port);
	int fd;

	(void)state;
	q.timeout_ms = 60000;
	fd = begin(&q);
	assert_true(fd >= 0);
	await_probers(1);
	close(fd);
	await_probers(0);
	place_end(alone);
}

static void probers_end_with_the_spawner(void **state)
{
	int port, fd;
	pid_t silent = hostile(SILENT, &port);
	struct prober_question slow = question(here, "127.0.0.1", port);
	struct pollfd ended = {.events = POLLIN};

	(void)state;
	slow.timeout_ms = 60000;
	fd = begin(&slow);
	ended.fd = (int)syscall(SYS_pidfd_open, await_probers(1), 0);
	assert_true(ended.fd >= 0);
	spawner_stop(spawner);
	assert_int_equal(poll(&ended, 1, PLACE_PATIENCE_MS), 1);
	close(ended.fd);
	close(fd);
	assert_int_equal(spawner_start(&spawner), 0);
	place_end(silent);
}

/* In mounts of its own, where the library is hidden. */
static void without_libpq(void **state)
{
	pid_t pid = place_fork();
	int status;

	(void)state;
	if (pid == 0) {
		struct prober_answer answer;
		struct prober_question q;
		glob_t found;
		int fd;

		if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		    glob("/usr/lib/*/libpq.so.5", 0, NULL, &found) != 0 ||
		    mount("/dev/null", found.gl_pathv[0], NULL, MS_BIND, NULL) != 0 ||
		    spawner_start(&spawner) != 0)
			_exit(1);
		q = question(here, "127.0.0.1", place_port);
		fd = begin(&q);
		answer = finish(fd);
		spawner_stop(spawner);
		_exit(answer.result == PROBE_NOT_RUN &&
				      strcmp(answer.detail, "libpq.so.5 is not installed") == 0
			      ? 0
			      : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int make(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	place_make();
	here = place_process(NULL, NULL);
	return spawner_start(&spawner);
}

static int unmake(void **state)
{
	(void)state;
	spawner_stop(spawner);
	place_end(here);
	place_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_libpq),
		cmocka_unit_test(one_that_serves),
		cmocka_unit_test(a_password_from_a_file),
		cmocka_unit_test(a_service_file),
		cmocka_unit_test(over_tls),
		{"Property 8: a frozen database is a time-out, in time", frozen, NULL, NULL, NULL},
		cmocka_unit_test(too_many_connections),
		cmocka_unit_test(stopped_and_starting),
		{"Property 8: the test stands where the app stands", another_network_has_its_own_loopback,
		 NULL, NULL, NULL},
		cmocka_unit_test(another_root_has_its_own_files),
		cmocka_unit_test(a_process_that_is_gone),
		{"Property 8: servers that speak wrongly, or nothing", hostile_servers, NULL, NULL, NULL},
		{"Property 8: a server that never stops speaking", an_error_without_an_end, NULL, NULL, NULL},
		cmocka_unit_test(targets_are_no_connection_strings),
		cmocka_unit_test(a_question_that_is_none),
		{"Property 8: slow databases delay no other test", many_at_once, NULL, NULL, NULL},
		{"Property 8: a test ends with its asker, in the resolver too",
		 a_test_ends_with_its_asker_in_the_resolver_too, NULL, NULL, NULL},
		cmocka_unit_test(probers_end_with_the_spawner),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
