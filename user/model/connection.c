/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections by (process, PGconn, generation): ruby-pg reconnects at the same address, by reset or by
 * finish and start. A forked child inherits its parent's connections; when it finishes one, the parent's
 * next query fails with the words of a dead server, and that is no outage.
 *
 * Availability (FACTS.md 8) is judged here: what says that the database cannot be reached or serves nobody
 * counts for breakers; what says that this request or this configuration is wrong does not. One loss is
 * told once, although the failed result and the broken connection both speak of it.
 */
#include "user/model/state.h"
#include "user/base/text.h"
#include "user/probe/reason.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { PGRES_BAD_RESPONSE_ = 5, PGRES_FATAL_ERROR_ = 7 }; /* ExecStatusType of libpq, part of its ABI */

/* Closed connections stay this long: the flow lane may still speak of them. */
#define CLOSED_NS (5 * SECOND_NS)

static struct connection_key connection_key(const struct process_state *process, uint64_t conn)
{
	return (struct connection_key){process->pub.id.start_ns, conn, process->pub.id.tgid};
}

static struct connection *own(struct model *model, const struct process_state *process, uint64_t conn)
{
	struct connection_key key = connection_key(process, conn);
	return table_get(model->connections, &key);
}

static struct connection *inherited(struct model *model, const struct process_state *process, uint64_t conn)
{
	uint64_t born_ns = process->pub.id.start_ns;
	for (int i = 0; i < ANCESTORS && process; i++) {
		process = process_peek(model, process->pub.parent.tgid, process->pub.parent.start_ns);
		struct connection *found = process ? own(model, process, conn) : NULL;
		if (found)
			return found->open && found->opened_ns <= born_ns ? found : NULL;
	}
	return NULL;
}

struct connection *connection_find(struct model *model, struct process_state *process, uint64_t conn)
{
	struct connection *found = own(model, process, conn);
	return found ? found : inherited(model, process, conn);
}

struct connection *connection_latest(const struct process_state *process)
{
	struct connection *best = NULL;
	for (struct connection *c = process->connections; c; c = c->next)
		if (c->statement && (!best || c->in_flight > best->in_flight ||
				     (c->in_flight == best->in_flight && c->query_ns > best->query_ns)))
			best = c;
	return best;
}

static struct connection *need(struct model *model, struct process_state *process, uint64_t conn)
{
	struct connection_key key = connection_key(process, conn);
	bool fresh;
	struct connection *connection = table_put(model->connections, &key, &fresh);
	if (!connection || !fresh)
		return connection;
	connection->owner = process;
	connection->conn = conn;
	connection->next = process->connections;
	connection->link = &process->connections;
	if (connection->next)
		connection->next->link = &connection->next;
	process->connections = connection;
	return connection;
}

static void set_open(struct connection *connection, bool open, uint64_t time_ns)
{
	if (connection->open != open)
		connection->owner->pub.connections += open ? 1u : -1u;
	connection->open = open;
	connection->in_flight = false;
	if (open) {
		connection->opened_ns = connection->alive_ns = time_ns;
		connection->broken = connection->misused = false;
		connection->generation++;
	} else {
		connection->closed_ns = time_ns;
	}
}

void connection_gone(void *context, const void *key, void *value)
{
	struct connection *connection = value;
	(void)context;
	(void)key;
	if (connection->open)
		connection->owner->pub.connections--;
	*connection->link = connection->next;
	if (connection->next)
		connection->next->link = connection->link;
}

void connection_drop_all(struct model *model, struct process_state *process)
{
	while (process->connections) {
		struct connection_key key = connection_key(process, process->connections->conn);
		table_delete(model->connections, &key);
	}
}

void connection_tick(struct model *model, struct process_state *process)
{
	for (struct connection *c = process->connections, *next; c; c = next) {
		struct connection_key key = connection_key(process, c->conn);
		next = c->next;
		if (!c->open && model->now_ns > c->closed_ns + CLOSED_NS)
			table_delete(model->connections, &key);
	}
}

/* As libpq writes URIs: a socket's directory comes percent-encoded. */
static void add_encoded(char *out, size_t size, size_t *used, const char *in)
{
	for (; *in; in++) {
		unsigned char c = (unsigned char)*in;
		if (isalnum(c) || strchr("-._~:[]", c))
			text_add(out, size, used, "%c", c);
		else
			text_add(out, size, used, "%%%02X", c);
	}
}

