/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes by identity. One may be half known: its fault can be read before its fork, because they come by
 * different lanes, and records can be lost; so whatever shows that a watched process exists makes it, and
 * what comes later fills it in.
 *
 * Roles: who forked watched children is a master, the children are workers. A child that soon executes
 * something else was a helper (`system`, backticks) and makes nobody a master.
 */
#include "user/model/state.h"
#include "user/base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct process_key process_key(uint32_t tgid, uint64_t start_ns)
{
	return (struct process_key){.start_ns = start_ns, .tgid = tgid};
}

struct process_state *process_find(struct model *model, uint32_t tgid, uint64_t start_ns)
{
	struct process_key key = process_key(tgid, start_ns);
	return table_get(model->processes, &key);
}

struct process_state *process_peek(const struct model *model, uint32_t tgid, uint64_t start_ns)
{
	struct process_key key = process_key(tgid, start_ns);
	return table_peek(model->processes, &key);
}

static struct process_state *parent_of(const struct model *model, const struct process_state *process)
{
	return process_peek(model, process->pub.parent.tgid, process->pub.parent.start_ns);
}

struct process_state *process_need(struct model *model, const struct ev_head *head, const char *comm)
{
	struct process_state *process = process_find(model, head->tgid, head->start_ns);
	if (process)
		return process;
	while (table_count(model->processes) >= model->limits.processes && death_clear_one(model))
		;
	struct process_key key = process_key(head->tgid, head->start_ns);
	bool fresh;
	process = table_put(model->processes, &key, &fresh);
	if (!process)
		return NULL;
	process->pub.id = (struct identity){head->tgid, head->start_ns};
	process->pub.seen_ns = head->time_ns;
	text_copy(process->pub.comm, sizeof(process->pub.comm), comm);
	process->counted = true;
	app_assign(model, process, process->pub.comm);
	return process;
}

static void set_role(struct process_state *process, enum role role)
{
	if (process->counted)
		app_count(process, -1);
	process->pub.role = role;
	if (process->counted)
		app_count(process, 1);
}

void process_uncount(struct process_state *process)
{
	if (process->counted)
		app_count(process, -1);
	process->counted = false;
}

static void process_link(struct model *model, struct process_state *process)
{
	struct process_state *parent = parent_of(model, process);
	if (!parent || parent == process || process->linked || parent->buried)
		return;
	process->linked = true;
	parent->pub.children++;
	set_role(parent, ROLE_MASTER);
	if (process->pub.role == ROLE_SINGLE)
		set_role(process, ROLE_WORKER);
}

void process_unlink(struct model *model, struct process_state *process, bool real)
{
	struct process_state *parent = parent_of(model, process);
	if (!process->linked || !parent)
		return;
	process->linked = false;
	parent->pub.children--;
	parent->had_worker |= real;
	if (parent->pub.children == 0 && !parent->had_worker)
		set_role(parent, parent->linked ? ROLE_WORKER : ROLE_SINGLE);
}

/* The agent lists what runs already in no useful order: children may have come before their master. */
struct adoption {
	struct model *model;
	const struct process_state *parent;
};

static void adopt(void *context, const void *key, void *value)
{
	const struct adoption *adoption = context;
	struct process_state *process = value;
	(void)key;
	if (!process->buried && !process->replaced &&
	    process->pub.parent.tgid == adoption->parent->pub.id.tgid &&
	    process->pub.parent.start_ns == adoption->parent->pub.id.start_ns)
		process_link(adoption->model, process);
}

/* The same identity after an exec is a new program, and the old one's child of nobody. */
static bool forget_former(struct model *model, const struct ev_birth *ev)
{
	const struct process_state *former = process_peek(model, ev->head.tgid, ev->head.start_ns);
	struct process_key key = process_key(ev->head.tgid, ev->head.start_ns);
	if (!former || !former->buried || ev->head.type != EV_WATCH)
		return false;
	return table_delete(model->processes, &key);
}

/*
 * A fork is where its parent is. Where that is a birth does not say: the kernel's number of a cgroup is no
 * name that EV_INFO or a peer's facts could be compared with, and on hybrid hosts many cgroups share one.
 */
static void inherit(struct model *model, struct process_state *process, const struct process_state *parent)
{
	process->netns = parent->netns;
	process->cgroup_id = parent->cgroup_id;
	process->placed |= parent->placed;
	process->introduced |= parent->introduced;
	memcpy(process->pub.title, parent->pub.title, sizeof(process->pub.title));
	app_assign(model, process, parent->pub.app->name);
}

/* What waited until it is known whose it is. */
static void review(struct model *model, struct process_state *process)
{
	fault_review(model, process);
	if (process->buried)
		death_review(model, process, false);
}

struct placing {
	struct model *model;
	const struct process_state *parent;
};

static void place_fork(void *context, const void *key, void *value)
{
	const struct placing *placing = context;
	struct process_state *child = value;
	(void)key;
	if (child->placed || child->judged || !child->forked ||
	    child->pub.parent.tgid != placing->parent->pub.id.tgid ||
	    child->pub.parent.start_ns != placing->parent->pub.id.start_ns)
		return;
	inherit(placing->model, child, placing->parent);
	review(placing->model, child);
	if (child->pub.children)
		table_each(placing->model->processes, place_fork, &(struct placing){placing->model, child});
}

