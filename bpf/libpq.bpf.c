/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * libpq from the outside: which statement is in flight, how it ended, which connections live and die.
 *
 * Only entry probes (and the plain return instructions of PQconnectPoll). Of a PGconn these fields are
 * read and nothing else: status, socket, database, message, and host, address and port of the current
 * host; the password lies beside them. Where a field lies differs by version: the layout of the file's
 * group says it, or the field stays empty.
 */
#include "bpf/uprobe.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GROUPS_MAX + 1);
	__type(key, __u32);
	__type(value, struct libpq_layout);
} layouts SEC(".maps");

enum {
	POLLING_FAILED = 0,
	POLLING_OK = 3,
	CONNECTION_BAD_ = 1,
	FATAL_ERROR_ = 7, /* PGRES_FATAL_ERROR */
	ERROR_FIELDS = 32,
	ERROR_CODE = 'C', /* PG_DIAG_SQLSTATE */
	SQLSTATE_LEN = 5,
	HOSTS_MAX = 64,
};

static __always_inline bool user_read(void *out, __u32 size, __u64 base, __u32 offset)
{
	if (!base || offset == LAYOUT_UNKNOWN)
		return false;
	if (!bpf_probe_read_user(out, size, (void *)(base + offset)))
		return true;
	count_unreadable();
	return false;
}

/* The string that a pointer at base + offset points to; false, with `out` empty, when there is none. */
static __always_inline bool user_string(char *out, __u32 size, __u64 base, __u32 offset)
{
	__u64 text = 0;

	return user_read(&text, sizeof(text), base, offset) && text &&
	       bpf_probe_read_user_str(out, size, (void *)text) > 1;
}

/* --- statements ------------------------------------------------------------------------------------- */

static __always_inline int query_send(struct pt_regs *ctx, enum site site, enum query_kind kind,
				      const void *text)
{
	struct ev_query_start *ev;
	struct thread *thread;
	struct hit hit;
	__u32 size;
	long got;
	__u64 now;

	if (!hit_take(ctx, site, &hit))
		return 0;
	thread = hit_thread(&hit);
	if (!thread)
		return 0;
	ev = statement_of(thread);
	now = bpf_ktime_get_boot_ns();
	got = bpf_probe_read_user_str(ev->text, EV_SQL_MAX, text);
	if (got < 0)
		count_unreadable();
	/* the terminator does not count, but a text that fills the field may be cut and says so */
	got = got <= 0 ? 0 : got == EV_SQL_MAX ? EV_SQL_MAX : got - 1;
	ev->conn = PT_REGS_PARM1(ctx);
	ev->kind = kind;
	ev->text_len = got;
	thread->sql_end_ns = 0;
	thread->result = 0;
	size = sizeof(*ev) + got;
	head_fill(&ev->head, EV_QUERY_START, size, LANE_FLOW, now, hit.task);
	if (size > sizeof(*ev) + EV_SQL_MAX)
		return 0;
	lane_send(LANE_FLOW, ev, size, now);
	return 0;
}

SEC("uprobe")
int libpq_send_query(struct pt_regs *ctx)
{
	return query_send(ctx, SITE_PQ_SEND_QUERY, QUERY_SIMPLE, (void *)PT_REGS_PARM2(ctx));
}

SEC("uprobe")
int libpq_send_params(struct pt_regs *ctx)
{
	return query_send(ctx, SITE_PQ_SEND_PARAMS, QUERY_PARAMS, (void *)PT_REGS_PARM2(ctx));
}

SEC("uprobe")
int libpq_send_prepare(struct pt_regs *ctx)
{
	return query_send(ctx, SITE_PQ_SEND_PREPARE, QUERY_PREPARE, (void *)PT_REGS_PARM3(ctx));
}

SEC("uprobe")
int libpq_send_prepared(struct pt_regs *ctx)
{
	return query_send(ctx, SITE_PQ_SEND_PREPARED, QUERY_PREPARED, (void *)PT_REGS_PARM2(ctx));
}

