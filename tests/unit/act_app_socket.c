// SPDX-License-Identifier: Apache-2.0
/*
 * The app socket on a loop, with peers that are processes of their own: a child connects, hands its socket
 * over and lives on, so the kernel names the child whatever this process writes there.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/act/app_socket.h"
#include "user/act/page.h"
#include "user/act/sessions.h"
#include "user/base/json.h"

#define HELLO(app)                                                                                           \
	"{\"type\":\"hello\",\"protocol\":1,\"app\":\"" app                                                  \
	"\",\"role\":\"worker\",\"accepts\":[\"breaker\",\"restart\"]}\n"
#define SHOP HELLO("shop")

enum { WAIT_MS = 10000, NOBODY = 65534, CLIENTS = 128 };

struct client {
	int fd, page;
	pid_t pid;        /* to be ended with it; 0: the one before it has that */
	char text[16384]; /* read and not yet taken */
	size_t size;
};

static struct client clients[CLIENTS];
static int client_count;

static uv_loop_t loop;
static struct app_socket *apps;
static char dir[64];
static struct page *page;

static struct {
	int joined, left, messages, cuts, identified, not_yet;
	uint64_t more, last_id;
	struct app_message last;
	char code[32], why[160];
	bool refuse, tell_inside, close_inside;
	uint32_t hold_ms;
	int page_fd;
} seen;

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

/* --- the agent's side ------------------------------------------------------------------------------ */

static int identify(void *context, struct peer *peer, char *why, size_t why_size)
{
	assert_ptr_equal(context, &seen);
	seen.identified++;
	if (seen.not_yet > 0) {
		seen.not_yet--;
		return -EAGAIN;
	}
	if (seen.refuse) {
		snprintf(why, why_size, "no such process");
		return -ENOENT;
	}
	peer->start_ns = 1000 + peer->tgid;
	scope_set(&peer->scope, peer->uid, 1, 2, peer->hello.app);
	return 0;
}

static void welcome(void *context, const struct peer *peer, struct line_welcome *out, int *page_fd)
{
	static const struct line_breaker breaker = {.id = "0123456789abcdef",
						    .target = "postgres://db:5432/shop",
						    .reason = "refused \"5\" times",
						    .seq = 3,
						    .lease_ms = 3000,
						    .state = BREAKER_OPEN};

	(void)context;
	assert_string_equal(peer->scope.app, peer->hello.app);
	*out = (struct line_welcome){.epoch = 7,
				     .lease_ms = 3000,
				     .heartbeat_ms = 1000,
				     .hold_ms = seen.hold_ms,
				     .breakers = &breaker,
				     .breaker_count = 1};
	*page_fd = seen.page_fd;
}

static void joined(void *context, const struct peer *peer)
{
	(void)context;
	seen.joined++;
	seen.last_id = peer->id;
}

static void message(void *context, const struct peer *peer, const struct app_message *what)
{
	(void)context;
	seen.messages++;
	seen.last = *what;
	if (seen.tell_inside)
		app_socket_tell_scope(apps, &peer->scope, 0, "{\"type\":\"echo\"}\n", 0);
	if (seen.close_inside)
		app_socket_close(apps);
}

static void left(void *context, const struct peer *peer)
{
	(void)context;
	seen.left++;
	if (seen.tell_inside)
		app_socket_tell_scope(apps, &peer->scope, 0, "{\"type\":\"left\"}\n", 0);
}

static void cut(void *context, uint32_t tgid, uint32_t uid, const char *code, const char *why, uint64_t more)
{
	(void)context;
	(void)tgid;
	(void)uid;
	seen.cuts++;
	seen.more += more;
	snprintf(seen.code, sizeof(seen.code), "%s", code);
	snprintf(seen.why, sizeof(seen.why), "%s", why);
}

/* As identify has it: everybody is in one. */
static uint64_t place(void *context, uint32_t tgid)
{
	(void)context;
	(void)tgid;
	return 2;
}

static const struct app_socket_events events = {&seen, place, identify, welcome, joined, message, left, cut};

