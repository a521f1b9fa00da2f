// SPDX-License-Identifier: Apache-2.0
/*
 * The prober's life: question, login, namespaces, confinement, test, answer. Any step may block (a dead file
 * system, a resolver, TLS), so time is kept by a timer whose handler gives the answer and ends the process;
 * and when the agent closes its end, the kernel's own signal ends it, wherever it stands.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/base/text.h"
#include "user/probe/prober_private.h"

enum { QUESTION_MS = 1000, TIMEOUT_MS_MAX = 60000 };

static struct {
	int answer_fd;
	volatile sig_atomic_t stage;
	uint64_t began_ns; /* the test proper */
} self;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

void prober_stage(enum prober_stage stage)
{
	if (stage == STAGE_RESOLVE)
		self.began_ns = now_ns();
	self.stage = stage;
}

static void __attribute__((noreturn)) give(const struct prober_answer *answer)
{
	send(self.answer_fd, answer, sizeof(*answer), MSG_NOSIGNAL | MSG_DONTWAIT);
	_exit(0);
}

/* In the handler: nothing but what a handler may call. */
static void on_deadline(int number)
{
	static const char *const too_long[] = {
		[STAGE_QUESTION] = "no question came",
		[STAGE_LOGIN] = "reading the credentials took too long",
		[STAGE_ENTER] = "entering the process's namespaces took too long",
		[STAGE_CONFINE] = "the prober's own start took too long",
	};
	struct prober_answer answer;

	(void)number;
	memset(&answer, 0, sizeof(answer));
	if (self.stage < STAGE_RESOLVE) {
		const char *detail = too_long[self.stage];

		answer.result = PROBE_NOT_RUN;
		memcpy(answer.detail, detail, strlen(detail));
	} else {
		answer.result = PROBE_TIMEOUT;
		answer.ms = (uint32_t)((now_ns() - self.began_ns) / 1000000);
	}
	give(&answer);
}

static void set_deadline(uint32_t ms)
{
	struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* A peer that closes is a SIGIO, whose default is the end. One that had closed before is seen by poll. */
static void end_with_peer(int fd)
{
	struct pollfd peer = {.fd = fd};

	signal(SIGIO, SIG_DFL);
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETFL, O_ASYNC);
	if (poll(&peer, 1, 0) != 0)
		_exit(0);
}

static bool ended(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool is_good(const struct prober_question *question)
{
	return question->tgid > 0 && question->uid > 0 && question->uid != UINT32_MAX &&
	       question->start_ns > 0 && question->timeout_ms > 0 && question->timeout_ms <= TIMEOUT_MS_MAX &&
	       ended(question->target, sizeof(question->target)) &&
	       ended(question->user, sizeof(question->user)) &&
	       ended(question->password_file, sizeof(question->password_file)) &&
	       ended(question->service, sizeof(question->service)) &&
	       ended(question->service_file, sizeof(question->service_file));
}

/* It was written before the prober was asked for, in one piece. */
static bool read_question(int fd, struct prober_question *question)
{
	ssize_t n;

	do {
		n = read(fd, question, sizeof(*question));
	} while (n < 0 && errno == EINTR);
	close(fd);
	return n == (ssize_t)sizeof(*question) && is_good(question);
}

/* What must be so before the test; false with a line in `why`. */
static bool prepare(const struct prober_question *question, struct prober_target *target,
		    struct prober_login *login, char *why, size_t why_size)
{
	int err;

	if (!prober_libpq()) {
		snprintf(why, why_size, "libpq.so.5 is not installed");
		return false;
	}
	if (prober_parse_target(question->target, target, why, why_size) != 0)
		return false;
	prober_stage(STAGE_LOGIN);
	if (prober_read_login(question, login, why, why_size) != 0)
		return false;
	prober_stage(STAGE_ENTER);
	if (prober_enter(question->tgid, question->start_ns, why, why_size) != 0)
		return false;
	prober_stage(STAGE_CONFINE);
	err = confine_prober(question->uid);
	if (err)
		snprintf(why, why_size, "giving up its rights: %s", strerror(-err));
	return err == 0;
}

static void listen_to_the_clock(void)
{
	struct sigaction action = {.sa_handler = on_deadline};
	sigset_t clock;

	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&clock);
	sigaddset(&clock, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &clock, NULL);
	set_deadline(QUESTION_MS);
}

static void stop_the_clock(void)
{
	sigset_t clock;

	sigemptyset(&clock);
	sigaddset(&clock, SIGALRM);
	sigprocmask(SIG_BLOCK, &clock, NULL);
}

void prober_main(int question_fd, int answer_fd)
{
	struct prober_answer answer = {.result = PROBE_NOT_RUN};
	struct prober_question question;
	struct prober_target target;
	struct prober_login login;

	self.answer_fd = answer_fd;
	end_with_peer(answer_fd);
	listen_to_the_clock();
	dup2(STDOUT_FILENO, STDERR_FILENO); /* /dev/null: what libpq warns of may hold secrets */
	setlocale(LC_ALL, "C");
	if (!read_question(question_fd, &question)) {
		text_copy(answer.detail, sizeof(answer.detail), "the question is malformed");
		give(&answer);
	}
	set_deadline(question.timeout_ms);
	if (prepare(&question, &target, &login, answer.detail, sizeof(answer.detail))) {
		prober_test(&target, &login, &answer);
		answer.ms = (uint32_t)((now_ns() - self.began_ns) / 1000000);
	}
	stop_the_clock();
	give(&answer);
}
