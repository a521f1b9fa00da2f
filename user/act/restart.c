// SPDX-License-Identifier: Apache-2.0
/*
 * A master that is asked to roll its workers is a restart that ends with the asking: it keeps its process,
 * so there is no end to wait for, and it never gets KILL, which would take all its workers along.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "user/act/restart.h"
#include "user/base/text.h"

enum { RESTARTS_MAX = 256, MS = 1000000, NOW_MS = 1000 };

struct entry {
	struct restart restart;
	struct entry *next;
};

struct restarts {
	struct restart_settings settings;
	struct restarts_events events;
	struct entry *first;
	size_t count;
};

struct restarts *restarts_new(const struct restart_settings *settings, const struct restarts_events *events)
{
	struct restarts *restarts = calloc(1, sizeof(*restarts));

	if (!restarts)
		return NULL;
	restarts->settings = *settings;
	restarts->events = *events;
	return restarts;
}

void restarts_free(struct restarts *restarts)
{
	struct entry *next;

	if (!restarts)
		return;
	for (struct entry *entry = restarts->first; entry; entry = next) {
		next = entry->next;
		free(entry);
	}
	free(restarts);
}

static struct entry *find(const struct restarts *restarts, uint32_t tgid, uint64_t start_ns)
{
	struct entry *entry = restarts->first;

	while (entry && (entry->restart.tgid != tgid || entry->restart.start_ns != start_ns))
		entry = entry->next;
	return entry;
}

/* Taken out before it is told, so that the one who is told may begin another. */
static void finish(struct restarts *restarts, struct entry *entry, enum action_outcome outcome,
		   const char *reason, uint64_t now_ns)
{
	struct entry **link = &restarts->first;

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	restarts->count--;
	restarts->events.finished(restarts->events.context, &entry->restart, outcome, reason, now_ns);
	free(entry);
}

static void enter(struct restart *restart, enum restart_stage stage, uint64_t now_ns)
{
	restart->stage = stage;
	restart->stage_ns = now_ns;
}

static int signal_of(const struct restart *restart)
{
	if (restart->role == APP_MASTER)
		return server_roll_signal(restart->server);
	if (restart->now && restart->role == APP_WORKER)
		return SIGKILL;
	return server_worker_signal(restart->server, restart->role);
}

static const char *signal_name(int signal, char out[16])
{
	const char *name = sigabbrev_np(signal);

	if (name)
		snprintf(out, 16, "SIG%s", name);
	else
		snprintf(out, 16, "signal %d", signal);
	return out;
}

/* By a signal, where the order by socket is not possible or was not heard. */
static int begin_signal(struct restarts *restarts, struct restart *restart, uint64_t now_ns, char *why,
			size_t size)
{
	int signal = signal_of(restart), err;

	if (!restart->signals_allowed) {
		snprintf(why, size, "its library takes no such order, and signals need `act` or --act for %s",
			 restart->scope.app);
		return -ENOTSUP;
	}
	if (signal == 0) {
		snprintf(why, size, "no signal replaces %s of a %s server in order",
			 restart->role == APP_SINGLE ? "the only process" : "this process",
			 server_name(restart->server)[0] ? server_name(restart->server) : "unknown");
		return -ENOTSUP;
	}
	err = restarts->events.signal(restarts->events.context, restart, signal, why, size);
	if (err)
		return err;
	restart->signal = signal;
	enter(restart, RESTART_SIGNALLED, now_ns);
	return 0;
}

/* Rolls are over once they are asked for; see the top. */
static bool finish_roll(struct restarts *restarts, struct entry *entry, uint64_t now_ns)
{
	const struct restart *restart = &entry->restart;
	char reason[128], name[16];

	if (restart->role != APP_MASTER)
		return false;
	if (restart->stage == RESTART_SIGNALLED)
		snprintf(reason, sizeof(reason), "the master got %s, by which %s rolls its workers",
			 signal_name(restart->signal, name), server_name(restart->server));
	else
		snprintf(reason, sizeof(reason), "the master's library acknowledged it");
	finish(restarts, entry, ACTION_DONE, reason, now_ns);
	return true;
}

