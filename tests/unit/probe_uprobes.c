/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uprobe programs on the running kernel (needs root, otherwise skipped), by stand-ins: functions of
 * this program with libpq's and libruby's arguments, objects with a layout of their own. So each field,
 * lane and once-only rule is tested without a database, through uprobe_multi and through perf uprobes.
 */
#include "tests/unit/probe_watch.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>

static const char password[] = "sentinel-of-a-password";

struct fake_host {
	uint64_t before;
	const char *name, *address, *port, *password;
};

struct fake_conn {
	char before[24];
	const char *password;
	const char *database;
	int status, socket, which;
	struct fake_host *hosts;
	const char *message;
};

struct fake_field {
	const struct fake_field *next;
	char code, text[7];
};

struct fake_result {
	char before[12];
	int status;
	const struct fake_field *errors;
};

static const struct libpq_layout layout = {
	.result_status = offsetof(struct fake_result, status),
	.result_errors = offsetof(struct fake_result, errors),
	.conn_status = offsetof(struct fake_conn, status),
	.conn_socket = offsetof(struct fake_conn, socket),
	.conn_database = offsetof(struct fake_conn, database),
	.conn_message = offsetof(struct fake_conn, message),
	.conn_hosts = offsetof(struct fake_conn, hosts),
	.conn_which = offsetof(struct fake_conn, which),
	.host_stride = sizeof(struct fake_host),
	.host_name = offsetof(struct fake_host, name),
	.host_address = offsetof(struct fake_host, address),
	.host_port = offsetof(struct fake_host, port),
};

/* One function a site. The one for the return of PQconnectPoll is called with what it returns in eax. */
#define STAND_IN(name, ...)                                                                                  \
	__attribute__((noipa)) static int name(__VA_ARGS__)                                                  \
	{                                                                                                    \
		return 0;                                                                                    \
	}

STAND_IN(ruby_start_, void)
STAND_IN(ruby_bug_, const char *format __attribute__((unused)))
STAND_IN(ruby_assert_, const char *file __attribute__((unused)), int line __attribute__((unused)),
	 const char *name __attribute__((unused)), const char *expression __attribute__((unused)))
STAND_IN(ruby_confirm_, void)
STAND_IN(send_query_, const void *conn __attribute__((unused)), const char *text __attribute__((unused)))
STAND_IN(send_prepare_, const void *conn __attribute__((unused)), const char *name __attribute__((unused)),
	 const char *text __attribute__((unused)))
STAND_IN(result_status_, const void *result __attribute__((unused)))
STAND_IN(poll_, const void *conn __attribute__((unused)))
STAND_IN(finish_, const void *conn __attribute__((unused)))
STAND_IN(error_message_, const void *conn __attribute__((unused)))

__attribute__((naked, noipa)) static int poll_end_(int result __attribute__((unused)))
{
	__asm__("mov %edi, %eax\n\tnop\n\tret");
}

enum { POLL_END_AT = 3 }; /* its ret, but for the nop before it */

static void fake_poll(const void *conn, int result)
{
	poll_(conn);
	poll_end_(result);
}

/* A page that the process has not touched yet cannot be read from a probe; a real caller has just made it. */
static const char *touched(const char *text)
{
	(void)*(const volatile char *)text;
	return text;
}

static struct watch watch;

static int perf_open(void *context, int file_fd, uint64_t offset)
{
	struct perf_event_attr attr = {.size = sizeof(attr), .config2 = offset};
	FILE *type = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	char path[32];
	int fd;

	(void)context;
	assert_non_null(type);
	assert_int_equal(fscanf(type, "%u", &attr.type), 1);
	fclose(type);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
	attr.config1 = (uintptr_t)path;
	fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int attach(uint16_t attachment)
{
	const struct probe_site sites[] = {
		{SITE_RUBY_START, own_offset(ruby_start_)},
		{SITE_RUBY_BUG, own_offset(ruby_bug_)},
		{SITE_RUBY_ASSERT, own_offset(ruby_assert_)},
		{SITE_RUBY_CONFIRM, own_offset(ruby_confirm_)},
		{SITE_PQ_SEND_QUERY, own_offset(send_query_)},
		{SITE_PQ_SEND_PREPARE, own_offset(send_prepare_)},
		{SITE_PQ_RESULT_STATUS, own_offset(result_status_)},
		{SITE_PQ_CONNECT_POLL, own_offset(poll_)},
		{SITE_PQ_CONNECT_POLL_RETURN, own_offset(poll_end_) + POLL_END_AT},
		{SITE_PQ_FINISH, own_offset(finish_)},
		{SITE_PQ_ERROR_MESSAGE, own_offset(error_message_)},
	};
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), handle;

	assert_true(file >= 0);
	handle = probe_attach(watch.probe, file, sites, sizeof(sites) / sizeof(sites[0]), 7, attachment,
			      perf_open, NULL);
	close(file);
	return handle;
}

