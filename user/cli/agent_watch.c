// SPDX-License-Identifier: Apache-2.0
/*
 * Which processes are watched.
 *
 * A Ruby that starts after its library is known is marked in the kernel by its own first call, and a fork
 * of a watched process by the fork. All others are found by their mappings: those of every process when
 * the agent starts, and the mmap records from then on. /proc is read on threads of its own (agent_proc.c),
 * since a process that hangs on a dead file system may hold its own maps.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"
#include "user/cli/agent_proc.h"
#include "user/cli/watching.h"

const struct watched *watch_find(const struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	struct watched *watched = table_peek(agent->watch->watched, &tgid);

	return watched && (start_ns == 0 || watched->start_ns == start_ns) ? watched : NULL;
}

struct watched *watching_find(struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	return (struct watched *)watch_find(agent, tgid, start_ns);
}

const struct config_app *watch_entry(const struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	const struct watched *watched = watch_find(agent, tgid, start_ns);

	return watched && watched->info.cgroup_id
		       ? config_app_of(&agent->config, watched->info.uid, watched->info.cgroup,
				       watched->info.comm, watched->info.title)
		       : NULL;
}

size_t watch_count(const struct agent *agent)
{
	return table_count(agent->watch->watched);
}

bool watch_busy(const struct agent *agent)
{
	return table_count(agent->watch->scans) > 0 || !targets_idle(agent->targets);
}

/* --- coming and going ------------------------------------------------------------------------------- */

void watching_leave(struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	maps_drop(agent->maps, tgid, start_ns);
	targets_gone(agent->targets, tgid, start_ns);
	if (watch_find(agent, tgid, start_ns))
		table_delete(agent->watch->watched, &tgid);
}

static void bury(void *context, const void *key, void *value)
{
	const struct watched *watched = value;

	if (watched->gone_ns)
		watching_leave(context, *(const uint32_t *)key, watched->start_ns);
}

/*
 * No living one is pushed out by a newcomer: it would be found again by the next scan, push out another, and
 * so on for ever.
 */
static bool has_room(struct agent *agent, uint32_t tgid)
{
	struct watch *watch = agent->watch;

	if (table_count(watch->watched) < WATCHED || table_peek(watch->watched, &tgid))
		return true;
	table_each(watch->watched, bury, agent);
	if (table_count(watch->watched) < WATCHED)
		return true;
	if (!watch->full_told)
		log_say(LOG_ERROR, "watch", "%d processes are watched; further ones are not", WATCHED);
	watch->full_told = true;
	return false;
}

static struct watched *enter(struct agent *agent, uint32_t tgid, uint64_t start_ns, uint32_t uid)
{
	struct watched *watched =
		has_room(agent, tgid) ? table_put(agent->watch->watched, &tgid, NULL) : NULL;

	if (!watched)
		return NULL;
	if (watched->start_ns && watched->start_ns != start_ns) { /* the pid is used again */
		maps_drop(agent->maps, tgid, watched->start_ns);
		targets_gone(agent->targets, tgid, watched->start_ns);
	}
	*watched = (struct watched){.start_ns = start_ns, .uid = uid};
	return watched;
}

/* What a fork has from who forked it until /proc has told of itself. */
static void inherit(struct watched *child, const struct watched *parent)
{
	child->info = parent->info;
	child->claimed = parent->claimed;
	text_copy(child->capture, sizeof(child->capture), parent->capture);
	text_copy(child->ruby, sizeof(child->ruby), parent->ruby);
}

void watch_born(struct agent *agent, const struct ev_birth *birth)
{
	const struct watched *parent = birth->head.type == EV_FORK
					       ? watch_find(agent, birth->parent_tgid, birth->parent_start_ns)
					       : NULL;
	struct watched *child = watching_find(agent, birth->head.tgid, birth->head.start_ns);
	struct watched of_parent = {0};

	if (child && child->gone_ns == 0)
		return; /* marked by its start and found by its maps as well */
	if (parent)
		of_parent = *parent; /* entering may bury it */
	child = enter(agent, birth->head.tgid, birth->head.start_ns, birth->uid);
	if (!child)
		return;
	if (!parent) {
		proc_ask(agent, birth->head.tgid, birth->head.start_ns, PROC_FACTS | PROC_MAPS | PROC_SAMPLE);
		return;
	}
	child->parent_tgid = birth->parent_tgid;
	child->parent_start_ns = birth->parent_start_ns;
	inherit(child, &of_parent);
	maps_fork(agent->maps, birth->parent_tgid, birth->parent_start_ns, birth->head.tgid,
		  birth->head.start_ns);
	targets_fork(agent->targets, birth->parent_tgid, birth->parent_start_ns, birth->head.tgid,
		     birth->head.start_ns);
}