static void fill(struct restart *restart, const struct restart_request *request, uint32_t deadline_ms,
		 uint64_t now_ns)
{
	text_copy(restart->id, sizeof(restart->id), request->id);
	text_copy(restart->incident, sizeof(restart->incident), request->incident);
	text_copy(restart->reason, sizeof(restart->reason), request->reason);
	restart->scope = request->scope;
	restart->tgid = request->tgid;
	restart->start_ns = request->start_ns;
	restart->server = request->server;
	restart->role = request->role;
	restart->now = request->now;
	restart->signals_allowed = request->signals_allowed;
	restart->begun_ns = now_ns;
	restart->deadline_ms = deadline_ms;
	restart->deadline_ns = now_ns + (uint64_t)deadline_ms * MS;
	enter(restart, RESTART_ORDERED, now_ns);
}

/*
 * By the order alone a server drains also "now" (Puma has no harder stop): so it gets a moment to end in
 * order, then KILL. Where KILL is not allowed, the drain is all there is, and is waited for.
 */
static uint32_t deadline_of(const struct restarts *restarts, const struct restart_request *request)
{
	uint32_t ms = request->deadline_ms ? request->deadline_ms : restarts->settings.deadline_ms;

	return request->now && request->signals_allowed && request->role != APP_MASTER && ms > NOW_MS ? NOW_MS
												      : ms;
}

static int refuse(int err, const char *text, char *why, size_t why_size)
{
	text_copy(why, why_size, text);
	return err;
}

int restarts_begin(struct restarts *restarts, const struct restart_request *request, uint64_t now_ns,
		   char *why, size_t why_size)
{
	struct entry *entry;
	int err = -ENOTSUP;

	if (find(restarts, request->tgid, request->start_ns))
		return refuse(-EEXIST, "it is being restarted already", why, why_size);
	if (restarts->count >= RESTARTS_MAX)
		return refuse(-ENOSPC, "too many restarts are under way", why, why_size);
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return refuse(-ENOMEM, "no memory", why, why_size);
	fill(&entry->restart, request, deadline_of(restarts, request), now_ns);
	if (request->by_socket)
		err = restarts->events.order(restarts->events.context, &entry->restart);
	if (err)
		err = begin_signal(restarts, &entry->restart, now_ns, why, why_size);
	if (err) {
		free(entry);
		return err;
	}
	entry->next = restarts->first;
	restarts->first = entry;
	restarts->count++;
	if (entry->restart.stage == RESTART_SIGNALLED)
		finish_roll(restarts, entry, now_ns);
	return 0;
}

void restarts_ack(struct restarts *restarts, uint32_t tgid, uint64_t start_ns, const char *id, bool done,
		  const char *detail, uint64_t now_ns)
{
	struct entry *entry = find(restarts, tgid, start_ns);
	char reason[256];

	/* one answer to one order: a second one, or one to another's, is none */
	if (!entry || entry->restart.stage != RESTART_ORDERED || strcmp(entry->restart.id, id) != 0)
		return;
	if (!done) {
		snprintf(reason, sizeof(reason), "the app declined: %s",
			 detail && detail[0] ? detail : "it gave no reason");
		finish(restarts, entry, ACTION_FAILED, reason, now_ns);
		return;
	}
	enter(&entry->restart, RESTART_ACKED, now_ns);
	finish_roll(restarts, entry, now_ns);
}

/* Why it ended, of all that a wait status and the stage say together. */
static void describe_end(const struct restart *restart, int status, char *out, size_t size)
{
	static const char *const when[] = {
		[RESTART_ORDERED] = "before it acknowledged the order",
		[RESTART_ACKED] = "as ordered",
		[RESTART_SIGNALLED] = "as signalled",
		[RESTART_KILLED] = "at the deadline",
	};
	char name[16];
	int signal = status >= 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (status < 0)
		snprintf(out, size, "it ended %s; its status is not known", when[restart->stage]);
	else if (signal == 0)
		snprintf(out, size, "exited with %d %s", WEXITSTATUS(status), when[restart->stage]);
	else if (signal == SIGKILL && restart->stage == RESTART_KILLED)
		snprintf(out, size, "killed by SIGKILL at the deadline: it had not ended after %u ms",
			 restart->deadline_ms);
	else if (signal == restart->signal)
		snprintf(out, size, "ended by %s, as signalled", signal_name(signal, name));
	else
		snprintf(out, size, "died of %s %s, which Lapidary did not send", signal_name(signal, name),
			 restart->stage == RESTART_ORDERED ? "before it acknowledged the order"
							   : "on its way out");
}