/* Opens anew for each test: `state` says by which kind of uprobe. */
static int open_attached(void **state)
{
	const struct probe_options options = {
		.life_ring_bytes = 1 << 18,
		.capture_ring_bytes = 1 << 20,
		.flow_ring_bytes = 1 << 18,
		.stack_bytes = 4096,
		.no_uprobe_multi = *state != NULL,
	};

	if (geteuid())
		return 0;
	watch_open(&watch, &options);
	assert_int_equal(probe_set_layout(watch.probe, 7, &layout, &(struct ruby_layout){0}), 0);
	return attach(1) >= 0 ? 0 : -1;
}

static int close_all(void **state)
{
	(void)state;
	if (!geteuid())
		watch_close(&watch);
	return 0;
}

/* Runs the body in an unmarked child and waits for its end; the stand-in for Ruby's start marks it. */
static pid_t run(void (*body)(void))
{
	pid_t pid;

	if (geteuid())
		skip();
	pid = watch_fork(body);
	watch_reap(pid);
	watch_wait(&watch, EV_EXIT, pid, 0);
	watch_drain(&watch);
	assert_no_hole(&watch);
	return pid;
}

/* --- statements ------------------------------------------------------------------------------------- */

static char long_text[EV_SQL_MAX + 100];

static const struct fake_field undefined = {NULL, 'C', "42P01"}, other = {&undefined, 'S', "ERROR"},
			       shutdown_field = {NULL, 'C', "57P01"};
static const struct fake_result good = {.status = 2}, bad = {.status = 7, .errors = &other},
				dead = {.status = 7, .errors = &shutdown_field};
static struct fake_conn conn_a, conn_b;

static void statements(void)
{
	send_query_(&conn_a, touched("select unseen"));
	ruby_start_();
	send_query_(&conn_a, touched("select 1"));
	result_status_(&good);
	result_status_(&good);
	result_status_(NULL);
	send_prepare_(&conn_b, "name", touched("select $1"));
	result_status_(&bad);
	result_status_(&bad);
	send_query_(&conn_a, touched("select 1; select broken"));
	result_status_(&good);
	result_status_(&bad);
	send_query_(&conn_a, touched("select 2"));
	result_status_(&dead);
	memset(long_text, 'x', sizeof(long_text) - 1);
	send_query_(&conn_a, long_text);
	send_query_(&conn_a, (const char *)8);
}

static void check_end(size_t n, uint32_t status, const char *sqlstate, enum lane lane, size_t of_start,
		      pid_t pid)
{
	const struct ev_query_end *end = watch_find(&watch, EV_QUERY_END, pid, n);
	const struct ev_query_start *start = watch_find(&watch, EV_QUERY_START, pid, of_start);

	assert_non_null(end);
	assert_int_equal(end->status, status);
	assert_string_equal(end->sqlstate, sqlstate);
	assert_int_equal(end->head.lane, lane);
	assert_int_equal(end->conn, start->conn);
	assert_int_equal(end->begin_ns, start->head.time_ns);
	assert_true(end->head.time_ns >= end->begin_ns);
}

static void check_start(size_t n, enum query_kind kind, const struct fake_conn *conn, const char *text,
			pid_t pid)
{
	const struct ev_query_start *start = watch_find(&watch, EV_QUERY_START, pid, n);

	assert_non_null(start);
	assert_int_equal(start->head.lane, LANE_FLOW);
	assert_int_equal(start->kind, kind);
	assert_int_equal(start->conn, (uintptr_t)conn);
	assert_int_equal(start->text_len, strlen(text));
	assert_int_equal(start->head.size, sizeof(*start) + strlen(text));
	assert_memory_equal(start->text, text, strlen(text));
}

