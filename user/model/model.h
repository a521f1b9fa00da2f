/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: what is known of the watched processes, their connections and apps. Pure state: no I/O, no
 * clock (time comes in the events), bounded, the same for live and replay.
 *
 * model_apply takes one decoded record and says, as notices, what it means in the words of DESIGN.md 1:
 * a fault that death or Ruby's crash handler confirms is a crash; SEGV then ABRT is one crash; a rescued
 * stack overflow is none.
 */
#ifndef LAPIDARY_MODEL_H
#define LAPIDARY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/event.h"

struct identity {
	uint32_t tgid;
	uint64_t start_ns;
};

enum role { ROLE_SINGLE, ROLE_MASTER, ROLE_WORKER };
/* DEFAULT: raised by the kernel where the action is SIG_DFL, so that death is certain before it is seen. */
enum confirmation { CONFIRMED_NOT, CONFIRMED_HANDLER, CONFIRMED_DEATH, CONFIRMED_OOM, CONFIRMED_DEFAULT };

/* One app of one scope (uid, network namespace, cgroup, name): crash counts and rates live here. */
struct app {
	char name[64];
	uint32_t uid, netns;
	uint64_t cgroup_id; /* as in ev_info; 0: those of it are not placed yet, or never will be */
	uint32_t workers;   /* alive now, masters not counted unless they have no worker */
	uint64_t crashes;   /* since the agent runs */
	uint64_t exits;     /* ends of any other kind */
	uint64_t last_crash_ns;
	char ruby[16];
	char server[16];
};

struct process {
	struct identity id;
	struct identity parent;
	enum role role;
	struct app *app; /* never NULL; lives at least as long as the process */
	char comm[EV_COMM];
	char title[128];
	uint64_t seen_ns; /* when it was first seen */
	uint64_t rss_bytes, pss_bytes, minor_faults, major_faults, user_faults, cpu_ns;
	uint32_t connections; /* open ones */
	uint64_t queries, errors;
	uint32_t children;       /* watched ones alive */
	uint64_t worker_crashes; /* of its children, when it is a master */
	bool crashing;           /* a crash is confirmed, death is not yet seen */
	bool told;               /* its library said hello */
	enum app_role told_role; /* and what it is */
	uint32_t accepts;        /* enum app_accepts, by that hello */
};

/* A confirmed crash. Text is bounded and scrubbed; addresses are the process's own. */
struct crash {
	char id[20]; /* 16 hex digits, from identity and time: the same live and replayed */
	struct identity process, parent;
	char app[64];
	char comm[EV_COMM];
	uint32_t uid;
	enum role role;
	uint64_t time_ns; /* of the fault; of the death for OOM without a fault */
	uint64_t confirmed_ns;
	enum confirmation confirmed_by;
	struct ev_fault fault; /* without its stack; zeroed when the record was lost or there was none */
	bool has_fault;
	struct ev_location location; /* of the program counter; what == LOCATION_NONE when unknown */
	struct ev_fatal fatal;       /* VM error message that belongs to it, kind 0 when none */
	int32_t status;              /* wait status, -1 while it still lives */
	bool oom;
	char sql[EV_SQL_LAST]; /* last statement, normalised, "" when none is known */
	bool sql_in_flight;
	char target[192];      /* postgres://host:port/db of that statement's connection, "" unknown */
	uint64_t lost_records; /* gaps that touch the 10 s before it */
	uint32_t live_workers; /* of the app, this one included, at that moment */
};

/* An error of a database as a scope reaches it; `available` false: it counts for breakers (FACTS.md 8). */
struct db_error {
	struct identity process;
	char target[192];
	char app[64];
	char sqlstate[8];
	enum conn_reason reason;
	bool availability;
	uint64_t time_ns;
};

