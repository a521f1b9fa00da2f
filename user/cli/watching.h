/* SPDX-License-Identifier: Apache-2.0 */
/* What agent_watch.c (who is watched) and agent_scan.c (looking for them, and at them) share. */
#ifndef LAPIDARY_WATCHING_H
#define LAPIDARY_WATCHING_H

#include "user/cli/agent.h"

enum {
	WATCHED = MAPS_PROCESSES - 1, /* with room for the maps of one that is only looked at */
	EXCLUDED = 1024,
	SCANS = 8192,
};

struct watch {
	struct agent *agent;
	struct table *watched;  /* tgid → struct watched */
	struct table *excluded; /* tgid → start_ns, for doctor */
	struct table *scans;    /* tgid → start_ns: jobs of a scan that are out */
	uint32_t looked_tgid;   /* whose maps are being looked at */
	uint64_t looked_start_ns;
	bool full_told;
	uint64_t next_sample_ns;
	bool rescan; /* a Ruby may have come unseen */
};

/* start_ns 0: whoever has that id. NULL: not watched. */
struct watched *watching_find(struct agent *agent, uint32_t tgid, uint64_t start_ns);
/* Forgets it, its maps and its share of the probed files. */
void watching_leave(struct agent *agent, uint32_t tgid, uint64_t start_ns);

#endif
