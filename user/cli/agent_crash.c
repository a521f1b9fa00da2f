// SPDX-License-Identifier: Apache-2.0
/*
 * Captures wait here until the model says what became of their fault. A thread's capture is replaced by
 * its next fault, unless that one was raised inside the handler of the first: the first synchronous fault
 * is the crash, the abort after it only confirms (docs/design.md 5).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/agent.h"
#include "user/cli/examination.h"

enum { CAPTURES = 64, FRAMES = 16 };

/* A core dump may keep a process between fault and death; beyond this a fault is taken for a rescued one. */
#define UNSETTLED_NS 30000000000ull

struct capture_key {
	uint64_t start_ns;
	uint32_t tgid, tid;
};

struct capture {
	struct ev_fault fault; /* without its stack */
	struct ev_ruby *ruby;  /* NULL: none came */
	bool told;             /* it became a crash */
	uint8_t *stack;        /* its bytes, those of the windows behind them; NULL: none */
};

static void capture_gone(void *context, const void *key, void *value)
{
	(void)context;
	(void)key;
	free(((struct capture *)value)->stack);
	free(((struct capture *)value)->ruby);
}

static void frames_gone(void *context, const void *key, void *value)
{
	(void)context;
	(void)key;
	free(*(struct ev_ruby **)value);
}

int crash_stage_new(struct agent *agent)
{
	agent->captures =
		table_new(sizeof(struct capture_key), sizeof(struct capture), CAPTURES, capture_gone, NULL);
	agent->frames =
		table_new(sizeof(struct capture_key), sizeof(struct ev_ruby *), FRAMES, frames_gone, NULL);
	return agent->captures && agent->frames ? examiners_new(agent) : -ENOMEM;
}

void crash_stage_free(struct agent *agent)
{
	examiners_free(agent);
	table_free(agent->captures);
	table_free(agent->frames);
}

static struct capture_key key_of(const struct ev_head *head)
{
	return (struct capture_key){.start_ns = head->start_ns, .tgid = head->tgid, .tid = head->tid};
}

/* What the configuration lets be taken of the process: its app's word, else that for all. */
static const char *capture_level(const struct agent *agent, uint32_t tgid, uint64_t start_ns)
{
	const struct watched *watched = watch_find(agent, tgid, start_ns);

	return watched && watched->capture[0] ? watched->capture : agent->config.capture;
}

void crash_frames(struct agent *agent, const struct ev_ruby *ruby)
{
	struct capture_key key = key_of(&ruby->head);
	struct ev_ruby *copy = malloc(ruby->head.size), **kept;

	kept = copy ? table_put(agent->frames, &key, NULL) : NULL;
	if (!kept) {
		free(copy);
		return;
	}
	memcpy(copy, ruby, ruby->head.size);
	free(*kept);
	*kept = copy;
}

/* The frames that came right before the fault, unless its app lets nothing be taken. */
static struct ev_ruby *take_frames(struct agent *agent, const struct ev_fault *fault)
{
	struct capture_key key = key_of(&fault->head);
	struct ev_ruby **kept = table_get(agent->frames, &key), *ruby = NULL;

	if (!kept)
		return NULL;
	if ((*kept)->fault_time_ns == fault->head.time_ns &&
	    strcmp(capture_level(agent, fault->head.tgid, fault->head.start_ns), "none") != 0) {
		ruby = *kept;
		*kept = NULL;
	}
	table_delete(agent->frames, &key);
	return ruby;
}

static void keep_capture(struct agent *agent, void *payload)
{
	const struct ev_fault *fault = *(const struct ev_fault **)payload;
	bool stack = strcmp(capture_level(agent, fault->head.tgid, fault->head.start_ns), "stack") == 0;
	struct capture_key key = key_of(&fault->head);
	struct capture *capture = table_get(agent->captures, &key);
	struct ev_ruby *ruby = take_frames(agent, fault);
	size_t size;

	if (capture && fault_follows(&capture->fault, fault)) {
		free(ruby);
		return;
	}
	if (capture)
		table_delete(agent->captures, &key);
	capture = table_put(agent->captures, &key, NULL);
	if (!capture) {
		free(ruby);
		return;
	}
	capture->ruby = ruby;
	memcpy(&capture->fault, fault, sizeof(*fault)); /* the flexible stack stays behind */
	size = fault->stack_len + unwind_windows_size(fault->windows);
	capture->stack = fault->stack_len && stack ? malloc(size) : NULL;
	if (capture->stack)
		memcpy(capture->stack, fault->stack, size);
}

