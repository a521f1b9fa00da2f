/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outages that are over, by app and target. A pool finds its dead connections one by one, long after the
 * database is back: the server ended them in the outage, and their failures say nothing of it now. So a loss
 * counts only on a connection that was alive after the latest recovery: opened since, or answered a statement
 * since. What shows a recovery is a connection that opened or a good test after a failure; what ends it is
 * the next failure that counts, so in a new outage every connection speaks again.
 *
 * Kept within the app: what one app names forgets nothing of another's.
 */
#include "user/base/digest.h"
#include "user/model/state.h"
#include <string.h>

static uint64_t name_of(const char *target)
{
	return digest_text(DIGEST_START, target) | 1;
}

static struct recovery *find(struct app_state *app, const char *target)
{
	for (unsigned i = 0; *target && i < RECOVERIES; i++)
		if (app->recoveries[i].target == name_of(target))
			return &app->recoveries[i];
	return NULL;
}

void recovery_failed(struct app_state *app, const char *target, uint64_t time_ns)
{
	struct recovery *found = find(app, target);
	if (!*target)
		return;
	if (!found) {
		found = &app->recoveries[0];
		for (unsigned i = 1; i < RECOVERIES; i++)
			if (app->recoveries[i].failed_ns < found->failed_ns)
				found = &app->recoveries[i];
		*found = (struct recovery){.target = name_of(target)};
	}
	if (time_ns > found->failed_ns)
		found->failed_ns = time_ns;
}

void recovery_served(struct app_state *app, const char *target, uint64_t time_ns)
{
	struct recovery *found = find(app, target);
	if (found && time_ns > found->failed_ns && found->failed_ns > found->served_ns)
		found->served_ns = time_ns;
}

bool recovery_outlived(struct app_state *app, const char *target, uint64_t alive_ns)
{
	const struct recovery *found = find(app, target);
	return !found || found->served_ns <= found->failed_ns || alive_ns >= found->served_ns;
}

void recovery_probe(struct app_state *app, const struct ev_probe *ev)
{
	bool serves_nobody = strncmp(ev->sqlstate, "08", 2) == 0 || strncmp(ev->sqlstate, "53", 2) == 0 ||
			     strncmp(ev->sqlstate, "57P", 3) == 0;
	if (ev->result == PROBE_OK)
		recovery_served(app, ev->target, ev->head.time_ns);
	else if (ev->reached && ev->result != PROBE_NOT_RUN &&
		 (ev->result != PROBE_REJECTED || serves_nobody))
		recovery_failed(app, ev->target, ev->head.time_ns);
}
