/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of the prober, all of which run in the child (prober_load apart):
 *
 *   prober.c        the question, the deadline, the answer: what happens in which order
 *   prober_libpq.c  libpq as a table of functions, loaded when it is first needed
 *   prober_login.c  user and password, read while the prober may still read them
 *   prober_enter.c  into the namespaces and the root of a process
 *   prober_target.c a target's parts, and the addresses of its host
 *   prober_test.c   the connection, and what its end means
 */
#ifndef LAPIDARY_PROBER_PRIVATE_H
#define LAPIDARY_PROBER_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if __has_include(<postgresql/libpq-fe.h>)
#include <postgresql/libpq-fe.h>
#else
#include <libpq-fe.h>
#endif
#include "user/probe/prober.h"

/* How far it is. Until STAGE_RESOLVE, running out of time is our own failure; from there on the target's. */
enum prober_stage {
	STAGE_QUESTION,
	STAGE_LOGIN,
	STAGE_ENTER,
	STAGE_CONFINE,
	STAGE_RESOLVE,
	STAGE_CONNECT,
};
void prober_stage(enum prober_stage stage);

#define PROBER_LIBPQ(FUNCTION)                                                                               \
	FUNCTION(PQlibVersion)                                                                               \
	FUNCTION(PQconndefaults)                                                                             \
	FUNCTION(PQconninfoFree)                                                                             \
	FUNCTION(PQconnectStartParams)                                                                       \
	FUNCTION(PQconnectPoll)                                                                              \
	FUNCTION(PQconnectionNeedsPassword)                                                                  \
	FUNCTION(PQsetErrorVerbosity)                                                                        \
	FUNCTION(PQsocket)                                                                                   \
	FUNCTION(PQstatus)                                                                                   \
	FUNCTION(PQerrorMessage)                                                                             \
	FUNCTION(PQexec)                                                                                     \
	FUNCTION(PQresultStatus)                                                                             \
	FUNCTION(PQresultErrorField)                                                                         \
	FUNCTION(PQclear)                                                                                    \
	FUNCTION(PQfinish)

#define PROBER_LIBPQ_MEMBER(name) __typeof__(name) *name;
struct prober_libpq {
	PROBER_LIBPQ(PROBER_LIBPQ_MEMBER)
};

/*
 * In the spawner, before the first prober is forked: loads libpq, and whatever it and the resolver would
 * load later, when nothing can be loaded any more.
 */
void prober_load(void);
/* NULL: it is not installed, or too old. */
const struct prober_libpq *prober_libpq(void);

struct prober_login {
	bool given; /* with credentials: the test is a query */
	char user[64];
	char password[1024];
	char sslmode[16];
};

/* All below: 0, or -errno with one line in `why`. */
int prober_read_login(const struct prober_question *question, struct prober_login *out, char *why,
		      size_t why_size);
int prober_enter(uint32_t tgid, uint64_t start_ns, char *why, size_t why_size);

enum { PROBER_ADDRESSES = 8, PROBER_HOST_SIZE = 192 };

struct prober_target {
	char host[PROBER_HOST_SIZE]; /* a name, an address, or a socket's directory */
	char port[8];
	char database[192];
};

/* The text as the model writes it, and nothing else that libpq would understand. */
int prober_parse_target(const char *text, struct prober_target *out, char *why, size_t why_size);

/* `hosts` and `addresses` as libpq wants them side by side, with commas; a socket has no address. */
struct prober_addresses {
	char hosts[PROBER_ADDRESSES * PROBER_HOST_SIZE];
	char addresses[PROBER_ADDRESSES * 64];
};

/* Returns what getaddrinfo() does. */
int prober_resolve(const struct prober_target *target, struct prober_addresses *out);

/* Fills result, sqlstate and detail. */
void prober_test(const struct prober_target *target, const struct prober_login *login,
		 struct prober_answer *answer);
/* What an SQLSTATE (good for the call) means. */
void prober_judge(const char *sqlstate, bool with_login, struct prober_answer *answer);
/* The last SQLSTATE of a message written with PQERRORS_SQLSTATE; false: it has none. */
bool prober_find_sqlstate(const char *message, char out[8]);

#endif
