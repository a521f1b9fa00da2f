/* SPDX-License-Identifier: Apache-2.0 */
/* What sessions.c and its index share. */
#ifndef LAPIDARY_SESSIONS_STATE_H
#define LAPIDARY_SESSIONS_STATE_H

#include "user/act/sessions.h"
#include "user/base/table.h"

#define MS 1000000ull

enum session_stage { SESSION_NEW, SESSION_ASKING, SESSION_WELCOMED, SESSION_OVER };

struct session {
	struct peer peer;
	struct sessions *all;
	void *owner;
	struct session *next, *before; /* all, in the order of their coming */
	struct session *next_of_scope; /* welcomed ones */
	struct session *next_over;     /* until they are reaped */
	enum session_stage stage;
	uint64_t cgroup_id; /* in which it is counted; 0 until it is known */
	bool listed;        /* in the index, under its scope */
	bool joined;        /* `left` is owed */
	uint64_t opened_ns, hello_ns, owed_ns;
	size_t unsent;
	char *held; /* an unfinished line, or what came while it was being identified */
	size_t held_size, held_room;
	uint64_t window_ns;
	uint32_t window_lines, window_bytes, window_errors;
	bool resting;
	const char *code; /* why it is over; NULL: it left */
	char why[160];
};

struct index {
	struct table *by_id, *by_scope, *by_process, *by_cgroup, *by_uid;
};

struct sessions {
	struct sessions_events events;
	struct index index;
	struct table *notices; /* when a uid was last told about */
	struct session *first, *last, *over;
	bool reaping;
	size_t count, waiting, welcomed, resting, held, unsent;
	uint64_t last_id, now_ns;
	struct app_socket_stats stats;
};

/* sessions.c: the clock; what nobody could do while the agent was held up is not held against them */
void sessions_advance(struct sessions *sessions, uint64_t now_ns);
/* what is held for a session; false: that was too much, and the session is over */
bool session_hold(struct session *session, const char *bytes, size_t size);
void session_drop_held(struct session *session);
void session_set_resting(struct session *session, bool resting);
void session_open_window(struct session *session); /* of its rates, when the last is a second old */

/* sessions_lines.c */
void session_ask(struct session *session);   /* who is it? welcomes it, or not yet, or never */
void session_go_on(struct session *session); /* with what it said while nobody listened */

int index_new(struct index *index);
void index_free(struct index *index);
/* Takes the places of a connection. NULL, or the word that refuses it: *why is static, too. */
const char *index_seat(struct index *index, struct session *session, const char **why);
void index_unseat(struct index *index, struct session *session);
/* Lists a session that is known by now, under its scope and its app's name. */
const char *index_welcome(struct index *index, struct session *session, const char **why);
void index_forget(struct index *index, struct session *session);

#endif