struct mapped {
	struct agent *agent;
	const struct maps_region *region;
	uint64_t start_ns, time_ns;
	uint32_t tgid;
};

static void give_child(void *context, const void *key, void *value)
{
	const struct mapped *mapped = context;
	const struct watched *child = value;

	if (child->parent_tgid == mapped->tgid && child->parent_start_ns == mapped->start_ns &&
	    child->start_ns > mapped->time_ns)
		maps_add(mapped->agent->maps, *(const uint32_t *)key, child->start_ns, mapped->region);
}

/* The record of it may be read after that of the fork, which copied the parent's maps as they were known. */
void watch_mapped(struct agent *agent, uint32_t tgid, uint64_t start_ns, uint64_t time_ns,
		  const struct maps_region *region)
{
	struct mapped mapped = {
		.agent = agent, .region = region, .start_ns = start_ns, .time_ns = time_ns, .tgid = tgid};

	table_each(agent->watch->watched, give_child, &mapped);
}

void watch_ended(struct agent *agent, const struct ev_head *ev)
{
	struct watched *watched = watching_find(agent, ev->tgid, ev->start_ns);

	if (ev->type == EV_EXEC)
		watching_leave(agent, ev->tgid, ev->start_ns);
	else if (watched)
		watched->gone_ns = ev->time_ns;
}

/* --- what /proc said -------------------------------------------------------------------------------- */

struct told {
	const struct watched *parent;
	uint32_t tgid;
};

/* As the model does (user/model/process.c): it was forked while nobody knew who its parent is. */
static void tell_child(void *context, const void *key, void *value)
{
	const struct told *told = context;
	struct watched *child = value;

	(void)key;
	if (!child->info.cgroup_id && child->parent_tgid == told->tgid &&
	    child->parent_start_ns == told->parent->start_ns)
		inherit(child, told->parent);
}

static void name(struct agent *agent, uint32_t tgid, struct watched *watched)
{
	if (!watched->named)
		table_each(agent->watch->watched, tell_child, &(struct told){watched, tgid});
	text_copy(watched->info.ruby, sizeof(watched->info.ruby), watched->ruby);
	watched->named = true;
	agent_make(agent, &watched->info.head, EV_INFO, sizeof(watched->info), tgid, watched->start_ns);
}

static void look_at_maps(struct agent *agent, const struct proc_answer *answer, bool watched)
{
	const struct maps_region *regions;
	size_t count;

	if (maps_load(agent->maps, answer->tgid, answer->start_ns, answer->maps, answer->maps_size) < 0)
		return;
	regions = maps_regions(agent->maps, answer->tgid, answer->start_ns, &count);
	agent->watch->looked_tgid = answer->tgid;
	agent->watch->looked_start_ns = answer->start_ns;
	for (size_t i = 0; i < count; i++)
		targets_mapping(agent->targets, answer->tgid, watched ? answer->start_ns : 0, &regions[i]);
	agent->watch->looked_tgid = 0;
	if (watched)
		mappings_again(agent, answer->tgid, answer->start_ns, answer->read_ns);
	else
		maps_drop(agent->maps, answer->tgid, answer->start_ns);
}

/* A Ruby that ran before its library was known: mark it, then tell the model as the kernel would have. */
static struct watched *adopt(struct agent *agent, const struct proc_answer *answer)
{
	/* without the parent's start a worker that ran before the agent would count as no one's */
	struct ev_birth birth = {.parent_tgid = answer->info.parent_tgid,
				 .parent_start_ns = watch_start_of(agent, answer->info.parent_tgid),
				 .uid = answer->info.uid};
	int err = has_room(agent, answer->tgid) ? probe_mark(agent->probe, answer->tgid, answer->start_ns)
						: -ESRCH;

