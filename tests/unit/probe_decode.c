// SPDX-License-Identifier: Apache-2.0
/* The gate: what it refuses, what it erases, and what it says of libpq's messages. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "user/base/text.h"
#include "user/probe/decode.h"
#include "user/probe/reason.h"

static union {
	_Alignas(8) unsigned char bytes[EV_RECORD_MAX];
	struct ev_head head;
	struct ev_birth birth;
	struct ev_conn conn;
	struct ev_fault fault;
	struct ev_query_start start;
	struct ev_query_end end;
	struct ev_location location;
	struct ev_info info;
	struct ev_hello hello;
	struct ev_probe probe;
	struct ev_breaker breaker;
	struct ev_action action;
	struct ev_state state;
} in, out;

static const char *why;

static void fresh(uint16_t type, uint8_t lane, size_t size)
{
	memset(&in, 0, sizeof(in));
	memset(&out, 0xa5, sizeof(out));
	in.head = (struct ev_head){.size = (uint32_t)size, .type = type, .lane = lane, .seq = 1, .tgid = 2};
	why = NULL;
}

static void assert_refused(size_t size, const char *field)
{
	assert_int_equal(decode(&in, size, &out.head, &why), -EBADMSG);
	assert_string_equal(why, field);
}

static void assert_taken(void)
{
	assert_int_equal(decode(&in, in.head.size, &out.head, &why), 0);
}

static void sizes_must_be_true(void **state)
{
	(void)state;
	fresh(EV_FORK, LANE_LIFE, sizeof(struct ev_birth));
	assert_taken();
	assert_memory_equal(&in, &out, sizeof(struct ev_birth));
	assert_refused(sizeof(struct ev_birth) - 1, "head.size");
	assert_refused(8, "record size");
	in.head.size++;
	assert_refused(sizeof(in), "head.size");
	in.head.size = sizeof(struct ev_head);
	assert_refused(sizeof(in), "head.size");

	fresh(EV_FAULT, LANE_CAPTURE, sizeof(struct ev_fault) + 64);
	in.fault.stack_len = 64;
	assert_taken();
	in.fault.stack_len = 65;
	assert_refused(sizeof(in), "fault.stack_len");
	in.fault.stack_len = 64;
	in.fault.sql_len = EV_SQL_LAST + 1;
	assert_refused(sizeof(in), "fault.sql_len");
	in.fault.sql_len = 0;
	in.fault.stack_len = 40;
	in.fault.windows[WINDOW_FIRST] = (struct ev_window){0x7000, 16, 1};
	in.fault.windows[WINDOW_INTERRUPTED] = (struct ev_window){0x9000, 0, 7};
	assert_taken();
	assert_int_equal(out.head.size, sizeof(struct ev_fault) + 56);
	assert_int_equal(out.fault.windows[WINDOW_FIRST].size, 16);
	assert_int_equal(out.fault.windows[WINDOW_INTERRUPTED].address, 0); /* none was taken */
	assert_int_equal(out.fault.windows[WINDOW_INTERRUPTED].missing, 0);
	in.fault.windows[WINDOW_FIRST].size = 25;
	assert_refused(sizeof(in), "fault.windows");
	in.fault.windows[WINDOW_FIRST].size = 16;
	in.fault.windows[WINDOW_FIRST].address = UINT64_MAX - 15;
	assert_refused(sizeof(in), "fault.windows");
	in.fault.stack_len = 0;
	in.fault.windows[WINDOW_FIRST].address = 0x7000;
	assert_refused(sizeof(in), "fault.windows"); /* without a stack there is nothing to go on from */
	fresh(EV_FAULT, LANE_CAPTURE, EV_RECORD_MAX);
	in.fault.stack_len = 8;
	in.fault.windows[WINDOW_FIRST].size = EV_STACK_FIRST + 1;
	assert_refused(sizeof(in), "fault.windows");
	in.fault.windows[WINDOW_FIRST].size = EV_STACK_FIRST;
	in.fault.windows[WINDOW_INTERRUPTED].size = EV_STACK_INTERRUPTED + 1;
	assert_refused(sizeof(in), "fault.windows");
	in.fault.windows[WINDOW_INTERRUPTED].size = EV_STACK_INTERRUPTED;
	assert_taken();
	in.fault.stack_len = EV_STACK_MAX;
	assert_refused(sizeof(in), "fault.windows");
	in.fault.windows[WINDOW_INTERRUPTED].size = 0;
	assert_taken();

	fresh(EV_QUERY_START, LANE_FLOW, sizeof(struct ev_query_start) + 8);
	in.start.kind = QUERY_SIMPLE;
	in.start.text_len = 9;
	assert_refused(sizeof(in), "query_start.text_len");
	in.start.text_len = UINT32_MAX;
	assert_refused(sizeof(in), "query_start.text_len");
}

