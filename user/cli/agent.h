/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's parts and what they share: the only wiring between the floors. Inner header of
 * user/cli/agent*.c:
 *   agent.c          start
 *   agent_loop.c     the loop: rings urgently, then what libuv has
 *   agent_stop.c     stop
 *   agent_events.c   ring → decode → pipeline, and the agent's own records
 *   agent_watch.c    which processes are watched, and what /proc says of them
 *   agent_scan.c     looking for Rubies, and at those that are watched
 *   agent_mappings.c mmap records, in order with the births
 *   agent_proc.c     reading /proc beside the loop
 *   agent_crash.c    captures, and from a confirmed crash to the store
 *   agent_report.c   what crashing processes write
 *   agent_decide.c   incidents and decisions to gate, store and terminal
 *   agent_act.c      breakers, holds, restarts: what the gate let through, carried out
 *   agent_pages.c    the state pages
 *   agent_consent.c  what the gate must know of consent and workers
 *   agent_carry.c    decisions through the gate, and carried out
 *   agent_orders.c   orders that are out, their acks and audit lines
 *   agent_peers.c    the app socket's peers: who they are, their welcome, what they say
 *   agent_tests.c    databases in use, and the prober
 *   agent_operator.c commands of people that act
 *   agent_answer.c   the control socket's commands
 */
#ifndef LAPIDARY_AGENT_H
#define LAPIDARY_AGENT_H

#include <uv.h>
#include "user/act/gate.h"
#include "user/base/table.h"
#include "user/base/urgency.h"
#include "user/cli/config.h"
#include "user/cli/control.h"
#include "user/cli/later.h"
#include "user/crash/diagnosis.h"
#include "user/probe/decode.h"
#include "user/probe/features.h"
#include "user/probe/maps.h"
#include "user/probe/mmap_records.h"
#include "user/probe/probe.h"
#include "user/probe/record.h"
#include "user/probe/spawner.h"
#include "user/probe/targets.h"
#include "user/rules/pipeline.h"
#include "user/sink/store.h"

enum { AGENT_FLOW_BATCH = 4096, AGENT_MMAP_BATCH = 1024 };

/* A watched process as the agent keeps it; the key of `watched` is its tgid. */
struct watched {
	uint64_t start_ns;
	uint64_t parent_start_ns; /* of the watched process that forked it; 0: none did */
	uint32_t parent_tgid;
	uint64_t gone_ns; /* 0: alive. Its maps outlive it until its crash can have been told */
	uint32_t uid;
	bool named;        /* EV_INFO was made */
	uint64_t facts_ns; /* when /proc was last asked who it is */
	bool configured;   /* the configuration names its app */
	bool claimed;      /* its library, or its parent's, has named it */
	bool reading;      /* a question of a round is out */
	bool missing;      /* it was gone at the last look, and no end of it had arrived */
	char ruby[16];
	char capture[12];    /* "none", "registers", "stack"; "" until its app is known */
	struct ev_info info; /* the latest; a fork starts with its parent's */
};

struct agent {
	struct config config;
	struct features features;
	uv_loop_t loop;
	bool loop_open;
	uv_poll_t targets_poll;
	uv_timer_t tick;
	uv_signal_t terminate, interrupt;
	struct urgency urgency;

	struct rules *rules;
	struct diagnoses *diagnoses;
	struct pipeline *pipeline;
	struct pipeline_sink sink;
	struct gaps *gaps;
	struct spawner *spawner;
	struct probe *probe;
	struct mmap_records *mmap_records;
	struct maps *maps;
	struct targets *targets;
	struct store *store;
	struct acting *acting; /* agent_act.c */
	struct recorder *recorder;
	struct control *control;
	struct watch *watch;         /* agent_watch.c */
	struct mappings *mappings;   /* agent_mappings.c */
	struct table *captures;      /* agent_crash.c */
	struct examiners *examiners; /* agent_examine.c */
	struct table *frames;        /* the same: Ruby frames whose fault is still to come */
	struct reports *reports;     /* agent_report.c */
	struct ev_head *scratch;     /* EV_RECORD_MAX: the record being decoded */

