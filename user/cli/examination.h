/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A confirmed crash on its way to its report: what was taken of it, and the examiner of crashes that makes
 * frames of it. agent_crash.c takes, agent_examine.c asks, agent_crash.c reports.
 */
#ifndef LAPIDARY_EXAMINATION_H
#define LAPIDARY_EXAMINATION_H

#include "user/cli/agent.h"
#include "user/crash/report.h"

struct examination {
	struct examination *next;
	struct crash crash;
	uint64_t queued_ns;
	struct maps_region *regions; /* paths borrowed from the maps, which outlive it */
	size_t region_count;
	enum maps_source maps_source;
	bool no_registers;
	uint8_t *stack;
	size_t stack_size; /* without the windows */
	struct ev_window windows[WINDOW_COUNT];
	struct ev_ruby *ruby_stack;
	char *flight;
	size_t flight_size;
	char server[16], ruby[16];
};

int examiners_new(struct agent *agent); /* 0 or -ENOMEM */
void examiners_free(struct agent *agent);

/*
 * Takes ownership. crash_examined is called when the answer is there, in the order of the crashes; at once
 * for one that nobody can be asked about.
 */
void examine(struct agent *agent, struct examination *x);
/* A crash that waits has ended: true when it is one of those, and its report will say so. */
bool examine_ended(struct agent *agent, const char *id, int32_t status);
/* Lowers *time_ns to that of the oldest fault that waits. */
void examine_oldest(const struct agent *agent, uint64_t *time_ns);

/* agent_crash.c: makes the report and hands it to the store. unwound is NULL when `why` says why. */
void crash_examined(struct agent *agent, const struct examination *x, const struct unwind_result *unwound,
		    const char *why);

#endif