/* Walks the result's error fields for the SQLSTATE. */
static __always_inline void sqlstate_read(char *out, __u64 result, __u32 errors)
{
	struct {
		__u64 next;
		char code;
		char text[SQLSTATE_LEN];
	} field;
	__u64 at = 0;
	int i;

	if (!user_read(&at, sizeof(at), result, errors))
		return;
	for (i = 0; i < ERROR_FIELDS && at; i++) {
		if (!user_read(&field, sizeof(__u64) + 1 + SQLSTATE_LEN, at, 0))
			return;
		if (field.code == ERROR_CODE) {
			__builtin_memcpy(out, field.text, SQLSTATE_LEN);
			return;
		}
		at = field.next;
	}
}

/* 08 connection, 57P the server goes down or away, 53300 too many connections: worth the LIFE lane. */
static __always_inline bool is_availability(const char *s)
{
	return (s[0] == '0' && s[1] == '8') || (s[0] == '5' && s[1] == '7' && s[2] == 'P') ||
	       (s[0] == '5' && s[1] == '3' && s[2] == '3' && s[3] == '0' && s[4] == '0');
}

/*
 * The result is complete and somebody looks at its status: that is the statement's end. Later results of
 * the same statement count only when they are errors, and each of them once.
 */
SEC("uprobe")
int libpq_result_status(struct pt_regs *ctx)
{
	__u64 result = PT_REGS_PARM1(ctx), now;
	enum lane lane = LANE_FLOW;
	struct libpq_layout *layout;
	struct ev_query_end ev = {};
	struct thread *thread;
	struct hit hit;

	if (!result || !hit_take(ctx, SITE_PQ_RESULT_STATUS, &hit))
		return 0;
	thread = bpf_task_storage_get(&threads, hit.task, 0, 0);
	if (!thread || !statement_of(thread)->conn || thread->result == result)
		return 0;
	layout = bpf_map_lookup_elem(&layouts, &hit.group);
	if (!layout)
		return 0;
	user_read(&ev.status, sizeof(ev.status), result, layout->result_status);
	if (ev.status == FATAL_ERROR_)
		sqlstate_read(ev.sqlstate, result, layout->result_errors);
	else if (thread->sql_end_ns)
		return 0;
	now = bpf_ktime_get_boot_ns();
	thread->result = result;
	thread->sql_end_ns = now;
	if (is_availability(ev.sqlstate))
		lane = mark_note(hit.mark, now);
	head_fill(&ev.head, EV_QUERY_END, sizeof(ev), lane, now, hit.task);
	ev.conn = statement_of(thread)->conn;
	ev.begin_ns = statement_of(thread)->head.time_ns;
	lane_send(lane, &ev, sizeof(ev), now);
	return 0;
}

/* --- connections ------------------------------------------------------------------------------------ */

/* Where the connection goes (or went) and what libpq says of it. */
static __always_inline void conn_describe(struct ev_conn *ev, __u64 conn, const struct libpq_layout *layout)
{
	__u64 hosts = 0;
	__u32 which = 0;

	user_read(&ev->socket, sizeof(ev->socket), conn, layout->conn_socket);
	user_string(ev->database, sizeof(ev->database), conn, layout->conn_database);
	if (ev->what == CONN_FAILED || ev->what == CONN_BROKEN)
		user_string(ev->message, sizeof(ev->message), conn, layout->conn_message);
	if (layout->host_stride == LAYOUT_UNKNOWN ||
	    !user_read(&hosts, sizeof(hosts), conn, layout->conn_hosts) ||
	    !user_read(&which, sizeof(which), conn, layout->conn_which) || which >= HOSTS_MAX)
		return;
	hosts += (__u64)which * layout->host_stride;
	if (!user_string(ev->host, sizeof(ev->host), hosts, layout->host_name))
		user_string(ev->host, sizeof(ev->host), hosts, layout->host_address);
	user_string(ev->port, sizeof(ev->port), hosts, layout->host_port);
}

