/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the model: what its files share. Nobody outside user/model includes this.
 *
 * Three bounded tables (processes, connections, apps) and a graveyard. Lanes are drained one after the
 * other, so a process can be dead before its fault is read; it therefore stays in the table for a few ticks
 * after its end ("buried"), out of sight of every listing, and its death by a signal is judged late.
 */
#ifndef LAPIDARY_STATE_H
#define LAPIDARY_STATE_H

#include "user/base/table.h"
#include "user/model/model.h"

enum {
	PENDING_MAX = 4,     /* threads of a process with an unconfirmed fault */
	TROUBLE_MAX = 8,     /* error_history of a process */
	APP_CRASHES = 256,   /* crash times kept per app */
	GAPS_KEPT = 64,      /* most recent losses */
	STATEMENTS = 512,    /* distinct statement texts remembered */
	RATE_SECONDS = 60,   /* window of the error rate */
	ANCESTORS = 4,       /* how far a connection is looked for among the parents */
	FLIGHT_MAX = 256,    /* events the flight recorder keeps */
	TICKS_TO_JUDGE = 2,  /* a death waits so long for a fault that another lane still holds */
	TICKS_TO_REMOVE = 5, /* and a late record so long for its process */
};

#define SECOND_NS 1000000000ull
/* A fault and the abort or re-raise after it: Ruby's report on a slow stderr may lie between them. */
#define ECHO_NS (60 * SECOND_NS)
/* A VM error is reported right before its abort. */
#define FATAL_NS (5 * SECOND_NS)
/* Losses this close to a crash are shown on it. */
#define GAP_NS (10 * SECOND_NS)
/* An unconfirmed fault older than this was rescued. */
#define STALE_NS (600 * SECOND_NS)

struct process_key {
	uint64_t start_ns;
	uint64_t tgid;
};

/* A fault of one thread that nothing has confirmed yet, and the last abort or re-raise after it. */
struct pending {
	struct ev_fault fault;
	struct ev_location location;
	uint64_t echo_ns; /* 0: none */
	uint32_t echo_signal;
	bool echo_kills; /* it came with the default action */
	bool certain;    /* the last of them: raised by the kernel, with the default action */
};

struct flight_entry {
	uint64_t time_ns;
	uint64_t value;
	uint32_t detail;
	uint16_t aux;
	uint8_t type; /* enum event_type */
	uint8_t self; /* 0: the record names a child */
};

struct flight {
	struct flight_entry *entries;
	uint16_t size, count, first;
};

enum { RECOVERIES = 8 }; /* targets of an app; the one that failed longest ago makes room */

/* One line of a process's error_history. */
struct trouble {
	uint64_t time_ns;
	char what[48];
};

struct connection;

struct app_key {
	uint64_t cgroup_id;
	uint32_t uid;
	uint32_t netns;
	char name[64];
};

/* How a target did for an app; served_ns: of the first success after failed_ns, earlier: there was none. */
struct recovery {
	uint64_t target; /* digest of its name, 0: none */
	uint64_t failed_ns, served_ns;
};

struct app_state {
	struct app pub; /* first: the public pointer is the private one */
	struct recovery recoveries[RECOVERIES];
	uint32_t processes; /* that point here */
	uint32_t roles[3];  /* alive and not crashing, by enum role */
	uint32_t crash_count;
	uint16_t crash_first;
	uint64_t *crash_ns; /* ring of APP_CRASHES, made at the first crash */
};