static void lanes_and_kinds_must_be_known(void **state)
{
	(void)state;
	fresh(EV_FORK, LANE_FLOW, sizeof(struct ev_birth));
	assert_refused(sizeof(in), "head.lane");
	fresh(EV_TICK, 9, sizeof(struct ev_head));
	assert_refused(sizeof(in), "head.lane");
	fresh(EV_BEGIN - 1, LANE_USER, sizeof(struct ev_head));
	assert_refused(sizeof(in), "head.type");
	fresh(0xffff, LANE_USER, sizeof(struct ev_head));
	assert_refused(sizeof(in), "head.type");
	fresh(EV_CONN, LANE_LIFE, sizeof(struct ev_conn));
	assert_refused(sizeof(in), "conn.what");
	in.conn.what = CONN_OPEN;
	in.conn.reason = REASON_COUNT;
	assert_refused(sizeof(in), "conn.reason");
	fresh(EV_LOCATION, LANE_USER, sizeof(struct ev_location));
	in.location.build_id_len = 21;
	assert_refused(sizeof(in), "location.build_id_len");
	/* a stack is too large for the life lane */
	fresh(EV_FAULT, LANE_LIFE, sizeof(struct ev_fault) + 64);
	in.fault.stack_len = 64;
	assert_refused(sizeof(in), "fault.lane");
	in.fault.stack_len = 0;
	assert_taken();
	assert_int_equal(out.head.size, sizeof(struct ev_fault));
}

static void strings_end_and_are_clean(void **state)
{
	(void)state;
	fresh(EV_WATCH, LANE_LIFE, sizeof(struct ev_birth));
	memset(in.birth.comm, 'x', sizeof(in.birth.comm));
	in.birth.comm[0] = '\x1b';
	assert_taken();
	assert_string_equal(out.birth.comm, "?xxxxxxxxxxxxxx");
	memcpy(in.birth.comm, "ruby\0secret", 12);
	assert_taken();
	assert_memory_equal(out.birth.comm, "ruby\0\0\0\0\0\0\0\0\0\0\0", EV_COMM);

	fresh(EV_QUERY_END, LANE_LIFE, sizeof(struct ev_query_end));
	memcpy(in.end.sqlstate, "57P01", 6);
	assert_taken();
	assert_string_equal(out.end.sqlstate, "57P01");
	memcpy(in.end.sqlstate, "57p01", 6);
	assert_taken();
	assert_string_equal(out.end.sqlstate, "");
	memcpy(in.end.sqlstate, "57P012", 7);
	assert_taken();
	assert_string_equal(out.end.sqlstate, "");
}

static void what_the_agent_makes_is_checked_like_the_rest(void **state)
{
	(void)state;
	fresh(EV_HELLO, LANE_LIFE, sizeof(struct ev_hello));
	assert_refused(sizeof(in), "head.lane");
	in.head.lane = LANE_USER;
	in.hello.role = APP_WORKER + 1;
	assert_refused(sizeof(in), "hello.role");
	in.hello.role = APP_WORKER;
	in.hello.accepts = ACCEPTS_DEGRADE << 1;
	assert_refused(sizeof(in), "hello.accepts");
	in.hello.accepts = ACCEPTS_BREAKER | ACCEPTS_DEGRADE;
	memset(in.hello.scope.app, '\n', sizeof(in.hello.scope.app));
	memset(in.hello.server, 'p', sizeof(in.hello.server) + sizeof(in.hello.ruby));
	assert_taken();
	assert_int_equal(strlen(out.hello.scope.app), sizeof(out.hello.scope.app) - 1);
	assert_int_equal(out.hello.scope.app[0], '?');
	assert_string_equal(out.hello.server, "ppppppppppppppp");
	assert_string_equal(out.hello.ruby, "ppppppppppppppp");

	fresh(EV_PROBE, LANE_USER, sizeof(struct ev_probe));
	assert_refused(sizeof(in), "probe.result");
	in.probe.result = PROBE_RESULT_END;
	assert_refused(sizeof(in), "probe.result");
	in.probe.result = PROBE_REJECTED;
	in.probe.reached = 2;
	assert_refused(sizeof(in), "probe.reached");
	in.probe.reached = 1;
	text_copy(in.probe.sqlstate, sizeof(in.probe.sqlstate), "5330\n");
	text_copy(in.probe.target, sizeof(in.probe.target), "postgres://me:secret@db:5432/shop");
	assert_taken();
	assert_string_equal(out.probe.sqlstate, "");
	assert_null(memmem(&out.probe, sizeof(out.probe), "secret", 6));
	text_copy(in.probe.sqlstate, sizeof(in.probe.sqlstate), "53300");
	text_copy(in.probe.target, sizeof(in.probe.target), "postgres://db:5432/shop");
	assert_taken();
	assert_string_equal(out.probe.sqlstate, "53300");
	assert_string_equal(out.probe.target, "postgres://db:5432/shop");
}

