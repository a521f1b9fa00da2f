/* SPDX-License-Identifier: Apache-2.0 */
/* A model with a history that writes to it and a note of everything it said. */
#ifndef LAPIDARY_TESTS_MODEL_WATCHER_H
#define LAPIDARY_TESTS_MODEL_WATCHER_H

#include <stdlib.h>
#include "tests/history.h"
#include "user/model/model.h"

struct watcher {
	struct model *model;
	struct history history;
	unsigned said[NOTICE_ACTION + 1];
	struct crash crash;    /* the last */
	struct db_error error; /* the last */
	int32_t gone_status;
	uint32_t gone_pid;
	const struct app *app; /* of the last probe, breaker or action */
	struct app crashed;    /* of the last crash, as it was then */
};

static inline void watcher_notice(void *context, const struct notice *notice)
{
	struct watcher *w = context;
	w->said[notice->type]++;
	if (notice->crash)
		w->crash = *notice->crash;
	if (notice->type == NOTICE_CRASH)
		w->crashed = *notice->process->app;
	if (notice->db_error)
		w->error = *notice->db_error;
	if (notice->type >= NOTICE_PROBE)
		w->app = notice->app;
	if (notice->type == NOTICE_GONE) {
		w->gone_status = notice->status;
		w->gone_pid = notice->process->id.tgid;
	}
}

static inline void watcher_emit(void *context, const struct ev_head *ev)
{
	struct watcher *w = context;
	model_apply(w->model, ev, watcher_notice, w);
}

static inline void watcher_init(struct watcher *w, const struct model_limits *limits)
{
	memset(w, 0, sizeof(*w));
	w->model = model_new(limits);
	w->history.emit = watcher_emit;
	w->history.context = w;
	history_begin(&w->history, NULL);
}

static inline void watcher_done(struct watcher *w)
{
	model_free(w->model);
}

#endif