static void listen_there(void)
{
	char why[256] = "";

	if (app_socket_listen(&loop, dir, &events, &apps, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static void hang_up(struct client *client);

static int start(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	strcpy(dir, "/tmp/lapidary-apps-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(page_new(7, &page), 0);
	seen.page_fd = page_fd(page);
	listen_there();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	while (client_count > 0)
		hang_up(&clients[--client_count]);
	app_socket_close(apps);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0); /* no handle was forgotten */
	app_socket_free(apps);
	page_free(page);
	assert_int_equal(rmdir(dir), 0); /* nor the socket */
	return 0;
}

static void wake(uv_timer_t *timer)
{
	(void)timer;
}

/* One turn of the loop, 5 ms at most. */
static void turn(void)
{
	uv_timer_t timer;

	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, wake, 5, 0);
	uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

#define UNTIL(condition)                                                                                     \
	for (uint64_t until_ = now_ms() + WAIT_MS; !(condition); turn())                                     \
	assert_true(now_ms() < until_)

/* --- the peers' side ------------------------------------------------------------------------------- */

static int dial_here(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/app.sock", dir);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void pass_fd(int through, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {"x", 1};
	struct msghdr packet = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof(control)};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	sendmsg(through, &packet, 0);
}

/* Bytes, and the descriptor that came with them, if any, in *passed. */
static ssize_t take(int fd, char *out, size_t size, int *passed, int flags)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {out, size};
	struct msghdr packet = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(fd, &packet, flags | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *head = CMSG_FIRSTHDR(&packet);

	if (got > 0 && head && head->cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(head), sizeof(*passed));
	return got;
}

/*
 * A process of that uid connects `count` times and lives on without its sockets, which come here; NULL where
 * it could not connect. With `leave` it ends at once.
 */
static struct client *dial_as(uid_t uid, int count, bool leave)
{
	struct client *first = clients + client_count;
	int pair[2], status;
	char byte = 0;
	pid_t child;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pair[1], 3);
		close_range(4, ~0u, 0);
		if (uid && (setgid(uid) != 0 || setuid(uid) != 0))
			_exit(1);
		for (int i = 0; i < count; i++) {
			int fd = dial_here();

			pass_fd(3, fd);
			close(fd);
		}
		if (leave)
			_exit(0);
		for (;;)
			pause();
	}
	close(pair[1]);
	for (int i = 0; i < count; i++) {
		struct client *client = &clients[client_count++];

		*client = (struct client){.fd = -1, .page = -1, .pid = i ? 0 : child};
		assert_int_equal(take(pair[0], &byte, 1, &client->fd, 0), 1);
		assert_true(client->fd >= 0);
	}
	close(pair[0]);
	if (leave) {
		waitpid(child, &status, 0);
		first->pid = 0;
	}
	return first;
}

static struct client *dial(void)
{
	return dial_as(0, 1, false);
}

static void hang_up(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	if (client->page >= 0)
		close(client->page);
	if (client->pid) {
		kill(client->pid, SIGKILL);
		waitpid(client->pid, NULL, 0);
	}
	*client = (struct client){.fd = -1, .page = -1};
}

static void say(struct client *client, const char *bytes)
{
	send(client->fd, bytes, strlen(bytes), MSG_NOSIGNAL);
}

