/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's pure part: model and rules in one object, stepped record by record. */
#include "user/rules/pipeline.h"
#include <stdlib.h>

struct pipeline {
	struct model *model;
	struct rules_state *state;
	const struct pipeline_sink *sink; /* of the running step */
};

struct pipeline *pipeline_new(const struct rules *rules, uint64_t seed, const struct model_limits *limits)
{
	struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
	if (!pipeline)
		return NULL;
	pipeline->model = model_new(limits);
	pipeline->state = rules_state_new(rules, seed);
	if (!pipeline->model || !pipeline->state) {
		pipeline_free(pipeline);
		return NULL;
	}
	return pipeline;
}

void pipeline_free(struct pipeline *pipeline)
{
	if (!pipeline)
		return;
	rules_state_free(pipeline->state);
	model_free(pipeline->model);
	free(pipeline);
}

struct model *pipeline_model(struct pipeline *pipeline)
{
	return pipeline->model;
}

static void on_notice(void *context, const struct notice *notice)
{
	struct pipeline *pipeline = context;
	if (pipeline->sink->notice)
		pipeline->sink->notice(pipeline->sink->context, notice);
	rules_notice(pipeline->state, pipeline->model, notice, &pipeline->sink->rules);
}

void pipeline_step(struct pipeline *pipeline, const struct ev_head *ev, const struct pipeline_sink *sink)
{
	pipeline->sink = sink;
	model_apply(pipeline->model, ev, on_notice, pipeline);
	if (ev->type == EV_TICK)
		rules_tick(pipeline->state, pipeline->model, model_now(pipeline->model), &sink->rules);
	pipeline->sink = NULL;
}