/* What it forked while nobody knew where it is is there as well. */
static void place(struct model *model, struct process_state *process)
{
	bool first = !process->placed && process->pub.children;
	process->placed = true;
	review(model, process);
	if (first)
		table_each(model->processes, place_fork, &(struct placing){model, process});
}

struct process_state *process_birth(struct model *model, const struct ev_birth *ev)
{
	bool replaced = forget_former(model, ev);
	struct process_state *process = process_need(model, &ev->head, ev->comm);
	if (!process || process->buried)
		return NULL;
	const struct process_state *parent;
	process->replaced = replaced;
	process->forked = ev->head.type == EV_FORK;
	if (!process->placed) /* the kernel's own word of a start may come after what /proc or the library
				 said */
		process->uid = ev->uid;
	process->pub.parent = (struct identity){ev->parent_tgid, ev->parent_start_ns};
	text_copy(process->pub.comm, sizeof(process->pub.comm), ev->comm);
	parent = parent_of(model, process);
	if (process->forked && parent && !process->placed)
		inherit(model, process, parent);
	else if (!process->placed)
		app_assign(model, process, process->pub.comm);
	if (!replaced)
		process_link(model, process);
	if (ev->head.type == EV_WATCH)
		table_each(model->processes, adopt, &(struct adoption){model, process});
	model_say(model, process->forked ? NOTICE_FORKED : NOTICE_WATCHED, ev->head.time_ns, process);
	review(model, process);
	return process;
}

static void learn(struct app *app, const char *ruby, const char *server)
{
	if (*ruby)
		text_copy(app->ruby, sizeof(app->ruby), ruby);
	if (*server)
		text_copy(app->server, sizeof(app->server), server);
}

void process_info(struct model *model, struct process_state *process, const struct ev_info *ev)
{
	char name[sizeof(ev->app)];
	process->named = true;
	process->uid = ev->uid;
	process->netns = ev->netns;
	process->cgroup_id = ev->cgroup_id;
	if (*ev->comm)
		text_copy(process->pub.comm, sizeof(process->pub.comm), ev->comm);
	text_copy(process->pub.title, sizeof(process->pub.title), ev->title);
	/* a copy: the app that holds the name may go when its last process does */
	text_copy(name, sizeof(name),
		  process->introduced ? process->pub.app->name
		  : *ev->app          ? ev->app
				      : process->pub.comm);
	app_assign(model, process, name);
	learn(process->pub.app, ev->ruby, ev->server);
	place(model, process);
}

/* What the agent made of a hello: the scope is from kernel facts, and the name was its to decide. */
void process_hello(struct model *model, struct process_state *process, const struct ev_hello *ev)
{
	process->introduced = true;
	process->uid = ev->scope.uid;
	process->netns = ev->scope.netns;
	process->cgroup_id = ev->scope.cgroup_id;
	process->pub.told = process->connected = true;
	process->pub.told_role = (enum app_role)ev->role;
	process->state = APP_SILENT; /* until it says more, right after this */
	process->hold_end_ns = 0;
	process->pub.accepts = ev->accepts;
	app_assign(model, process, ev->scope.app);
	learn(process->pub.app, ev->ruby, ev->server);
	place(model, process);
}

void process_sample(struct process_state *process, const struct ev_sample *ev)
{
	process->pub.rss_bytes = ev->rss_bytes;
	if (ev->pss_bytes) /* not measured every time */
		process->pub.pss_bytes = ev->pss_bytes;
	process->pub.minor_faults = ev->minor_faults;
	process->pub.major_faults = ev->major_faults;
	process->pub.user_faults = ev->user_faults;
	process->pub.cpu_ns = ev->cpu_ns;
}

void process_trouble(struct process_state *process, uint64_t time_ns, const char *format, ...)
{
	va_list args;
	if (!process->troubles && !(process->troubles = calloc(TROUBLE_MAX, sizeof(*process->troubles))))
		return;
	struct trouble *trouble = &process->troubles[process->trouble_count++ % TROUBLE_MAX];
	trouble->time_ns = time_ns;
	va_start(args, format);
	vsnprintf(trouble->what, sizeof(trouble->what), format, args);
	va_end(args);
	text_clean(trouble->what);
}

void process_tick(struct model *model, struct process_state *process)
{
	if (process->settled)
		return;
	struct process_state *parent = process->linked ? parent_of(model, process) : NULL;
	process->settled = true;
	if (parent)
		parent->had_worker = true;
}

void process_gone(void *context, const void *key, void *value)
{
	struct model *model = context;
	struct process_state *process = value;
	(void)key;
	process_unlink(model, process, true);
	connection_drop_all(model, process);
	fault_forget(process);
	flight_done(&process->flight);
	free(process->fatal);
	free(process->crash);
	free(process->troubles);
	app_release(model, process);
}

const struct process *model_process(const struct model *model, uint32_t tgid, uint64_t start_ns)
{
	const struct process_state *process = process_peek(model, tgid, start_ns);
	return process && !(process->buried && process->judged) ? &process->pub : NULL;
}