/* The next line without its newline; NULL: the connection has ended. */
static const char *hear(struct client *client)
{
	static char line[sizeof(client->text)];
	uint64_t end = now_ms() + WAIT_MS;
	char *newline;
	ssize_t got;

	while (!(newline = memchr(client->text, '\n', client->size))) {
		assert_true(now_ms() < end);
		got = take(client->fd, client->text + client->size, sizeof(client->text) - client->size,
			   &client->page, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			return NULL;
		if (got > 0)
			client->size += (size_t)got;
		else
			turn();
	}
	*newline = '\0';
	memcpy(line, client->text, (size_t)(newline - client->text) + 1);
	client->size -= strlen(line) + 1;
	memmove(client->text, newline + 1, client->size);
	return line;
}

static bool hears_nothing(struct client *client)
{
	char byte;

	for (int i = 0; i < 3; i++)
		turn();
	return client->size == 0 && recv(client->fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* The line has this type, or is an error with this code. */
static void assert_line(const char *line, const char *type, const char *code)
{
	cJSON *json = line ? cJSON_Parse(line) : NULL;

	if (!json)
		fail_msg("no %s but %s", type, line ? line : "the end");
	if (strcmp(json_text(json, "type"), type) != 0 ||
	    (code && strcmp(json_text(json, "code"), code) != 0))
		fail_msg("no %s %s but %s", type, code ? code : "", line);
	cJSON_Delete(json);
}

static struct client *dial_and_greet(uid_t uid, const char *hello)
{
	struct client *client = dial_as(uid, 1, false);

	say(client, hello);
	assert_line(hear(client), "welcome", NULL);
	return client;
}

static struct ev_scope scope_of(uid_t uid, const char *app)
{
	struct ev_scope scope;

	scope_set(&scope, uid, 1, 2, app);
	return scope;
}

/* --- tests ----------------------------------------------------------------------------------------- */

static void a_hello_is_welcomed_with_the_page(void **state)
{
	struct client *client = dial();
	struct stat ours, theirs;
	char path[40];
	cJSON *json;

	(void)state;
	say(client, SHOP);
	json = cJSON_Parse(hear(client));
	assert_string_equal(json_text(json, "type"), "welcome");
	assert_int_equal((int)json_number(json, "epoch", 0), 7);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "breakers")), 1);
	cJSON_Delete(json);
	assert_int_equal(seen.joined, 1);
	assert_true(client->page >= 0);
	assert_int_equal(fstat(client->page, &theirs) | fstat(page_fd(page), &ours), 0);
	assert_int_equal(ours.st_ino, theirs.st_ino);
	/* and it is good for reading alone */
	assert_ptr_not_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, client->page, 0), MAP_FAILED);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, client->page, 0), MAP_FAILED);
	assert_int_equal(write(client->page, "x", 1), -1);
	assert_int_equal(pwrite(client->page, "x", 1, 0), -1);
	assert_int_equal(ftruncate(client->page, 0), -1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", client->page);
	assert_int_equal(truncate(path, 0), -1);
	say(client, "{\"type\":\"state\",\"state\":\"draining\",\"in_flight\":4}\n");
	UNTIL(seen.messages == 1);
	assert_int_equal(seen.last.type, MESSAGE_STATE);
	hang_up(client);
	UNTIL(seen.left == 1);
	assert_int_equal(seen.cuts, 0);
}

static void a_later_welcome_brings_a_page_only_if_it_is_another(void **state)
{
	struct client *client = dial_and_greet(0, SHOP), *other = dial_and_greet(0, HELLO("other"));
	struct ev_scope scope = scope_of(0, "shop");
	struct page *second;

	(void)state;
	close(client->page);
	client->page = -1;
	app_socket_welcome_again(apps, &scope);
	assert_line(hear(client), "welcome", NULL);
	assert_int_equal(client->page, -1);
	assert_true(hears_nothing(other));
	assert_int_equal(page_new(8, &second), 0);
	seen.page_fd = page_fd(second);
	app_socket_welcome_again(apps, NULL);
	assert_line(hear(client), "welcome", NULL);
	assert_true(client->page >= 0);
	assert_line(hear(other), "welcome", NULL);
	page_free(second);
}

