/* SPDX-License-Identifier: Apache-2.0 */
/* Restarts: by socket, by signal, escalated, ended; and what never gets a signal. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "user/act/restart.h"

#define MS 1000000ull

static const struct restart_settings usual = {.ack_ms = 1000, .deadline_ms = 30000, .kill_ms = 5000};
static struct restarts *restarts;
static struct restart_request request;
static uint64_t now;
static char why[256];

static struct {
	int orders, order_result, signals, signal, signal_result, finished;
	enum action_outcome outcome;
	char reason[256];
	struct restart restart;
} seen;

static int on_order(void *context, const struct restart *restart)
{
	(void)context;
	seen.orders++;
	seen.restart = *restart;
	return seen.order_result;
}

static int on_signal(void *context, const struct restart *restart, int signal, char *text, size_t size)
{
	(void)context;
	seen.signals++;
	seen.signal = signal;
	seen.restart = *restart;
	snprintf(text, size, "the signal said no");
	return seen.signal_result;
}

static void on_finished(void *context, const struct restart *restart, enum action_outcome outcome,
			const char *reason, uint64_t now_ns)
{
	(void)context;
	assert_true(now_ns == now);
	seen.finished++;
	seen.outcome = outcome;
	seen.restart = *restart;
	snprintf(seen.reason, sizeof(seen.reason), "%s", reason);
}

static int before(void **state)
{
	const struct restarts_events events = {NULL, on_order, on_signal, on_finished};

	(void)state;
	memset(&seen, 0, sizeof(seen));
	now = 1000000 * MS;
	request = (struct restart_request){
		.id = "0123456789abcdef",
		.incident = "incident",
		.reason = "it grows",
		.tgid = 4711,
		.start_ns = 99,
		.server = SERVER_PUMA,
		.role = APP_WORKER,
		.by_socket = true,
		.signals_allowed = true,
	};
	scope_set(&request.scope, 1000, 1, 1, "shop");
	restarts = restarts_new(&usual, &events);
	return restarts ? 0 : -1;
}

static int after(void **state)
{
	(void)state;
	restarts_free(restarts);
	return 0;
}

static int begin(void)
{
	why[0] = '\0';
	return restarts_begin(restarts, &request, now, why, sizeof(why));
}

static void pass(uint64_t ms)
{
	now += ms * MS;
	restarts_tick(restarts, now);
}

static void ack(bool done, const char *detail)
{
	restarts_ack(restarts, request.tgid, request.start_ns, request.id, done, detail, now);
}

static void end(int status)
{
	restarts_ended(restarts, request.tgid, request.start_ns, status, now);
}

static void in_order(void **state)
{
	(void)state;
	assert_int_equal(begin(), 0);
	assert_int_equal(seen.orders, 1);
	assert_int_equal(seen.restart.deadline_ms, 30000);
	assert_int_equal(begin(), -EEXIST);
	assert_true(why[0] != '\0');
	pass(500);
	restarts_ack(restarts, 4711, 99, "another id", true, "", now);
	restarts_ack(restarts, 4712, 99, request.id, true, "", now);
	restarts_ack(restarts, 4711, 98, request.id, true, "", now); /* the number's former owner */
	pass(499);
	ack(true, "");
	ack(false, "changed my mind"); /* one answer only */
	assert_int_equal(seen.finished, 0);
	pass(20000);
	restarts_ended(restarts, 4711, 98, 0, now);
	assert_int_equal(seen.finished, 0);
	end(0);
	assert_int_equal(seen.finished, 1);
	assert_int_equal(seen.outcome, ACTION_DONE);
	assert_string_equal(seen.reason, "exited with 0 as ordered");
	assert_int_equal(seen.signals, 0);
	end(0);
	assert_int_equal(seen.finished, 1);
	assert_int_equal(begin(), 0); /* and once more, if it must be */
}

static void a_refusal_kills_nobody(void **state)
{
	(void)state;
	begin();
	ack(false, "not now");
	assert_int_equal(seen.outcome, ACTION_FAILED);
	assert_non_null(strstr(seen.reason, "not now"));
	pass(60000);
	assert_int_equal(seen.signals, 0);
	assert_int_equal(seen.finished, 1);
}

static void silence_is_answered_by_a_signal(void **state)
{
	(void)state;
	begin();
	pass(999);
	assert_int_equal(seen.signals, 0);
	pass(1);
	assert_int_equal(seen.signals, 1);
	assert_int_equal(seen.signal, SIGTERM);
	ack(false, "too late");
	assert_int_equal(seen.finished, 0);
	pass(28999);
	assert_int_equal(seen.signals, 1);
	pass(1); /* the deadline counts from the order */
	assert_int_equal(seen.signals, 2);
	assert_int_equal(seen.signal, SIGKILL);
	end(SIGKILL);
	assert_int_equal(seen.outcome, ACTION_DONE);
	assert_non_null(strstr(seen.reason, "killed by SIGKILL at the deadline"));
}

static void without_consent_nothing_escalates(void **state)
{
	(void)state;
	request.signals_allowed = false;
	begin();
	pass(1000);
	assert_int_equal(seen.outcome, ACTION_FAILED);
	assert_non_null(strstr(seen.reason, "no answer within 1000 ms"));
	begin();
	ack(true, "");
	pass(30000);
	assert_int_equal(seen.finished, 2);
	assert_int_equal(seen.outcome, ACTION_FAILED);
	assert_non_null(strstr(seen.reason, "never ended"));
	assert_int_equal(seen.signals, 0);
	request.by_socket = false;
	assert_int_equal(begin(), -ENOTSUP);
	assert_true(why[0] != '\0');
	assert_int_equal(seen.finished, 2); /* what did not begin does not finish */
}

