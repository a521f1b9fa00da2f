/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripted histories: records as decode would hand them over, for the tests of model, rules and replay.
 * Time is in milliseconds since the start of the history, and a process is born at its pid's millisecond,
 * so that a line of a test stays short.
 */
#ifndef LAPIDARY_TESTS_HISTORY_H
#define LAPIDARY_TESTS_HISTORY_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "bpf/event.h"

#define HISTORY_MS 1000000ull

struct history {
	void (*emit)(void *context, const struct ev_head *ev);
	void *context;
	uint64_t seq[LANE_COUNT];
};

static inline uint64_t history_start(uint32_t pid)
{
	return pid * HISTORY_MS;
}

static inline struct ev_head history_head(struct history *h, uint16_t type, uint8_t lane, size_t size,
					  uint32_t pid, uint64_t ms)
{
	return (struct ev_head){.size = (uint32_t)size,
				.type = type,
				.lane = lane,
				.seq = ++h->seq[lane],
				.time_ns = ms * HISTORY_MS,
				.start_ns = pid ? history_start(pid) : 0,
				.tgid = pid,
				.tid = pid};
}

#define HISTORY_HEAD(h, type, lane, what, pid, ms) history_head(h, type, lane, sizeof(what), pid, ms)

static inline void history_begin(struct history *h, const uint8_t *digest)
{
	struct ev_begin ev = {.head = HISTORY_HEAD(h, EV_BEGIN, LANE_USER, ev, 0, 0),
			      .format = EV_FORMAT,
			      .cpus = 2,
			      .wall_ns = 1700000000000000000ull,
			      .seed = 1,
			      .version = "test",
			      .host = "test"};
	if (digest)
		memcpy(ev.rules_digest, digest, sizeof(ev.rules_digest));
	h->emit(h->context, &ev.head);
}

static inline void history_tick(struct history *h, uint64_t ms)
{
	struct ev_head ev = HISTORY_HEAD(h, EV_TICK, LANE_USER, ev, 0, ms);
	h->emit(h->context, &ev);
}

static inline void history_watch(struct history *h, uint32_t pid, uint32_t parent, const char *comm,
				 uint64_t ms)
{
	struct ev_birth ev = {.head = HISTORY_HEAD(h, EV_WATCH, LANE_LIFE, ev, pid, ms),
			      .parent_tgid = parent,
			      .parent_start_ns = history_start(parent),
			      .uid = 1000};
	snprintf(ev.comm, sizeof(ev.comm), "%s", comm);
	h->emit(h->context, &ev.head);
}

static inline void history_fork(struct history *h, uint32_t pid, uint32_t parent, uint64_t ms)
{
	struct ev_birth ev = {.head = HISTORY_HEAD(h, EV_FORK, LANE_LIFE, ev, pid, ms),
			      .parent_tgid = parent,
			      .parent_start_ns = history_start(parent),
			      .uid = 1000,
			      .comm = "ruby"};
	h->emit(h->context, &ev.head);
}

static inline void history_info(struct history *h, uint32_t pid, const char *app, uint64_t ms)
{
	struct ev_info ev = {.head = HISTORY_HEAD(h, EV_INFO, LANE_USER, ev, pid, ms),
			     .uid = 1000,
			     .gid = 1000,
			     .cgroup_id = 7,
			     .comm = "ruby",
			     .server = "puma",
			     .ruby = "3.1.7"};
	snprintf(ev.app, sizeof(ev.app), "%s", app);
	h->emit(h->context, &ev.head);
}

static inline void history_exec(struct history *h, uint32_t pid, uint64_t ms)
{
	struct ev_exec ev = {
		.head = HISTORY_HEAD(h, EV_EXEC, LANE_LIFE, ev, pid, ms), .comm = "ls", .file = "/bin/ls"};
	h->emit(h->context, &ev.head);
}

static inline void history_exit(struct history *h, uint32_t pid, int32_t status, uint32_t oom, uint64_t ms)
{
	struct ev_exit ev = {
		.head = HISTORY_HEAD(h, EV_EXIT, LANE_LIFE, ev, pid, ms), .status = status, .oom = oom};
	h->emit(h->context, &ev.head);
}