static void breakers_and_actions_have_known_kinds_alone(void **state)
{
	(void)state;
	fresh(EV_BREAKER, LANE_USER, sizeof(struct ev_breaker));
	in.breaker.kind = BREAKER_KINDS;
	assert_refused(sizeof(in), "breaker.kind");
	in.breaker.kind = BREAKER_QUERY;
	in.breaker.state = BREAKER_HALF_OPEN + 1;
	assert_refused(sizeof(in), "breaker.state");
	in.breaker.state = BREAKER_HALF_OPEN;
	memset(in.breaker.target, 't', sizeof(in.breaker.target));
	assert_taken();
	assert_int_equal(strlen(out.breaker.target), sizeof(out.breaker.target) - 1);

	fresh(EV_ACTION, LANE_USER, sizeof(struct ev_action));
	assert_refused(sizeof(in), "action.outcome");
	in.action.outcome = ACTION_OUTCOME_END;
	assert_refused(sizeof(in), "action.outcome");
	in.action.outcome = ACTION_SENT;
	memset(in.action.id, 'a', sizeof(in.action.id) + sizeof(in.action.action));
	assert_taken();
	assert_int_equal(strlen(out.action.id), sizeof(out.action.id) - 1);
	assert_int_equal(strlen(out.action.action), sizeof(out.action.action) - 1);

	fresh(EV_STATE, LANE_USER, sizeof(struct ev_state));
	in.state.state = APP_STOPPED + 1;
	assert_refused(sizeof(in), "state.state");
	in.state = (struct ev_state){
		.head = in.state.head, .state = APP_STOPPED, .connected = 7, .welcomed = 9, .hold_ms = 5};
	assert_taken();
	assert_int_equal(out.state.connected + out.state.welcomed, 2); /* flags */
	assert_int_equal(out.state.hold_ms, 5);
}

static void statements_are_normalised(void **state)
{
	static const char sql[] = "select 'secret', 1";

	(void)state;
	fresh(EV_QUERY_START, LANE_FLOW, sizeof(struct ev_query_start) + 64);
	in.start.kind = QUERY_PARAMS;
	in.start.text_len = sizeof(sql) - 1;
	memcpy(in.start.text, sql, sizeof(sql));
	memcpy(in.start.text + 32, "secret of another", 17);
	assert_taken();
	assert_string_equal(out.start.text, "select $1, $2");
	assert_int_equal(out.start.text_len, 13);
	assert_int_equal(out.head.size, sizeof(struct ev_query_start) + 16);

	in.start.kind = QUERY_PREPARED;
	memcpy(in.start.text, "a1 'b'\n", 8);
	in.start.text_len = 7;
	assert_taken();
	assert_string_equal(out.start.text, "a1 'b'?");
	in.start.text_len = 0;
	assert_taken();
	assert_string_equal(out.start.text, "");

	fresh(EV_FAULT, LANE_LIFE, sizeof(struct ev_fault));
	memcpy(in.fault.sql, sql, sizeof(sql));
	memcpy(in.fault.sql + 100, "secret", 6);
	in.fault.sql_len = sizeof(sql) - 1;
	assert_taken();
	assert_string_equal(out.fault.sql, "select $1, $2");
	assert_int_equal(out.fault.sql_len, 13);
	assert_null(memmem(&out.fault, sizeof(out.fault), "secret", 6));
}