static void orders_reach_their_scope_and_those_who_accept(void **state)
{
	struct client *a = dial_and_greet(0, SHOP), *b, *other, *deaf;
	struct ev_scope scope = scope_of(0, "shop"), none = scope_of(1, "shop");
	uint64_t id = seen.last_id;
	const struct peer *peer;

	(void)state;
	b = dial_and_greet(0, SHOP);
	other = dial_and_greet(NOBODY, SHOP); /* the same name, another uid: another scope */
	deaf = dial_and_greet(0, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\"}\n");
	assert_int_equal(app_socket_tell_scope(apps, &scope, ACCEPTS_BREAKER, "{\"type\":\"one\"}\n", 0), 2);
	assert_int_equal(app_socket_tell_scope(apps, &scope, ACCEPTS_BREAKER, "{\"type\":\"two\"}\n", id), 1);
	assert_int_equal(app_socket_tell_scope(apps, &scope, ACCEPTS_HOLD, "{\"type\":\"no\"}\n", 0), 0);
	assert_int_equal(app_socket_tell_scope(apps, &none, 0, "{\"type\":\"no\"}\n", 0), 0);
	assert_line(hear(a), "one", NULL);
	assert_line(hear(b), "one", NULL);
	assert_line(hear(b), "two", NULL);
	assert_true(hears_nothing(a) && hears_nothing(b) && hears_nothing(other) && hears_nothing(deaf));

	peer = app_socket_peer_of(apps, (uint32_t)a->pid, 1000u + (uint32_t)a->pid);
	assert_non_null(peer);
	assert_int_equal(peer->id, id);
	assert_null(app_socket_peer_of(apps, (uint32_t)a->pid, 1)); /* its pid, another process */
	assert_int_equal(app_socket_tell_peer(apps, id, ACCEPTS_RESTART, "{\"type\":\"three\"}\n"), 0);
	assert_int_equal(app_socket_tell_peer(apps, id, ACCEPTS_DRAIN, "{\"type\":\"no\"}\n"), -EACCES);
	assert_int_equal(app_socket_tell_peer(apps, id + 99, 0, "{\"type\":\"no\"}\n"), -ENOENT);
	assert_line(hear(a), "three", NULL);
	app_socket_process_gone(apps, (uint32_t)a->pid, 1000u + (uint32_t)a->pid);
	assert_null(hear(a));
	assert_int_equal(app_socket_tell_peer(apps, id, 0, "{\"type\":\"no\"}\n"), -ENOENT);
	UNTIL(seen.left == 1);
}

static void who_does_not_read_is_cut_and_nobody_waits(void **state)
{
	struct client *lazy = dial_and_greet(0, SHOP), *good = dial_and_greet(0, HELLO("good"));
	struct ev_scope scope = scope_of(0, "shop"), other = scope_of(0, "good");
	struct app_socket_stats stats;
	uint64_t slowest = 0;
	char line[1025];
	int told = 0;

	(void)state;
	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	for (; seen.cuts == 0; told++) {
		uint64_t before = uv_hrtime();

		app_socket_tell_scope(apps, &scope, 0, line, 0);
		assert_int_equal(app_socket_tell_scope(apps, &other, 0, "{\"type\":\"on\"}\n", 0), 1);
		if (uv_hrtime() - before > slowest)
			slowest = uv_hrtime() - before;
		assert_line(hear(good), "on", NULL);
		app_socket_stats(apps, &stats);
		assert_in_range(stats.unsent_bytes, 0, UNSENT_MAX);
		assert_in_range(told, 0, 2000);
		if (told % 16 == 15)
			turn();
	}
	assert_string_equal(seen.code, "not_reading");
	assert_true(told > 200); /* the kernel's 64 KiB and our 256 */
	assert_true(slowest < 100000000);
	app_socket_stats(apps, &stats);
	assert_int_equal(stats.unsent_bytes, 0);
	assert_int_equal(stats.peers, 1);
	assert_int_equal(seen.left, 1);
	hang_up(lazy);
}

/* The welcome waits in part: its page is not lost, and comes with its first byte. */
static void what_waits_comes_whole_and_in_order(void **state)
{
	struct client *client = dial_and_greet(0, SHOP);
	struct ev_scope scope = scope_of(0, "shop");
	struct app_socket_stats stats = {0};
	struct page *second;
	char line[600];
	int told = 0;

	(void)state;
	close(client->page);
	client->page = -1;
	for (; stats.unsent_bytes < 8192; told++) {
		snprintf(line, sizeof(line), "{\"type\":\"%d\",\"pad\":\"%0500d\"}\n", told, 0);
		assert_int_equal(app_socket_tell_scope(apps, &scope, 0, line, 0), 1);
		app_socket_stats(apps, &stats);
	}
	assert_int_equal(page_new(8, &second), 0);
	seen.page_fd = page_fd(second);
	app_socket_welcome_again(apps, &scope);
	page_free(second); /* before it could be sent */
	for (int i = 0; i < told; i++) {
		snprintf(line, sizeof(line), "%d", i);
		assert_line(hear(client), line, NULL);
	}
	assert_line(hear(client), "welcome", NULL);
	assert_true(client->page >= 0);
	app_socket_stats(apps, &stats);
	assert_int_equal(stats.unsent_bytes, 0);
	assert_int_equal(seen.cuts, 0);
}

