// SPDX-License-Identifier: Apache-2.0
/*
 * Who is there, by id, scope, process and uid, and how many of each. The tables' limits are past those of
 * the connections, so nothing is ever evicted, and an entry goes with the last session that needs it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "user/act/sessions_state.h"
#include "user/base/text.h"

enum { ENTRIES_MAX = PEERS_MAX + 1 };

struct scope_peers {
	struct session *first;
};

struct process_peers {
	struct session *session[PEERS_OF_PROCESS];
};

struct uid_peers {
	uint32_t sessions;
	struct {
		char name[64];
		uint32_t peers;
	} app[APPS_OF_UID];
};

int index_new(struct index *index)
{
	index->by_id = table_new(sizeof(uint64_t), sizeof(struct session *), ENTRIES_MAX, NULL, NULL);
	index->by_scope =
		table_new(sizeof(struct ev_scope), sizeof(struct scope_peers), ENTRIES_MAX, NULL, NULL);
	index->by_process =
		table_new(sizeof(uint32_t), sizeof(struct process_peers), ENTRIES_MAX, NULL, NULL);
	index->by_uid = table_new(sizeof(uint32_t), sizeof(struct uid_peers), ENTRIES_MAX, NULL, NULL);
	return index->by_id && index->by_scope && index->by_process && index->by_uid ? 0 : -ENOMEM;
}

void index_free(struct index *index)
{
	table_free(index->by_id);
	table_free(index->by_scope);
	table_free(index->by_process);
	table_free(index->by_uid);
}

static struct session **process_place(struct process_peers *peers, const struct session *wanted)
{
	for (int i = 0; i < PEERS_OF_PROCESS; i++)
		if (peers->session[i] == wanted)
			return &peers->session[i];
	return NULL;
}

const char *index_seat(struct index *index, struct session *session, const char **why)
{
	const struct peer *peer = &session->peer;
	const struct process_peers *process_now = table_peek(index->by_process, &peer->tgid);
	const struct uid_peers *uid_now = table_peek(index->by_uid, &peer->uid);
	struct process_peers *process;
	struct uid_peers *uid;

	if (process_now && process_now->session[0] && process_now->session[1]) {
		*why = "this process has its 2 connections";
		return "too_many_of_process";
	}
	if (uid_now && uid_now->sessions >= PEERS_OF_UID) {
		*why = "this user has its 64 connections";
		return "too_many_of_uid";
	}
	process = table_put(index->by_process, &peer->tgid, NULL);
	uid = process ? table_put(index->by_uid, &peer->uid, NULL) : NULL;
	if (!uid) {
		if (process && !process->session[0] && !process->session[1])
			table_delete(index->by_process, &peer->tgid);
		*why = "no memory";
		return "no_memory";
	}
	*process_place(process, NULL) = session;
	uid->sessions++;
	return NULL;
}

void index_unseat(struct index *index, struct session *session)
{
	struct process_peers *process = table_peek(index->by_process, &session->peer.tgid);
	struct uid_peers *uid = table_peek(index->by_uid, &session->peer.uid);

	*process_place(process, session) = NULL;
	if (!process->session[0] && !process->session[1])
		table_delete(index->by_process, &session->peer.tgid);
	if (--uid->sessions == 0)
		table_delete(index->by_uid, &session->peer.uid);
}

/* The place of an app's name among those of its uid, a free one for a new name; -1: all are taken. */
static int app_place(const struct uid_peers *uid, const char *app)
{
	int unused = -1;

	for (int i = 0; i < APPS_OF_UID; i++) {
		if (uid->app[i].peers > 0 && strcmp(uid->app[i].name, app) == 0)
			return i;
		if (uid->app[i].peers == 0 && unused < 0)
			unused = i;
	}
	return unused;
}

const char *index_welcome(struct index *index, struct session *session, const char **why)
{
	struct uid_peers *uid = table_peek(index->by_uid, &session->peer.uid);
	int place = app_place(uid, session->peer.scope.app);
	struct scope_peers *scope;
	struct session **by_id;

	if (place < 0) {
		*why = "this user has its 16 app names";
		return "too_many_apps";
	}
	by_id = table_put(index->by_id, &session->peer.id, NULL);
	scope = by_id ? table_put(index->by_scope, &session->peer.scope, NULL) : NULL;
	if (!scope) {
		table_delete(index->by_id, &session->peer.id);
		*why = "no memory";
		return "no_memory";
	}
	*by_id = session;
	session->next_of_scope = scope->first;
	scope->first = session;
	text_copy(uid->app[place].name, sizeof(uid->app[place].name), session->peer.scope.app);
	uid->app[place].peers++;
	return NULL;
}

void index_forget(struct index *index, struct session *session)
{
	struct uid_peers *uid = table_peek(index->by_uid, &session->peer.uid);
	struct scope_peers *scope = table_peek(index->by_scope, &session->peer.scope);
	struct session **link = &scope->first;

	while (*link != session)
		link = &(*link)->next_of_scope;
	*link = session->next_of_scope;
	if (!scope->first)
		table_delete(index->by_scope, &session->peer.scope);
	table_delete(index->by_id, &session->peer.id);
	uid->app[app_place(uid, session->peer.scope.app)].peers--;
}

/* --- look-ups -------------------------------------------------------------------------------------- */

static struct session *living(struct session *session)
{
	while (session && session->stage != SESSION_WELCOMED)
		session = session->next_of_scope;
	return session;
}

struct session *sessions_of_scope(const struct sessions *sessions, const struct ev_scope *scope)
{
	const struct scope_peers *peers = table_peek(sessions->index.by_scope, scope);

	return peers ? living(peers->first) : NULL;
}

struct session *session_next_of_scope(const struct session *session)
{
	return living(session->next_of_scope);
}

struct session *sessions_find(const struct sessions *sessions, uint64_t id)
{
	struct session **found = table_peek(sessions->index.by_id, &id);

	return found && (*found)->stage == SESSION_WELCOMED ? *found : NULL;
}

struct session *sessions_of_process(const struct sessions *sessions, uint32_t tgid, uint64_t start_ns)
{
	const struct process_peers *peers = table_peek(sessions->index.by_process, &tgid);
	struct session *best = NULL;

	for (int i = 0; peers && i < PEERS_OF_PROCESS; i++) {
		struct session *session = peers->session[i];

		if (session && session->stage == SESSION_WELCOMED && session->peer.start_ns == start_ns &&
		    (!best || session->unsent < best->unsent))
			best = session;
	}
	return best;
}
