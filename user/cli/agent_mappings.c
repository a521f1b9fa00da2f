// SPDX-License-Identifier: Apache-2.0
/*
 * mmap records on their way to maps and targets.
 *
 * The rings are not in step. A mapping that is younger than the last look at the births waits, so that no
 * mapping of a child comes before its fork. And maps that are read from /proc beside the loop are a moment
 * old when they arrive: what was mapped in between is kept, and put on top of them once more.
 */
#include <errno.h>
#include <stdlib.h>
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/cli/agent.h"

/* A record holds 104 bytes or more, so one round empties a ring of 128 KiB of what was there, or nearly. */
enum { STASH = 1024, RECENT = 512, ROUNDS = 2 };

struct mapping {
	uint32_t tgid;
	uint64_t time_ns;
	struct maps_region region;
	char path[256];
};

struct mappings {
	uint64_t horizon_ns; /* mappings up to here can be told whose they are */
	uint64_t lost;       /* not told yet */
	size_t stash_count;
	uint64_t taken; /* ever; `recent` is a ring */
	struct mapping stash[STASH], recent[RECENT];
};

static void keep(struct mapping *mapping, uint32_t tgid, uint64_t time_ns, const struct maps_region *region)
{
	*mapping = (struct mapping){.tgid = tgid, .time_ns = time_ns, .region = *region};
	text_copy(mapping->path, sizeof(mapping->path), region->path);
}

static void take(struct agent *agent, uint32_t tgid, uint64_t time_ns, const struct maps_region *region)
{
	const struct watched *watched = watch_find(agent, tgid, 0);
	/* A death overtakes what was mapped before it: the lanes are not in step. */
	uint64_t start_ns =
		watched && (!watched->gone_ns || time_ns <= watched->gone_ns) ? watched->start_ns : 0;
	struct mappings *mappings = agent->mappings;

	keep(&mappings->recent[mappings->taken++ % RECENT], tgid, time_ns, region);
	if (start_ns) {
		maps_add(agent->maps, tgid, start_ns, region);
		watch_mapped(agent, tgid, start_ns, time_ns, region);
	}
	targets_mapping(agent->targets, tgid, start_ns, region);
}

void mappings_again(struct agent *agent, uint32_t tgid, uint64_t start_ns, uint64_t since_ns)
{
	struct mappings *mappings = agent->mappings;
	uint64_t oldest = mappings->taken > RECENT ? mappings->taken - RECENT : 0;

	if (oldest && mappings->recent[oldest % RECENT].time_ns > since_ns)
		maps_stale(agent->maps, tgid, start_ns); /* too much came since: to be read again */
	for (uint64_t i = oldest; i < mappings->taken; i++) {
		struct mapping *mapping = &mappings->recent[i % RECENT];

		if (mapping->tgid != tgid || mapping->time_ns < since_ns)
			continue;
		mapping->region.path = mapping->path;
		maps_add(agent->maps, tgid, start_ns, &mapping->region);
		targets_mapping(agent->targets, tgid, start_ns, &mapping->region);
	}
}

static void on_record(void *context, uint32_t tgid, uint64_t time_ns, const struct maps_region *region,
		      uint64_t lost)
{
	struct agent *agent = context;
	struct mappings *mappings = agent->mappings;

	if (lost) {
		mappings->lost += lost;
		maps_stale(agent->maps, 0, 0);
		watch_rescan(agent);
	} else if (time_ns <= mappings->horizon_ns || mappings->stash_count == STASH) {
		take(agent, tgid, time_ns, region);
	} else {
		keep(&mappings->stash[mappings->stash_count++], tgid, time_ns, region);
	}
}

static void take_stash(struct agent *agent)
{
	struct mappings *mappings = agent->mappings;
	size_t kept = 0;

	for (size_t i = 0; i < mappings->stash_count; i++) {
		struct mapping *mapping = &mappings->stash[i];

		if (mapping->time_ns > mappings->horizon_ns) {
			mappings->stash[kept++] = *mapping;
			continue;
		}
		mapping->region.path = mapping->path;
		take(agent, mapping->tgid, mapping->time_ns, &mapping->region);
	}
	mappings->stash_count = kept;
}

/* What comes while this is at work is for the next time: who maps in a loop must not keep the agent here. */
void mappings_take(struct agent *agent, uint64_t horizon_ns)
{
	int more = 1;

	if (!agent->mmap_records)
		return;
	if (horizon_ns > agent->mappings->horizon_ns)
		agent->mappings->horizon_ns = horizon_ns;
	take_stash(agent);
	for (int round = 0; more && round < ROUNDS; round++) {
		more = 0;
		if (mmap_records_drain(agent->mmap_records, AGENT_MMAP_BATCH, on_record, agent, &more) <= 0)
			break;
	}
}

void mappings_tick(struct agent *agent)
{
	if (agent->mappings->lost)
		log_say(LOG_WARN, "maps", "%llu mmap records were lost; maps are read anew",
			(unsigned long long)agent->mappings->lost);
	agent->mappings->lost = 0;
}

int mappings_new(struct mappings **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void mappings_free(struct mappings *mappings)
{
	free(mappings);
}
