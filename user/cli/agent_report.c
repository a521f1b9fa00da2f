// SPDX-License-Identifier: Apache-2.0
/*
 * What crashing tasks write, joined to their crashes. The pieces come in the capture lane without waking
 * anybody, so most are found when the end of the process wakes the loop: its record is read before they are,
 * and a report is settled only when the rings are empty. They go neither into the model nor into a recording:
 * only the joined text can be scrubbed, and only the store keeps it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"
#include "user/probe/scrub.h"

enum { REPORTS = 32, TEXT_MAX = 288 * 1024, TEXT_FIRST = 16 * 1024 }; /* a little above what a probe keeps */

#define PENDING_NS 10000000000ull /* without a crash, the fault was rescued */
#define LONGEST_NS 30000000000ull /* what lives longer after its crash is not waited for */
#define CUT_NS     5000000000ull  /* the probe is taken off then: user/probe/reporter.c */

struct written_key {
	uint64_t start_ns;
	uint32_t tgid, tid;
};

struct written {
	uint64_t fault_ns; /* of its pieces; 0: none came yet */
	uint64_t made_ns, ended_ns;
	uint64_t missed;  /* bytes before the first piece */
	uint64_t lost;    /* bytes between pieces */
	uint64_t last_at; /* of the last piece, and what it was, to know a repeated write */
	uint64_t end;     /* of what the pieces so far stand for */
	size_t last_start;
	bool begun, late, cut;
	char id[20]; /* "": no crash yet */
	char *text;
	size_t size, room;
};

struct reports {
	struct table *table;
	bool changed; /* one may be ready */
};

static void written_gone(void *context, const void *key, void *value)
{
	(void)context;
	(void)key;
	free(((struct written *)value)->text);
}

int reports_new(struct agent *agent)
{
	struct reports *reports = calloc(1, sizeof(*reports));

	if (!reports)
		return -ENOMEM;
	agent->reports = reports;
	reports->table =
		table_new(sizeof(struct written_key), sizeof(struct written), REPORTS, written_gone, NULL);
	return reports->table ? 0 : -ENOMEM;
}

void reports_free(struct agent *agent)
{
	if (agent->reports)
		table_free(agent->reports->table);
	free(agent->reports);
	agent->reports = NULL;
}

int reports_start(struct agent *agent)
{
	const char *when = agent->config.stderr_capture;
	int err = strcmp(when, "off") ? probe_reports(agent->probe, strcmp(when, "always") == 0) : 0;

	if (err)
		log_say(LOG_WARN, "report", "what crashing processes write is not captured: %s",
			strerror(-err));
	return 0;
}

/* --- joining ------------------------------------------------------------------------------------------ */

static void append(struct written *written, const void *bytes, size_t size)
{
	if (size > TEXT_MAX - written->size) {
		size = TEXT_MAX - written->size;
		written->cut = true;
	}
	if (written->size + size > written->room) {
		size_t room = written->room ? written->room : TEXT_FIRST;
		char *bigger;

		while (room < written->size + size)
			room *= 2;
		bigger = realloc(written->text, room);
		if (!bigger) {
			written->lost += size;
			return;
		}
		written->text = bigger;
		written->room = room;
	}
	memcpy(written->text + written->size, bytes, size);
	written->size += size;
}

static void hole(struct written *written, uint64_t bytes)
{
	char mark[64];

	snprintf(mark, sizeof(mark), "[lapidary: %llu bytes are missing here]", (unsigned long long)bytes);
	append(written, mark, strlen(mark));
	written->lost += bytes;
}

/* Whether the piece is the last one again: a write that was interrupted before anything was written. */
static bool is_same(const struct written *written, const struct ev_written *ev)
{
	size_t had = written->size - written->last_start;

	return ev->size && had &&
	       memcmp(written->text + written->last_start, ev->bytes, had < ev->size ? had : ev->size) == 0;
}

/*
 * `at` counts what was really written. A write that was cut short is repeated from there; one that failed
 * altogether (stderr is closed) leaves it where it was, and was meant all the same.
 */
static void join(struct written *written, const struct ev_written *ev)
{
	if (!written->begun) {
		written->begun = true;
		written->late = ev->flags & WRITTEN_LATE;
		written->missed = ev->at;
	} else if (ev->at > written->end) {
		hole(written, ev->at - written->end);
	} else if (ev->at < written->end && (ev->at > written->last_at || is_same(written, ev))) {
		uint64_t back = written->end - ev->at;

		written->size -= back < written->size ? back : written->size;
	}
	written->last_at = ev->at;
	written->last_start = written->size;
	written->end = ev->at + ev->size;
	append(written, ev->bytes, ev->size);
	if (ev->full_size > ev->size) {
		hole(written, ev->full_size - ev->size);
		written->end = ev->at + ev->full_size;
	}
	if (ev->flags & WRITTEN_LAST)
		written->cut = true;
}

static bool is_gone(const struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	const struct watched *watched = watch_find(agent, tgid, start_ns);

	return !watched || watched->gone_ns;
}

static struct written *written_of(struct agent *agent, const struct ev_head *head)
{
	struct written_key key = {.start_ns = head->start_ns, .tgid = head->tgid, .tid = head->tid};
	struct written *written;
	bool fresh = false;

	written = table_put(agent->reports->table, &key, &fresh);
	if (written && fresh) {
		written->made_ns = when_boot_now();
		if (is_gone(agent, head->tgid, head->start_ns))
			written->ended_ns = written->made_ns;
	}
	agent->reports->changed = true;
	return written;
}