static inline void history_fatal(struct history *h, uint32_t pid, const char *message, uint64_t ms)
{
	struct ev_fatal ev = {.head = HISTORY_HEAD(h, EV_FATAL, LANE_LIFE, ev, pid, ms), .kind = FATAL_BUG};
	snprintf(ev.message, sizeof(ev.message), "%s", message);
	h->emit(h->context, &ev.head);
}

static inline void history_confirm(struct history *h, uint32_t pid, uint64_t fault_ms, uint64_t ms)
{
	struct ev_confirm ev = {.head = HISTORY_HEAD(h, EV_CONFIRM, LANE_LIFE, ev, pid, ms),
				.fault_time_ns = fault_ms * HISTORY_MS};
	h->emit(h->context, &ev.head);
}

static inline void history_location(struct history *h, uint32_t pid, uint64_t fault_ms, const char *module,
				    uint64_t offset)
{
	struct ev_location ev = {.head = HISTORY_HEAD(h, EV_LOCATION, LANE_USER, ev, pid, fault_ms),
				 .fault_time_ns = fault_ms * HISTORY_MS,
				 .offset = offset,
				 .source = MAPS_PROC,
				 .what = LOCATION_FILE};
	snprintf(ev.module, sizeof(ev.module), "%s", module);
	h->emit(h->context, &ev.head);
}

/* A fault as a SEGV of the program itself; tests change what differs. */
static inline struct ev_fault history_fault_of(struct history *h, uint32_t pid, uint32_t signal, uint64_t ms)
{
	struct ev_fault ev = {.head = HISTORY_HEAD(h, EV_FAULT, LANE_CAPTURE, ev, pid, ms),
			      .signal = signal,
			      .code = signal == SIGABRT ? -6 : 1,
			      .handler = 0x1000,
			      .comm = "ruby"};
	if (signal == SIGABRT) {
		ev.flags = FAULT_SELF | FAULT_DEFAULT_ACTION;
		ev.handler = 0;
		ev.sender_tgid = pid;
	} else {
		ev.trap_nr = 14;
		ev.error_code = 4;
	}
	return ev;
}

static inline void history_fault(struct history *h, uint32_t pid, uint32_t signal, uint32_t flags,
				 uint64_t ms)
{
	struct ev_fault ev = history_fault_of(h, pid, signal, ms);
	ev.flags |= flags;
	if (flags & FAULT_DEFAULT_ACTION)
		ev.handler = 0;
	h->emit(h->context, &ev.head);
}

static inline void history_conn(struct history *h, uint32_t pid, uint64_t conn, uint32_t what,
				uint32_t reason, uint64_t ms)
{
	struct ev_conn ev = {.head = HISTORY_HEAD(h, EV_CONN, LANE_LIFE, ev, pid, ms),
			     .conn = conn,
			     .what = what,
			     .reason = reason,
			     .socket = 9,
			     .host = "db.internal",
			     .port = "5432",
			     .database = "shop"};
	h->emit(h->context, &ev.head);
}

static inline void history_query(struct history *h, uint32_t pid, uint64_t conn, const char *sql, uint64_t ms)
{
	union {
		struct ev_query_start ev;
		char bytes[sizeof(struct ev_query_start) + 256];
	} u;
	size_t length = strlen(sql);
	memset(&u, 0, sizeof(u));
	u.ev.head = history_head(h, EV_QUERY_START, LANE_FLOW, (sizeof(u.ev) + length + 7) & ~7ul, pid, ms);
	u.ev.conn = conn;
	u.ev.kind = QUERY_SIMPLE;
	u.ev.text_len = (uint32_t)length;
	memcpy(u.bytes + sizeof(u.ev), sql, length);
	h->emit(h->context, &u.ev.head);
}

static inline void history_query_end(struct history *h, uint32_t pid, uint64_t conn, const char *sqlstate,
				     uint64_t begin_ms, uint64_t ms)
{
	struct ev_query_end ev = {.head = HISTORY_HEAD(h, EV_QUERY_END, LANE_FLOW, ev, pid, ms),
				  .conn = conn,
				  .begin_ns = begin_ms * HISTORY_MS,
				  .status = *sqlstate ? 7 : 2};
	snprintf(ev.sqlstate, sizeof(ev.sqlstate), "%s", sqlstate);
	h->emit(h->context, &ev.head);
}

