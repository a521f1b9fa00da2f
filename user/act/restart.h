/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restarts that are under way: ordered over the socket or by a signal, acknowledged, escalated to KILL at
 * the deadline, ended by the process's end, and followed by the boot of its successor. Pure: time is an
 * argument, doing is callbacks.
 *
 *   ordered ──ack done/its end──▶ …          a peer that refuses or cannot: failed, nothing is killed
 *   ordered ──no ack within ack_ms──▶ signal, where the configuration consents to signals; else failed
 *   acked | signalled ──process ended──▶ done       ──deadline──▶ KILL (with consent) ──ended──▶ done
 * ("killed") ──kill_ms later still there──▶ failed
 */
#ifndef LAPIDARY_RESTART_H
#define LAPIDARY_RESTART_H

#include <stddef.h>
#include "user/act/server.h"

struct restart_settings {
	uint32_t ack_ms;      /* 1000 */
	uint32_t deadline_ms; /* 30000: a worker drains; the agent escalates, as an external TERM starts no
				 clock */
	uint32_t kill_ms;     /* 5000 */
};

struct restart_request {
	const char *id, *incident, *reason;
	struct ev_scope scope;
	uint32_t tgid;
	uint64_t start_ns;
	enum server server;
	enum app_role role;
	bool now;             /* no draining: a second to end, where KILL is allowed */
	bool by_socket;       /* a peer of the process accepts `restart` */
	bool signals_allowed; /* by configuration, --act or an operator */
	uint32_t deadline_ms; /* 0: the settings' */
};

enum restart_stage { RESTART_ORDERED, RESTART_ACKED, RESTART_SIGNALLED, RESTART_KILLED };

struct restart {
	char id[20], incident[20];
	struct ev_scope scope;
	uint32_t tgid;
	uint64_t start_ns;
	enum server server;
	enum app_role role;
	enum restart_stage stage;
	bool now, signals_allowed;
	uint64_t begun_ns, stage_ns, deadline_ns;
	uint32_t deadline_ms;
	int signal; /* that was sent; 0: none */
	char reason[256];
};

struct restarts_events {
	void *context;
	int (*order)(void *context, const struct restart *restart); /* over the socket; 0 or -errno */
	int (*signal)(void *context, const struct restart *restart, int signal, char *why, size_t why_size);
	/* It is over; `restart` goes after the call. */
	void (*finished)(void *context, const struct restart *restart, enum action_outcome outcome,
			 const char *reason, uint64_t now_ns);
};

struct restarts;
struct restarts *restarts_new(const struct restart_settings *settings, const struct restarts_events *events);
void restarts_free(struct restarts *restarts);
/* -EEXIST: that process is being restarted already; -ENOTSUP: neither socket nor signal can do it, with why.
 */
int restarts_begin(struct restarts *restarts, const struct restart_request *request, uint64_t now_ns,
		   char *why, size_t why_size);
void restarts_ack(struct restarts *restarts, uint32_t tgid, uint64_t start_ns, const char *id, bool done,
		  const char *detail, uint64_t now_ns);
/* status: as wait(2) gives it, -1: not known. */
void restarts_ended(struct restarts *restarts, uint32_t tgid, uint64_t start_ns, int status, uint64_t now_ns);
void restarts_tick(struct restarts *restarts, uint64_t now_ns);
/* Forgets them all: nothing more is escalated (actions pause). Those under way finish as ACTION_FAILED. */
void restarts_release(struct restarts *restarts, const char *reason, uint64_t now_ns);
/* Under way for that process; NULL: none. */
const struct restart *restarts_find(const struct restarts *restarts, uint32_t tgid, uint64_t start_ns);
void restarts_each(const struct restarts *restarts, void (*fn)(void *context, const struct restart *restart),
		   void *context);

#endif
