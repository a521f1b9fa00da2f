// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include "user/base/digest.h"
#include "user/base/errands.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"
#include "user/cli/agent_proc.h"
#include "user/probe/app_name.h"
#include "user/probe/procfs.h"

/* Beyond it, a reader hangs or the host starts processes faster than they can be looked at. */
enum { READING = 8192 };

/* Of one process: one that blocks its readers must not take them all. */
enum { READING_ONE = 2 };

struct reading_key {
	uint64_t start_ns;
	uint32_t tgid, pad;
};

static struct reading_key key_of(uint32_t tgid, uint64_t start_ns)
{
	return (struct reading_key){.start_ns = start_ns, .tgid = tgid};
}

/*
 * What hangs a reader is the process's own to make: an executable on a file system that does not answer.
 * Owner is who could make it: a user in a cgroup; the group is the user, who may have many of them.
 */
static const struct errands_settings places = {
	.threads = 16,
	.of_owner = 4,
	.of_group = 8,
	.waiting_of_owner = 1024,
	.off = 64,
	.off_of_owner = 8,
	.off_of_group = 16,
	.patience_ns = 1000000000,
};

struct job {
	struct errand errand;
	struct agent *agent;
	struct proc_answer answer;
};

/* On a thread of its own: touches the job, the configuration (constant since the start) and `stopping`.
 */
static void read_facts(struct job *job)
{
	struct proc_answer *answer = &job->answer;
	struct ev_info *info = &answer->info;
	const struct config_app *app;
	struct procfs_facts facts;

	if (procfs_facts(answer->tgid, answer->start_ns, &facts) != 0)
		return;
	app = config_app_of(&job->agent->config, facts.uid, facts.cgroup, facts.comm, facts.title);
	answer->excluded = app && app->exclude;
	answer->configured = app && app->name[0];
	text_copy(answer->capture, sizeof(answer->capture), app ? app->capture : job->agent->config.capture);
	info->uid = facts.uid;
	info->gid = facts.gid;
	info->parent_tgid = facts.parent_tgid;
	info->exe_inode = facts.exe_inode;
	info->exe_dev = facts.exe_dev;
	info->netns = facts.netns;
	info->cgroup_id = digest_text(DIGEST_START, facts.cgroup);
	text_copy(info->comm, sizeof(info->comm), facts.comm);
	text_copy(info->exe, sizeof(info->exe), facts.exe);
	text_copy(info->cgroup, sizeof(info->cgroup), facts.cgroup);
	text_copy(info->title, sizeof(info->title), facts.title);
	text_copy(info->server, sizeof(info->server), procfs_server(facts.title));
	if (app && app->name[0])
		text_copy(info->app, sizeof(info->app), app->name);
	else
		app_name(facts.cgroup, facts.title, facts.comm, info->app, sizeof(info->app));
	answer->got |= PROC_FACTS;
}

static void read_sample(struct job *job)
{
	struct procfs_usage usage;

	if (procfs_usage(job->answer.tgid, job->answer.start_ns, &usage) != 0)
		return;
	job->answer.sample.rss_bytes = usage.rss_bytes;
	job->answer.sample.minor_faults = usage.minor_faults;
	job->answer.sample.major_faults = usage.major_faults;
	job->answer.sample.cpu_ns = usage.cpu_ns;
	job->answer.got |= PROC_SAMPLE;
}

/* Neither these nor its namespaces are read from its memory or from its files, so they cannot be held up. */
static void whose(struct errand *errand)
{
	struct job *job = (struct job *)errand;
	struct procfs_facts facts;

	if (procfs_scope(job->answer.tgid, job->answer.start_ns, &facts) != 0)
		return;
	errand->owner = digest_text(DIGEST_START, facts.cgroup);
	errand->group = facts.uid;
}

static void run(struct errand *errand)
{
	struct job *job = (struct job *)errand;
	struct proc_answer *answer = &job->answer;

	if (__atomic_load_n(&job->agent->stopping, __ATOMIC_RELAXED))
		return; /* nobody listens any more */
	answer->read_ns = when_boot_now();
	if (answer->wanted & PROC_FACTS)
		read_facts(job);
	if ((answer->wanted & PROC_MAPS) &&
	    procfs_maps(answer->tgid, answer->start_ns, &answer->maps, &answer->maps_size) == 0)
		answer->got |= PROC_MAPS;
	if (answer->wanted & PROC_SAMPLE)
		read_sample(job);
	answer->ended = procfs_ended(answer->tgid, answer->start_ns);
}

static void done(struct job *job)
{
	struct agent *agent = job->agent;
	struct reading_key key = key_of(job->answer.tgid, job->answer.start_ns);
	uint32_t *of_one = table_peek(agent->readers, &key);

	agent->reading--;
	if (of_one && --*of_one == 0)
		table_delete(agent->readers, &key);
	if (job->errand.refused && (job->answer.wanted & PROC_ADOPT))
		watch_rescan(agent);
	if (!agent->stopping)
		watch_answered(agent, &job->answer);
	if (job->answer.got & PROC_MAPS)
		free(job->answer.maps);
	free(job);
}

static void answers(uv_async_t *async)
{
	struct agent *agent = async->data;
	struct errand *errand;

	while ((errand = errands_done(agent->errands)))
		done((struct job *)errand);
}

static void wake(void *context)
{
	uv_async_send(context);
}

int proc_open(struct agent *agent)
{
	const struct errands_events events = {
		.context = &agent->answers, .whose = whose, .run = run, .wake = wake};

	agent->readers = table_new(sizeof(struct reading_key), sizeof(uint32_t), READING, NULL, NULL);
	agent->answers.data = agent;
	if (!agent->readers || uv_async_init(&agent->loop, &agent->answers, answers) != 0)
		return -ENOMEM;
	agent->errands = errands_new(&places, &events);
	return agent->errands ? 0 : -ENOMEM;
}

void proc_tick(struct agent *agent)
{
	uint32_t before = errands_written_off(agent->errands), hanging;

	errands_tick(agent->errands, uv_hrtime());
	hanging = errands_written_off(agent->errands);
	if (hanging > before)
		log_say(LOG_WARN, "watch",
			"%u readers of /proc hang in what processes have on file systems that do not "
			"answer",
			hanging);
}

int proc_ask(struct agent *agent, uint32_t tgid, uint64_t start_ns, unsigned wanted)
{
	struct reading_key key = key_of(tgid, start_ns);
	uint32_t *of_one = agent->reading < READING ? table_put(agent->readers, &key, NULL) : NULL;
	struct job *job = of_one && *of_one < READING_ONE ? calloc(1, sizeof(*job)) : NULL;

	if (!job)
		return -EAGAIN;
	job->agent = agent;
	job->answer.tgid = tgid;
	job->answer.start_ns = start_ns;
	job->answer.wanted = wanted;
	if (errands_add(agent->errands, &job->errand) != 0) {
		if (*of_one == 0)
			table_delete(agent->readers, &key);
		free(job);
		return -EAGAIN;
	}
	agent->reading++;
	++*of_one;
	return 0;
}