/* The scope that history_info gives. */
static inline struct ev_scope history_scope(const char *app)
{
	struct ev_scope scope = {.cgroup_id = 7, .uid = 1000};
	snprintf(scope.app, sizeof(scope.app), "%s", app);
	return scope;
}

static inline void history_hello(struct history *h, uint32_t pid, const char *app, uint32_t accepts,
				 uint64_t ms)
{
	struct ev_hello ev = {.head = HISTORY_HEAD(h, EV_HELLO, LANE_USER, ev, pid, ms),
			      .scope = history_scope(app),
			      .role = APP_WORKER,
			      .accepts = accepts,
			      .server = "puma",
			      .ruby = "3.1.7"};
	h->emit(h->context, &ev.head);
}

#define HISTORY_TARGET "postgres://db.internal:5432/shop" /* that of history_conn */

static inline void history_probe(struct history *h, const struct ev_scope *scope, uint32_t result,
				 uint32_t reached, const char *sqlstate, uint64_t ms)
{
	struct ev_probe ev = {.head = HISTORY_HEAD(h, EV_PROBE, LANE_USER, ev, 0, ms),
			      .scope = *scope,
			      .target = HISTORY_TARGET,
			      .result = result,
			      .reached = reached,
			      .ms = 250};
	snprintf(ev.sqlstate, sizeof(ev.sqlstate), "%s", sqlstate);
	h->emit(h->context, &ev.head);
}

static inline void history_breaker(struct history *h, const struct ev_scope *scope, uint32_t kind,
				   uint32_t state, uint64_t ms)
{
	struct ev_breaker ev = {.head = HISTORY_HEAD(h, EV_BREAKER, LANE_USER, ev, 0, ms),
				.scope = *scope,
				.target = HISTORY_TARGET,
				.kind = kind,
				.state = state};
	h->emit(h->context, &ev.head);
}

static inline void history_action(struct history *h, uint32_t pid, const struct ev_scope *scope,
				  const char *action, uint32_t outcome, uint64_t ms)
{
	struct ev_action ev = {.head = HISTORY_HEAD(h, EV_ACTION, LANE_USER, ev, pid, ms),
			       .scope = *scope,
			       .id = "00000000c0ffee11",
			       .outcome = outcome};
	snprintf(ev.action, sizeof(ev.action), "%s", action);
	h->emit(h->context, &ev.head);
}

static inline void history_state(struct history *h, uint32_t pid, uint32_t state, uint64_t ms)
{
	struct ev_state ev = {
		.head = HISTORY_HEAD(h, EV_STATE, LANE_USER, ev, pid, ms), .state = state, .connected = 1};
	h->emit(h->context, &ev.head);
}

/* What goes with a welcome. */
static inline void history_welcome(struct history *h, uint32_t pid, uint32_t state, uint32_t hold_ms,
				   uint64_t ms)
{
	struct ev_state ev = {.head = HISTORY_HEAD(h, EV_STATE, LANE_USER, ev, pid, ms),
			      .state = state,
			      .connected = 1,
			      .welcomed = 1,
			      .hold_ms = hold_ms};
	h->emit(h->context, &ev.head);
}

/* Its last connection is gone. */
static inline void history_parted(struct history *h, uint32_t pid, uint64_t ms)
{
	struct ev_state ev = {.head = HISTORY_HEAD(h, EV_STATE, LANE_USER, ev, pid, ms)};
	h->emit(h->context, &ev.head);
}

static inline void history_gap(struct history *h, uint64_t lost, uint64_t from_ms, uint64_t to_ms,
			       uint64_t ms)
{
	struct ev_gap ev = {.head = HISTORY_HEAD(h, EV_GAP, LANE_USER, ev, 0, ms),
			    .lost = lost,
			    .from_ns = from_ms * HISTORY_MS,
			    .to_ns = to_ms * HISTORY_MS,
			    .of_lane = LANE_LIFE};
	h->emit(h->context, &ev.head);
}

#endif