/* The build-id of the module that an address lies in, as the examiner read it; for maps that have none. */
static void add_build_id(struct agent *agent, struct ev_location *location, uint32_t tgid, uint64_t start_ns,
			 uint64_t address)
{
	size_t count;
	const struct maps_region *regions = maps_regions(agent->maps, tgid, start_ns, &count);

	for (size_t i = 0; i < count && location->build_id_len == 0; i++)
		if (address >= regions[i].start && address < regions[i].end)
			location->build_id_len =
				targets_build_id(agent->targets, &regions[i], location->build_id);
}

/* The stack is copied after the step, since new memory is dear and an order may be waiting; before the
 * report. */
void crash_fault(struct agent *agent, const struct ev_fault *fault)
{
	struct ev_location location = {0};
	const struct ev_fault **later;

	mappings_take(
		agent,
		fault->head.time_ns); /* what it mapped before it died was written before the fault was */
	maps_locate(agent->maps, fault->head.tgid, fault->head.start_ns, fault->regs[REG_IP_], &location);
	add_build_id(agent, &location, fault->head.tgid, fault->head.start_ns, fault->regs[REG_IP_]);
	location.fault_time_ns = fault->head.time_ns;
	agent_make(agent, &location.head, EV_LOCATION, sizeof(location), fault->head.tgid,
		   fault->head.start_ns);
	later = agent_later(agent, sizeof(*later), keep_capture);
	if (later)
		*later = fault;
}

/* The process's regions with the build-ids that are known by now; the caller frees. */
static struct maps_region *copy_regions(struct agent *agent, const struct identity *id, size_t *count)
{
	const struct maps_region *regions = maps_regions(agent->maps, id->tgid, id->start_ns, count);
	struct maps_region *copy = *count ? calloc(*count, sizeof(*copy)) : NULL;

	if (!copy) {
		*count = 0;
		return NULL;
	}
	for (size_t i = 0; i < *count; i++) {
		copy[i] = regions[i];
		if (copy[i].build_id_len == 0)
			copy[i].build_id_len =
				targets_build_id(agent->targets, &regions[i], copy[i].build_id);
	}
	return copy;
}

/* What was kept of the fault becomes the examination's. */
static void take_capture(struct agent *agent, struct examination *to)
{
	struct capture_key key = key_of(&to->crash.fault.head);
	struct capture *capture = to->crash.has_fault ? table_get(agent->captures, &key) : NULL;

	if (!capture || capture->told || capture->fault.head.time_ns != to->crash.fault.head.time_ns)
		return;
	capture->told = true;
	to->stack = capture->stack;
	if (capture->stack) {
		to->stack_size = capture->fault.stack_len;
		memcpy(to->windows, capture->fault.windows, sizeof(to->windows));
	}
	to->ruby_stack = capture->ruby;
	capture->stack = NULL;
	capture->ruby = NULL;
}

static void tell(const struct crash *crash, const struct crash_report *report)
{
	char frame[320] = "";
	size_t used = 0;

	if (crash->location.module[0])
		text_add(frame, sizeof(frame), &used, " in %s+0x%llx", text_base(crash->location.module),
			 (unsigned long long)crash->location.offset);
	log_say(LOG_ERROR, "crash", "%s: %s %u died of %s (%s)%s%s%s; lapidary crash show %s", crash->app,
		crash->comm, crash->process.tgid, report->signal[0] ? report->signal : "unknown",
		report->cause, frame, report->blame.gem[0] ? ", gem " : "", report->blame.gem, crash->id);
}

