// SPDX-License-Identifier: Apache-2.0
/*
 * Crashes wait here for the examiner of crashes, one after the other. It is started within the agent's first
 * second, so that a crash finds it ready, and again after each that was lost. A report never waits long for
 * it: the crash that was in work when it died or hung gets its report without frames, those behind it are
 * asked of the next one, and nobody waits longer than WAIT_NS or behind more than WAITING_MAX others.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/base/log.h"
#include "user/base/when.h"
#include "user/cli/examination.h"
#include "user/probe/unwinder.h"

enum { WAITING_MAX = 32, STOP_MS = 500 };

#define WAIT_NS    3000000000ull
#define RESTART_NS 200000000ull /* at most five new ones a second */

struct examiners {
	struct agent *agent;
	struct unwinder *unwinder; /* NULL: none is there */
	uv_poll_t *poll;           /* of its descriptor; its memory goes when libuv lets go of it */
	bool asked;                /* the spawner was */
	bool in_work;              /* the first that waits is what the unwinder looks at */
	uint64_t asked_ns;
	struct examination *first, **end;
	size_t waiting;
	struct unwind_result result;
};

int examiners_new(struct agent *agent)
{
	struct examiners *examiners = calloc(1, sizeof(*examiners));

	if (!examiners)
		return -ENOMEM;
	examiners->agent = agent;
	examiners->end = &examiners->first;
	agent->examiners = examiners;
	return 0;
}

static void examination_free(struct examination *x)
{
	free(x->regions);
	free(x->stack);
	free(x->ruby_stack);
	free(x->flight);
	free(x);
}

static void poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void drop_unwinder(struct examiners *examiners)
{
	if (examiners->poll) {
		uv_poll_stop(examiners->poll);
		uv_close((uv_handle_t *)examiners->poll, poll_closed);
	}
	examiners->poll = NULL;
	unwinder_free(examiners->unwinder);
	examiners->unwinder = NULL;
}

static void ask_for_unwinder(struct examiners *examiners)
{
	struct agent *agent = examiners->agent;
	struct spawner_request request = {.verb = SPAWNER_EXAMINER,
					  .kind = EXAMINER_OF_CRASHES,
					  .uid = agent->config.examiner_uid,
					  .token = TARGETS_UNWINDER};
	uint64_t now = when_boot_now();

	if (examiners->unwinder || examiners->asked || now - examiners->asked_ns < RESTART_NS)
		return;
	examiners->asked_ns = now;
	examiners->asked = spawner_ask(agent->spawner, &request, -1) == 0;
}

/* The first of those that wait is done. */
static void finish(struct examiners *examiners, const struct unwind_result *unwound, const char *why)
{
	struct examination *x = examiners->first;

	examiners->first = x->next;
	if (!examiners->first)
		examiners->end = &examiners->first;
	examiners->waiting--;
	crash_examined(examiners->agent, x, unwound, why);
	examination_free(x);
}

static const char *what_happened(int err)
{
	switch (err) {
	case -ETIMEDOUT:
		return "the examiner took longer than 2 s and was given up";
	case -ENOMEM:
		return "the examiner had no memory for it";
	case -EPROTO:
		return "the examiner's answer made no sense";
	case -E2BIG:
		return "the process had more mappings than the examiner takes";
	default:
		return "the examiner died";
	}
}

/* --- asking ------------------------------------------------------------------------------------------- */

static int ask(struct examiners *examiners, struct examination *x)
{
	struct unwind_source *sources = calloc(x->region_count + 1, sizeof(*sources));
	uint64_t regs[REG_COUNT];
	struct unwind_question question = {
		.regs = regs,
		.code = x->crash.fault.text,
		.code_start = x->crash.fault.code_start,
		.stack = x->stack,
		.stack_size = x->stack_size,
		.missing = x->crash.fault.missing,
		.windows = x->windows,
		.sources = sources, /* maps have them in the order of their addresses */
		.source_count = x->region_count,
	};
	int err;

	if (!sources)
		return -ENOMEM;
	for (size_t i = 0; i < x->region_count; i++) {
		const struct maps_region *region = &x->regions[i];

		sources[i] = (struct unwind_source){region->start, region->end, region->offset,
						    targets_copy(examiners->agent->targets, region),
						    targets_copy_debug(examiners->agent->targets, region)};
		if (strcmp(region->path, "[vdso]") == 0)
			question.vdso = region->start;
	}
	memcpy(regs, x->crash.fault.regs, sizeof(regs));
	err = unwinder_ask(examiners->unwinder, &question, when_boot_now());
	free(sources);
	return err;
}

