// SPDX-License-Identifier: Apache-2.0
/*
 * Phrases of libpq 9.6 to 18, of the server's FATAL messages that libpq passes on, and of PgBouncer. The
 * first that is found decides: what the server said comes before what the socket said, since libpq wraps
 * the former in words about the latter, and the vague ones come last.
 */
#include <stddef.h>
#include <string.h>
#include "user/probe/reason.h"

static const struct {
	const char *phrase;
	enum conn_reason reason;
} phrases[] = {
	{"password authentication failed", REASON_AUTH},
	{"no password supplied", REASON_AUTH},
	{"no pg_hba.conf entry", REASON_AUTH},
	{"pg_hba.conf rejects", REASON_AUTH},
	{"authentication failed", REASON_AUTH},
	{"is not permitted to log in", REASON_AUTH},
	{"permission denied for database", REASON_AUTH},
	{"too many clients", REASON_TOO_MANY},
	{"remaining connection slots", REASON_TOO_MANY},
	{"too many connections", REASON_TOO_MANY},
	{"no more connections allowed", REASON_TOO_MANY},
	{"role \"", REASON_AUTH},
	{"is not currently accepting connections", REASON_NO_DATABASE},
	{"database system is starting up", REASON_STARTING},
	{"not yet accepting connections", REASON_STARTING},
	{"database system is in recovery", REASON_STARTING},
	{"database system is not accepting connections", REASON_STARTING},
	{"database system is shutting down", REASON_SHUTDOWN},
	{"due to administrator command", REASON_SHUTDOWN},
	{"crash of another server process", REASON_SHUTDOWN},
	{"due to unexpected postmaster exit", REASON_SHUTDOWN},
	{"server_login_retry", REASON_SHUTDOWN},
	{"query_wait_timeout", REASON_TIMEOUT},
	{"timeout expired", REASON_TIMEOUT},
	{"Connection timed out", REASON_TIMEOUT},
	{"Connection refused", REASON_REFUSED},
	{"could not translate host name", REASON_NO_HOST},
	{"could not parse network address", REASON_NO_HOST},
	{"No route to host", REASON_NO_HOST},
	{"Network is unreachable", REASON_NO_HOST},
	{"Host is down", REASON_NO_HOST},
	{"failed: No such file or directory", REASON_NO_SOCKET},
	{"connect to server: No such file or directory", REASON_NO_SOCKET},
	{"terminating connection", REASON_CLOSED},
	{"closed the connection", REASON_CLOSED},
	{"connection has been closed", REASON_CLOSED},
	{"connection was closed", REASON_CLOSED},
	{"connection already closed", REASON_CLOSED},
	{"Connection reset", REASON_CLOSED},
	{"Broken pipe", REASON_CLOSED},
	{"EOF detected", REASON_CLOSED},
	{"no connection to the server", REASON_CLOSED},
	{"connection not open", REASON_CLOSED},
	{"lost synchronization", REASON_CLOSED},
	{"connection pointer is NULL", REASON_CLOSED},
	{"certificate", REASON_TLS},
	{"private key", REASON_TLS},
	{"SSL", REASON_TLS},
	{"GSSAPI", REASON_TLS},
	{"does not exist", REASON_NO_DATABASE},
};

static const char *const names[REASON_COUNT] = {
	"none",     "refused",  "timeout",  "no_host", "no_socket", "auth",  "no_database",
	"too_many", "starting", "shutdown", "closed",  "tls",       "other",
};

const char *result_name(uint32_t result)
{
	static const char *const results[PROBE_RESULT_END] = {
		[PROBE_OK] = "ok",           [PROBE_REFUSED] = "refused",   [PROBE_TIMEOUT] = "timeout",
		[PROBE_NO_HOST] = "no_host", [PROBE_REJECTED] = "rejected", [PROBE_BROKEN] = "broken",
		[PROBE_NOT_RUN] = "not_run",
	};

	return result > 0 && result < PROBE_RESULT_END ? results[result] : results[PROBE_NOT_RUN];
}

enum conn_reason reason_of(const char *message)
{
	if (message[0] == '\0')
		return REASON_NONE;
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (strstr(message, phrases[i].phrase))
			return phrases[i].reason;
	return REASON_OTHER;
}

const char *reason_name(uint32_t reason)
{
	return names[reason < REASON_COUNT ? reason : REASON_OTHER];
}