static void test_statements(void **state)
{
	const struct ev_query_start *cut;
	pid_t pid = run(statements);

	(void)state;
	assert_int_equal(watch_count(&watch, EV_WATCH, pid), 1);
	assert_int_equal(watch_count(&watch, EV_QUERY_START, pid), 6);
	check_start(0, QUERY_SIMPLE, &conn_a, "select 1", pid);
	check_start(1, QUERY_PREPARE, &conn_b, "select $1", pid);
	check_start(2, QUERY_SIMPLE, &conn_a, "select 1; select broken", pid);
	check_start(3, QUERY_SIMPLE, &conn_a, "select 2", pid);
	check_start(5, QUERY_SIMPLE, &conn_a, "", pid);
	cut = watch_find(&watch, EV_QUERY_START, pid, 4);
	assert_int_equal(cut->text_len, EV_SQL_MAX);
	/* the availability error overtakes in its own lane */
	check_end(0, 7, "57P01", LANE_LIFE, 3, pid);
	check_end(1, 2, "", LANE_FLOW, 0, pid);
	check_end(2, 7, "42P01", LANE_FLOW, 1, pid);
	check_end(3, 2, "", LANE_FLOW, 2, pid);
	check_end(4, 7, "42P01", LANE_FLOW, 2, pid);
	assert_int_equal(watch_count(&watch, EV_QUERY_END, pid), 5);
}

/* --- connections ------------------------------------------------------------------------------------ */

static void conn_setup(struct fake_conn *conn, struct fake_host *hosts)
{
	hosts[0] = (struct fake_host){.name = "not-this-one", .port = "1", .password = password};
	hosts[1] = (struct fake_host){.name = touched(""),
				      .address = touched("10.0.0.7"),
				      .port = touched("5433"),
				      .password = password};
	*conn = (struct fake_conn){
		.password = password,
		.database = touched("shop"),
		.socket = 9,
		.which = 1,
		.hosts = hosts,
		.message = touched("connection refused"),
	};
}

static void connections(void)
{
	static struct fake_host hosts[2];

	ruby_start_();
	conn_setup(&conn_a, hosts);
	fake_poll(&conn_a, 2);
	fake_poll(&conn_a, 1);
	fake_poll(&conn_a, 3); /* open */
	fake_poll(&conn_a, 3);
	error_message_(&conn_a); /* asked while it is well */
	conn_a.status = 1;
	error_message_(&conn_a); /* broken */
	error_message_(&conn_a);
	conn_a.status = 0;
	fake_poll(&conn_a, 1);
	fake_poll(&conn_a, 3); /* reset, open again */
	finish_(&conn_a);
	finish_(NULL);
	fake_poll(&conn_a, 1); /* another one, at the same address */
	conn_a.status = 1;
	fake_poll(&conn_a, 0);   /* failed */
	error_message_(&conn_a); /* known */
	finish_(&conn_a);
}

static void test_connections(void **state)
{
	const enum conn_what expected[] = {CONN_OPEN,   CONN_BROKEN, CONN_OPEN,
					   CONN_FINISH, CONN_FAILED, CONN_FINISH};
	pid_t pid = run(connections);
	const struct ev_conn *ev;
	size_t i;

	(void)state;
	for (i = 0; (ev = watch_find(&watch, EV_CONN, pid, i)); i++) {
		assert_in_range(i, 0, sizeof(expected) / sizeof(expected[0]) - 1);
		assert_int_equal(ev->what, expected[i]);
		assert_int_equal(ev->conn, (uintptr_t)&conn_a);
		assert_int_equal(ev->socket, 9);
		assert_string_equal(ev->host, "10.0.0.7");
		assert_string_equal(ev->port, "5433");
		assert_string_equal(ev->database, "shop");
		assert_string_equal(ev->message, ev->what == CONN_FAILED || ev->what == CONN_BROKEN
							 ? "connection refused"
							 : "");
		assert_null(memmem(ev, sizeof(*ev), password, strlen(password)));
	}
	assert_int_equal(i, sizeof(expected) / sizeof(expected[0]));
}

