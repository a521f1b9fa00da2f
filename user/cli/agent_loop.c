// SPDX-License-Identifier: Apache-2.0
/*
 * The loop around libuv's: the rings are read before anything else, and urgently; sockets and timers come
 * after that, with ordinary priority. So the wait is here, for the rings and for whatever libuv waits for,
 * and libuv itself never waits.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/log.h"
#include "user/base/when.h"
#include "user/cli/agent.h"

void agent_calm(struct agent *agent)
{
	urgency_end(&agent->urgency, when_boot_now());
}

static void targets_poll_ready(uv_poll_t *poll, int status, int events)
{
	struct agent *agent = poll->data;

	(void)status;
	(void)events;
	targets_ready(agent->targets);
}

static void ticked(uv_timer_t *timer)
{
	agent_tick(timer->data);
}

static void asked_to_stop(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;

	log_say(LOG_INFO, "stop", "%s: stopping", strsignal(number));
	__atomic_store_n(&agent->stopping, true, __ATOMIC_RELAXED);
}

static int poll_start(struct agent *agent, uv_poll_t *poll, int fd, uv_poll_cb ready)
{
	poll->data = agent;
	return uv_poll_init(&agent->loop, poll, fd) || uv_poll_start(poll, UV_READABLE, ready);
}

int agent_loop_open(struct agent *agent)
{
	enum { TICK_MS = 1000 };

	agent->tick.data = agent->terminate.data = agent->interrupt.data = agent;
	if (poll_start(agent, &agent->targets_poll, targets_fd(agent->targets), targets_poll_ready) ||
	    uv_timer_init(&agent->loop, &agent->tick) ||
	    uv_timer_start(&agent->tick, ticked, TICK_MS, TICK_MS) ||
	    uv_signal_init(&agent->loop, &agent->terminate) ||
	    uv_signal_start(&agent->terminate, asked_to_stop, SIGTERM) ||
	    uv_signal_init(&agent->loop, &agent->interrupt) ||
	    uv_signal_start(&agent->interrupt, asked_to_stop, SIGINT))
		return -EIO;
	return 0;
}

/*
 * Rings and mmap records are read as who is urgent, since they are what wakes us most and take little; only
 * where libuv has something to do, or reading took too long, does the urgency end. So a death that comes
 * right after another record finds us running, or asleep and urgent.
 *
 * uv_backend_timeout says 0 where libuv has descriptors that it has not put into its own epoll yet, so none
 * is missed (since libuv 1.44).
 */
void agent_loop_run(struct agent *agent)
{
	struct pollfd fds[] = {
		{.fd = uv_backend_fd(&agent->loop), .events = POLLIN},
		{.fd = probe_fd(agent->probe), .events = POLLIN},
		{.fd = agent->mmap_records ? mmap_records_fd(agent->mmap_records) : -1, .events = POLLIN}};
	int ready;

	while (!agent->stopping) {
		uv_update_time(&agent->loop);
		urgency_sleep(&agent->urgency, when_boot_now());
		ready = poll(fds, sizeof(fds) / sizeof(fds[0]), uv_backend_timeout(&agent->loop));
		urgency_wake(&agent->urgency, when_boot_now());
		if (ready > 0 && (fds[1].revents || fds[2].revents)) {
			agent_drain(agent); /* births before mappings */
			mappings_take(agent, agent->drained_ns);
		}
		if (ready <= 0 ||
		    fds[0].revents) { /* its timers, too, or a signal that its handler has noted */
			agent_calm(agent);
			uv_run(&agent->loop, UV_RUN_NOWAIT);
		}
	}
}