/* What must be taken now, since it may be gone or go on when the answer comes. */
void crash_confirmed(struct agent *agent, const struct crash *confirmed, const char *server)
{
	struct examination *x = calloc(1, sizeof(*x));
	const struct watched *watched;
	struct crash *crash;

	if (!x) {
		log_say(LOG_ERROR, "crash", "the report of %s could not be made: no memory", confirmed->id);
		return;
	}
	crash = &x->crash;
	*crash = *confirmed;
	take_capture(agent, x);
	watched = watch_find(agent, crash->process.tgid, crash->process.start_ns);
	text_copy(x->server, sizeof(x->server), server);
	text_copy(x->ruby, sizeof(x->ruby), watched ? watched->ruby : "");
	x->no_registers =
		strcmp(capture_level(agent, crash->process.tgid, crash->process.start_ns), "none") == 0;
	x->maps_source = maps_source(agent->maps, crash->process.tgid, crash->process.start_ns);
	x->regions = copy_regions(agent, &crash->process, &x->region_count);
	/* the location is filled in late, if need be */
	if (crash->has_fault && crash->location.what == LOCATION_NONE)
		maps_locate(agent->maps, crash->process.tgid, crash->process.start_ns,
			    crash->fault.regs[REG_IP_], &crash->location);
	if (crash->has_fault)
		add_build_id(agent, &crash->location, crash->process.tgid, crash->process.start_ns,
			     crash->fault.regs[REG_IP_]);
	x->flight = model_flight(pipeline_model(agent->pipeline), crash->process.tgid,
				 crash->process.start_ns, &x->flight_size);
	examine(agent, x);
}

void crash_examined(struct agent *agent, const struct examination *x, const struct unwind_result *unwound,
		    const char *why)
{
	const struct crash_input input = {
		.crash = &x->crash,
		.regions = x->regions,
		.region_count = x->region_count,
		.maps_source = x->maps_source,
		.no_registers = x->no_registers,
		.stack = x->stack,
		.stack_size = x->stack_size,
		.windows = x->windows,
		.stack_limit = agent->config.stack_bytes,
		.unwound = unwound,
		.unwound_why = why,
		.stderr_why = report_absent(agent, &x->crash),
		.ruby_stack = x->ruby_stack,
		.diagnoses = agent->diagnoses,
		.flight = x->flight,
		.flight_size = x->flight_size,
		.wall_offset_ns = agent->wall_offset_ns,
		.host = agent->host,
		.agent_version = LAPIDARY_VERSION,
		.server = x->server,
		.ruby = x->ruby,
	};
	struct crash_report *report = NULL;
	int err = crash_report_new(&input, &report);

	if (err) {
		log_say(LOG_ERROR, "crash", "the report of %s could not be made: %s", x->crash.id,
			strerror(-err));
		return;
	}
	tell(&x->crash, report);
	if (store_crash(agent->store, report) != 0)
		log_say(LOG_ERROR, "store", "no room for crash %s: the queue of the store is full",
			x->crash.id);
	else
		report_crash(agent, &x->crash);
}

void crash_ended(struct agent *agent, const struct notice *notice)
{
	if (!examine_ended(agent, notice->crash->id, notice->status))
		store_crash_end(agent->store, notice->crash->id, notice->status);
}

struct oldest {
	uint64_t time_ns, now_ns;
};

static void find_oldest(void *context, const void *key, void *value)
{
	struct oldest *oldest = context;
	const struct capture *capture = value;

	(void)key;
	if (!capture->told && capture->fault.head.time_ns + UNSETTLED_NS > oldest->now_ns &&
	    capture->fault.head.time_ns < oldest->time_ns)
		oldest->time_ns = capture->fault.head.time_ns;
}

uint64_t crash_settled_ns(const struct agent *agent)
{
	struct oldest oldest = {.time_ns = agent->drained_ns, .now_ns = when_boot_now()};

	table_each(agent->captures, find_oldest, &oldest);
	examine_oldest(agent, &oldest.time_ns);
	return oldest.time_ns - 1;
}
