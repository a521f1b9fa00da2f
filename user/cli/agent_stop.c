// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's stop. The loop goes first, so that nobody calls into what is taken apart; then the readers
 * of what the probes said, the probes, and last the store, which gets time to write what it was given. What
 * hangs (a reader of /proc, the store's disk) is left behind within a limit.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "user/base/errands.h"
#include "user/base/log.h"
#include "user/cli/agent.h"

enum { EXIT_FORCED = 124, READERS_MS = 500 };

static void close_handle(uv_handle_t *handle)
{
	if (handle->type != UV_UNKNOWN_HANDLE &&
	    !uv_is_closing(handle)) /* a start that failed set up some alone */
		uv_close(handle, NULL);
}

static void waited_enough(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/*
 * A reader that hangs in /proc is not waited for: the store would not be closed in order for its sake.
 * The tick's timer has done its work and keeps the time.
 */
static void wait_for_readers(struct agent *agent)
{
	bool enough = false;

	errands_stop(agent->errands);
	if (agent->reading > 0) {
		agent->tick.data = &enough;
		uv_timer_start(&agent->tick, waited_enough, READERS_MS, 0);
		while (agent->reading > 0 && !enough)
			uv_run(&agent->loop, UV_RUN_ONCE);
	}
	if (agent->reading > 0)
		log_say(LOG_WARN, "stop", "%u readers of /proc hang and are left behind", agent->reading);
	close_handle((uv_handle_t *)&agent->tick);
	close_handle((uv_handle_t *)&agent->answers);
}

static void close_loop(struct agent *agent)
{
	if (!agent->loop_open)
		return;
	control_close(agent->control);
	acting_close(agent);
	close_handle((uv_handle_t *)&agent->targets_poll);
	close_handle((uv_handle_t *)&agent->terminate);
	close_handle((uv_handle_t *)&agent->interrupt);
	wait_for_readers(agent);
	if (agent->reading == 0) {
		uv_run(&agent->loop, UV_RUN_DEFAULT);
		uv_loop_close(&agent->loop);
		control_free(agent->control);
	}
}

/* A store that hangs on its disk must not keep a stopping agent for ever. */
static void forced(int signal)
{
	static const char line[] = "lapidary: agent: the stop took longer than its limit and was forced\n";

	(void)signal;
	if (write(STDERR_FILENO, line, sizeof(line) - 1)) {
	}
	_exit(EXIT_FORCED);
}

void agent_stop(struct agent *agent)
{
	signal(SIGALRM, forced);
	alarm((agent->config.stop_timeout_ms + 1999) / 1000);
	if (agent->stopping)
		agent_tick(agent); /* what lies in the rings is recorded */
	examine_stop(agent);
	close_loop(agent);
	recorder_close(agent->recorder);
	targets_free(agent->targets);
	mmap_records_close(agent->mmap_records);
	probe_close(agent->probe);
	spawner_stop(agent->spawner);
	watch_free(agent->watch);
	mappings_free(agent->mappings);
	table_free(agent->readers);
	errands_free(agent->errands); /* or stays, with those that hang */
	crash_stage_free(agent);
	reports_free(agent);
	if (agent->store && store_close(agent->store, agent->config.stop_timeout_ms) != 0)
		agent->exit_code = agent->exit_code ? agent->exit_code : EXIT_FORCED;
	maps_free(agent->maps);
	acting_free(agent);
	gaps_free(agent->gaps);
	pipeline_free(agent->pipeline);
	rules_free(agent->rules);
	diagnoses_free(agent->diagnoses);
	free(agent->scratch);
}