	if (err) {
		if (err != -ESRCH)
			log_say(LOG_WARN, "watch", "%s %u cannot be watched: %s", answer->info.comm,
				answer->tgid, strerror(-err));
		return NULL;
	}
	if (!enter(agent, answer->tgid, answer->start_ns, answer->info.uid))
		return NULL;
	agent->watch->rescan = true; /* what it forked just before it was marked */
	text_copy(birth.comm, sizeof(birth.comm), answer->info.comm);
	agent_make(agent, &birth.head, EV_WATCH, sizeof(birth), answer->tgid, answer->start_ns);
	return watching_find(agent, answer->tgid, answer->start_ns);
}

static void exclude(struct agent *agent, const struct proc_answer *answer)
{
	struct ev_exec left = {0};
	uint64_t *start_ns = table_put(agent->watch->excluded, &answer->tgid, NULL);

	if (start_ns)
		*start_ns = answer->start_ns;
	if (!watch_find(agent, answer->tgid, answer->start_ns))
		return;
	probe_unmark(agent->probe, answer->tgid, answer->start_ns);
	text_copy(left.comm, sizeof(left.comm), answer->info.comm);
	text_copy(left.file, sizeof(left.file), "(excluded by the configuration)");
	agent_make(agent, &left.head, EV_EXEC, sizeof(left), answer->tgid, answer->start_ns);
	watching_leave(agent, answer->tgid, answer->start_ns);
}

static void sample(struct agent *agent, const struct proc_answer *answer)
{
	struct ev_sample ev = answer->sample;
	struct mark mark;

	if (probe_read_mark(agent->probe, answer->tgid, answer->start_ns, &mark) == 0)
		ev.user_faults = mark.user_faults;
	agent_make(agent, &ev.head, EV_SAMPLE, sizeof(ev), answer->tgid, answer->start_ns);
}

/*
 * It ended and the kernel did not tell: it was marked when it was as good as dead. Two looks in a row, so
 * that an end that lies in the ring has its time. How it ended nobody knows, so it leaves and no status is
 * made up.
 */
static void miss(struct agent *agent, const struct proc_answer *answer, struct watched *watched)
{
	struct ev_exec left = {0};

	if (!watched->missing) {
		watched->missing = true;
		return;
	}
	text_copy(left.comm, sizeof(left.comm), watched->info.comm);
	text_copy(left.file, sizeof(left.file), "(ended unseen)");
	agent_make(agent, &left.head, EV_EXEC, sizeof(left), answer->tgid, answer->start_ns);
	watching_leave(agent, answer->tgid, answer->start_ns);
}

/* It died before it could be looked at, and was forked by nobody who is known: its crash waits in vain. */
static void give_up(struct agent *agent, const struct proc_answer *answer, struct watched *watched)
{
	watched->info = (struct ev_info){.uid = watched->uid};
	name(agent, answer->tgid, watched);
}

/*
 * What its library said stays, and is inherited by forks. A title is the process's own to choose: it may name
 * the app anew where a server puts the app into it, else the first name stays, and nobody moves from one
 * app's counts to another's.
 */
static void keep_name(const struct watched *watched, const struct proc_answer *answer, struct ev_info *info)
{
	bool settled =
		watched->claimed || (watched->named && watched->info.title[0] && !answer->info.server[0]);

	if (settled && !answer->configured)
		text_copy(info->app, sizeof(info->app), watched->info.app);
}

bool watch_known(struct agent *agent, uint32_t tgid, uint64_t since_ns, struct watched_facts *out)
{
	struct watched *watched = watching_find(agent, tgid, 0);

	if (!watched || watched->gone_ns)
		return false;
	if (watched->facts_ns < since_ns) {
		if (!watched->reading)
			watched->reading = proc_ask(agent, tgid, watched->start_ns, PROC_FACTS) == 0;
		return false;
	}
	out->start_ns = watched->start_ns;
	out->configured = watched->configured;
	out->info = &watched->info;
	return watched->named;
}

void watch_claim(struct agent *agent, uint32_t tgid, uint64_t start_ns, const char *app)
{
	struct watched *watched = watching_find(agent, tgid, start_ns);

	if (!watched)
		return;
	watched->claimed = true;
	text_copy(watched->info.app, sizeof(watched->info.app), app);
}