static void by_signal_alone(void **state)
{
	static const struct {
		enum server server;
		enum app_role role;
		bool now;
		int signal; /* 0: refused */
	} rows[] = {
		{SERVER_PUMA, APP_WORKER, false, SIGTERM},   {SERVER_UNICORN, APP_WORKER, false, SIGQUIT},
		{SERVER_IODINE, APP_WORKER, false, SIGTERM}, {SERVER_PREFORK, APP_WORKER, false, SIGTERM},
		{SERVER_PUMA, APP_WORKER, true, SIGKILL},    {SERVER_UNKNOWN, APP_WORKER, false, 0},
		{SERVER_PUMA, APP_SINGLE, false, 0},         {SERVER_PUMA, APP_SINGLE, true, 0},
		{SERVER_PREFORK, APP_MASTER, false, 0},      {SERVER_PREFORK, APP_MASTER, true, 0},
	};

	(void)state;
	request.by_socket = false;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		print_message("# %s %d %d\n", server_name(rows[i].server), rows[i].role, rows[i].now);
		seen.signal = 0;
		request.server = rows[i].server;
		request.role = rows[i].role;
		request.now = rows[i].now;
		assert_int_equal(begin(), rows[i].signal ? 0 : -ENOTSUP);
		assert_int_equal(seen.signal, rows[i].signal);
		end(rows[i].signal);
	}
	assert_int_equal(seen.orders, 0);
	request.server = SERVER_PUMA;
	request.role = APP_WORKER;
	seen.signal_result = -ENOTSUP; /* it does not catch it */
	assert_int_equal(begin(), -ENOTSUP);
	assert_string_equal(why, "the signal said no");
}

/* A server that drains on the order is not waited for; but where it may not be killed, its drain is. */
static void now_is_a_second(void **state)
{
	(void)state;
	request.now = true;
	begin();
	assert_int_equal(seen.restart.deadline_ms, 1000);
	ack(true, "");
	pass(999);
	assert_int_equal(seen.signals, 0);
	pass(1);
	assert_int_equal(seen.signal, SIGKILL);
	end(SIGKILL);
	assert_int_equal(seen.outcome, ACTION_DONE);
	request.signals_allowed = false;
	begin();
	assert_int_equal(seen.restart.deadline_ms, 30000);
	ack(true, "");
	pass(29999);
	end(0);
	assert_int_equal(seen.finished, 2);
	assert_int_equal(seen.outcome, ACTION_DONE);
}

static void a_master_rolls_and_is_never_killed(void **state)
{
	(void)state;
	request.role = APP_MASTER;
	request.now = true;
	request.by_socket = false;
	begin();
	assert_int_equal(seen.signal, SIGUSR1);
	assert_int_equal(seen.finished, 1);
	assert_int_equal(seen.outcome, ACTION_DONE);
	pass(60000);
	request.by_socket = true;
	begin();
	ack(true, "");
	assert_int_equal(seen.finished, 2);
	begin();
	pass(1000); /* not heard: by signal */
	assert_int_equal(seen.finished, 3);
	pass(60000);
	assert_int_equal(seen.signals, 2);
	assert_int_equal(seen.signal, SIGUSR1);
}

static void a_socket_that_fails_leaves_the_signal(void **state)
{
	(void)state;
	seen.order_result = -ENOENT;
	assert_int_equal(begin(), 0);
	assert_int_equal(seen.signal, SIGTERM);
	end(SIGTERM);
	assert_string_equal(seen.reason, "ended by SIGTERM, as signalled");
	request.signals_allowed = false;
	assert_int_equal(begin(), -ENOTSUP);
}

static void what_ended_unseen(void **state)
{
	(void)state;
	begin();
	ack(true, "");
	seen.signal_result = -ESRCH;
	pass(30000);
	assert_int_equal(seen.outcome, ACTION_DONE);
	assert_non_null(strstr(seen.reason, "not known"));
	seen.signal_result = 0;
	begin();
	ack(true, "");
	pass(30000);
	pass(4999);
	assert_int_equal(seen.finished, 1);
	pass(1);
	assert_int_equal(seen.outcome, ACTION_FAILED);
	assert_string_equal(seen.reason, "never ended: still there 5000 ms after SIGKILL");
}

static void a_pause_forgets_them_all(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		request.tgid++;
		begin();
	}
	restarts_release(restarts, "acting is paused", now);
	assert_int_equal(seen.finished, 3);
	assert_int_equal(seen.outcome, ACTION_FAILED);
	assert_string_equal(seen.reason, "acting is paused");
	pass(60000);
	assert_int_equal(seen.signals, 0);
}

static void there_are_only_so_many(void **state)
{
	(void)state;
	for (int i = 0; i < 256; i++) {
		request.tgid++;
		assert_int_equal(begin(), 0);
	}
	request.tgid++;
	assert_int_equal(begin(), -ENOSPC);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(in_order),
		EACH(a_refusal_kills_nobody),
		EACH(silence_is_answered_by_a_signal),
		EACH(without_consent_nothing_escalates),
		EACH(by_signal_alone),
		EACH(now_is_a_second),
		EACH(a_master_rolls_and_is_never_killed),
		EACH(a_socket_that_fails_leaves_the_signal),
		EACH(what_ended_unseen),
		EACH(a_pause_forgets_them_all),
		EACH(there_are_only_so_many),
	};

	return cmocka_run_group_tests_name("act: restarts", tests, NULL, NULL);
}