static void pump(struct examiners *examiners)
{
	int err = 0;

	while (examiners->first && examiners->unwinder && !unwinder_busy(examiners->unwinder)) {
		err = ask(examiners, examiners->first);
		if (err == -EPIPE || err == -EAGAIN)
			break;
		if (err)
			finish(examiners, NULL, what_happened(err));
		else
			examiners->in_work = true;
	}
	if (err == -EPIPE || err == -EAGAIN)
		drop_unwinder(examiners); /* nobody has looked at the crash: the next one will */
	ask_for_unwinder(examiners);
}

static void read_answer(struct examiners *examiners)
{
	int got = examiners->unwinder
			  ? unwinder_read(examiners->unwinder, when_boot_now(), &examiners->result)
			  : 0;

	if (got < 0)
		log_say(LOG_WARN, "examine", "%s%s", what_happened(got),
			examiners->in_work ? "; a report is made without frames" : "");
	if (got < 0 && got != -ENOMEM)
		drop_unwinder(examiners);
	if (got && examiners->in_work) {
		examiners->in_work = false;
		finish(examiners, got == 1 ? &examiners->result : NULL, got == 1 ? NULL : what_happened(got));
	}
	pump(examiners);
}

static void readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	read_answer(poll->data);
}

void examine_started(void *context, int result, int fd)
{
	struct agent *agent = context;
	struct examiners *examiners = agent->examiners;

	examiners->asked = examiners->in_work = false; /* what was in work is asked again */
	drop_unwinder(examiners);
	if (result)
		return;
	examiners->unwinder = unwinder_new(fd);
	examiners->poll = calloc(1, sizeof(*examiners->poll));
	if (!examiners->unwinder || !examiners->poll || uv_poll_init(&agent->loop, examiners->poll, fd)) {
		free(examiners->poll);
		examiners->poll = NULL;
		if (!examiners->unwinder)
			close(fd);
		drop_unwinder(examiners);
		return;
	}
	examiners->poll->data = examiners;
	uv_poll_start(examiners->poll, UV_READABLE, readable);
	pump(examiners);
}

/* --- crashes ------------------------------------------------------------------------------------------ */

void examine(struct agent *agent, struct examination *x)
{
	struct examiners *examiners = agent->examiners;
	const char *why = NULL;

	if (x->no_registers)
		why = "capture is none for this app";
	else if (!x->crash.has_fault)
		why = "no record of the fault reached the agent";
	else if (examiners->waiting >= WAITING_MAX)
		why = "too many crashes at once";
	if (why) {
		crash_examined(agent, x, NULL, why);
		examination_free(x);
		return;
	}
	x->queued_ns = when_boot_now();
	*examiners->end = x;
	examiners->end = &x->next;
	examiners->waiting++;
	pump(examiners);
}

bool examine_ended(struct agent *agent, const char *id, int32_t status)
{
	for (struct examination *x = agent->examiners->first; x; x = x->next)
		if (strcmp(x->crash.id, id) == 0) {
			x->crash.status = status;
			return true;
		}
	return false;
}

void examine_oldest(const struct agent *agent, uint64_t *time_ns)
{
	for (const struct examination *x = agent->examiners->first; x; x = x->next)
		if (x->crash.time_ns < *time_ns)
			*time_ns = x->crash.time_ns;
}

void examine_tick(struct agent *agent, uint64_t now_ns)
{
	struct examiners *examiners = agent->examiners;

	read_answer(examiners);
	while (examiners->first && now_ns > examiners->first->queued_ns + WAIT_NS &&
	       !(examiners->unwinder && unwinder_busy(examiners->unwinder)))
		finish(examiners, NULL, "no examiner was there in time");
}

void examine_stop(struct agent *agent)
{
	struct examiners *examiners = agent->examiners;
	uint64_t until = when_boot_now() + STOP_MS * 1000000ull;

	while (examiners && examiners->first) {
		struct pollfd one = {.fd = examiners->unwinder ? unwinder_fd(examiners->unwinder) : -1,
				     .events = POLLIN};

		if (!examiners->unwinder || when_boot_now() > until || poll(&one, 1, STOP_MS) != 1)
			finish(examiners, NULL, "the agent was stopped");
		else
			read_answer(examiners);
	}
	if (examiners)
		drop_unwinder(examiners);
}

void examiners_free(struct agent *agent)
{
	if (!agent->examiners)
		return;
	while (agent->examiners->first) {
		struct examination *x = agent->examiners->first;

		agent->examiners->first = x->next;
		examination_free(x);
	}
	unwinder_free(agent->examiners->unwinder);
	free(agent->examiners);
	agent->examiners = NULL;
}