static void a_statement_of_full_length_stays_within_its_bounds(void **state)
{
	(void)state;
	fresh(EV_QUERY_START, LANE_FLOW, sizeof(struct ev_query_start) + EV_SQL_MAX);
	in.start.kind = QUERY_SIMPLE;
	in.start.text_len = EV_SQL_MAX;
	for (size_t i = 0; i < EV_SQL_MAX; i += 2)
		memcpy(in.start.text + i, "1,", 2); /* each becomes longer */
	assert_taken();
	assert_true(out.start.text_len <= EV_SQL_MAX && out.start.text_len > EV_SQL_MAX - 8);
	assert_int_equal(strlen(out.start.text), out.start.text_len);
}

static void connections_keep_a_reason_alone(void **state)
{
	(void)state;
	fresh(EV_CONN, LANE_LIFE, sizeof(struct ev_conn));
	in.conn.what = CONN_FAILED;
	text_copy(in.conn.host, sizeof(in.conn.host), "db.example");
	text_copy(in.conn.port, sizeof(in.conn.port), "5432");
	text_copy(in.conn.database, sizeof(in.conn.database), "shop");
	text_copy(in.conn.message, sizeof(in.conn.message), "… failed: Connection refused");
	assert_taken();
	assert_int_equal(out.conn.reason, REASON_REFUSED);
	assert_string_equal(out.conn.host, "db.example");
	assert_string_equal(out.conn.database, "shop");
	for (size_t i = 0; i < sizeof(out.conn.message); i++)
		assert_int_equal(out.conn.message[i], 0);

	text_copy(in.conn.host, sizeof(in.conn.host), "postgres://u:p/");
	text_copy(in.conn.database, sizeof(in.conn.database), "password=p");
	text_copy(in.conn.port, sizeof(in.conn.port), "u@h");
	in.conn.message[0] = '\0';
	assert_taken();
	assert_int_equal(out.conn.reason, REASON_OTHER);
	assert_string_equal(out.conn.host, "");
	assert_string_equal(out.conn.database, "");
	assert_string_equal(out.conn.port, "");
	in.conn.what = CONN_OPEN;
	assert_taken();
	assert_int_equal(out.conn.reason, REASON_NONE);
}