void restarts_ended(struct restarts *restarts, uint32_t tgid, uint64_t start_ns, int status, uint64_t now_ns)
{
	struct entry *entry = find(restarts, tgid, start_ns);
	char reason[160];

	if (!entry)
		return;
	describe_end(&entry->restart, status, reason, sizeof(reason));
	finish(restarts, entry, ACTION_DONE, reason, now_ns);
}

static void escalate_unheard(struct restarts *restarts, struct entry *entry, uint64_t now_ns)
{
	char why[200], reason[256];

	if (begin_signal(restarts, &entry->restart, now_ns, why, sizeof(why)) == 0) {
		finish_roll(restarts, entry, now_ns);
		return;
	}
	snprintf(reason, sizeof(reason), "no answer within %u ms; %s", restarts->settings.ack_ms, why);
	finish(restarts, entry, ACTION_FAILED, reason, now_ns);
}

static void escalate_kill(struct restarts *restarts, struct entry *entry, uint64_t now_ns)
{
	struct restart *restart = &entry->restart;
	char why[200] = "KILL needs `act` or --act for this app", reason[256];
	int err = -EPERM;

	if (restart->signals_allowed)
		err = restarts->events.signal(restarts->events.context, restart, SIGKILL, why, sizeof(why));
	if (!err) {
		enter(restart, RESTART_KILLED, now_ns);
	} else if (err == -ESRCH) {
		finish(restarts, entry, ACTION_DONE, "it ended by the deadline; its status is not known",
		       now_ns);
	} else {
		snprintf(reason, sizeof(reason), "never ended: still there after %u ms; %s",
			 restart->deadline_ms, why);
		finish(restarts, entry, ACTION_FAILED, reason, now_ns);
	}
}

static bool has_passed(uint64_t since_ns, uint32_t ms, uint64_t now_ns)
{
	return now_ns >= since_ns + (uint64_t)ms * MS;
}

static bool is_due(const struct restarts *restarts, const struct restart *restart, uint64_t now_ns)
{
	switch (restart->stage) {
	case RESTART_ORDERED:
		return has_passed(restart->stage_ns, restarts->settings.ack_ms, now_ns);
	case RESTART_KILLED:
		return has_passed(restart->stage_ns, restarts->settings.kill_ms, now_ns);
	default:
		return now_ns >= restart->deadline_ns;
	}
}

static void step(struct restarts *restarts, struct entry *entry, uint64_t now_ns)
{
	char reason[128];

	switch (entry->restart.stage) {
	case RESTART_ORDERED:
		escalate_unheard(restarts, entry, now_ns);
		break;
	case RESTART_KILLED:
		snprintf(reason, sizeof(reason), "never ended: still there %u ms after SIGKILL",
			 restarts->settings.kill_ms);
		finish(restarts, entry, ACTION_FAILED, reason, now_ns);
		break;
	default:
		escalate_kill(restarts, entry, now_ns);
		break;
	}
}

/* From the start after each step, because the one who is told of an end may change the list. */
void restarts_tick(struct restarts *restarts, uint64_t now_ns)
{
	struct entry *entry;

	do {
		entry = restarts->first;
		while (entry && !is_due(restarts, &entry->restart, now_ns))
			entry = entry->next;
		if (entry)
			step(restarts, entry, now_ns);
	} while (entry);
}

void restarts_release(struct restarts *restarts, const char *reason, uint64_t now_ns)
{
	while (restarts->first)
		finish(restarts, restarts->first, ACTION_FAILED, reason, now_ns);
}

const struct restart *restarts_find(const struct restarts *restarts, uint32_t tgid, uint64_t start_ns)
{
	const struct entry *entry = find(restarts, tgid, start_ns);

	return entry ? &entry->restart : NULL;
}

void restarts_each(const struct restarts *restarts, void (*fn)(void *context, const struct restart *restart),
		   void *context)
{
	for (const struct entry *entry = restarts->first; entry; entry = entry->next)
		fn(context, &entry->restart);
}