/* --- Ruby ------------------------------------------------------------------------------------------- */

static sigjmp_buf after;

static void handler_rescues(int signal_number)
{
	(void)signal_number;
	siglongjmp(after, 1);
}

static void handler_reports(int signal_number)
{
	(void)signal_number;
	ruby_confirm_();
	ruby_confirm_();
	_exit(4);
}

static void fault_with(void (*handler)(int))
{
	static char stack[65536];
	const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_NODEFER};

	sigaltstack(&alternate, NULL);
	sigaction(SIGSEGV, &action, NULL);
	if (!sigsetjmp(after, 1))
		__asm__ volatile("movl $1, (%0)" : : "r"(8L) : "memory");
}

static void crash_after_rescues(void)
{
	int i;

	ruby_start_();
	send_query_(&conn_a, touched("select last"));
	for (i = 0; i < 100; i++)
		fault_with(handler_rescues);
	ruby_confirm_(); /* a warning, no crash */
	ruby_bug_(touched("format %s"));
	ruby_assert_("file.c", 42, "function", touched("x == y"));
	fault_with(handler_reports);
}

static void test_ruby(void **state)
{
	const struct ev_confirm *confirm;
	const struct ev_fault *fault, *last = NULL;
	const struct ev_fatal *fatal;
	pid_t pid = run(crash_after_rescues);
	size_t n;

	(void)state;
	assert_int_equal(watch_count(&watch, EV_CONFIRM, pid), 1);
	confirm = watch_find(&watch, EV_CONFIRM, pid, 0);
	for (n = 0; (fault = watch_find(&watch, EV_FAULT, pid, n)); n++)
		if (fault->head.time_ns == confirm->fault_time_ns)
			last = fault;
	/* it was far over the budget, and yet it has its record */
	assert_non_null(last);
	assert_int_equal(last->address, 8);
	assert_int_equal(last->handler, (uintptr_t)handler_reports);
	assert_true(last->flags & FAULT_SMALL);
	assert_true(last->regs[REG_IP_] - (uintptr_t)fault_with < 4096 ||
		    last->regs[REG_IP_] - (uintptr_t)crash_after_rescues < 4096);
	assert_int_equal(last->conn, (uintptr_t)&conn_a);
	assert_int_equal(last->sql_len, strlen("select last"));
	assert_memory_equal(last->sql, "select last", last->sql_len);
	assert_int_equal(last->sql_end_ns, 0);
	fatal = watch_find(&watch, EV_FATAL, pid, 0);
	assert_int_equal(fatal->kind, FATAL_BUG);
	assert_string_equal(fatal->message, "format %s");
	fatal = watch_find(&watch, EV_FATAL, pid, 1);
	assert_int_equal(fatal->kind, FATAL_ASSERT);
	assert_int_equal(fatal->line, 42);
	assert_string_equal(fatal->message, "x == y");
}

/* --- attachments ------------------------------------------------------------------------------------ */

static void test_second_attachment(void **state)
{
	struct counters count;
	int handle;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip();
	handle = attach(2);
	assert_true(handle >= 0);
	pid = run(statements);
	assert_int_equal(watch_count(&watch, EV_WATCH, pid), 1);
	assert_int_equal(watch_count(&watch, EV_QUERY_START, pid), 6);
	assert_int_equal(probe_counters(watch.probe, &count), 0);
	assert_true(count.ignored > 0);
	probe_detach(watch.probe, handle);
	pid = run(connections);
	assert_int_equal(watch_count(&watch, EV_CONN, pid), 6);
	assert_int_equal(probe_attach(watch.probe, 0, NULL, 0, 1, 1, NULL, NULL), -EINVAL);
}

int main(void)
{
	static int perf;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_statements, open_attached, close_all),
		cmocka_unit_test_setup_teardown(test_connections, open_attached, close_all),
		cmocka_unit_test_setup_teardown(test_ruby, open_attached, close_all),
		cmocka_unit_test_setup_teardown(test_second_attachment, open_attached, close_all),
		{"test_statements by perf", test_statements, open_attached, close_all, &perf},
		{"test_connections by perf", test_connections, open_attached, close_all, &perf},
		{"test_ruby by perf", test_ruby, open_attached, close_all, &perf},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
