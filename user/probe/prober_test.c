// SPDX-License-Identifier: Apache-2.0
/*
 * One connection, and what its end means. libpq 15 gives no SQLSTATE for a connection that failed, but
 * PQERRORS_SQLSTATE makes its message be nothing else ("…failed: FATAL:  53300"). Everything else that libpq
 * would say is text for people and may hold what a server sent, so it stays here: how far the connection
 * came, by its states, tells a refusal from a server that spoke wrongly.
 *
 * Without credentials a server that asks for them, or says that this user or database is not there, serves.
 * With them, a refusal of the credentials says that they are wrong, not how the server is. 08P01 is also
 * what PgBouncer says of a user it does not know: of that, a prober without credentials can make nothing.
 *
 * libpq before 16 cannot be told to refuse a server that asks for the password in clear text; from 16 on it
 * is. The user that is configured here should be one that may connect and nothing else.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/prober_private.h"

enum { HAS_REQUIRE_AUTH = 160000 };

static bool is_code(const char *at)
{
	return strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && (at[5] == '\n' || at[5] == '\0');
}

bool prober_find_sqlstate(const char *message, char out[8])
{
	bool found = false;

	for (const char *at = strstr(message, ":  "); at; at = strstr(at + 1, ":  "))
		if (is_code(at + 3)) {
			text_copy_bytes(out, 8, at + 3, 5);
			found = true;
		}
	return found;
}

static bool begins(const char *sqlstate, const char *class)
{
	return strncmp(sqlstate, class, strlen(class)) == 0;
}

static void answer_with(struct prober_answer *answer, enum probe_result result, const char *detail)
{
	answer->result = result;
	text_copy(answer->detail, sizeof(answer->detail), detail);
}

void prober_judge(const char *sqlstate, bool with_login, struct prober_answer *answer)
{
	bool login = begins(sqlstate, "28") || begins(sqlstate, "42");

	text_copy(answer->sqlstate, sizeof(answer->sqlstate), sqlstate);
	if (login && with_login)
		answer_with(answer, PROBE_NOT_RUN, "the server refused the prober's credentials");
	else if (login || (!with_login && begins(sqlstate, "3D000")))
		answer_with(answer, PROBE_OK, "");
	else if (!with_login && begins(sqlstate, "08P01"))
		answer_with(answer, PROBE_NOT_RUN, "the server refused a connection without credentials");
	else
		answer_with(answer, PROBE_REJECTED, "");
}

static bool says(const char *message, int error)
{
	return strstr(message, strerror(error)) != NULL;
}

/* The connection ended badly; `spoke`: it had been made at least once. */
static void judge_failure(const struct prober_libpq *pq, PGconn *conn, bool spoke, bool with_login,
			  struct prober_answer *answer)
{
	const char *message = pq->PQerrorMessage(conn);
	char sqlstate[8];

	if (prober_find_sqlstate(message, sqlstate))
		prober_judge(sqlstate, with_login, answer);
	else if (pq->PQconnectionNeedsPassword(conn) && !with_login)
		answer_with(answer, PROBE_OK, "");
	else if (pq->PQconnectionNeedsPassword(conn))
		answer_with(answer, PROBE_NOT_RUN, "the server asks for a password and none is configured");
	else if (spoke)
		answer_with(answer, PROBE_BROKEN, "");
	else if (says(message, EACCES) || says(message, EPERM))
		answer_with(answer, PROBE_NOT_RUN, "the prober may not connect there: permission denied");
	else if (says(message, ETIMEDOUT) ||
		 says(message, ENOTCONN)) /* a socket's full queue is the latter */
		answer_with(answer, PROBE_TIMEOUT, "");
	else
		answer_with(answer, PROBE_REFUSED, "");
}

static PGconn *start(const struct prober_libpq *pq, const struct prober_target *target,
		     const struct prober_addresses *addresses, const struct prober_login *login)
{
	bool require = login->given && pq->PQlibVersion() >= HAS_REQUIRE_AUTH;
	/* libpq takes an empty value as one that is not there */
	const char *const keywords[] = {"host",
					"hostaddr",
					"port",
					"dbname",
					"user",
					"password",
					"sslmode",
					"gssencmode",
					"client_encoding",
					"passfile",
					"application_name",
					require ? "require_auth" : NULL,
					NULL};
	const char *const values[] = {addresses->hosts,
				      addresses->addresses,
				      target->port,
				      target->database,
				      login->user,
				      login->password,
				      login->sslmode,
				      "disable",
				      "UTF8",
				      "/nonexistent/pgpass",
				      "lapidary prober",
				      require ? "!password" : NULL,
				      NULL};

	return pq->PQconnectStartParams(keywords, values, 0);
}

/* Until it is made or failed; the deadline ends it otherwise. Returns whether it ever got through. */
static bool finish_connecting(const struct prober_libpq *pq, PGconn *conn)
{
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;
	bool spoke = false;

	while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
		struct pollfd ready = {.fd = pq->PQsocket(conn),
				       .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		ConnStatusType status = pq->PQstatus(conn);

		if (status == CONNECTION_BAD)
			break;
		if (status != CONNECTION_STARTED && status != CONNECTION_NEEDED)
			spoke = true;
		if (poll(&ready, 1, -1) < 0 && errno != EINTR)
			break;
		next = pq->PQconnectPoll(conn);
	}
	return spoke;
}

static void query(const struct prober_libpq *pq, PGconn *conn, struct prober_answer *answer)
{
	PGresult *result = pq->PQexec(conn, "select 1");
	const char *sqlstate = pq->PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (pq->PQresultStatus(result) == PGRES_TUPLES_OK)
		answer_with(answer, PROBE_OK, "");
	else if (sqlstate)
		prober_judge(sqlstate, true, answer);
	else
		answer_with(answer, PROBE_BROKEN, "");
	pq->PQclear(result);
}

static bool resolve(const struct prober_target *target, struct prober_addresses *addresses,
		    struct prober_answer *answer)
{
	int err = prober_resolve(target, addresses);

	if (err == EAI_SYSTEM || err == EAI_MEMORY)
		answer_with(answer, PROBE_NOT_RUN, "the resolver failed");
	else if (err)
		answer_with(answer, PROBE_NO_HOST, "");
	return err == 0;
}

void prober_test(const struct prober_target *target, const struct prober_login *login,
		 struct prober_answer *answer)
{
	const struct prober_libpq *pq = prober_libpq();
	struct prober_addresses addresses;
	PGconn *conn;
	bool spoke;

	prober_stage(STAGE_RESOLVE);
	if (!resolve(target, &addresses, answer))
		return;
	prober_stage(STAGE_CONNECT);
	conn = start(pq, target, &addresses, login);
	if (!conn) {
		answer_with(answer, PROBE_NOT_RUN, "out of memory");
		return;
	}
	pq->PQsetErrorVerbosity(conn, PQERRORS_SQLSTATE);
	spoke = finish_connecting(pq, conn);
	if (pq->PQstatus(conn) != CONNECTION_OK)
		judge_failure(pq, conn, spoke, login->given, answer);
	else if (login->given)
		query(pq, conn, answer);
	else
		answer_with(answer, PROBE_OK, "");
	pq->PQfinish(conn);
}