enum notice_type {
	NOTICE_WATCHED,   /* process */
	NOTICE_FORKED,    /* process */
	NOTICE_LEFT,      /* process: it executed another program */
	NOTICE_GONE,      /* process, status */
	NOTICE_CRASH,     /* crash, process (NULL when already gone) */
	NOTICE_CRASH_END, /* crash: confirmed by its handler before, now dead: status is known */
	NOTICE_DB_ERROR,  /* db_error, process */
	NOTICE_DB_OK,     /* db_error with target only: a connection opened */
	NOTICE_FATAL,     /* process: a VM error was reported */
	NOTICE_GAP,       /* gap */
	NOTICE_PROBE,     /* probe, process NULL: the prober tested a database */
	NOTICE_BREAKER,   /* breaker, process NULL: it changed its state */
	NOTICE_ACTION,    /* action, process or NULL: it has an outcome */
};

/* Everything pointed to is borrowed from the model and valid until the next model_apply. */
struct notice {
	enum notice_type type;
	uint64_t time_ns;
	const struct process *process;
	const struct crash *crash;
	const struct db_error *db_error;
	const struct ev_gap *gap;
	const struct ev_probe *probe;
	const struct ev_breaker *breaker;
	const struct ev_action *action;
	const struct app *app; /* PROBE, BREAKER: of that scope; NULL when no process of it is known */
	int32_t status;
};

typedef void (*notice_fn)(void *context, const struct notice *notice);

struct model_limits {
	uint32_t processes;   /* default 4096 */
	uint32_t connections; /* default 16384 */
	uint32_t apps;        /* default 256 */
};

struct model;
struct model *model_new(const struct model_limits *limits); /* NULL: no memory */
void model_free(struct model *model);

/* Applies one record; fn is called for each notice, in order. */
void model_apply(struct model *model, const struct ev_head *ev, notice_fn fn, void *context);

/*
 * True when `ev` only continues `first`, an earlier fault of the same thread: raised by its handler, or by
 * the kernel that could not run the handler. The first one is the crash.
 */
bool fault_follows(const struct ev_fault *first, const struct ev_fault *ev);

/* Wall clock of a CLOCK_BOOTTIME moment, from EV_BEGIN. */
uint64_t model_wall_ns(const struct model *model, uint64_t time_ns);
uint64_t model_now(const struct model *model); /* time_ns of the latest record */

const struct process *model_process(const struct model *model, uint32_t tgid, uint64_t start_ns);
void model_each_process(const struct model *model, void (*fn)(void *, const struct process *), void *context);
/* Databases that processes have connections open to; one may be told several times. */
void model_each_open(const struct model *model,
		     void (*fn)(void *context, const struct process *process, const char *target),
		     void *context);
void model_each_app(const struct model *model, void (*fn)(void *, const struct app *), void *context);
/* Crashes of an app (same name and scope) that lie in [since_ns, now]. */
uint32_t model_crashes_since(const struct model *model, const struct app *app, uint64_t since_ns);
enum worker_health {
	WORKER_HEALTHY,
	WORKER_BOOTING, /* or not seen to do anything yet */
	WORKER_HELD,
	WORKER_DRAINING,
	WORKER_RESTARTING, /* ordered to */
	WORKER_CRASHING,
};
enum worker_health model_worker_health(const struct model *model, const struct process *process);

struct workers {
	uint32_t living, healthy;
};

/*
 * The workers of an app; `like` (NULL: no process in question) narrows them to those of its kind, itself
 * included, by what its library says. skip (NULL: none) says whom not to count as healthy.
 */
struct workers model_workers(const struct model *model, const struct app *app, const struct process *like,
			     bool (*skip)(void *context, const struct process *process), void *context);
/* Entries thrown out because a table was full. */
uint64_t model_evicted(const struct model *model);
/*
 * The flight recorder: the last events of a process as JSON lines (events.jsonl), oldest first, at most
 * 256. malloc'ed, the caller frees; NULL when nothing is known.
 */
char *model_flight(const struct model *model, uint32_t tgid, uint64_t start_ns, size_t *size);

#endif