static void set_target(struct connection *connection, const struct ev_conn *ev)
{
	size_t used = 0;
	if (!*ev->host && !*ev->database)
		return; /* the probe could not read it: what was known before stands, nothing is made up */
	bool ipv6 = strchr(ev->host, ':') && ev->host[0] != '[';
	text_add(connection->target, sizeof(connection->target), &used, "postgres://%s", ipv6 ? "[" : "");
	add_encoded(connection->target, sizeof(connection->target), &used,
		    *ev->host ? ev->host : "localhost");
	text_add(connection->target, sizeof(connection->target), &used, "%s:%s/", ipv6 ? "]" : "",
		 *ev->port ? ev->port : "5432");
	add_encoded(connection->target, sizeof(connection->target), &used, ev->database);
}

static void say(struct model *model, enum notice_type type, const struct connection *connection,
		const struct db_error *error)
{
	struct db_error whole = *error;
	whole.process = connection->owner->pub.id;
	text_copy(whole.target, sizeof(whole.target), connection->target);
	text_copy(whole.app, sizeof(whole.app), connection->owner->pub.app->name);
	struct notice notice = {.type = type,
				.time_ns = error->time_ns,
				.process = &connection->owner->pub,
				.db_error = &whole};
	if (model->fn)
		model->fn(model->context, &notice);
}

static void fail(struct model *model, struct connection *connection, const struct db_error *error)
{
	struct process_state *process = connection->owner;
	if (error->availability)
		recovery_failed(app_of(process), connection->target, error->time_ns);
	process->pub.errors++;
	model_rate(model, error->time_ns, 0, 1, error->availability);
	if (*error->sqlstate)
		process_trouble(process, error->time_ns, "SQLSTATE %s", error->sqlstate);
	else
		process_trouble(process, error->time_ns, "connection: %s", reason_name(error->reason));
	say(model, NOTICE_DB_ERROR, connection, error);
}

/* A wrong password, database or certificate is a configuration's fault and trying less does not help. */
static bool reason_counts(uint32_t reason)
{
	return reason != REASON_AUTH && reason != REASON_NO_DATABASE && reason != REASON_TLS;
}

static bool sqlstate_counts(const char *state)
{
	return strncmp(state, "08", 2) == 0 || strncmp(state, "57P0", 4) == 0 || strcmp(state, "53300") == 0;
}

static bool loss_counts(const struct connection *connection)
{
	return !connection->misused &&
	       recovery_outlived(app_of(connection->owner), connection->target, connection->alive_ns);
}

static void failed(struct model *model, struct process_state *process, const struct ev_conn *ev)
{
	struct connection *connection = need(model, process, ev->conn);
	if (!connection)
		return;
	set_target(connection, ev);
	set_open(connection, false, ev->head.time_ns);
	connection->broken = true; /* its error message will be asked for */
	struct db_error error = {
		.reason = ev->reason, .availability = reason_counts(ev->reason), .time_ns = ev->head.time_ns};
	model_rate(model, ev->head.time_ns, 1, 0, 0);
	fail(model, connection, &error);
}

static void broken(struct model *model, struct process_state *process, const struct ev_conn *ev)
{
	const struct connection *shared =
		own(model, process, ev->conn) ? NULL : inherited(model, process, ev->conn);
	struct connection *connection = need(model, process, ev->conn);
	if (!connection || connection->broken)
		return;
	if (shared)
		text_copy(connection->target, sizeof(connection->target), shared->target);
	set_target(connection, ev);
	set_open(connection, false, ev->head.time_ns);
	connection->broken = true;
	struct db_error error = {.reason = ev->reason,
				 .availability =
					 reason_counts(ev->reason) && loss_counts(connection) && !shared,
				 .time_ns = ev->head.time_ns};
	fail(model, connection, &error);
}

static void finished(struct model *model, struct process_state *process, const struct ev_conn *ev)
{
	struct connection *connection = own(model, process, ev->conn);
	if (connection) {
		set_open(connection, false, ev->head.time_ns);
		return;
	}
	connection = inherited(model, process, ev->conn);
	if (!connection)
		return;
	connection->misused = true;
	process_trouble(connection->owner, ev->head.time_ns, "child %u finished this one's PGconn",
			process->pub.id.tgid);
}