/* Begins anew; room that is there stays. */
static void forget(struct written *written)
{
	*written = (struct written){.made_ns = written->made_ns,
				    .ended_ns = written->ended_ns,
				    .text = written->text,
				    .room = written->room};
}

void report_written(struct agent *agent, const struct ev_written *ev)
{
	struct written *written = written_of(agent, &ev->head);

	if (!written)
		return;
	if (written->fault_ns && written->fault_ns != ev->fault_time_ns) {
		if (written->id[0])
			return; /* of a fault inside the handler */
		forget(written);
	}
	written->fault_ns = ev->fault_time_ns;
	join(written, ev);
}

/* --- and the crash ------------------------------------------------------------------------------------ */

/* Ruby's report has the registers in it. */
static bool is_wanted(const struct agent *agent, const struct crash *crash)
{
	const struct watched *watched = watch_find(agent, crash->process.tgid, crash->process.start_ns);
	const char *capture = watched && watched->capture[0] ? watched->capture : agent->config.capture;

	return strcmp(capture, "none") != 0;
}

static bool gave_up(const struct crash *crash)
{
	return crash->fatal.kind == FATAL_BUG || crash->fatal.kind == FATAL_ASSERT;
}

const char *report_absent(const struct agent *agent, const struct crash *crash)
{
	if (strcmp(agent->config.stderr_capture, "off") == 0)
		return "stderr_capture is off";
	if (!is_wanted(agent, crash))
		return "capture is none for this app";
	if (!gave_up(crash) && !crash->has_fault)
		return "there was no fault that it could have written about";
	if (!gave_up(crash) && crash->fault.handler <= 1)
		return "nothing was written after the fault: the signal's default action ended the process";
	return NULL;
}

void report_crash(struct agent *agent, const struct crash *crash)
{
	struct ev_head of = gave_up(crash) ? crash->fatal.head : crash->fault.head;
	struct written *written;

	if (report_absent(agent, crash))
		return;
	of.tgid = crash->process.tgid;
	of.start_ns = crash->process.start_ns;
	written = written_of(agent, &of);
	if (!written)
		return;
	if (written->fault_ns && written->fault_ns < of.time_ns)
		forget(written);
	text_copy(written->id, sizeof(written->id), crash->id);
}

struct ending {
	const struct ev_head *head;
	bool found;
};

static void end_one(void *context, const void *key, void *value)
{
	struct ending *ending = context;
	const struct written_key *of = key;
	struct written *written = value;

	if (of->tgid != ending->head->tgid || of->start_ns != ending->head->start_ns)
		return;
	written->ended_ns = ending->head->time_ns;
	ending->found = true;
}

void report_ended(struct agent *agent, const struct ev_head *exit)
{
	struct ending ending = {.head = exit};

	table_each(agent->reports->table, end_one, &ending);
	agent->reports->changed = agent->reports->changed || ending.found;
}

/* How much of it there is, and why not more. */
static const char *state_of(const struct agent *agent, const struct written *written, char *why, size_t size)
{
	bool demand = strcmp(agent->config.stderr_capture, "always") != 0;
	size_t used = 0;

	why[0] = '\0';
	if (!written->begun)
		text_add(why, size, &used, "it wrote nothing%s",
			 demand ? ", or only before the probe on writes was attached" : "");
	else if (written->missed)
		text_add(why, size, &used,
			 "the first %llu bytes were written before the probe on writes was attached",
			 (unsigned long long)written->missed);
	else if (written->late)
		text_add(why, size, &used,
			 "its beginning was written before the probe on writes was attached");
	if (written->lost)
		text_add(why, size, &used, "%s%llu bytes in between were not kept", used ? "; " : "",
			 (unsigned long long)written->lost);
	if (written->cut)
		text_add(why, size, &used, "%scut off at 256 KiB", used ? "; " : "");
	if (!written->ended_ns)
		text_add(why, size, &used, "%sit had not ended after 30 s", used ? "; " : "");
	else if (written->begun && demand && written->ended_ns > written->fault_ns + CUT_NS)
		text_add(why, size, &used, "%sit took longer than 5 s, later writes may be missing",
			 used ? "; " : "");
	return !written->begun ? "missing" : used ? "partial" : "complete";
}

static void hand_on(struct agent *agent, struct written *written)
{
	char why[160], *text = NULL;
	const char *state = state_of(agent, written, why, sizeof(why));
	size_t size = 0;

	if (written->size)
		text = scrub_text(written->text, written->size, &size);
	if (written->size && !text) {
		state = "missing";
		text_copy(why, sizeof(why), "no memory");
	}
	if (store_crash_stderr(agent->store, written->id, text, size, state, why) != 0)
		log_say(LOG_WARN, "store", "no room for what crash %s wrote: the queue of the store is full",
			written->id);
}

struct settling {
	struct agent *agent;
	uint64_t now_ns;
};

static void settle_one(void *context, const void *key, void *value)
{
	struct settling *settling = context;
	struct written *written = value;
	uint64_t age = settling->now_ns - written->made_ns;

	if (written->id[0] && (written->ended_ns || age > LONGEST_NS))
		hand_on(settling->agent, written);
	else if (written->id[0] || age < (written->ended_ns ? LONGEST_NS : PENDING_NS))
		return;
	table_delete(settling->agent->reports->table, key);
}

static void settle(struct agent *agent)
{
	struct settling settling = {.agent = agent, .now_ns = when_boot_now()};

	agent->reports->changed = false;
	table_each(agent->reports->table, settle_one, &settling);
}

void reports_settle(struct agent *agent)
{
	if (agent->reports->changed)
		settle(agent);
}

void reports_tick(struct agent *agent)
{
	settle(agent);
}