static void messages_have_reasons(void **state)
{
	static const struct {
		enum conn_reason reason;
		const char *message;
	} cases[] = {
		{REASON_NONE, ""},
		{REASON_REFUSED,
		 "connection to server at \"localhost\" (127.0.0.1), port 5432 failed: Connection "
		 "refused\n\tIs the server running on that host and accepting TCP/IP connections?"},
		{REASON_REFUSED, "could not connect to server: Connection refused\n\tIs the server running"},
		{REASON_NO_SOCKET,
		 "connection to server on socket \"/run/.s.PGSQL.5432\" failed: No such file or "
		 "directory\n\tIs the server running locally"},
		{REASON_TIMEOUT, "connection to server at \"10.0.0.1\", port 5432 failed: timeout expired"},
		{REASON_TIMEOUT,
		 "connection to server at \"10.0.0.1\", port 5432 failed: Connection timed out"},
		{REASON_NO_HOST,
		 "could not translate host name \"db\" to address: Name or service not known"},
		{REASON_NO_HOST, "connection to server at \"10.0.0.1\", port 5432 failed: No route to host"},
		{REASON_AUTH, "… failed: FATAL:  password authentication failed for user \"app\""},
		{REASON_AUTH, "… failed: FATAL:  role \"app\" does not exist"},
		{REASON_AUTH, "… failed: FATAL:  no pg_hba.conf entry for host \"::1\", … SSL off"},
		{REASON_AUTH, "… failed: fe_sendauth: no password supplied"},
		{REASON_NO_DATABASE, "… failed: FATAL:  database \"shop\" does not exist"},
		{REASON_TOO_MANY, "… failed: FATAL:  sorry, too many clients already"},
		{REASON_TOO_MANY,
		 "FATAL:  remaining connection slots are reserved for non-replication superuser"},
		{REASON_TOO_MANY, "FATAL:  too many connections for role \"app\""},
		{REASON_STARTING, "FATAL:  the database system is starting up"},
		{REASON_SHUTDOWN, "FATAL:  the database system is shutting down"},
		{REASON_SHUTDOWN,
		 "FATAL:  terminating connection due to administrator command\nserver closed the "
		 "connection unexpectedly"},
		{REASON_CLOSED,
		 "server closed the connection unexpectedly\n\tThis probably means the server"},
		{REASON_CLOSED, "FATAL:  terminating connection due to idle-session timeout"},
		{REASON_CLOSED, "SSL connection has been closed unexpectedly"},
		{REASON_CLOSED, "SSL SYSCALL error: EOF detected"},
		{REASON_CLOSED, "could not receive data from server: Connection reset by peer"},
		{REASON_TLS, "server does not support SSL, but SSL was required"},
		{REASON_TLS, "root certificate file \"/root.crt\" does not exist"},
		{REASON_TLS, "SSL error: certificate verify failed"},
		{REASON_OTHER, "Verbindung zum Server fehlgeschlagen: Verbindungsaufbau abgelehnt"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (reason_of(cases[i].message) != cases[i].reason)
			fail_msg("%s: %s", cases[i].message, reason_name(reason_of(cases[i].message)));
	assert_string_equal(reason_name(REASON_TOO_MANY), "too_many");
	assert_string_equal(reason_name(99), "other");
}

static void names_are_known(void **state)
{
	(void)state;
	assert_string_equal(event_name(EV_FAULT), "fault");
	assert_string_equal(event_name(EV_GAP), "gap");
	assert_string_equal(event_name(EV_HELLO), "hello");
	assert_string_equal(event_name(EV_ACTION), "action");
	assert_string_equal(event_name(EV_STATE), "state");
	assert_string_equal(event_name(0), "?");
	assert_string_equal(event_name(0xffff), "?");
	assert_string_equal(lane_name(LANE_FLOW), "flow");
	assert_string_equal(lane_name(LANE_COUNT), "?");
}

static void note(struct gaps *gaps, uint16_t type, uint8_t lane, uint64_t seq)
{
	struct ev_head ev = {
		.size = sizeof(ev), .type = type, .lane = lane, .seq = seq, .time_ns = 100 + seq};

	gaps_note(gaps, &ev);
}

static void a_hole_is_told_when_it_is_certain(void **state)
{
	struct gaps *gaps = gaps_new();
	struct ev_gap gap;

	(void)state;
	note(gaps, EV_EXIT, LANE_LIFE, 1);
	note(gaps, EV_EXIT, LANE_LIFE, 4); /* 2 and 3 are open */
	for (uint64_t seq = 5; seq < 67; seq++)
		note(gaps, EV_EXIT, LANE_LIFE, seq);
	assert_int_equal(gaps_next(gaps, &gap), 0);
	note(gaps, EV_EXIT, LANE_LIFE, 3); /* the 64th after it, and one of the two */
	assert_int_equal(gaps_next(gaps, &gap), 1);
	assert_int_equal(gap.lost, 1);
	assert_int_equal(gap.of_lane, LANE_LIFE);
	assert_int_equal(gap.head.type, EV_GAP);
	assert_int_equal(gap.head.lane, LANE_USER);
	assert_int_equal(gap.from_ns, 101);
	assert_int_equal(gap.to_ns, 104);
	assert_int_equal(gaps_next(gaps, &gap), 0);
	assert_int_equal(gaps_lost(gaps, LANE_LIFE), 1);
	assert_int_equal(decode(&gap, sizeof(gap), &out.head, &why), 0);

	note(gaps, EV_EXIT, LANE_FLOW, 3); /* the first two never came */
	note(gaps, EV_TICK, LANE_USER, 1);
	assert_int_equal(gaps_next(gaps, &gap), 0);
	note(gaps, EV_TICK, LANE_USER, 2);
	assert_int_equal(gaps_next(gaps, &gap), 1);
	assert_int_equal(gap.lost, 2);
	assert_int_equal(gap.of_lane, LANE_FLOW);
	assert_int_equal(gaps_lost(gaps, LANE_CAPTURE), 0);
	gaps_free(gaps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_must_be_true),
		cmocka_unit_test(lanes_and_kinds_must_be_known),
		cmocka_unit_test(strings_end_and_are_clean),
		cmocka_unit_test(what_the_agent_makes_is_checked_like_the_rest),
		cmocka_unit_test(breakers_and_actions_have_known_kinds_alone),
		cmocka_unit_test(statements_are_normalised),
		cmocka_unit_test(a_statement_of_full_length_stays_within_its_bounds),
		cmocka_unit_test(connections_keep_a_reason_alone),
		cmocka_unit_test(messages_have_reasons),
		cmocka_unit_test(names_are_known),
		cmocka_unit_test(a_hole_is_told_when_it_is_certain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
