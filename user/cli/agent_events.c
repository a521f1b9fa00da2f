// SPDX-License-Identifier: Apache-2.0
/*
 * Records on their way: ring → decode → the agent's own bookkeeping → recorder and pipeline. What the
 * agent makes itself (ticks, samples, locations, gaps) takes the same way, so that a recording holds every
 * input of the model.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"

#define WALL_JUMP_NS 2000000000ll

uint64_t agent_wall(const struct agent *agent, uint64_t boot_ns)
{
	return boot_ns + agent->wall_offset_ns;
}

struct put_off {
	void (*run)(struct agent *agent, void *payload);
	uint64_t payload[];
};

static void run_put_off(void *context, void *payload)
{
	struct put_off *put_off = payload;

	put_off->run(context, put_off->payload);
}

void *agent_later(struct agent *agent, size_t size, void (*run)(struct agent *agent, void *payload))
{
	struct put_off *put_off = later_add(&agent->later, sizeof(*put_off) + size, run_put_off);

	if (!put_off)
		return NULL;
	put_off->run = run;
	return put_off->payload;
}

void agent_feed(struct agent *agent, struct ev_head *ev)
{
	int err = agent->recorder ? recorder_write(agent->recorder, ev) : 0;

	if (err) {
		log_say(LOG_ERROR, "record", "recording to %s ended: %s", agent->config.record,
			strerror(-err));
		recorder_close(agent->recorder);
		agent->recorder = NULL;
	}
	agent->stepping = true;
	pipeline_step(agent->pipeline, ev, &agent->sink);
	agent->stepping = false;
	if (agent->ordered)
		urgency_step_aside(&agent->urgency, when_boot_now()); /* the report takes long */
	agent->ordered = false;
	later_run(&agent->later, agent);
}

static void feed_own(struct agent *agent, void *payload)
{
	struct ev_head *ev = payload;

	ev->seq = ++agent->user_seq; /* in the order of the feeding, not of the making */
	agent_feed(agent, ev);
}

void agent_make(struct agent *agent, struct ev_head *ev, uint16_t type, size_t size, uint32_t tgid,
		uint64_t start_ns)
{
	void *copy;

	ev->size = (uint32_t)size;
	ev->type = type;
	ev->lane = LANE_USER;
	ev->flags = 0;
	ev->time_ns = when_boot_now();
	ev->tgid = ev->tid = tgid;
	ev->start_ns = start_ns;
	if (!agent->stepping) {
		feed_own(agent, ev);
		return;
	}
	copy = agent_later(agent, size, feed_own);
	if (copy)
		memcpy(copy, ev, size);
}

static void tell_gaps(struct agent *agent)
{
	struct ev_gap gap;

	while (gaps_next(agent->gaps, &gap)) {
		log_say(LOG_WARN, "gap", "%llu records of lane %s were lost between two that arrived",
			(unsigned long long)gap.lost, lane_name((uint8_t)gap.of_lane));
		agent_make(agent, &gap.head, EV_GAP, sizeof(gap), 0, 0);
	}
}

/* What the agent itself does about a record, before the model sees it. */
static void prepare(struct agent *agent, const struct ev_head *ev)
{
	if (ev->type == EV_WATCH || ev->type == EV_FORK)
		watch_born(agent, (const struct ev_birth *)ev);
	else if (ev->type == EV_RUBY)
		crash_frames(agent, (const struct ev_ruby *)ev);
	else if (ev->type == EV_FAULT)
		crash_fault(agent, (const struct ev_fault *)ev);
}

static int take(void *context, const void *record, size_t size)
{
	struct agent *agent = context;
	struct ev_head *ev = agent->scratch;
	const char *why;

	if (decode(record, size, ev, &why) != 0) {
		if (agent->bad_records++ == 0)
			log_say(LOG_WARN, "decode", "a record was refused: %s; further ones are counted only",
				why);
		return 0;
	}
	gaps_note(agent->gaps, ev);
	if (ev->type == EV_WRITTEN) {
		report_written(agent, (const struct ev_written *)ev);
		return 0;
	}
	prepare(agent, ev);
	agent_feed(agent, ev);
	if (ev->type == EV_EXEC || ev->type == EV_EXIT)
		watch_ended(agent, ev);
	if (ev->type == EV_EXIT)
		report_ended(agent, ev);
	tell_gaps(agent);
	urgency_go_on(&agent->urgency, when_boot_now());
	return 0;
}

/*
 * Births first (they make a process known), then mappings up to that moment, so that no mapping of a
 * child comes before its fork. A flood of queries is taken in batches with the loop's other work between.
 */
void agent_drain(struct agent *agent)
{
	uint64_t before = when_boot_now();
	bool more = false;
	int got = probe_drain(agent->probe, AGENT_FLOW_BATCH, take, agent, &more);

	if (got < 0 && agent->ring_errors++ == 0)
		log_say(LOG_ERROR, "ring", "reading the rings failed: %s", strerror(-got));
	if (got < 0)
		return;
	agent->drained_ns = before;
	reports_settle(agent);
}