static void who_floods_is_cut_while_others_are_served(void **state)
{
	struct client *flooder = dial_and_greet(0, SHOP), *good = dial_and_greet(0, HELLO("good"));
	struct ev_scope scope = scope_of(0, "good");
	char flood[60000];

	(void)state;
	for (size_t i = 0; i < sizeof(flood); i++)
		flood[i] = "{\"type\":\"state\",\"state\":\"serving\"}\n"[i % 35];
	assert_true(send(flooder->fd, flood, sizeof(flood), MSG_NOSIGNAL | MSG_DONTWAIT) > 40000);
	for (int answered = 0; seen.cuts == 0; answered++) {
		int before = seen.messages;

		assert_int_equal(app_socket_tell_scope(apps, &scope, 0, "{\"type\":\"on\"}\n", 0), 1);
		assert_line(hear(good), "on", NULL);
		turn();
		assert_in_range(seen.messages - before, 0, 400); /* it got its turn, and not more */
		assert_in_range(answered, 0, 100);
	}
	assert_string_equal(seen.code, "flood");
	assert_in_range(seen.messages, 900, 1000);
	assert_line(hear(flooder), "error", "flood");
	assert_null(hear(flooder));
	assert_int_equal(seen.left, 1);
	say(good, "{\"type\":\"ack\",\"id\":\"a\",\"result\":\"done\"}\n");
	UNTIL(seen.last.type == MESSAGE_ACK);
}