void connection_event(struct model *model, struct process_state *process, const struct ev_conn *ev)
{
	struct connection *connection;
	switch (ev->what) {
	case CONN_OPEN:
		if (!(connection = need(model, process, ev->conn)))
			return;
		set_target(connection, ev);
		set_open(connection, true, ev->head.time_ns);
		recovery_served(app_of(process), connection->target, ev->head.time_ns);
		model_rate(model, ev->head.time_ns, 1, 0, 0);
		say(model, NOTICE_DB_OK, connection, &(struct db_error){.time_ns = ev->head.time_ns});
		return;
	case CONN_FAILED:
		failed(model, process, ev);
		return;
	case CONN_FINISH:
		finished(model, process, ev);
		return;
	case CONN_BROKEN:
		broken(model, process, ev);
		return;
	default:
		return;
	}
}

/* The connection a flow record speaks of: made when it was opened before anybody watched. */
static struct connection *for_query(struct model *model, struct process_state *process, uint64_t conn,
				    uint64_t time_ns)
{
	struct connection *connection = own(model, process, conn);
	if (connection)
		return time_ns >= connection->opened_ns &&
				       (connection->open || time_ns > connection->closed_ns)
			       ? connection
			       : NULL;
	const struct connection *parents = inherited(model, process, conn);
	if (!(connection = need(model, process, conn)))
		return NULL;
	set_open(connection, true, process->pub.id.start_ns);
	if (parents)
		text_copy(connection->target, sizeof(connection->target), parents->target);
	return connection;
}

void connection_query_start(struct model *model, struct process_state *process,
			    const struct ev_query_start *ev)
{
	struct connection *connection = for_query(model, process, ev->conn, ev->head.time_ns);
	process->pub.queries++;
	if (!connection)
		return;
	connection->statement = statement_keep(model, ev);
	connection->query_ns = ev->head.time_ns;
	connection->in_flight = true;
}

void connection_query_end(struct model *model, struct process_state *process, const struct ev_query_end *ev)
{
	struct connection *connection = for_query(model, process, ev->conn, ev->head.time_ns);
	bool error = ev->status == PGRES_BAD_RESPONSE_ || ev->status == PGRES_FATAL_ERROR_;
	model_rate(model, ev->head.time_ns, 1, 0, 0);
	process->worked |= !error || *ev->sqlstate; /* an answer, if not the one that was hoped for */
	if (!connection)
		return;
	if (connection->query_ns <= ev->head.time_ns)
		connection->in_flight = false;
	if (!error && ev->head.time_ns > connection->alive_ns)
		connection->alive_ns = ev->head.time_ns;
	/* Without an SQLSTATE libpq itself gave up; CONN_BROKEN tells it if the connection is lost. */
	if (!error || !*ev->sqlstate || (ev->begin_ns && ev->begin_ns == connection->failed_ns))
		return;
	connection->failed_ns = ev->begin_ns;
	struct db_error said = {.availability = sqlstate_counts(ev->sqlstate) && loss_counts(connection),
				.time_ns = ev->head.time_ns};
	text_copy(said.sqlstate, sizeof(said.sqlstate), ev->sqlstate);
	connection->broken |= sqlstate_counts(ev->sqlstate); /* the end of this connection was told now */
	fail(model, connection, &said);
}

struct each_open {
	void (*fn)(void *context, const struct process *process, const char *target);
	void *context;
	const struct app *app; /* of the last that was told */
	const char *target;
};

/* A pool has many to one database, and its workers the same: the next like the last one is no news. */
static void call_open(void *context, const void *key, void *value)
{
	struct each_open *each = context;
	const struct process_state *process = value;
	(void)key;
	for (const struct connection *c = process->buried ? NULL : process->connections; c; c = c->next) {
		if (!c->open || !*c->target ||
		    (each->app == process->pub.app && strcmp(each->target, c->target) == 0))
			continue;
		each->app = process->pub.app;
		each->target = c->target;
		each->fn(each->context, &process->pub, c->target);
	}
}

void model_each_open(const struct model *model,
		     void (*fn)(void *context, const struct process *process, const char *target),
		     void *context)
{
	table_each(model->processes, call_open, &(struct each_open){.fn = fn, .context = context});
}