static __always_inline void conn_send(struct hit *hit, __u64 conn, enum conn_what what)
{
	__u64 now = bpf_ktime_get_boot_ns();
	enum lane lane = mark_note(hit->mark, now);
	struct libpq_layout *layout = bpf_map_lookup_elem(&layouts, &hit->group);
	struct ev_conn *ev = bpf_ringbuf_reserve(lane_ring(lane), sizeof(*ev), 0);

	lane_count(lane, !ev);
	if (!ev) {
		lane_next(lane);
		return;
	}
	__builtin_memset(ev, 0, sizeof(*ev));
	head_fill(&ev->head, EV_CONN, sizeof(*ev), lane, now, hit->task);
	ev->conn = conn;
	ev->what = what;
	ev->socket = -1;
	if (layout)
		conn_describe(ev, conn, layout);
	bpf_ringbuf_submit(ev, lane_wake(lane, now));
}

SEC("uprobe")
int libpq_connect_poll(struct pt_regs *ctx)
{
	struct thread *thread;
	struct hit hit;

	if (!hit_take(ctx, SITE_PQ_CONNECT_POLL, &hit))
		return 0;
	thread = hit_thread(&hit);
	if (thread)
		thread->conn_polled = PT_REGS_PARM1(ctx);
	return 0;
}

static __always_inline void poll_ended(struct hit *hit, struct thread *thread, __u64 conn, int result)
{
	if (result == POLLING_OK) {
		if (thread->conn_open == conn)
			return;
		thread->conn_open = conn;
		thread->conn_failed = 0;
		if (thread->conn_broken == conn)
			thread->conn_broken = 0;
		conn_send(hit, conn, CONN_OPEN);
	} else if (result == POLLING_FAILED) {
		if (thread->conn_failed == conn)
			return;
		thread->conn_failed = conn;
		thread->conn_open = 0;
		conn_send(hit, conn, CONN_FAILED);
	} else { /* under way: a connection anew, whatever this address was before */
		if (thread->conn_open == conn)
			thread->conn_open = 0;
		if (thread->conn_failed == conn)
			thread->conn_failed = 0;
	}
}

/* On every `ret` of PQconnectPoll. */
SEC("uprobe")
int libpq_connect_poll_return(struct pt_regs *ctx)
{
	struct thread *thread;
	struct hit hit;
	__u64 conn;

	if (!hit_take(ctx, SITE_PQ_CONNECT_POLL_RETURN, &hit))
		return 0;
	thread = bpf_task_storage_get(&threads, hit.task, 0, 0);
	if (!thread)
		return 0;
	conn = thread->conn_polled;
	thread->conn_polled = 0;
	if (conn)
		poll_ended(&hit, thread, conn, (int)PT_REGS_RC(ctx));
	return 0;
}

static __always_inline void conn_forget(struct thread *thread, __u64 conn)
{
	if (thread->conn_open == conn)
		thread->conn_open = 0;
	if (thread->conn_failed == conn)
		thread->conn_failed = 0;
	if (thread->conn_broken == conn)
		thread->conn_broken = 0;
}

SEC("uprobe")
int libpq_finish(struct pt_regs *ctx)
{
	__u64 conn = PT_REGS_PARM1(ctx);
	struct thread *thread;
	struct hit hit;

	if (!conn || !hit_take(ctx, SITE_PQ_FINISH, &hit))
		return 0;
	thread = bpf_task_storage_get(&threads, hit.task, 0, 0);
	if (thread)
		conn_forget(thread, conn);
	conn_send(&hit, conn, CONN_FINISH);
	return 0;
}

/* Asked of a connection that is bad: it broke, unless it never came to be, which was told already. */
SEC("uprobe")
int libpq_error_message(struct pt_regs *ctx)
{
	__u64 conn = PT_REGS_PARM1(ctx);
	struct libpq_layout *layout;
	struct thread *thread;
	struct hit hit;
	__u32 status = 0;

	if (!conn || !hit_take(ctx, SITE_PQ_ERROR_MESSAGE, &hit))
		return 0;
	layout = bpf_map_lookup_elem(&layouts, &hit.group);
	if (!layout || !user_read(&status, sizeof(status), conn, layout->conn_status) ||
	    status != CONNECTION_BAD_)
		return 0;
	thread = hit_thread(&hit);
	if (!thread || thread->conn_failed == conn || thread->conn_broken == conn)
		return 0;
	thread->conn_broken = conn;
	thread->conn_open = 0;
	conn_send(&hit, conn, CONN_BROKEN);
	return 0;
}