static void garbage_is_cut_off_with_a_reason(void **state)
{
	static const struct {
		const char *bytes, *code;
	} cases[] = {
		{"\xff\xfe\n", "bad_utf8"},
		{"GET / HTTP/1.0\r\n", "bad_json"},
		{"{\"type\":\"state\",\"state\":\"serving\"}\n", "hello_first"},
		{"{\"type\":\"hello\",\"protocol\":2,\"app\":\"shop\"}\n", "protocol"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"../etc\"}\n", "bad_field"},
		{SHOP "[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]\n", "too_deep"},
		{SHOP "{}{}\n", "bad_json"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client *client = dial();

		say(client, cases[i].bytes);
		if (strncmp(cases[i].bytes, SHOP, strlen(SHOP)) == 0)
			assert_line(hear(client), "welcome", NULL);
		assert_line(hear(client), "error", cases[i].code);
		assert_null(hear(client));
		hang_up(client);
	}
	assert_int_equal(seen.cuts + (int)seen.more,
			 1); /* one a second of a uid is told, the others counted */
}

static void who_is_silent_or_half_closed_or_refused_goes(void **state)
{
	struct client *silent = dial(), *half = dial_and_greet(0, SHOP), *stranger;
	uint64_t began = now_ms();

	(void)state;
	shutdown(half->fd, SHUT_WR);
	UNTIL(seen.left == 1);
	assert_null(hear(half));
	assert_line(hear(silent), "error", "no_hello");
	assert_in_range(now_ms() - began, 900, 1500);
	seen.refuse = true;
	stranger = dial();
	say(stranger, SHOP);
	assert_line(hear(stranger), "error", "refused");
	assert_null(hear(stranger));
	assert_int_equal(seen.joined, 1);
}

static void who_is_not_known_yet_is_waited_for(void **state)
{
	struct client *client = dial(), *never;
	uint64_t began;

	(void)state;
	seen.not_yet = 5;
	say(client, SHOP "{\"type\":\"state\",\"state\":\"serving\"}\n");
	assert_line(hear(client), "welcome", NULL);
	assert_int_equal(seen.identified, 6);
	UNTIL(seen.messages == 1); /* what it said meanwhile */
	seen.not_yet = 1 << 20;
	never = dial();
	began = now_ms();
	say(never, SHOP);
	assert_line(hear(never), "error", "unknown_process");
	assert_in_range(now_ms() - began, 400, 600);
}

static void a_socket_left_to_a_child_speaks_for_nobody(void **state)
{
	struct client *client = dial_as(0, 1, true); /* whoever connected has ended, and its pid is free */

	(void)state;
	say(client, SHOP);
	if (hear(client))
		assert_null(hear(client));
	assert_int_equal(seen.joined, 0);
}

/* An app that acknowledges and exits has unread pings: the kernel says "reset" before the ack is read. */
static void the_last_words_of_who_resets_are_heard(void **state)
{
	struct client *client = dial_and_greet(0, SHOP);
	struct ev_scope scope = scope_of(0, "shop");

	(void)state;
	app_socket_tell_scope(apps, &scope, 0, "{\"type\":\"ping\"}\n", 0);
	say(client, "{\"type\":\"ack\",\"id\":\"42\",\"result\":\"done\"}\n");
	hang_up(client);
	UNTIL(seen.left == 1);
	assert_int_equal(seen.messages, 1);
	assert_string_equal(seen.last.ack.id, "42");
}

static void places_are_limited_by_process_and_by_cgroup(void **state)
{
	struct client *three = dial_as(NOBODY, 3, false), *last;
	struct app_socket_stats stats;

	(void)state;
	assert_line(hear(&three[2]), "error", "too_many_of_process");
	assert_null(hear(&three[2]));
	for (int i = 2; i < PEERS_OF_CGROUP; i += 2)
		dial_as(NOBODY, 2, false);
	last = dial_as(NOBODY, 1, false);
	assert_line(hear(last), "error", "too_many_of_cgroup");
	dial_and_greet(0, SHOP); /* another user has its places */
	app_socket_stats(apps, &stats);
	assert_int_equal(stats.refused, 2);
	assert_int_equal(stats.accepted, PEERS_OF_CGROUP + 1);
	hang_up(&three[0]);
	turn();
	turn();
	say(dial_as(NOBODY, 1, false), SHOP);
	UNTIL(seen.joined == 2);
}

/* Four processes connect and close as fast as they can; a peer is served all the while. */
static void thousands_of_attempts_hold_nobody_up(void **state)
{
	struct client *good = dial_and_greet(0, SHOP);
	struct ev_scope scope = scope_of(0, "shop");
	struct app_socket_stats stats = {0};
	uint64_t before, slowest = 0;
	pid_t pids[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close_range(3, ~0u, 0);
			for (;;) {
				int fd = dial_here();

				if (fd >= 0 && send(fd, "{\"t", 3, MSG_NOSIGNAL) < 0)
					errno = 0;
				close(fd);
			}
		}
	}
	while (stats.accepted + stats.refused < 5000) {
		before = uv_hrtime();
		assert_int_equal(app_socket_tell_scope(apps, &scope, 0, "{\"type\":\"on\"}\n", 0), 1);
		assert_line(hear(good), "on", NULL);
		turn();
		if (uv_hrtime() - before > slowest)
			slowest = uv_hrtime() - before;
		app_socket_stats(apps, &stats);
	}
	for (int i = 0; i < 4; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	assert_true(slowest < 1000000000);
	UNTIL((app_socket_stats(apps, &stats), stats.peers == 1 && stats.unsent_bytes == 0));
	say(good, "{\"type\":\"state\",\"state\":\"serving\"}\n");
	UNTIL(seen.messages == 1);
}

/* The listener stays ready while no descriptor is free: it must not spin, nor forget who waits. */
static void without_descriptors_the_listener_rests(void **state)
{
	struct rlimit before, none;
	struct client *client;
	clock_t cpu;
	uint64_t end;
	int spare = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	client = dial();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	close(spare);
	none.rlim_cur = (rlim_t)spare; /* no number is free below it */
	say(client, SHOP);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	cpu = clock();
	for (end = now_ms() + 500; now_ms() < end;)
		turn();
	cpu = clock() - cpu;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(seen.joined, 0);
	assert_true(cpu < CLOCKS_PER_SEC / 4);
	assert_line(hear(client), "welcome", NULL);
}

static void callbacks_may_tell_and_close(void **state)
{
	struct client *a = dial_and_greet(0, SHOP), *b = dial_and_greet(0, SHOP);

	(void)state;
	seen.tell_inside = true;
	say(a, "{\"type\":\"state\",\"state\":\"serving\"}\n");
	assert_line(hear(a), "echo", NULL);
	assert_line(hear(b), "echo", NULL);
	hang_up(a);
	assert_line(hear(b), "left", NULL);
	seen.tell_inside = false;
	seen.close_inside = true;
	say(b, "{\"type\":\"state\",\"state\":\"serving\"}\n{\"type\":\"state\",\"state\":\"serving\"}\n");
	assert_null(hear(b));
	assert_int_equal(seen.left, 2);
	assert_int_equal(seen.messages, 2);
}

static void a_successor_takes_the_path_and_keeps_it(void **state)
{
	struct app_socket *first = apps;
	struct stat info;
	char path[128];

	(void)state;
	listen_there();
	app_socket_close(first);
	uv_run(&loop, UV_RUN_NOWAIT);
	app_socket_free(first);
	snprintf(path, sizeof(path), "%s/app.sock", dir);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0666);
	dial_and_greet(NOBODY, SHOP);
}