void agent_begin(struct agent *agent)
{
	struct ev_begin begin = {
		.format = EV_FORMAT,
		.cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
		.wall_ns = agent->wall_offset_ns,
		.seed = agent->wall_offset_ns ^ agent->started_ns,
	};

	memcpy(begin.rules_digest, rules_digest(agent->rules), sizeof(begin.rules_digest));
	text_copy(begin.version, sizeof(begin.version), LAPIDARY_VERSION);
	text_copy(begin.host, sizeof(begin.host), agent->host);
	agent_make(agent, &begin.head, EV_BEGIN, sizeof(begin), 0, 0);
}

/* Drops are told once a second at most, and only when there are new ones. */
static void tell_drops(struct agent *agent)
{
	struct counters counters;
	uint64_t dropped = 0;

	if (probe_counters(agent->probe, &counters) != 0)
		return;
	for (int lane = 0; lane < LANE_COUNT; lane++)
		dropped += counters.dropped[lane];
	if (dropped > agent->dropped_seen)
		log_say(LOG_WARN, "dropped",
			"%llu records found no room in their ring (life %llu, capture %llu, flow %llu)",
			(unsigned long long)(dropped - agent->dropped_seen),
			(unsigned long long)counters.dropped[LANE_LIFE],
			(unsigned long long)counters.dropped[LANE_CAPTURE],
			(unsigned long long)counters.dropped[LANE_FLOW]);
	agent->dropped_seen = dropped;
}

/* The store says why in its statistics alone; told when it begins to fail and when it works again. */
static void tell_store(struct agent *agent)
{
	struct store_stats stats;

	store_stats(agent->store, &stats);
	if (stats.lost != agent->store_lost_seen)
		log_say(LOG_ERROR, "store",
			"%s was removed while the agent runs; what it held is gone, it is made anew",
			agent->config.state_dir);
	agent->store_lost_seen = stats.lost;
	if (stats.errors != agent->store_errors_seen && !agent->store_failing)
		log_say(LOG_ERROR, "store", "%s; crashes may be lost until it can be written",
			stats.last_error[0] ? stats.last_error : "a write failed");
	else if (agent->store_failing && !stats.last_error[0])
		log_say(LOG_INFO, "store", "can be written again");
	agent->store_failing = stats.last_error[0] != '\0';
	agent->store_errors_seen = stats.errors;
}

/* A run directory taken away is made anew, with both sockets; said once, also while it cannot be. */
static void keep_sockets(struct agent *agent)
{
	const char *run_dir = agent->config.run_dir;
	int control, apps, err = 0;
	mode_t mask;

	if (access(run_dir, F_OK) != 0 && errno == ENOENT) {
		mask = umask(0022);
		err = file_make_dirs(run_dir, 0755);
		umask(mask);
	}
	control = control_keep(agent->control);
	apps = acting_keep(agent);
	if (control < 0 || apps < 0) {
		if (!agent->sockets_lost)
			log_say(LOG_ERROR, "sockets",
				"%s: a socket was removed and cannot be made anew (%s); nobody reaches the "
				"agent by it until it can",
				run_dir, err ? strerror(-err) : "see its directory");
	} else if (control || apps) {
		log_say(LOG_WARN, "sockets", "%s: removed while the agent runs, made anew:%s%s", run_dir,
			control ? " control.sock" : "", apps ? " app.sock" : "");
	}
	agent->sockets_lost = control < 0 || apps < 0;
}

/* Times are the start's wall clock plus what passed since, so that a recording replays to the same. */
static void tell_clock(struct agent *agent)
{
	int64_t moved = (int64_t)(when_wall_now() - when_boot_now() - agent->wall_offset_ns);

	if (agent->wall_told || (moved < WALL_JUMP_NS && moved > -WALL_JUMP_NS))
		return;
	agent->wall_told = true;
	log_say(LOG_WARN, "clock",
		"the wall clock was set by %.1f s; times told go on from the old one until "
		"the agent is restarted",
		(double)moved / 1e9);
}

void agent_tick(struct agent *agent)
{
	struct ev_head tick;

	agent_drain(agent);
	mappings_take(agent, agent->drained_ns);
	agent_make(agent, &tick, EV_TICK, sizeof(tick), 0, 0);
	gaps_note(agent->gaps, &tick);
	tell_gaps(agent);
	tell_drops(agent);
	tell_store(agent);
	if (!agent->stopping)
		keep_sockets(agent);
	tell_clock(agent);
	reports_tick(agent);
	examine_tick(agent, tick.time_ns);
	mappings_tick(agent);
	targets_tick(agent->targets, tick.time_ns);
	watch_tick(agent, tick.time_ns);
	acting_tick(agent);
	/* The first watermark says from when on somebody watched: not before all that ran was looked at. */
	agent->scanned = agent->scanned || !watch_busy(agent);
	if (agent->scanned)
		store_watermark(agent->store, agent_wall(agent, crash_settled_ns(agent)));
	if (agent->recorder)
		recorder_flush(agent->recorder);
}
