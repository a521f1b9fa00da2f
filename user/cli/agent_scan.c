// SPDX-License-Identifier: Apache-2.0
/*
 * Scans of all processes, for Rubies that ran before they could be seen, and the rounds in which those that
 * are watched are looked at.
 */
#include <stdlib.h>
#include <string.h>
#include "user/base/log.h"
#include "user/cli/agent_proc.h"
#include "user/cli/watching.h"

/* How long a dead process's maps are kept: its death may be told one tick late (model.h). */
#define MOURN_NS 4000000000ull

static void scan_task(void *context, const struct probe_task *task)
{
	struct agent *agent = context;

	struct table *scans = agent->watch->scans;
	uint64_t *out;

	/* one whose /proc hangs must not take a reader with each scan */
	if (watch_find(agent, task->tgid, task->start_ns) || table_peek(scans, &task->tgid) ||
	    table_count(scans) == SCANS)
		return;
	if (proc_ask(agent, task->tgid, task->start_ns, PROC_MAPS | PROC_SCAN) == 0 &&
	    (out = table_put(scans, &task->tgid, NULL)))
		*out = task->start_ns;
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
			watching_leave(round->agent, tgid, watched->start_ns);
		return;
	}
	if (maps_source(round->agent->maps, tgid, watched->start_ns) == MAPS_NONE)
		want |= PROC_MAPS;
	if (!watched->named)
		want |= PROC_SAMPLE; /* a fork that lived to see a tick */
	/* one question at a time: a process that blocks its readers costs one of them, not all */
	if (watched->missing)
		want |= PROC_SAMPLE;
	if (want && !watched->reading)
		watched->reading = proc_ask(round->agent, tgid, watched->start_ns, want | PROC_FACTS) == 0;
}

void watch_rescan(struct agent *agent)
{
	agent->watch->rescan = true;
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
	proc_tick(agent);
	table_each(watch->watched, go_round, &round);
}

bool watch_excluded(const struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	const uint64_t *excluded = table_peek(agent->watch->excluded, &tgid);

	return excluded && *excluded == start_ns;
}

int watch_new(struct agent *agent, struct watch **out)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->agent = agent;
	watch->watched = table_new(sizeof(uint32_t), sizeof(struct watched), WATCHED, NULL, NULL);
	watch->excluded = table_new(sizeof(uint32_t), sizeof(uint64_t), EXCLUDED, NULL, NULL);
	watch->scans = table_new(sizeof(uint32_t), sizeof(uint64_t), SCANS, NULL, NULL);
	if (!watch->watched || !watch->excluded || !watch->scans) {
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
	table_free(watch->scans);
	free(watch);
}
