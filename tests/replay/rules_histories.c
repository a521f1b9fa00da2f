/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes recordings of scripted histories for tests/replay/run: one file a history, named after it.
 * usage: rules_histories RULES_DIR OUT_DIR
 */
#include <stdlib.h>
#include "tests/history.h"
#include "user/probe/record.h"
#include "user/rules/rules.h"

enum { MASTER = 1000, WORKER = 1101 };

static void emit(void *context, const struct ev_head *ev)
{
	int err = recorder_write(context, ev);
	if (err) {
		fprintf(stderr, "rules_histories: record of type %u: %s\n", ev->type, strerror(-err));
		exit(1);
	}
}

static void ticks(struct history *h, uint64_t from_ms, uint64_t to_ms, uint64_t step_ms)
{
	for (; from_ms <= to_ms; from_ms += step_ms)
		history_tick(h, from_ms);
}

static void cluster(struct history *h, uint32_t workers)
{
	history_watch(h, MASTER, 1, "ruby", 2000);
	history_info(h, MASTER, "shop", 2001);
	for (uint32_t i = 0; i < workers; i++)
		history_fork(h, WORKER + i, MASTER, 2500 + i);
	history_tick(h, 3000);
}

static void die(struct history *h, uint32_t pid, const char *module, uint64_t offset, uint64_t ms)
{
	history_location(h, pid, ms, module, offset);
	history_fault(h, pid, SIGSEGV, FAULT_DEFAULT_ACTION, ms);
	history_exit(h, pid, SIGSEGV, 0, ms + 1);
}

/* Ruby 3.1: fault, report, abort; with a statement in flight. */
static void handled(struct history *h)
{
	struct ev_fault ev;
	static const char sql[] = "select price from articles where id = $1";
	cluster(h, 3);
	history_conn(h, WORKER, 0xc0de0, CONN_OPEN, 0, 3100);
	history_query(h, WORKER, 0xc0de0, sql, 3990);
	history_location(h, WORKER, 4000, "/gems/ruby/3.1.0/gems/pg-1.5.4/lib/pg_ext.so", 0x1139);
	ev = history_fault_of(h, WORKER, SIGSEGV, 4000);
	ev.conn = 0xc0de0;
	ev.sql_start_ns = 3990 * HISTORY_MS;
	ev.sql_len = sizeof(sql) - 1;
	memcpy(ev.sql, sql, ev.sql_len);
	h->emit(h->context, &ev.head);
	history_confirm(h, WORKER, 4000, 4001);
	history_fault(h, WORKER, SIGABRT, FAULT_ON_ALTSTACK, 4040);
	history_exit(h, WORKER, SIGABRT, 0, 4041);
	ticks(h, 5000, 8000, 1000);
}

static void rescued(struct history *h)
{
	cluster(h, 2);
	for (unsigned i = 0; i < 3; i++)
		history_fault(h, WORKER, SIGSEGV, 0, 4000 + 10 * i);
	ticks(h, 5000, 20000, 1000);
	history_exit(h, WORKER, 0, 0, 20500);
	history_exit(h, WORKER + 1, SIGTERM, 0, 20600);
	ticks(h, 21000, 30000, 1000);
}

static void crash_loop(struct history *h)
{
	cluster(h, 5);
	for (uint32_t i = 0; i < 4; i++)
		die(h, WORKER + i, "/usr/local/lib/crashy.so", 0x1139, 10000 + 5000 * i);
	ticks(h, 30000, 4000000, 60000);
}

/* As many crashes as in crash_loop, but too small a share of the workers. */
static void big_pool(struct history *h)
{
	cluster(h, 40);
	for (uint32_t i = 0; i < 4; i++)
		die(h, WORKER + i, "/usr/local/lib/crashy.so", 0x1139, 10000 + 5000 * i);
	ticks(h, 30000, 40000, 1000);
}

static void database_refused(struct history *h)
{
	cluster(h, 2);
	for (uint32_t i = 0; i < 7; i++)
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_FAILED, REASON_REFUSED, 5000 + 500 * i);
	history_conn(h, WORKER, 0xd0000, CONN_OPEN, 0, 20000);
	ticks(h, 30000, 90000, 10000);
}

/* The administrator stops PostgreSQL: running statements end with 57P01, then nothing answers. */
static void database_shutdown(struct history *h)
{
	cluster(h, 2);
	for (uint32_t i = 0; i < 4; i++) {
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_OPEN, 0, 4000 + i);
		history_query(h, WORKER + i % 2, 0xc0000 + i, "select pg_sleep($1)", 4500 + i);
	}
	for (uint32_t i = 0; i < 4; i++) {
		history_query_end(h, WORKER + i % 2, 0xc0000 + i, "57P01", 4500 + i, 6000 + i);
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_BROKEN, REASON_CLOSED, 6001 + i);
	}
	history_conn(h, WORKER, 0xd0000, CONN_FAILED, REASON_SHUTDOWN, 6100);
	ticks(h, 7000, 9000, 1000);
}

