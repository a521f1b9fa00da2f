// SPDX-License-Identifier: Apache-2.0
/*
 * Coming, staying and going of peers: their limits, deadlines and memory. What they say is
 * sessions_lines.c's, who they are is looked up in sessions_index.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/sessions_state.h"
#include "user/base/text.h"

enum { NOTICE_UIDS = 256, HELD_STEP = 512, LATE_MS = 250 };

struct notice {
	uint64_t told_ns, more;
	bool told;
};

struct sessions *sessions_new(const struct sessions_events *events)
{
	struct sessions *sessions = calloc(1, sizeof(*sessions));

	if (!sessions)
		return NULL;
	sessions->events = *events;
	sessions->notices = table_new(sizeof(uint32_t), sizeof(struct notice), NOTICE_UIDS, NULL, NULL);
	if (!sessions->notices || index_new(&sessions->index) != 0) {
		sessions_free(sessions);
		return NULL;
	}
	return sessions;
}

void sessions_free(struct sessions *sessions)
{
	if (!sessions)
		return;
	for (struct session *session = sessions->first, *next; session; session = next) {
		next = session->next;
		free(session->held);
		free(session);
	}
	index_free(&sessions->index);
	table_free(sessions->notices);
	free(sessions);
}

/* The agent itself was held up (stopped, or starved): what was due meanwhile nobody has looked at yet. */
static void forgive(struct sessions *sessions, uint64_t late_ns)
{
	for (struct session *session = sessions->first; session; session = session->next) {
		session->opened_ns += late_ns;
		session->hello_ns += late_ns;
		session->owed_ns += late_ns;
	}
}

/*
 * Whoever comes first tells the time. While anything waits there is a tick each 10 ms, so a longer pause was
 * the agent's own; where nothing waits there is nothing to forgive, and it harms nobody.
 */
void sessions_advance(struct sessions *sessions, uint64_t now_ns)
{
	if (now_ns > sessions->now_ns + LATE_MS * MS)
		forgive(sessions, now_ns - sessions->now_ns);
	sessions->now_ns = now_ns;
}

/* --- the end of a session -------------------------------------------------------------------------- */

static void tell_cut(struct sessions *sessions, uint32_t tgid, uint32_t uid, const char *code,
		     const char *why)
{
	struct notice *notice = table_put(sessions->notices, &uid, NULL);

	if (!notice)
		return;
	if (notice->told && sessions->now_ns - notice->told_ns < 1000 * MS) {
		notice->more++;
		return;
	}
	notice->told = true;
	notice->told_ns = sessions->now_ns;
	sessions->events.app.cut(sessions->events.app.context, tgid, uid, code, why, notice->more);
	notice->more = 0;
}

void session_drop_held(struct session *session)
{
	session->all->held -= session->held_room;
	free(session->held);
	session->held = NULL;
	session->held_size = session->held_room = 0;
}

void session_set_resting(struct session *session, bool resting)
{
	session->all->resting += (size_t)resting - (size_t)session->resting;
	session->resting = resting;
}

void sessions_end(struct session *session, const char *code, const char *why)
{
	struct sessions *sessions = session->all;

	if (session->stage == SESSION_OVER)
		return;
	sessions->waiting -= session->stage != SESSION_WELCOMED;
	sessions->welcomed -= session->stage == SESSION_WELCOMED;
	session->stage = SESSION_OVER;
	session->code = code;
	text_copy(session->why, sizeof(session->why), why);
	sessions->stats.cut += code != NULL;
	session_set_resting(session, false);
	session_drop_held(session);
	sessions->unsent -= session->unsent;
	session->unsent = 0;
	session->next_over = sessions->over;
	sessions->over = session;
}

void sessions_end_all(struct sessions *sessions)
{
	for (struct session *session = sessions->first; session; session = session->next)
		sessions_end(session, NULL, NULL);
}

static void bury(struct sessions *sessions, struct session *session)
{
	const struct sessions_events *events = &sessions->events;
	char *words = session->code ? protocol_error(session->code, session->why) : NULL;

	*(session->before ? &session->before->next : &sessions->first) = session->next;
	*(session->next ? &session->next->before : &sessions->last) = session->before;
	sessions->count--;
	if (session->listed)
		index_forget(&sessions->index, session);
	index_unseat(&sessions->index, session);
	events->gone(events->context, session, words);
	free(words);
	if (session->code)
		tell_cut(sessions, session->peer.tgid, session->peer.uid, session->code, session->why);
	if (session->joined)
		events->app.left(events->app.context, &session->peer);
	free(session);
}

void sessions_reap(struct sessions *sessions)
{
	if (sessions->reaping)
		return;
	sessions->reaping = true;
	while (sessions->over) {
		struct session *session = sessions->over;

		sessions->over = session->next_over;
		bury(sessions, session);
	}
	sessions->reaping = false;
}

/* --- memory ---------------------------------------------------------------------------------------- */

static size_t weight(const struct session *session)
{
	return session->held_room + session->unsent;
}

/* Past the limit whoever holds most pays, so that no one's restraint is another's room. */
static void weigh(struct sessions *sessions)
{
	while (sessions->first && sessions->held + sessions->unsent > HELD_MAX) {
		struct session *heaviest = sessions->first;

		for (struct session *session = sessions->first; session; session = session->next)
			if (weight(session) > weight(heaviest))
				heaviest = session;
		sessions_end(heaviest, "memory", "all peers together hold too much, and this one most");
	}
}

