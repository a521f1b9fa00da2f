// SPDX-License-Identifier: Apache-2.0
/*
 * Which processes are watched.
 *
 * A Ruby that starts after its library is known is marked in the kernel by its own first call, and a fork
 * of a watched process by the fork. All others are found by their mappings: those of every process when
 * the agent starts, and the mmap records from then on. /proc is read on libuv's threads (agent_proc.c),
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

enum { WATCHED = 8192, EXCLUDED = 1024, STASH = 1024 };

/* How long a dead process's maps are kept: its death may be told one tick late (model.h). */
#define MOURN_NS 4000000000ull

/* A mapping that is younger than the last look at the births (agent_drain). */
struct stashed {
	uint32_t tgid;
	uint64_t time_ns;
	struct maps_region region;
	char path[256];
};

struct watch {
	struct agent *agent;
	struct table *watched;  /* tgid → struct watched */
	struct table *excluded; /* tgid → start_ns, for doctor */
	struct stashed *stash;
	size_t stash_count;
	uint64_t horizon_ns; /* mappings up to here can be told whose they are */
	uint64_t next_sample_ns;
	uint32_t scanning; /* jobs of the first scan that are out */
	bool rescan;       /* a Ruby may have come unseen */
};

const struct watched *watch_find(const struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	struct watched *watched = table_peek(agent->watch->watched, &tgid);

	return watched && (start_ns == 0 || watched->start_ns == start_ns) ? watched : NULL;
}

static struct watched *find(struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	return (struct watched *)watch_find(agent, tgid, start_ns);
}

size_t watch_count(const struct agent *agent)
{
	return table_count(agent->watch->watched);
}

bool watch_busy(const struct agent *agent)
{
	return agent->watch->scanning > 0 || !targets_idle(agent->targets);
}

/* --- coming and going ------------------------------------------------------------------------------- */

static struct watched *enter(struct agent *agent, uint32_t tgid, uint64_t start_ns, uint32_t uid)
{
	struct watched *watched = table_put(agent->watch->watched, &tgid, NULL);

	if (!watched)
		return NULL;
	if (watched->start_ns && watched->start_ns != start_ns) { /* the pid is used again */
		maps_drop(agent->maps, tgid, watched->start_ns);
		targets_gone(agent->targets, tgid, watched->start_ns);
	}
	*watched = (struct watched){.start_ns = start_ns, .uid = uid};
	return watched;
}

static void leave(struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	maps_drop(agent->maps, tgid, start_ns);
	targets_gone(agent->targets, tgid, start_ns);
	if (watch_find(agent, tgid, start_ns))
		table_delete(agent->watch->watched, &tgid);
}

void watch_born(struct agent *agent, const struct ev_birth *birth)
{
	const struct watched *parent = birth->head.type == EV_FORK
					       ? watch_find(agent, birth->parent_tgid, birth->parent_start_ns)
					       : NULL;
	struct watched *child = find(agent, birth->head.tgid, birth->head.start_ns);
	struct ev_info info = {0};
	char ruby[16] = "", capture[12] = "";

	if (child && child->gone_ns == 0)
		return; /* marked by its start and found by its maps as well */
	if (parent) {
		info = parent->info;
		text_copy(ruby, sizeof(ruby), parent->ruby);
		text_copy(capture, sizeof(capture), parent->capture);
	}
	child = enter(agent, birth->head.tgid, birth->head.start_ns, birth->uid);
	if (!child)
		return;
	if (!parent) {
		proc_ask(agent, birth->head.tgid, birth->head.start_ns, PROC_FACTS | PROC_MAPS | PROC_SAMPLE);
		return;
	}
	child->info = info;
	text_copy(child->capture, sizeof(child->capture), capture);
	text_copy(child->ruby, sizeof(child->ruby), ruby);
	maps_fork(agent->maps, birth->parent_tgid, birth->parent_start_ns, birth->head.tgid,
		  birth->head.start_ns);
	targets_fork(agent->targets, birth->parent_tgid, birth->parent_start_ns, birth->head.tgid,
		     birth->head.start_ns);
}

void watch_ended(struct agent *agent, const struct ev_head *ev)
{
	struct watched *watched = find(agent, ev->tgid, ev->start_ns);

	if (ev->type == EV_EXEC)
		leave(agent, ev->tgid, ev->start_ns);
	else if (watched)
		watched->gone_ns = ev->time_ns;
}

/* --- what /proc said -------------------------------------------------------------------------------- */

static void name(struct agent *agent, uint32_t tgid, struct watched *watched)
{
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
	for (size_t i = 0; i < count; i++)
		targets_mapping(agent->targets, answer->tgid, watched ? answer->start_ns : 0, &regions[i]);
	if (!watched)
		maps_drop(agent->maps, answer->tgid, answer->start_ns);
}