static void a_removed_place_is_made_anew_and_a_foreign_one_left(void **state)
{
	struct stat info;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/app.sock", dir);
	dial_and_greet(NOBODY, SHOP);
	assert_int_equal(app_socket_keep(apps), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(app_socket_keep(apps), -ENOENT);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(app_socket_keep(apps), 1);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0666);
	assert_int_equal(seen.left, 0); /* who was there stays */
	dial_and_greet(NOBODY, SHOP);

	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_int_equal(app_socket_keep(apps), 0);
	assert_int_equal(lstat(path, &info), 0);
	assert_true(S_ISLNK(info.st_mode));
	assert_int_equal(unlink(path), 0);
}

static void a_place_that_cannot_be_is_said_so(void **state)
{
	struct app_socket *none = NULL;
	char why[256] = "", longest[200];

	(void)state;
	assert_int_equal(app_socket_listen(&loop, "/nowhere/at/all", &events, &none, why, sizeof(why)),
			 -ENOENT);
	assert_non_null(strstr(why, "/nowhere/at/all/app.sock"));
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(app_socket_listen(&loop, longest, &events, &none, why, sizeof(why)), -ENAMETOOLONG);
	assert_null(none);
	app_socket_close(NULL);
	app_socket_free(NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_hello_is_welcomed_with_the_page),
		TEST(a_later_welcome_brings_a_page_only_if_it_is_another),
		TEST(orders_reach_their_scope_and_those_who_accept),
		TEST(who_does_not_read_is_cut_and_nobody_waits),
		TEST(what_waits_comes_whole_and_in_order),
		TEST(who_floods_is_cut_while_others_are_served),
		TEST(garbage_is_cut_off_with_a_reason),
		TEST(who_is_silent_or_half_closed_or_refused_goes),
		TEST(who_is_not_known_yet_is_waited_for),
		TEST(a_socket_left_to_a_child_speaks_for_nobody),
		TEST(the_last_words_of_who_resets_are_heard),
		TEST(places_are_limited_by_process_and_by_cgroup),
		TEST(thousands_of_attempts_hold_nobody_up),
		TEST(without_descriptors_the_listener_rests),
		TEST(callbacks_may_tell_and_close),
		TEST(a_successor_takes_the_path_and_keeps_it),
		TEST(a_removed_place_is_made_anew_and_a_foreign_one_left),
		TEST(a_place_that_cannot_be_is_said_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