	uint64_t wall_offset_ns; /* CLOCK_REALTIME minus CLOCK_BOOTTIME at the start */
	uint64_t user_seq;
	uint64_t drained_ns; /* when the rings were last found empty */
	uint64_t started_ns;
	uint64_t bad_records;
	uint64_t dropped_seen; /* ring drops that were told already */
	uint64_t store_errors_seen, ring_errors;
	uint64_t store_lost_seen;
	bool store_failing;
	bool sockets_lost;
	bool wall_told;         /* that the wall clock was set */
	bool stepping;          /* inside the pipeline */
	bool ordered;           /* and an order went out */
	struct later_row later; /* what waits for the end of the step */
	int exit_code;
	bool stopping;
	bool scanned;          /* the first scan is over */
	struct table *readers; /* identity → its jobs of agent_proc.c that are out */
	uint32_t reading;      /* and all of them */
	struct errands *errands;
	uv_async_t answers; /* of errands */
	char host[64];
};

/* agent_stop.c */
void agent_stop(struct agent *agent); /* what a start has opened, however far it came */

/* agent_loop.c */
int agent_loop_open(struct agent *agent); /* descriptors, timer and signals of agent->loop; -EIO */
void agent_loop_run(struct agent *agent); /* until agent->stopping */
void agent_calm(struct agent *agent);     /* what follows is not urgent, and goes after whom we have woken */

/* agent_events.c */
void agent_drain(struct agent *agent);                    /* all rings, mmap records too */
void agent_feed(struct agent *agent, struct ev_head *ev); /* one sound record: recorder, pipeline */
/* Makes an agent's own record of `size` bytes in *ev (its head) about a process (0, 0: none) and feeds it. */
void agent_make(struct agent *agent, struct ev_head *ev, uint16_t type, size_t size, uint32_t tgid,
		uint64_t start_ns);
/*
 * What need not be done before the order is out, and what may not be done inside a step of the pipeline (a
 * record of one's own): room for `size` bytes that `run` gets after the step, in the order of the calls.
 * NULL: no memory.
 */
void *agent_later(struct agent *agent, size_t size, void (*run)(struct agent *agent, void *payload));
void agent_begin(struct agent *agent); /* EV_BEGIN */
void agent_tick(struct agent *agent);  /* once a second */
uint64_t agent_wall(const struct agent *agent, uint64_t boot_ns);

/* agent_watch.c */
int watch_new(struct agent *agent, struct watch **out);
void watch_free(struct watch *watch);
/* Every Ruby that already runs. */
void watch_scan(struct agent *agent);
void watch_born(struct agent *agent, const struct ev_birth *birth); /* EV_WATCH, EV_FORK */
void watch_ended(struct agent *agent, const struct ev_head *ev);    /* EV_EXEC, EV_EXIT */
void watch_tick(struct agent *agent, uint64_t now_ns);
void watch_rescan(struct agent *agent); /* on the next tick */
/* Fills what targets tell: a Ruby makes its process a watched one. */
void watch_wire(struct targets_events *events);
const struct watched *watch_find(const struct agent *agent, uint32_t tgid, uint64_t start_ns);
/* The configuration's entry for it; NULL: none, or nobody knows yet who it is. */
const struct config_app *watch_entry(const struct agent *agent, uint32_t tgid, uint64_t start_ns);
/*
 * Who has this id now, by facts read no longer ago than since_ns (CLOCK_BOOTTIME). False: not watched, or
 * /proc was asked just now. `info` is borrowed.
 */
struct watched_facts {
	uint64_t start_ns;
	bool configured;
	const struct ev_info *info;
};
bool watch_known(struct agent *agent, uint32_t tgid, uint64_t since_ns, struct watched_facts *out);
/* Its library names its app; forks inherit that. */
void watch_claim(struct agent *agent, uint32_t tgid, uint64_t start_ns, const char *app);
bool watch_busy(const struct agent *agent); /* the first scan is not over */
size_t watch_count(const struct agent *agent);
bool watch_excluded(const struct agent *agent, uint32_t tgid, uint64_t start_ns);
uint64_t watch_start_of(const struct agent *agent, uint32_t tgid); /* of who has this id now, 0: nobody */