/* Errors of statements, of the configuration and of a fork: nobody is unavailable. */
static void database_misuse(struct history *h)
{
	history_watch(h, MASTER, 1, "ruby", 2000);
	history_info(h, MASTER, "shop", 2001);
	for (uint32_t i = 0; i < 8; i++)
		history_conn(h, MASTER, 0xc0000 + i, CONN_OPEN, 0, 900 + i);
	for (uint32_t i = 0; i < 8; i++) {
		history_fork(h, WORKER + i, MASTER, 3000 + i);
		history_conn(h, WORKER + i, 0xc0000 + i, CONN_FINISH, 0, 3500 + i);
		history_exit(h, WORKER + i, 0, 0, 3600 + i);
		history_conn(h, MASTER, 0xc0000 + i, CONN_BROKEN, REASON_CLOSED, 4000 + i);
		history_query_end(h, MASTER, 0xd0000, "42P01", 4100 + i, 4101 + i);
		history_conn(h, MASTER, 0xe0000 + i, CONN_FAILED, REASON_AUTH, 4200 + i);
	}
	ticks(h, 5000, 9000, 1000);
}

static void out_of_memory(struct history *h)
{
	cluster(h, 2);
	history_exit(h, WORKER, SIGKILL, 1, 8000);
	ticks(h, 9000, 11000, 1000);
}

static void vm_error(struct history *h)
{
	cluster(h, 2);
	history_fatal(h, WORKER, "try to mark T_NONE object", 7990);
	history_location(h, WORKER, 8000, "/lib/x86_64-linux-gnu/libc.so.6", 0x8ae3c);
	history_fault(h, WORKER, SIGABRT, 0, 8000);
	history_exit(h, WORKER, SIGABRT, 0, 8001);
	ticks(h, 9000, 11000, 1000);
}

/* A fault whose record was lost, the loss, and the death alone. */
static void lost(struct history *h)
{
	cluster(h, 3);
	history_exit(h, WORKER, SIGSEGV, 0, 8001);
	history_gap(h, 3, 7500, 8000, 8500);
	ticks(h, 9000, 12000, 1000);
	die(h, WORKER + 1, "/usr/local/lib/crashy.so", 0x1139, 12500);
	history_gap(h, 2, 12400, 12600, 13000);
	ticks(h, 13500, 16500, 1000);
}

/* Lanes out of order: a fault before its fork, a death and a confirmation before their faults. */
static void lanes(struct history *h)
{
	cluster(h, 3);
	history_location(h, 1200, 5002, "/usr/local/lib/crashy.so", 0x1139);
	history_fault(h, 1200, SIGSEGV, FAULT_DEFAULT_ACTION, 5002);
	history_fork(h, 1200, MASTER, 5000);
	history_exit(h, 1200, SIGSEGV, 0, 5003);
	history_confirm(h, WORKER, 6000, 6001);
	history_exit(h, WORKER, SIGABRT, 0, 6040);
	history_tick(h, 6500);
	history_location(h, WORKER, 6000, "/usr/local/lib/crashy.so", 0x2000);
	history_fault(h, WORKER, SIGSEGV, 0, 6000);
	history_exit(h, WORKER + 1, SIGSEGV, 0, 7001);
	history_location(h, WORKER + 1, 7000, "/usr/local/lib/crashy.so", 0x1139);
	history_fault(h, WORKER + 1, SIGSEGV, FAULT_DEFAULT_ACTION, 7000);
	ticks(h, 7500, 12500, 1000);
}

/*
 * A database goes, is missed by the prober, comes back and goes again: the breaker is asked for, closes, and
 * is asked for again by a volume of its own. Beside it an app of the same name in another network.
 */
static void database_again(struct history *h)
{
	struct ev_scope shop = history_scope("shop"), other = history_scope("shop");
	other.netns = 4026532000;
	cluster(h, 2);
	history_hello(h, WORKER, "shop", ACCEPTS_BREAKER | ACCEPTS_RESTART | ACCEPTS_HOLD, 3100);
	for (uint32_t i = 0; i < 5; i++)
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_FAILED, REASON_REFUSED, 5000 + 100 * i);
	history_breaker(h, &shop, BREAKER_CONNECT, BREAKER_OPEN, 5401);
	for (uint32_t i = 0; i < 4; i++) {
		history_probe(h, &shop, PROBE_REFUSED, 1, "", 5500 + 500 * i);
		history_probe(h, &other, PROBE_OK, 1, "", 5501 + 500 * i);
	}
	ticks(h, 8000, 10000, 1000);
	history_probe(h, &shop, PROBE_OK, 1, "", 10100);
	history_breaker(h, &shop, BREAKER_CONNECT, BREAKER_CLOSED, 10101);
	for (uint32_t i = 0; i < 6; i++)
		history_conn(h, WORKER + i % 2, 0xd0000 + i, CONN_FAILED, REASON_REFUSED, 12000 + 100 * i);
	ticks(h, 13000, 100000, 29000);
}