struct process_state {
	struct process pub; /* first */
	uint32_t uid, netns;
	uint64_t cgroup_id;
	bool counted; /* in its app's roles */
	bool placed;  /* an EV_INFO or a hello of it or of the process that forked it was read: its scope is
			 known; until then nothing of it is judged but what two ticks will not change */
	bool forked;  /* by a process that is watched */
	bool named;   /* an EV_INFO has named its app */
	bool introduced; /* a hello has, its own or that of the process it was forked from: that stays */
	bool linked;     /* counted among its parent's children */
	bool settled;    /* has lived through a tick: no short-lived helper */
	bool replaced;   /* the program is another than the one that was forked */
	bool had_worker; /* a child of its own was more than a helper that executes something else */
	bool buried;     /* has ended or left; only late records still find it */
	bool judged;     /* and nothing more is to be said of its end */
	int32_t status;  /* of its end */
	bool connected;  /* its library is, and `state` is its word */
	bool worked;     /* a statement of its own was answered */
	bool ordered;    /* to restart, and it is not known yet what became of it */
	uint32_t state;  /* enum app_phase */
	uint64_t hold_end_ns;
	bool oom;
	uint32_t ended_tick;
	uint64_t ended_ns;
	uint64_t confirm_fault_ns; /* EV_CONFIRM whose fault has not come yet; 0: none */
	uint64_t confirm_ns;
	uint32_t confirm_tick;
	struct pending *pending[PENDING_MAX];
	struct ev_fatal *fatal; /* the last VM error */
	struct crash *crash;
	struct flight flight;
	struct connection *connections;
	struct trouble *troubles; /* ring of TROUBLE_MAX */
	uint32_t trouble_count;
};

struct connection_key {
	uint64_t start_ns;
	uint64_t conn;
	uint64_t tgid;
};

struct connection {
	struct process_state *owner;
	struct connection *next, **link; /* of its owner */
	uint64_t conn;
	uint32_t generation;
	bool open;
	bool broken;  /* its failure has been counted already */
	bool misused; /* a child finished it: what breaks now is no fault of the database */
	bool in_flight;
	uint64_t opened_ns, closed_ns;
	uint64_t alive_ns;  /* latest moment at which it was known to work */
	uint64_t query_ns;  /* start of the last statement */
	uint64_t failed_ns; /* start of the last statement that failed */
	uint32_t statement;
	char target[192];
};

struct rate_second {
	uint64_t second;
	uint32_t queries, errors, availability;
};

struct statement {
	uint32_t digest;
	char *text;
};

struct model {
	struct model_limits limits;
	struct table *processes, *connections, *apps;
	struct app_state overflow;  /* when every app of a full table is in use */
	struct process_key *graves; /* ring, in the order of the ends */
	uint32_t grave_first, grave_count;
	uint32_t tick;
	uint64_t now_ns;
	uint64_t wall_offset_ns;
	struct ev_location location; /* the latest: its fault comes right after it */
	struct ev_gap gaps[GAPS_KEPT];
	uint32_t gap_count;
	struct rate_second rate[RATE_SECONDS];
	struct statement statements[STATEMENTS];
	uint64_t last_crash_ns;
	notice_fn fn; /* of the running model_apply */
	void *context;
};

/* model.c */
void model_say(struct model *model, enum notice_type type, uint64_t time_ns, struct process_state *process);
void model_say_crash(struct model *model, enum notice_type type, uint64_t time_ns,
		     struct process_state *process);
void model_rate(struct model *model, uint64_t time_ns, uint32_t queries, uint32_t errors,
		uint32_t availability);
void model_rate_sum(const struct model *model, struct rate_second *sum);

