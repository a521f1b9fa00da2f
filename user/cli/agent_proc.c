// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include "user/base/digest.h"
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

struct job {
	uv_work_t work;
	struct agent *agent;
	struct proc_answer answer;
};

/* On a thread of libuv's pool: touches the job, the configuration (constant since the start) and `stopping`.
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

static void run(uv_work_t *work)
{
	struct job *job = work->data;
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

static void done(uv_work_t *work, int status)
{
	struct job *job = work->data;

	struct reading_key key = key_of(job->answer.tgid, job->answer.start_ns);
	uint32_t *of_one = table_peek(job->agent->readers, &key);

	job->agent->reading--;
	if (of_one && --*of_one == 0)
		table_delete(job->agent->readers, &key);
	if (status == 0 && !job->agent->stopping)
		watch_answered(job->agent, &job->answer);
	if (job->answer.got & PROC_MAPS)
		free(job->answer.maps);
	free(job);
}

int proc_open(struct agent *agent)
{
	agent->readers = table_new(sizeof(struct reading_key), sizeof(uint32_t), READING, NULL, NULL);
	return agent->readers ? 0 : -ENOMEM;
}

int proc_ask(struct agent *agent, uint32_t tgid, uint64_t start_ns, unsigned wanted)
{
	struct reading_key key = key_of(tgid, start_ns);
	uint32_t *of_one = agent->reading < READING ? table_put(agent->readers, &key, NULL) : NULL;
	struct job *job = of_one && *of_one < READING_ONE ? calloc(1, sizeof(*job)) : NULL;

	if (!job)
		return -EAGAIN;
	job->work.data = job;
	job->agent = agent;
	job->answer.tgid = tgid;
	job->answer.start_ns = start_ns;
	job->answer.wanted = wanted;
	if (uv_queue_work(&agent->loop, &job->work, run, done) != 0) {
		if (*of_one == 0)
			table_delete(agent->readers, &key);
		free(job);
		return -EAGAIN;
	}
	agent->reading++;
	++*of_one;
	return 0;
}