/*
 * A database is started anew under a pool: what it opens for closes, and the dead rest of the pool, found one
 * by one for most of a minute, opens nothing. Then it stops again, and that does.
 */
static void database_restart(struct history *h)
{
	struct ev_scope shop = history_scope("shop");
	cluster(h, 2);
	history_hello(h, WORKER, "shop", ACCEPTS_BREAKER, 3100);
	for (uint32_t i = 0; i < 30; i++)
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_OPEN, 0, 3200 + i);
	for (uint32_t i = 0; i < 5; i++)
		history_query_end(h, WORKER + i % 2, 0xc0000 + i, "57P01", 5000 + i, 5001 + i);
	history_breaker(h, &shop, BREAKER_QUERY, BREAKER_OPEN, 5010);
	history_probe(h, &shop, PROBE_REFUSED, 1, "", 5500);
	history_probe(h, &shop, PROBE_OK, 1, "", 8000);
	history_probe(h, &shop, PROBE_OK, 1, "", 8500);
	history_breaker(h, &shop, BREAKER_QUERY, BREAKER_CLOSED, 8501);
	for (uint32_t i = 5; i < 30; i++) {
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_BROKEN, REASON_CLOSED,
			     8600 + 1500 * (i - 5));
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_OPEN, 0, 8601 + 1500 * (i - 5));
	}
	ticks(h, 46000, 50000, 1000);
	for (uint32_t i = 5; i < 12; i++)
		history_conn(h, WORKER + i % 2, 0xc0000 + i, CONN_BROKEN, REASON_CLOSED, 50100 + i);
	ticks(h, 51000, 140000, 29000);
}

/* A statement that kills every worker it is given to, and the worker that is then replaced. */
static void poisoned(struct history *h)
{
	static const char sql[] = "select body from articles where id = $1";
	struct ev_scope shop = history_scope("shop");
	cluster(h, 6);
	for (uint32_t i = 0; i < 6; i++) {
		uint64_t ms = 10000 + 4000 * i;
		struct ev_fault ev = history_fault_of(h, WORKER + i, SIGSEGV, ms);
		history_conn(h, WORKER + i, 0xc0de0, CONN_OPEN, 0, ms - 100);
		history_location(h, WORKER + i, ms, "/usr/local/lib/crashy.so", 0x1139);
		ev.flags |= FAULT_DEFAULT_ACTION;
		ev.conn = 0xc0de0;
		ev.sql_start_ns = (ms - 10) * HISTORY_MS;
		ev.sql_len = sizeof(sql) - 1;
		memcpy(ev.sql, sql, ev.sql_len);
		h->emit(h->context, &ev.head);
		history_exit(h, WORKER + i, SIGSEGV, 0, ms + 1);
	}
	history_action(h, 0, &shop, "worker.hold", ACTION_SENT, 18001);
	ticks(h, 30000, 40000, 1000);
}

static const struct {
	const char *name;
	void (*write)(struct history *h);
} histories[] = {
	{"handled", handled},
	{"rescued", rescued},
	{"crash_loop", crash_loop},
	{"big_pool", big_pool},
	{"database_refused", database_refused},
	{"database_shutdown", database_shutdown},
	{"database_misuse", database_misuse},
	{"out_of_memory", out_of_memory},
	{"vm_error", vm_error},
	{"lost", lost},
	{"lanes", lanes},
	{"database_again", database_again},
	{"database_restart", database_restart},
	{"poisoned", poisoned},
};

static int write_one(size_t index, const char *directory, const uint8_t *digest)
{
	char path[512];
	struct recorder *recorder;
	snprintf(path, sizeof(path), "%s/%s.rec", directory, histories[index].name);
	int err = recorder_open(path, 0, &recorder);
	if (err) {
		fprintf(stderr, "rules_histories: %s: %s\n", path, strerror(-err));
		return err;
	}
	struct history history = {.emit = emit, .context = recorder};
	history_begin(&history, digest);
	histories[index].write(&history);
	err = recorder_close(recorder);
	if (err)
		fprintf(stderr, "rules_histories: %s: %s\n", path, strerror(-err));
	return err;
}

int main(int argc, char **argv)
{
	struct rules *rules;
	char why[512];
	if (argc != 3) {
		fprintf(stderr, "usage: rules_histories RULES_DIR OUT_DIR\n");
		return 2;
	}
	if (rules_load(argv[1], &rules, why, sizeof(why)) != 0) {
		fprintf(stderr, "rules_histories: %s\n", why);
		return 1;
	}
	int err = 0;
	for (size_t i = 0; i < sizeof(histories) / sizeof(*histories) && !err; i++)
		err = write_one(i, argv[2], rules_digest(rules));
	rules_free(rules);
	return err ? 1 : 0;
}