/* A Ruby that ran before its library was known: mark it, then tell the model as the kernel would have. */
static struct watched *adopt(struct agent *agent, const struct proc_answer *answer)
{
	struct ev_birth birth = {.parent_tgid = answer->info.parent_tgid,
				 .uid = answer->info.uid,
				 .cgroup_id = answer->info.cgroup_id};
	int err = probe_mark(agent->probe, answer->tgid, answer->start_ns);

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
	return find(agent, answer->tgid, answer->start_ns);
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
	leave(agent, answer->tgid, answer->start_ns);
}

static void sample(struct agent *agent, const struct proc_answer *answer)
{
	struct ev_sample ev = answer->sample;
	struct mark mark;

	if (probe_read_mark(agent->probe, answer->tgid, answer->start_ns, &mark) == 0)
		ev.user_faults = mark.user_faults;
	agent_make(agent, &ev.head, EV_SAMPLE, sizeof(ev), answer->tgid, answer->start_ns);
}

void watch_answered(struct agent *agent, const struct proc_answer *answer)
{
	struct watched *watched = find(agent, answer->tgid, answer->start_ns);
	bool facts = answer->got & PROC_FACTS, changed = false;

	if (answer->wanted & PROC_SCAN)
		agent->watch->scanning--;
	if (facts && answer->excluded) {
		exclude(agent, answer);
		return;
	}
	if (!watched && facts && (answer->wanted & PROC_ADOPT))
		watched = adopt(agent, answer);
	if (answer->got & PROC_MAPS)
		look_at_maps(agent, answer, watched != NULL);
	watched = find(agent, answer->tgid, answer->start_ns);
	if (!watched || watched->gone_ns)
		return;
	if (facts) {
		changed = !watched->named || strcmp(watched->info.title, answer->info.title) != 0;
		watched->info = answer->info;
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
};

static void match_task(void *context, const struct probe_task *task)
{
	struct wanted_task *wanted = context;

	if (task->tgid == wanted->tgid)
		wanted->start_ns = task->start_ns;
}

static void is_ruby(void *context, uint32_t tgid, uint64_t start_ns, uint64_t seen_ns, const char *version)
{
	struct agent *agent = context;
	struct watched *watched = find(agent, tgid, start_ns);
	struct wanted_task wanted = {.tgid = tgid, .start_ns = start_ns};

	if (watched && !watched->gone_ns) {
		bool news = strcmp(watched->ruby, version) != 0;

		text_copy(watched->ruby, sizeof(watched->ruby), version);
		if (news && watched->named)
			name(agent, tgid, watched);
		return;
	}
	if (!start_ns)
		probe_each_task(agent->probe, match_task, &wanted);
	/* one that was born since has the id alone in common with the one that mapped it */
	if (wanted.start_ns && wanted.start_ns <= seen_ns)
		proc_ask(agent, tgid, wanted.start_ns, PROC_FACTS | PROC_MAPS | PROC_SAMPLE | PROC_ADOPT);
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

/* --- mappings --------------------------------------------------------------------------------------- */

static void take_mapping(struct agent *agent, uint32_t tgid, const struct maps_region *region)
{
	const struct watched *watched = watch_find(agent, tgid, 0);
	uint64_t start_ns = watched && !watched->gone_ns ? watched->start_ns : 0;

	if (start_ns)
		maps_add(agent->maps, tgid, start_ns, region);
	targets_mapping(agent->targets, tgid, start_ns, region);
}

static void on_mmap_record(void *context, uint32_t tgid, uint64_t time_ns, const struct maps_region *region,
			   uint64_t lost)
{
	struct agent *agent = context;
	struct watch *watch = agent->watch;
	struct stashed *stashed;

	if (lost) {
		log_say(LOG_WARN, "maps", "%llu mmap records were lost; maps are read anew",
			(unsigned long long)lost);
		maps_stale(agent->maps, 0, 0);
		watch->rescan = true;
		return;
	}
	if (time_ns <= watch->horizon_ns || watch->stash_count == STASH) {
		take_mapping(agent, tgid, region);
		return;
	}
	stashed = &watch->stash[watch->stash_count++];
	*stashed = (struct stashed){.tgid = tgid, .time_ns = time_ns, .region = *region};
	text_copy(stashed->path, sizeof(stashed->path), region->path);
}

static void take_stash(struct agent *agent)
{
	struct watch *watch = agent->watch;
	size_t kept = 0;

	for (size_t i = 0; i < watch->stash_count; i++) {
		struct stashed *stashed = &watch->stash[i];

		if (stashed->time_ns > watch->horizon_ns) {
			watch->stash[kept++] = *stashed;
			continue;
		}
		stashed->region.path = stashed->path;
		take_mapping(agent, stashed->tgid, &stashed->region);
	}
	watch->stash_count = kept;
}

void watch_mmap(struct agent *agent, uint64_t horizon_ns)
{
	int more = 1;

	if (!agent->mmap_records)
		return;
	agent->watch->horizon_ns = horizon_ns;
	take_stash(agent);
	while (more) {
		more = 0;
		if (mmap_records_drain(agent->mmap_records, AGENT_MMAP_BATCH, on_mmap_record, agent, &more) <=
		    0)
			break;
	}
}

/* --- scans and samples ------------------------------------------------------------------------------ */

static void scan_task(void *context, const struct probe_task *task)
{
	struct agent *agent = context;

	if (watch_find(agent, task->tgid, task->start_ns))
		return;
	if (proc_ask(agent, task->tgid, task->start_ns, PROC_MAPS | PROC_SCAN) == 0)
		agent->watch->scanning++;
}

void watch_scan(struct agent *agent)
{
	int err = probe_each_task(agent->probe, scan_task, agent);

	if (err)
		log_say(LOG_ERROR, "scan", "running processes could not be listed: %s", strerror(-err));
}

struct round {
	struct agent *agent;
	uint64_t now_ns;
	unsigned want; /* of the living */
};

static void go_round(void *context, const void *key, void *value)
{
	struct round *round = context;
	struct watched *watched = value;
	uint32_t tgid = *(const uint32_t *)key;
	unsigned want = round->want;

	if (watched->gone_ns) {
		if (round->now_ns - watched->gone_ns > MOURN_NS)
			leave(round->agent, tgid, watched->start_ns);
		return;
	}
	if (maps_source(round->agent->maps, tgid, watched->start_ns) == MAPS_NONE)
		want |= PROC_MAPS;
	if (!watched->named)
		want |= PROC_SAMPLE; /* a fork that lived to see a tick */
	if (want)
		proc_ask(round->agent, tgid, watched->start_ns, want | PROC_FACTS);
}

void watch_tick(struct agent *agent, uint64_t now_ns)
{
	struct watch *watch = agent->watch;
	struct round round = {.agent = agent, .now_ns = now_ns};

	if (now_ns >= watch->next_sample_ns) {
		watch->next_sample_ns = now_ns + agent->config.sample_interval_ms * 1000000ull;
		round.want = PROC_SAMPLE;
	}
	if (watch->rescan) {
		watch->rescan = false;
		watch_scan(agent);
	}
	table_each(watch->watched, go_round, &round);
}

/* --- doctor ----------------------------------------------------------------------------------------- */

void watch_explain(struct agent *agent, uint32_t tgid, cJSON *out)
{
	const struct watched *watched = watch_find(agent, tgid, 0);
	const uint64_t *excluded = table_peek(agent->watch->excluded, &tgid);
	struct wanted_task wanted = {.tgid = tgid};
	bool alive = watched && !watched->gone_ns;

	json_add_count(out, "pid", tgid);
	cJSON_AddBoolToObject(out, "watched", alive);
	if (alive) {
		cJSON_AddStringToObject(out, "why",
					"it maps a file that exports rb_define_method, so it is a Ruby");
		json_add_text(out, "app", watched->info.app);
		json_add_text(out, "title", watched->info.title);
		json_add_text(out, "ruby", watched->ruby);
		json_add_text(out, "server", watched->info.server);
		json_add_count(out, "uid", watched->uid);
		json_add_time(out, "start_time", agent_wall(agent, watched->start_ns));
		return;
	}
	probe_each_task(agent->probe, match_task, &wanted);
	cJSON_AddStringToObject(out, "why",
				watched            ? "it has ended"
				: !wanted.start_ns ? "there is no such process on this host"
				: excluded && *excluded == wanted.start_ns
					? "the configuration excludes it (apps[].exclude)"
					: "none of its mapped files exports rb_define_method: it is no Ruby");
}

int watch_new(struct agent *agent, struct watch **out)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->agent = agent;
	watch->watched = table_new(sizeof(uint32_t), sizeof(struct watched), WATCHED, NULL, NULL);
	watch->excluded = table_new(sizeof(uint32_t), sizeof(uint64_t), EXCLUDED, NULL, NULL);
	watch->stash = calloc(STASH, sizeof(*watch->stash));
	if (!watch->watched || !watch->excluded || !watch->stash) {
		watch_free(watch);
		return -ENOMEM;
	}
	*out = watch;
	return 0;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	table_free(watch->watched);
	table_free(watch->excluded);
	free(watch->stash);
	free(watch);
}
