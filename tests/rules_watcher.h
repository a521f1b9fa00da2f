/* SPDX-License-Identifier: Apache-2.0 */
/* A pipeline with a history that writes to it, and everything that came out as one text. */
#ifndef LAPIDARY_TESTS_RULES_WATCHER_H
#define LAPIDARY_TESTS_RULES_WATCHER_H

#include <stdlib.h>
#include "tests/history.h"
#include "user/base/text.h"
#include "user/rules/pipeline.h"

struct rules_watcher {
	struct rules *rules;
	struct pipeline *pipeline;
	struct pipeline_sink sink;
	struct history history;
	unsigned crashes, incidents, opened, closed, decisions;
	struct incident incident; /* the last */
	struct decision decision; /* the last */
	char actions[512];        /* "worker.hold alert " */
	char *said;               /* all documents, one a line */
	size_t said_size;
	FILE *out;
};

static inline void rules_watcher_print(struct rules_watcher *w, cJSON *document)
{
	char *text = cJSON_PrintUnformatted(document);
	fprintf(w->out, "%s\n", text);
	free(text);
	cJSON_Delete(document);
}

static inline void rules_watcher_notice(void *context, const struct notice *notice)
{
	struct rules_watcher *w = context;
	w->crashes += notice->type == NOTICE_CRASH;
}

static inline void rules_watcher_incident(void *context, const struct incident *incident)
{
	struct rules_watcher *w = context;
	w->incidents++;
	w->opened += strcmp(w->incident.id, incident->id) != 0 && incident->state == INCIDENT_OPEN;
	w->closed += incident->state == INCIDENT_CLOSED;
	w->incident = *incident;
	rules_watcher_print(w, incident_json(incident, pipeline_model(w->pipeline)));
}

static inline void rules_watcher_decision(void *context, const struct decision *decision)
{
	struct rules_watcher *w = context;
	size_t used = strlen(w->actions);
	w->decisions++;
	w->decision = *decision;
	text_add(w->actions, sizeof(w->actions), &used, "%s%s%s ", decision->action,
		 *decision->scope ? ":" : "", decision->scope);
	rules_watcher_print(w, decision_json(decision, pipeline_model(w->pipeline)));
}

static inline void rules_watcher_emit(void *context, const struct ev_head *ev)
{
	struct rules_watcher *w = context;
	pipeline_step(w->pipeline, ev, &w->sink);
}

/* 0, or the error of rules_load, printed. */
static inline int rules_watcher_init(struct rules_watcher *w, const char *directory)
{
	char why[512];
	memset(w, 0, sizeof(*w));
	int err = rules_load(directory, &w->rules, why, sizeof(why));
	if (err) {
		fprintf(stderr, "%s\n", why);
		return err;
	}
	w->out = open_memstream(&w->said, &w->said_size);
	w->pipeline = pipeline_new(w->rules, 1, NULL);
	w->sink = (struct pipeline_sink){
		rules_watcher_notice, {rules_watcher_incident, rules_watcher_decision, w}, w};
	w->history = (struct history){.emit = rules_watcher_emit, .context = w};
	history_begin(&w->history, rules_digest(w->rules));
	return 0;
}

static inline void rules_watcher_done(struct rules_watcher *w)
{
	pipeline_free(w->pipeline);
	rules_free(w->rules);
	if (w->out)
		fclose(w->out);
	free(w->said);
}

#endif
