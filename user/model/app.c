/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Apps: one name in one scope (uid, network namespace, cgroup). A process is in an app from its first record
 * on: by its command until EV_INFO or its library's hello knows better, or its parent's when it was forked.
 * An app without a process and without a history is dropped at once; one with a history stays as long as the
 * table has room.
 */
#include "user/model/state.h"
#include "user/base/text.h"
#include <stdlib.h>
#include <string.h>

static struct app_key app_key(const char *name, uint32_t uid, uint32_t netns, uint64_t cgroup_id)
{
	struct app_key key;
	memset(&key, 0, sizeof(key));
	key.cgroup_id = cgroup_id;
	key.uid = uid;
	key.netns = netns;
	text_copy(key.name, sizeof(key.name), name);
	return key;
}

struct app_state *app_of(const struct process_state *process)
{
	return (struct app_state *)process->pub.app;
}

struct app_state *app_find(const struct model *model, const struct ev_scope *scope)
{
	struct app_key key = app_key(scope->app, scope->uid, scope->netns, scope->cgroup_id);
	struct app_state *app = table_peek(model->apps, &key);
	return app && app->processes ? app : NULL;
}

void app_gone(void *context, const void *key, void *value)
{
	struct app_state *app = value;
	(void)context;
	(void)key;
	free(app->crash_ns);
}

static void find_unused(void *context, const void *key, void *value)
{
	const struct app_state *app = value;
	const void **unused = context;
	if (app->processes == 0 && !*unused)
		*unused = key;
}

/* The table evicts by age alone, but an app that has processes must stay. */
static bool make_room(struct model *model)
{
	if (table_count(model->apps) < model->limits.apps)
		return true;
	const struct app_key *unused = NULL;
	table_each(model->apps, find_unused, &unused);
	if (!unused)
		return false;
	struct app_key key = *unused;
	return table_delete(model->apps, &key);
}

static struct app_state *app_need(struct model *model, const char *name, const struct process_state *process)
{
	struct app_key key = app_key(name, process->uid, process->netns, process->cgroup_id);
	struct app_state *app = table_get(model->apps, &key);
	if (app)
		return app;
	bool fresh = false;
	if (make_room(model))
		app = table_put(model->apps, &key, &fresh);
	if (!app)
		return &model->overflow;
	text_copy(app->pub.name, sizeof(app->pub.name), name);
	app->pub.uid = key.uid;
	app->pub.netns = key.netns;
	app->pub.cgroup_id = key.cgroup_id;
	return app;
}

static void app_workers(struct app_state *app)
{
	uint32_t workers = app->roles[ROLE_WORKER] + app->roles[ROLE_SINGLE];
	app->pub.workers = workers ? workers : app->roles[ROLE_MASTER];
}

void app_count(struct process_state *process, int by)
{
	struct app_state *app = app_of(process);
	app->roles[process->pub.role] += (uint32_t)by;
	app_workers(app);
}

void app_release(struct model *model, struct process_state *process)
{
	struct app_state *app = app_of(process);
	if (!app)
		return;
	if (process->counted)
		app_count(process, -1);
	process->pub.app = NULL;
	if (--app->processes || app == &model->overflow || app->pub.crashes || app->pub.exits)
		return;
	struct app_key key = app_key(app->pub.name, app->pub.uid, app->pub.netns, app->pub.cgroup_id);
	table_delete(model->apps, &key);
}

void app_assign(struct model *model, struct process_state *process, const char *name)
{
	struct app_state *app = app_need(model, *name ? name : "unknown", process);
	if (app == app_of(process))
		return;
	app->processes++; /* before the release, which may drop an app that nobody uses */
	app_release(model, process);
	process->pub.app = &app->pub;
	if (process->counted)
		app_count(process, 1);
}

void app_crash(struct app_state *app, uint64_t time_ns)
{
	app->pub.crashes++;
	if (time_ns > app->pub.last_crash_ns)
		app->pub.last_crash_ns = time_ns;
	if (!app->crash_ns && !(app->crash_ns = calloc(APP_CRASHES, sizeof(*app->crash_ns))))
		return;
	app->crash_ns[(app->crash_first + app->crash_count) % APP_CRASHES] = time_ns;
	if (app->crash_count < APP_CRASHES)
		app->crash_count++;
	else
		app->crash_first = (uint16_t)((app->crash_first + 1) % APP_CRASHES);
}

uint32_t model_crashes_since(const struct model *model, const struct app *pub, uint64_t since_ns)
{
	const struct app_state *app = (const struct app_state *)pub;
	uint32_t found = 0;
	(void)model;
	for (uint32_t i = 0; i < app->crash_count; i++)
		found += app->crash_ns[(app->crash_first + i) % APP_CRASHES] >= since_ns;
	return found;
}