void watch_answered(struct agent *agent, const struct proc_answer *answer)
{
	struct watched *watched = watching_find(agent, answer->tgid, answer->start_ns);
	bool facts = answer->got & PROC_FACTS, changed = false;

	if (answer->wanted & PROC_SCAN)
		table_delete(agent->watch->scans, &answer->tgid);
	if (watched)
		watched->reading = false;
	if (facts && answer->excluded) {
		exclude(agent, answer);
		return;
	}
	if (!watched && facts && (answer->wanted & PROC_ADOPT))
		watched = adopt(agent, answer);
	if (answer->got & PROC_MAPS)
		look_at_maps(agent, answer, watched != NULL);
	watched = watching_find(agent, answer->tgid, answer->start_ns);
	if (watched && answer->ended && !watched->named && !watched->parent_tgid)
		give_up(agent, answer, watched);
	if (!watched || watched->gone_ns)
		return;
	if (answer->ended) {
		miss(agent, answer, watched);
		return;
	}
	watched->missing = false;
	if (facts) {
		struct ev_info info = answer->info;

		changed = !watched->named || strcmp(watched->info.title, info.title) != 0 ||
			  watched->info.netns != info.netns || watched->info.cgroup_id != info.cgroup_id;
		watched->configured = answer->configured;
		watched->facts_ns = answer->read_ns;
		keep_name(watched, answer, &info);
		watched->info = info;
		text_copy(watched->capture, sizeof(watched->capture), answer->capture);
	}
	if (changed) {
		if (!watched->named)
			log_say(LOG_INFO, "watch", "%s: %s %u (%s)%s%s", answer->info.app, answer->info.comm,
				answer->tgid, answer->info.title, watched->ruby[0] ? " on Ruby " : "",
				watched->ruby);
		name(agent, answer->tgid, watched);
	}
	if (answer->got & PROC_SAMPLE)
		sample(agent, answer);
}

struct wanted_task {
	uint32_t tgid;
	uint64_t start_ns;
	bool found;
};

static void match_task(void *context, const struct probe_task *task)
{
	struct wanted_task *wanted = context;

	if (task->tgid != wanted->tgid)
		return;
	wanted->start_ns = task->start_ns;
	wanted->found = true; /* the first process of a machine may have started at 0 */
}

uint64_t watch_start_of(const struct agent *agent, uint32_t tgid)
{
	struct wanted_task wanted = {.tgid = tgid};

	probe_each_task(agent->probe, match_task, &wanted);
	return wanted.start_ns;
}

static void is_ruby(void *context, uint32_t tgid, uint64_t start_ns, uint64_t seen_ns, const char *version)
{
	struct agent *agent = context;
	struct watched *watched = watching_find(agent, tgid, start_ns);

	if (watched && !watched->gone_ns) {
		bool news = strcmp(watched->ruby, version) != 0;

		text_copy(watched->ruby, sizeof(watched->ruby), version);
		if (news && watched->named)
			name(agent, tgid, watched);
		return;
	}
	if (!start_ns && agent->watch->looked_tgid == tgid)
		start_ns = agent->watch->looked_start_ns;
	else if (!start_ns)
		start_ns = watch_start_of(agent, tgid);
	/* one that was born since has the id alone in common with the one that mapped it */
	if (start_ns && start_ns <= seen_ns &&
	    proc_ask(agent, tgid, start_ns, PROC_FACTS | PROC_MAPS | PROC_SAMPLE | PROC_ADOPT) != 0)
		agent->watch->rescan = true;
}

static void is_attached(void *context, const struct library *library, const char *path)
{
	(void)context;
	log_say(LOG_INFO, "probe", "probes %s%s%s at %u places: %s",
		library->kind == LIBRARY_RUBY ? "Ruby" : "libpq", library->version[0] ? " " : "",
		library->version, library->site_count, path);
}

static void has_problem(void *context, const char *path, const char *what)
{
	(void)context;
	log_say(LOG_WARN, "probe", "%s: %s", path, what);
}

void watch_wire(struct targets_events *events)
{
	events->ruby = is_ruby;
	events->attached = is_attached;
	events->problem = has_problem;
}