/* What a process mapped at that moment, its children that were forked later have too. */
void watch_mapped(struct agent *agent, uint32_t tgid, uint64_t start_ns, uint64_t time_ns,
		  const struct maps_region *region);

/* agent_mappings.c */
int mappings_new(struct mappings **out);
void mappings_free(struct mappings *mappings);
/* Takes the mmap records up to horizon_ns, a moment up to which all births are known; keeps younger ones. */
void mappings_take(struct agent *agent, uint64_t horizon_ns);
/* What was taken of a process since a moment goes, once more, on top of maps that were read then. */
void mappings_again(struct agent *agent, uint32_t tgid, uint64_t start_ns, uint64_t since_ns);
void mappings_tick(struct agent *agent); /* says what was lost */

/* agent_crash.c */
int crash_stage_new(struct agent *agent);
void crash_stage_free(struct agent *agent);
/* Before the pipeline sees it, right before: the record must stay until that step is over. */
void crash_fault(struct agent *agent, const struct ev_fault *fault);
void crash_frames(struct agent *agent, const struct ev_ruby *ruby);
void crash_confirmed(struct agent *agent, const struct crash *confirmed, const char *server);
void crash_ended(struct agent *agent, const struct notice *notice);
/* Everything up to this moment that is a crash has been handed to the store. */
uint64_t crash_settled_ns(const struct agent *agent);

/* agent_examine.c: see examination.h */
void examine_started(void *agent, int result, int fd); /* targets_events.unwinder */
void examine_tick(struct agent *agent, uint64_t now_ns);
/* No more answers are waited for, but for those that may come within a moment; before the loop is closed. */
void examine_stop(struct agent *agent);

/* agent_report.c */
int reports_new(struct agent *agent);
void reports_free(struct agent *agent);
int reports_start(struct agent *agent); /* after the drop of privileges; says itself why not */
void report_written(struct agent *agent, const struct ev_written *ev);
/* Its report has been handed to the store: what it wrote may follow. */
void report_crash(struct agent *agent, const struct crash *crash);
/* Why nothing that the process wrote will ever be joined to the crash, static; NULL: it may be. */
const char *report_absent(const struct agent *agent, const struct crash *crash);
void report_ended(struct agent *agent, const struct ev_head *exit);
void reports_settle(struct agent *agent); /* when the rings are empty */
void reports_tick(struct agent *agent);

/* agent_decide.c */
void decide_wire(struct agent *agent); /* fills agent->sink */

/* agent_act.c */
int acting_new(struct agent *agent);
int acting_listen(struct agent *agent); /* the app socket, and the timers */
int acting_keep(struct agent *agent);   /* app_socket_keep */
/* Releases every lease and hold, and closes the socket; free when the loop has run the callbacks. */
void acting_close(struct agent *agent);
void acting_free(struct agent *agent);
void acting_notice(struct agent *agent, const struct notice *notice);
/* A decision, and what became of it at the gate; `request` borrows from `decision`. */
struct acted {
	struct decision decision;
	struct gate_request request;
	struct gate_pass pass;
};
/* Through the gate and out to the app; acting_audit, after the step, for the audit line. */
void acting_decision(struct agent *agent, struct acted *acted);
void acting_audit(struct agent *agent, struct acted *acted);
void acting_tick(struct agent *agent);

/* agent_tests.c */
void tests_prober(void *agent, uint64_t token, int result, int fd); /* targets_events.prober */

/* agent_operator.c */
cJSON *operator_breaker(struct agent *agent, const char *argument);
cJSON *operator_restart(struct agent *agent, const char *argument);
cJSON *operator_pause(struct agent *agent, const char *argument);
cJSON *operator_resume(struct agent *agent, const char *argument);
cJSON *acting_breakers(struct agent *agent); /* {"breakers":[…]} */
cJSON *acting_status(struct agent *agent);

/* agent_answer.c */
cJSON *agent_answer(void *agent, const char *command, const char *argument);

#endif