/* process.c */
struct process_state *process_find(struct model *model, uint32_t tgid, uint64_t start_ns);
struct process_state *process_peek(const struct model *model, uint32_t tgid, uint64_t start_ns);
/* Finds or makes; comm may be NULL. NULL: no memory. */
struct process_state *process_need(struct model *model, const struct ev_head *head, const char *comm);
struct process_state *process_birth(struct model *model, const struct ev_birth *ev);
void process_info(struct model *model, struct process_state *process, const struct ev_info *ev);
void process_hello(struct model *model, struct process_state *process, const struct ev_hello *ev);
void process_sample(struct process_state *process, const struct ev_sample *ev);
void process_trouble(struct process_state *process, uint64_t time_ns, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void process_uncount(struct process_state *process);
/* It is no child of its parent any more; real: it was a child to count as one (DESIGN.md 1, worker). */
void process_unlink(struct model *model, struct process_state *process, bool real);
void process_tick(struct model *model, struct process_state *process);
void process_gone(void *context, const void *key, void *value); /* table callback */

/* health.c */
void process_state_told(struct process_state *process, const struct ev_state *ev);
void process_ordered(struct process_state *process, const struct ev_action *ev);

/* death.c */
void death_exit(struct model *model, struct process_state *process, const struct ev_exit *ev);
void death_exec(struct model *model, struct process_state *process, const struct ev_exec *ev);
/* Judges a death if it can be judged now; last: nothing more is waited for. */
void death_review(struct model *model, struct process_state *process, bool last);
void death_tick(struct model *model);
/* Makes room: the oldest grave goes. False when there is none. */
bool death_clear_one(struct model *model);

/* fault.c */
void fault_apply(struct model *model, struct process_state *process, const struct ev_fault *ev);
void fault_confirm(struct model *model, struct process_state *process, const struct ev_confirm *ev);
void fault_fatal(struct model *model, struct process_state *process, const struct ev_fatal *ev);
/* A process whose death is certain has crashed, once it is known whose it is. */
void fault_review(struct model *model, struct process_state *process);
/* Ruby's handler has told of a fault, and neither that nor whose it is will be known any better. */
void fault_confirmed_late(struct model *model, struct process_state *process);
void fault_tick(struct model *model, struct process_state *process);
bool fault_signal(int signal); /* one that a defect sends: SEGV, BUS, ILL, FPE, ABRT */
/* The pending fault that a death by `signal` confirms; sure: no other record can change the answer. */
struct pending *fault_match(const struct process_state *process, int signal, uint64_t time_ns, bool *sure);
/* The moment of the fault, or of the abort or re-raise after it. */
uint64_t fault_last_ns(const struct pending *pending);
void fault_forget(struct process_state *process);

/* crash.c */
/* Makes the process's one crash and says so; pending may be NULL. */
void crash_make(struct model *model, struct process_state *process, const struct pending *pending,
		enum confirmation confirmed_by, uint64_t time_ns, uint64_t confirmed_ns);

/* connection.c */
void connection_event(struct model *model, struct process_state *process, const struct ev_conn *ev);
void connection_query_start(struct model *model, struct process_state *process,
			    const struct ev_query_start *ev);
void connection_query_end(struct model *model, struct process_state *process, const struct ev_query_end *ev);
void connection_tick(struct model *model, struct process_state *process);
/* Of the process, or inherited from an ancestor. NULL: none known. */
struct connection *connection_find(struct model *model, struct process_state *process, uint64_t conn);
/* The process's latest statement, one in flight before one that ended. */
struct connection *connection_latest(const struct process_state *process);
void connection_drop_all(struct model *model, struct process_state *process);
void connection_gone(void *context, const void *key, void *value); /* table callback */

/* recovery.c: failures that count, successes, and tests of a target */
void recovery_failed(struct app_state *app, const char *target, uint64_t time_ns);
void recovery_served(struct app_state *app, const char *target, uint64_t time_ns);
void recovery_probe(struct app_state *app, const struct ev_probe *ev);
/* False: what was last alive then died of an outage that is over. */
bool recovery_outlived(struct app_state *app, const char *target, uint64_t alive_ns);

/* app.c */
struct app_state *app_of(const struct process_state *process);
/* The app of that scope; NULL: no process of it is known. */
struct app_state *app_find(const struct model *model, const struct ev_scope *scope);
/* Moves the process to the app of this name in its scope. */
void app_assign(struct model *model, struct process_state *process, const char *name);
void app_release(struct model *model, struct process_state *process);
void app_count(struct process_state *process, int by); /* in the role it has */
void app_crash(struct app_state *app, uint64_t time_ns);
void app_gone(void *context, const void *key, void *value); /* table callback */

/* flight.c */
void flight_note(struct model *model, struct process_state *process, const struct ev_head *ev);
void flight_done(struct flight *flight);

/* statement.c */
uint32_t statement_keep(struct model *model, const struct ev_query_start *ev); /* 0: none */
const char *statement_text(const struct model *model, uint32_t digest);        /* "" when forgotten */
void statement_done(struct model *model);

#endif