bool session_hold(struct session *session, const char *bytes, size_t size)
{
	size_t room = session->held_room ? session->held_room : HELD_STEP;
	char *bigger;

	if (session->held_size + size > PROTOCOL_LINE_MAX) {
		sessions_end(session, "long_line", "a line of more than 65536 bytes");
		return false;
	}
	while (room < session->held_size + size)
		room *= 2;
	if (room != session->held_room) {
		bigger = realloc(session->held, room);
		if (!bigger) {
			sessions_end(session, "no_memory", "no memory");
			return false;
		}
		session->all->held += room - session->held_room;
		session->held = bigger;
		session->held_room = room;
	}
	memcpy(session->held + session->held_size, bytes, size);
	session->held_size += size;
	weigh(session->all);
	return session->stage != SESSION_OVER;
}

void sessions_owe(struct session *session, size_t unsent, uint64_t now_ns)
{
	struct sessions *sessions = session->all;

	sessions_advance(sessions, now_ns);
	if (session->stage == SESSION_OVER)
		return;
	if (unsent < session->unsent || session->unsent == 0)
		session->owed_ns = now_ns;
	sessions->unsent += unsent - session->unsent;
	session->unsent = unsent;
	if (unsent > UNSENT_MAX)
		sessions_end(session, "not_reading", "it does not read what it is sent");
	else
		weigh(sessions);
}

void session_open_window(struct session *session)
{
	if (session->all->now_ns - session->window_ns < 1000 * MS)
		return;
	session->window_ns = session->all->now_ns;
	session->window_lines = session->window_bytes = session->window_errors = 0;
	session_set_resting(session, false);
}

bool sessions_wants(const struct session *session)
{
	return !session->resting && (session->stage == SESSION_NEW || session->stage == SESSION_WELCOMED);
}

/* --- coming, and time ------------------------------------------------------------------------------ */

static const char *seat(struct sessions *sessions, struct session *session, const char **why)
{
	if (session->peer.tgid == 0) {
		*why = "this process is outside the agent's pid namespace";
		return "foreign_process";
	}
	if (sessions->count >= PEERS_MAX) {
		*why = "the agent has its 1024 connections";
		return "too_many";
	}
	return index_seat(&sessions->index, session, why);
}

int sessions_open(struct sessions *sessions, uint32_t tgid, uint32_t uid, uint64_t cgroup_id, uint64_t now_ns,
		  struct session **out, const char **code, char *why, size_t why_size)
{
	struct session *session = calloc(1, sizeof(*session));
	const char *reason = "";

	if (!session)
		return -ENOMEM;
	sessions_advance(sessions, now_ns);
	session->all = sessions;
	session->opened_ns = session->window_ns = now_ns;
	session->peer.tgid = tgid;
	session->peer.uid = uid;
	session->cgroup_id = cgroup_id;
	*code = seat(sessions, session, &reason);
	if (*code) {
		free(session);
		text_copy(why, why_size, reason);
		sessions->stats.refused++;
		tell_cut(sessions, tgid, uid, *code, reason);
		return -EUSERS;
	}
	session->peer.id = ++sessions->last_id;
	session->before = sessions->last;
	*(sessions->last ? &sessions->last->next : &sessions->first) = session;
	sessions->last = session;
	sessions->count++;
	sessions->waiting++;
	sessions->stats.accepted++;
	*out = session;
	return 0;
}

static void tick_one(struct session *session)
{
	uint64_t now_ns = session->all->now_ns;
	bool wanted = sessions_wants(session);

	if (session->stage == SESSION_NEW && now_ns - session->opened_ns >= HELLO_MS * MS)
		sessions_end(session, "no_hello", "no hello within a second");
	if (session->stage == SESSION_ASKING)
		session_ask(session);
	now_ns = session->all->now_ns; /* asking takes time, and what it welcomed owes since then */
	if (session->unsent > 0 && now_ns - session->owed_ns >= UNREAD_MS * MS)
		sessions_end(session, "not_reading", "it reads nothing of what it is sent");
	if (session->resting)
		session_open_window(session);
	if (!wanted && sessions_wants(session))
		session_go_on(session);
}

void sessions_tick(struct sessions *sessions, uint64_t now_ns)
{
	sessions_advance(sessions, now_ns);
	for (struct session *session = sessions->first; session; session = session->next)
		if (session->stage != SESSION_OVER)
			tick_one(session);
}

bool sessions_busy(const struct sessions *sessions)
{
	return sessions->waiting > 0 || sessions->unsent > 0 || sessions->over || sessions->resting > 0;
}

/* --- looking --------------------------------------------------------------------------------------- */

bool session_is_over(const struct session *session)
{
	return session->stage == SESSION_OVER;
}

void session_own(struct session *session, void *owner)
{
	session->owner = owner;
}

void *session_owner(const struct session *session)
{
	return session->owner;
}

const struct peer *session_peer(const struct session *session)
{
	return &session->peer;
}

void sessions_each(const struct sessions *sessions, void (*fn)(void *, struct session *), void *context)
{
	for (struct session *session = sessions->first; session; session = session->next)
		if (session->stage == SESSION_WELCOMED)
			fn(context, session);
}

void sessions_stats(const struct sessions *sessions, struct app_socket_stats *out)
{
	*out = sessions->stats;
	out->peers = sessions->welcomed;
	out->unsent_bytes = sessions->unsent;
}

size_t sessions_held(const struct sessions *sessions)
{
	return sessions->held + sessions->unsent;
}
