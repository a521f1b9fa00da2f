// SPDX-License-Identifier: Apache-2.0
/*
 * Who is there, by id, scope, process, uid and its cgroups, and how many of each. The tables' limits are past
 * those of the connections, so nothing is ever evicted, and an entry goes with the last session that needs
 * it.
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

/* Of a uid. Those whose cgroup is not known yet count as one more of its cgroups. */
struct cgroup_key {
	uint64_t cgroup_id;
	uint64_t uid;
};

struct cgroup_peers {
	uint32_t sessions;
	struct {
		char name[64];
		uint32_t peers;
	} app[APPS_OF_CGROUP];
};

int index_new(struct index *index)
{
	index->by_id = table_new(sizeof(uint64_t), sizeof(struct session *), ENTRIES_MAX, NULL, NULL);
	index->by_scope =
		table_new(sizeof(struct ev_scope), sizeof(struct scope_peers), ENTRIES_MAX, NULL, NULL);
	index->by_process =
		table_new(sizeof(uint32_t), sizeof(struct process_peers), ENTRIES_MAX, NULL, NULL);
	index->by_cgroup =
		table_new(sizeof(struct cgroup_key), sizeof(struct cgroup_peers), ENTRIES_MAX, NULL, NULL);
	index->by_uid = table_new(sizeof(uint32_t), sizeof(uint32_t), ENTRIES_MAX, NULL, NULL);
	return index->by_id && index->by_scope && index->by_process && index->by_cgroup && index->by_uid
		       ? 0
		       : -ENOMEM;
}

void index_free(struct index *index)
{
	table_free(index->by_id);
	table_free(index->by_scope);
	table_free(index->by_process);
	table_free(index->by_cgroup);
	table_free(index->by_uid);
}

static struct session **process_place(struct process_peers *peers, const struct session *wanted)
{
	for (int i = 0; i < PEERS_OF_PROCESS; i++)
		if (peers->session[i] == wanted)
			return &peers->session[i];
	return NULL;
}

static struct cgroup_key cgroup_key(const struct session *session, uint64_t cgroup_id)
{
	return (struct cgroup_key){.cgroup_id = cgroup_id, .uid = session->peer.uid};
}

static struct cgroup_peers *cgroup_of(const struct index *index, const struct session *session)
{
	struct cgroup_key key = cgroup_key(session, session->cgroup_id);

	return table_peek(index->by_cgroup, &key);
}

/* Takes one of a cgroup's places for the session. */
static const char *enter_cgroup(struct index *index, struct session *session, uint64_t cgroup_id,
				const char **why)
{
	struct cgroup_key key = cgroup_key(session, cgroup_id);
	struct cgroup_peers *cgroup = table_put(index->by_cgroup, &key, NULL);

	if (!cgroup) {
		*why = "no memory";
		return "no_memory";
	}
	if (cgroup->sessions >= PEERS_OF_CGROUP) {
		*why = cgroup_id ? "this user's cgroup has its 64 connections"
				 : "this user has 64 connections of processes that are not known yet";
		return "too_many_of_cgroup";
	}
	cgroup->sessions++;
	session->cgroup_id = cgroup_id;
	return NULL;
}

static void leave_cgroup(struct index *index, const struct session *session)
{
	struct cgroup_key key = cgroup_key(session, session->cgroup_id);
	struct cgroup_peers *cgroup = table_peek(index->by_cgroup, &key);

	if (--cgroup->sessions == 0)
		table_delete(index->by_cgroup, &key);
}

const char *index_seat(struct index *index, struct session *session, const char **why)
{
	const struct peer *peer = &session->peer;
	const struct process_peers *process_now = table_peek(index->by_process, &peer->tgid);
	const uint32_t *uid_now = table_peek(index->by_uid, &peer->uid);
	struct process_peers *process;
	const char *refusal;
	uint32_t *uid;

	if (process_now && process_now->session[0] && process_now->session[1]) {
		*why = "this process has its 2 connections";
		return "too_many_of_process";
	}
	if (uid_now && *uid_now >= PEERS_OF_UID) {
		*why = "this user has its 512 connections";
		return "too_many_of_uid";
	}
	refusal = enter_cgroup(index, session, session->cgroup_id, why);
	if (refusal)
		return refusal;
	process = table_put(index->by_process, &peer->tgid, NULL);
	uid = process ? table_put(index->by_uid, &peer->uid, NULL) : NULL;
	if (!uid) {
		if (process && !process->session[0] && !process->session[1])
			table_delete(index->by_process, &peer->tgid);
		leave_cgroup(index, session);
		*why = "no memory";
		return "no_memory";
	}
	*process_place(process, NULL) = session;
	++*uid;
	return NULL;
}

void index_unseat(struct index *index, struct session *session)
{
	struct process_peers *process = table_peek(index->by_process, &session->peer.tgid);
	uint32_t *uid = table_peek(index->by_uid, &session->peer.uid);

	*process_place(process, session) = NULL;
	if (!process->session[0] && !process->session[1])
		table_delete(index->by_process, &session->peer.tgid);
	leave_cgroup(index, session);
	if (--*uid == 0)
		table_delete(index->by_uid, &session->peer.uid);
}

/* The place of an app's name among those of its cgroup, a free one for a new name; -1: all are taken. */
static int app_place(const struct cgroup_peers *cgroup, const char *app)
{
	int unused = -1;

	for (int i = 0; i < APPS_OF_CGROUP; i++) {
		if (cgroup->app[i].peers > 0 && strcmp(cgroup->app[i].name, app) == 0)
			return i;
		if (cgroup->app[i].peers == 0 && unused < 0)
			unused = i;
	}
	return unused;
}

/* It was counted where it was thought to be, or among those that nobody knew. */
static const char *move(struct index *index, struct session *session, const char **why)
{
	struct session before = {.peer.uid = session->peer.uid, .cgroup_id = session->cgroup_id};
	const char *refusal;

	if (session->cgroup_id == session->peer.scope.cgroup_id)
		return NULL;
	refusal = enter_cgroup(index, session, session->peer.scope.cgroup_id, why);
	if (!refusal)
		leave_cgroup(index, &before);
	return refusal;
}

const char *index_welcome(struct index *index, struct session *session, const char **why)
{
	const char *refusal = move(index, session, why);
	struct cgroup_peers *cgroup = refusal ? NULL : cgroup_of(index, session);
	int place = cgroup ? app_place(cgroup, session->peer.scope.app) : -1;
	struct scope_peers *scope;
	struct session **by_id;

	if (refusal)
		return refusal;
	if (place < 0) {
		*why = "this user's cgroup has its 16 app names";
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
	text_copy(cgroup->app[place].name, sizeof(cgroup->app[place].name), session->peer.scope.app);
	cgroup->app[place].peers++;
	return NULL;
}

void index_forget(struct index *index, struct session *session)
{
	struct cgroup_peers *cgroup = cgroup_of(index, session);
	struct scope_peers *scope = table_peek(index->by_scope, &session->peer.scope);
	struct session **link = &scope->first;

	while (*link != session)
		link = &(*link)->next_of_scope;
	*link = session->next_of_scope;
	if (!scope->first)
		table_delete(index->by_scope, &session->peer.scope);
	table_delete(index->by_id, &session->peer.id);
	cgroup->app[app_place(cgroup, session->peer.scope.app)].peers--;
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
