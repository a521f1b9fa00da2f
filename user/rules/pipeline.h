/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring → decode → model_apply → correlate → decision: the pure part of the agent in one object, so that
 * `lapidary agent` and `lapidary replay` run the same code and cannot drift apart.
 */
#ifndef LAPIDARY_PIPELINE_H
#define LAPIDARY_PIPELINE_H

#include "user/rules/rules.h"

struct pipeline_sink {
	void (*notice)(void *context, const struct notice *notice); /* before the rules see it; may be NULL */
	struct rules_sink rules;
	void *context; /* of notice */
};

struct pipeline;
/* rules are borrowed and must outlive it. */
struct pipeline *pipeline_new(const struct rules *rules, uint64_t seed, const struct model_limits *limits);
void pipeline_free(struct pipeline *pipeline);
struct model *pipeline_model(struct pipeline *pipeline); /* borrowed */
/* One decoded record; lane USER ones included (EV_TICK runs rules_tick). */
void pipeline_step(struct pipeline *pipeline, const struct ev_head *ev, const struct pipeline_sink *sink);

#endif
