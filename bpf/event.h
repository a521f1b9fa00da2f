/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The wire format: every record that reaches the agent's model, whoever made it.
 *
 * Probes write these records into ring buffers (lanes LIFE, CAPTURE, FLOW); the agent writes the rest
 * itself (lane USER: ticks, /proc samples, gaps, ...). A recording is a file of the same records, so that
 * a replay feeds the model exactly what it was fed live. Hence the rules of this file:
 *   - fixed widths, host byte order (little endian on every platform we run on), no pointers to follow;
 *   - every struct starts with `struct ev_head` and has a size asserted here, a multiple of 8;
 *   - a flexible tail is counted by a field of its own, and `head.size` covers the tail;
 *   - strings are NUL-padded and NUL-terminated inside their arrays unless a length field says otherwise.
 * Nothing here may include anything: bpf programs see vmlinux.h, user space <linux/types.h>.
 */
#ifndef LAPIDARY_EVENT_H
#define LAPIDARY_EVENT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

enum event_limit {
	EV_COMM = 16,      /* TASK_COMM_LEN */
	EV_SQL_MAX = 1024, /* bytes of statement text in a flow record */
	EV_SQL_LAST = 512, /* bytes of the last statement kept per thread, for its crash record */
	EV_MESSAGE = 192,  /* VM error format, libpq reason */
	EV_PAGE = 4096,
	EV_STACK_SMALL = 16 * 1024, /* a capture reserves the smallest of these that holds the stack */
	EV_STACK_MEDIUM = 48 * 1024,
	EV_STACK_LARGE = 128 * 1024,
	EV_STACK_MAX = 512 * 1024,   /* only where the configuration asks for it */
	EV_STACK_SIGNAL = 32 * 1024, /* of an alternate signal stack, when the interrupted one is taken too */
	EV_STACK_INTERRUPTED = EV_STACK_LARGE - EV_STACK_SIGNAL,
	EV_STACK_FIRST = 8 * 1024, /* below a thread's pointer: its first frames and its static TLS */
	EV_STACK_TOTAL = EV_STACK_MAX + EV_STACK_FIRST,
	EV_CAPTURES_PER_SECOND = 4, /* full captures a process; further faults become small records */
	EV_RECORD_MAX = EV_STACK_TOTAL + 4096, /* no record is larger: decode refuses what says it is */
	EV_RUBY_FRAMES = 64,
	EV_RUBY_LABEL = 64,
	EV_RUBY_PATH = 128,
	EV_AUXV = 26,          /* pairs of mm->saved_auxv: a program gets about 22, and a last one of zeros */
	EV_CODE = 64,          /* bytes of code around the instruction pointer */
	EV_WRITTEN_MAX = 4096, /* bytes of one write(2) that are kept */
};

enum lane { LANE_LIFE, LANE_CAPTURE, LANE_FLOW, LANE_USER, LANE_COUNT };

enum event_type {
	/* LIFE: what happens to watched processes */
	EV_WATCH = 1, /* struct ev_birth: a Ruby process is watched from now on */
	EV_FORK,      /* struct ev_birth: a watched process forked; head names the child */
	EV_EXEC,      /* struct ev_exec: the process became another program; it is no longer watched */
	EV_EXIT,      /* struct ev_exit: the last thread is gone */
	EV_KILL,      /* struct ev_kill: another process sent a signal; head names the receiver */
	EV_FATAL,     /* struct ev_fatal: libruby reports a fatal VM error */
	EV_CONFIRM,   /* struct ev_confirm: Ruby's crash handler took its first step */
	EV_CONN,      /* struct ev_conn: a libpq connection opened, failed, finished or broke */
	/* CAPTURE, or LIFE when there is no stack in it */
	EV_FAULT, /* struct ev_fault */
	/* FLOW, or LIFE for an end with an availability error */
	EV_QUERY_START, /* struct ev_query_start */
	EV_QUERY_END,   /* struct ev_query_end */
	/* CAPTURE again */
	EV_RUBY,    /* struct ev_ruby: the Ruby frames of a fault; right before its EV_FAULT */
	EV_WRITTEN, /* struct ev_written: what a task with a confirmed or pending fault writes */
	/* USER: made by the agent */
	EV_BEGIN = 64, /* struct ev_begin: first record of every run and recording */
	EV_TICK,       /* struct ev_head alone: time passes (once a second) */
	EV_INFO,       /* struct ev_info: who a process is, from /proc and the configuration */
	EV_SAMPLE,     /* struct ev_sample: memory of a process */
	EV_LOCATION,   /* struct ev_location: which module a fault's program counter is in; precedes its
			  EV_FAULT */
	EV_GAP,        /* struct ev_gap: records were lost */
	EV_HELLO,      /* struct ev_hello: the app's library introduced itself over the socket */
	EV_PROBE,      /* struct ev_probe: the prober tested a database */
	EV_BREAKER,    /* struct ev_breaker: a breaker changed its state */
	EV_ACTION,     /* struct ev_action: an action was ordered, or has an outcome */
	EV_STATE,      /* struct ev_state: how far an app's process is, by its library's word and its hold */
	EV_TYPE_END,
};

/*
 * tgid is the process id in the agent's (the host's) pid namespace; with start_ns (CLOCK_BOOTTIME of the
 * group leader's start) it is the process identity. time_ns is CLOCK_BOOTTIME. seq counts from 1 per lane
 * and is taken before the ring is asked for room, so a record that found none leaves a hole.
 */
struct ev_head {
	__u32 size;
	__u16 type;
	__u8 lane;
	__u8 flags;
	__u64 seq;
	__u64 time_ns;
	__u64 start_ns;
	__u32 tgid;
	__u32 tid;
};

struct ev_birth {
	struct ev_head head; /* the new process */
	__u64 parent_start_ns;
	__u32 parent_tgid;
	__u32 uid;
	__u64 reserved; /* the kernel's number of the cgroup would stand here: scopes go by that of EV_INFO */
	char comm[EV_COMM];
};

struct ev_exec {
	struct ev_head head;
	char comm[EV_COMM];
	char file[128]; /* what was executed; its end is cut off when longer */
};

struct ev_exit {
	struct ev_head head;
	__s32 status; /* as wait(2) gives it: signal in the low 7 bits, exit code above 8 */
	__u32 oom;    /* 1: the kernel's out-of-memory killer chose it */
	__u64 minor_faults;
	__u64 major_faults;
	__u64 user_faults; /* counted by our own probe since the process is watched */
	__u32 sender_tgid; /* who sent the last fatal signal (0: nobody known) */
	__u32 reserved;
};

struct ev_kill {
	struct ev_head head; /* the receiver */
	__u32 signal;
	__s32 code;
	__u32 sender_tgid;
	__u32 sender_uid;
	char sender_comm[EV_COMM];
};

enum fatal_kind { FATAL_BUG = 1, FATAL_FATAL, FATAL_MEMERROR, FATAL_ASSERT };

struct ev_fatal {
	struct ev_head head;
	__u32 kind;
	__u32 line;               /* FATAL_ASSERT: source line */
	char message[EV_MESSAGE]; /* rb_bug/rb_fatal: the format string, unexpanded; assert: the expression */
};

struct ev_confirm {
	struct ev_head head;
	__u64 fault_time_ns; /* time_ns of the fault whose handler this is */
};

/* Registers of x86-64 in the order of the kernel's user_regs_struct (NT_PRSTATUS). */
enum reg_x86_64 {
	REG_R15_,
	REG_R14_,
	REG_R13_,
	REG_R12_,
	REG_BP_,
	REG_BX_,
	REG_R11_,
	REG_R10_,
	REG_R9_,
	REG_R8_,
	REG_AX_,
	REG_CX_,
	REG_DX_,
	REG_SI_,
	REG_DI_,
	REG_ORIG_AX_,
	REG_IP_,
	REG_CS_,
	REG_FLAGS_,
	REG_SP_,
	REG_SS_,
	REG_FS_BASE_,
	REG_GS_BASE_,
	REG_DS_,
	REG_ES_,
	REG_FS_,
	REG_GS_,
	REG_COUNT,
};

enum fault_bit {
	FAULT_DEFAULT_ACTION = 1 << 0, /* SIG_DFL: this kills */
	FAULT_ON_ALTSTACK = 1 << 1,    /* sp was on the alternate signal stack: raised inside a handler */
	FAULT_SMALL = 1 << 2,          /* over the capture budget: no stack, see `suppressed` */
	FAULT_SELF = 1 << 3,           /* sent by the process itself (abort, raise) */
	FAULT_STRIPPED = 1 << 4,       /* the recorder left the stack out */
	FAULT_CLIPPED = 1 << 5,        /* the stack goes on beyond the limit: outer frames may be missing */
};

/* Stack that lies elsewhere than from `sp` on, and is wanted to walk out to the thread's first frame. */
enum stack_window {
	WINDOW_INTERRUPTED, /* what a handler on an alternate stack interrupted, from its `sp` on */
	WINDOW_FIRST,       /* the end of a thread's stack, with its first frames, up to fs_base */
	WINDOW_COUNT,
};

/* `missing` as in struct ev_fault, with pieces cut from `address` on. */
struct ev_window {
	__u64 address;
	__u32 size; /* 0: none was taken */
	__u32 missing;
};

/*
 * A fatal signal is about to be delivered, seen in the task's own context. The stack starts at `sp`
 * (red zone not included) and `missing` has one bit per page-sized piece of it that could not be read
 * (bit 0 of byte 0: the first). Pieces are cut where pages begin: the first reaches from sp to the next
 * page boundary, the others are whole pages but for the last. A missing piece is zeroed. The bytes of the
 * windows follow, one after the other. Small records are the same struct with stack_len 0 and no window.
 */
struct ev_fault {
	struct ev_head head;
	__u32 signal;
	__s32 code;
	__u64 address; /* si_addr; 0 where the code has none */
	__u32 sender_tgid;
	__u32 sender_uid; /* for code <= 0 */
	__u64 handler;    /* sa_handler as the kernel has it: 0 SIG_DFL, 1 SIG_IGN */
	__u64 trap_nr;
	__u64 error_code;
	__u64 cr2;
	__u64 regs[REG_COUNT];
	__u64 arg_start;
	__u32 flags;        /* enum fault_bit */
	__u32 suppressed;   /* faults of this process that got no record at all since its last one */
	char comm[EV_COMM]; /* of the thread */
	__u64 conn;         /* PGconn of the thread's last statement, 0: none */
	__u64 sql_start_ns;
	__u64 sql_end_ns; /* 0: still in flight */
	__u32 sql_len;
	__u32 stack_len;
	__u32 capture_ns; /* what the capture took in the task's own time, start of the program to its end */
	__u32 auxv_count; /* pairs */
	__u64 auxv[EV_AUXV][2];
	__u64 code_start;      /* address of text[0]; 0: none could be read */
	__u8 text[EV_CODE];    /* zeroed where it could not be read */
	char sql[EV_SQL_LAST]; /* sql_len bytes, not terminated; decode normalises it */
	__u8 missing[EV_STACK_MAX / EV_PAGE / 8 + 16];
	struct ev_window windows[WINDOW_COUNT];
	__u8 stack[];
};

/* What a control frame runs. */
enum ruby_frame_kind {
	RUBY_FRAME_RUBY = 1, /* bytecode: path and line are of its own */
	RUBY_FRAME_C,        /* a method in C: `address` is the function, path and line are its caller's */
	RUBY_FRAME_OTHER,    /* ifunc, dummy and what is not known */
};

struct ev_ruby_frame {
	__u64 address;             /* RUBY_FRAME_C: the C function; else the iseq */
	__u32 kind;                /* enum ruby_frame_kind */
	__s32 line;                /* 0: not known */
	char label[EV_RUBY_LABEL]; /* "block in serve"; of a C method its name; "" not known */
	char path[EV_RUBY_PATH];   /* its end, when it is longer */
};

enum ruby_stack_state {
	RUBY_STACK_COMPLETE = 1,
	RUBY_STACK_CLIPPED,     /* more than EV_RUBY_FRAMES: the innermost are here */
	RUBY_STACK_UNREADABLE,  /* some memory of it could not be read: what is here is as far as it got */
	RUBY_STACK_NO_CONTEXT,  /* the thread runs no Ruby */
	RUBY_STACK_UNSUPPORTED, /* no offsets for this Ruby, or its thread-local context was not found */
};

/* The control frames of the thread that faulted, innermost first, as its execution context has them. */
struct ev_ruby {
	struct ev_head head;
	__u64 fault_time_ns; /* time_ns of the EV_FAULT that it belongs to */
	__u32 state;         /* enum ruby_stack_state */
	__u32 count;
	struct ev_ruby_frame frames[];
};

/* One write(2) or an element of a writev(2) by a task that is crashing: Ruby's own report, to whatever file.
 */
struct ev_written {
	struct ev_head head;
	__u64 fault_time_ns;
	__u64 at;        /* bytes that it wrote before this, kept or not */
	__u32 full_size; /* of the write; what is beyond `size` was not kept */
	__u32 size;
	__s32 fd;
	__u32 flags; /* enum written_bit */
	__u8 bytes[];
};

enum written_bit {
	WRITTEN_LATE =
		1 << 0, /* first of its fault, and the probe was not there at the fault: a head is missing */
	WRITTEN_LAST = 1 << 1, /* the limit for one crash is reached: nothing more is kept */
};

enum conn_what {
	CONN_OPEN = 1, /* PQconnectPoll said PGRES_POLLING_OK */
	CONN_FAILED,   /* PQconnectPoll said PGRES_POLLING_FAILED */
	CONN_FINISH,   /* PQfinish */
	CONN_BROKEN,   /* PQerrorMessage was asked of a connection that is CONNECTION_BAD */
};

/* Why a connection failed or broke; decode derives it from the message and keeps the class alone. */
enum conn_reason {
	REASON_NONE,
	REASON_REFUSED,
	REASON_TIMEOUT,
	REASON_NO_HOST,
	REASON_NO_SOCKET,
	REASON_AUTH,
	REASON_NO_DATABASE,
	REASON_TOO_MANY,
	REASON_STARTING,
	REASON_SHUTDOWN,
	REASON_CLOSED,
	REASON_TLS,
	REASON_OTHER,
	REASON_COUNT,
};

struct ev_conn {
	struct ev_head head;
	__u64 conn;   /* PGconn address: one identity together with the process and a generation */
	__u32 what;   /* enum conn_what */
	__u32 reason; /* enum conn_reason, filled by decode */
	__s32 socket; /* file descriptor, -1: none */
	__u32 reserved;
	char host[104]; /* name, address, or the directory of the Unix socket (sockaddr_un holds 108) */
	char port[8];
	char database[64];
	char message[EV_MESSAGE]; /* libpq's words; decode erases them once `reason` is set */
};

enum query_kind { QUERY_SIMPLE = 1, QUERY_PARAMS, QUERY_PREPARE, QUERY_PREPARED };

struct ev_query_start {
	struct ev_head head;
	__u64 conn;
	__u32 kind;
	__u32 text_len; /* bytes in text; EV_SQL_MAX means it may be cut */
	char text[];    /* SQL, for QUERY_PREPARED the statement's name; decode normalises SQL */
};

struct ev_query_end {
	struct ev_head head;
	__u64 conn;
	__u64 begin_ns;   /* time_ns of its start */
	__u32 status;     /* ExecStatusType */
	char sqlstate[8]; /* "" when there is none */
	__u32 reserved;
};

struct ev_begin {
	struct ev_head head;
	__u32 format; /* EV_FORMAT */
	__u32 cpus;
	__u64 wall_ns;         /* CLOCK_REALTIME minus CLOCK_BOOTTIME at that moment */
	__u64 seed;            /* of every random choice that follows */
	__u8 rules_digest[32]; /* SHA-256 of the rules in force */
	char version[24];
	char host[64];
};

struct ev_info {
	struct ev_head head;
	__u32 uid;
	__u32 gid;
	__u64 cgroup_id; /* FNV-1a of the cgroup's path: cgroup v1 and hybrid hosts have no one id */
	__u64 exe_inode;
	__u32 exe_dev;
	__u32 parent_tgid;
	__u32 netns; /* inode of its network namespace, 0: not known */
	__u32 reserved;
	char app[64];
	char comm[EV_COMM];
	char server[16]; /* "puma", "iodine", "unicorn", "pitchfork", "" */
	char ruby[16];   /* "3.1.7", "" when not known */
	char cgroup[160];
	char exe[160];
	char title[128]; /* first argument words, arguments that may hold secrets left out */
};

struct ev_sample {
	struct ev_head head;
	__u64 rss_bytes;
	__u64 pss_bytes; /* 0: not measured this time (it takes 12 ms per GiB) */
	__u64 minor_faults;
	__u64 major_faults;
	__u64 user_faults;
	__u64 cpu_ns;
};

enum maps_source { MAPS_NONE, MAPS_RECORDS, MAPS_PROC, MAPS_INHERITED };

struct ev_location {
	struct ev_head head; /* identity of the faulting process */
	__u64 fault_time_ns;
	__u64 offset; /* in the file */
	__u64 map_start;
	__u32 source; /* enum maps_source */
	__u8 build_id_len;
	__u8 pad[3];
	__u8 build_id[20];
	__u32 inode_low;
	char module[256]; /* path as the process sees it; "" when the address is in no mapping */
	__u32 what;       /* enum location_what */
	__u32 protection; /* of the mapping that holds the fault address: PROT_* bits, 0 when unknown or none
			   */
};

enum location_what { LOCATION_NONE, LOCATION_FILE, LOCATION_ANON, LOCATION_VDSO, LOCATION_STACK };

struct ev_gap {
	struct ev_head head;
	__u64 lost;    /* records */
	__u64 from_ns; /* the loss lies between these two */
	__u64 to_ns;
	__u32 of_lane; /* enum lane; LANE_COUNT: nobody watched (the agent was not running) */
	__u32 reserved;
};

/* What nothing joins: uid, network namespace, cgroup and app of a process, from the kernel's facts. */
struct ev_scope {
	__u64 cgroup_id; /* as in ev_info; 0: not known, so nothing is done to it */
	__u32 uid;
	__u32 netns;
	char app[64];
};

enum app_role { APP_SINGLE, APP_MASTER, APP_WORKER };

enum app_accepts {
	ACCEPTS_BREAKER = 1 << 0,
	ACCEPTS_RESTART = 1 << 1,
	ACCEPTS_HOLD = 1 << 2,
	ACCEPTS_DRAIN = 1 << 3,
	ACCEPTS_DEGRADE = 1 << 4,
};

struct ev_hello {
	struct ev_head head; /* the peer */
	struct ev_scope scope;
	__u32 role;    /* enum app_role */
	__u32 accepts; /* enum app_accepts bits */
	char server[16];
	char ruby[16];
};

/* What an app's library says of its process. */
enum app_phase {
	APP_SILENT, /* nothing */
	APP_BOOTING,
	APP_SERVING,
	APP_DRAINING,
	APP_STOPPED,
};

struct ev_state {
	struct ev_head head; /* the peer */
	__u32 state;         /* enum app_phase */
	__u32 connected;     /* 0: its last connection is gone */
	__u32 welcomed;      /* 1: this goes with a welcome, and hold_ms is what that said */
	__u32 hold_ms;       /* so long it is held from now on; 0: not, or no longer */
};

/* How far the prober came. Above PROBE_REACHED a server answered, whatever it said. */
enum probe_result {
	PROBE_OK = 1,   /* a query was answered; without credentials: the server asked for them */
	PROBE_REFUSED,  /* nobody listens there, or no such socket */
	PROBE_TIMEOUT,  /* no answer in time */
	PROBE_NO_HOST,  /* the name does not resolve */
	PROBE_REJECTED, /* the server answered that it serves nobody: 53300, 57P03, ... */
	PROBE_BROKEN,   /* the server closed, or spoke no PostgreSQL */
	PROBE_NOT_RUN,  /* the prober itself failed: says nothing about the target */
	PROBE_RESULT_END,
};

struct ev_probe {
	struct ev_head head;
	struct ev_scope scope;
	char target[192];
	__u32 result;  /* enum probe_result */
	__u32 reached; /* 1: the prober has had an answer from this target before, so its failures count */
	__u32 ms;
	char sqlstate[8]; /* "" when there is none */
	__u32 reserved;
};

enum breaker_kind { BREAKER_CONNECT, BREAKER_QUERY, BREAKER_KINDS };
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct ev_breaker {
	struct ev_head head;
	struct ev_scope scope;
	char target[192];
	__u32 kind;  /* enum breaker_kind */
	__u32 state; /* enum breaker_state: the new one */
	__u32 seq;
	__u32 reserved;
};

enum action_outcome {
	ACTION_DONE = 1,
	ACTION_OBSERVED, /* no consent */
	ACTION_REFUSED,  /* by the gate: budget, last worker, pause, identity */
	ACTION_FAILED,   /* it was tried */
	ACTION_SENT,     /* ordered; its outcome comes later under the same id */
	ACTION_OUTCOME_END,
};

struct ev_action {
	struct ev_head head; /* the process acted on, 0: none */
	struct ev_scope scope;
	char id[20];     /* of the action */
	char action[24]; /* "worker.restart", ... */
	__u32 outcome;   /* enum action_outcome */
};

enum { EV_FORMAT = 5 };

_Static_assert(sizeof(struct ev_head) == 40, "ev_head");
_Static_assert(sizeof(struct ev_birth) == 80, "ev_birth");
_Static_assert(sizeof(struct ev_exec) == 184, "ev_exec");
_Static_assert(sizeof(struct ev_exit) == 80, "ev_exit");
_Static_assert(sizeof(struct ev_kill) == 72, "ev_kill");
_Static_assert(sizeof(struct ev_fatal) == 240, "ev_fatal");
_Static_assert(sizeof(struct ev_confirm) == 48, "ev_confirm");
_Static_assert(sizeof(struct ev_conn) == 432, "ev_conn");
_Static_assert(sizeof(struct ev_query_start) == 56, "ev_query_start");
_Static_assert(sizeof(struct ev_query_end) == 72, "ev_query_end");
_Static_assert(sizeof(struct ev_begin) == 184, "ev_begin");
_Static_assert(sizeof(struct ev_sample) == 88, "ev_sample");
_Static_assert(sizeof(struct ev_gap) == 72, "ev_gap");
_Static_assert(sizeof(struct ev_window) == 16, "ev_window");
_Static_assert(sizeof(struct ev_fault) % 8 == 0, "ev_fault");
_Static_assert(sizeof(struct ev_ruby_frame) == 208, "ev_ruby_frame");
_Static_assert(sizeof(struct ev_ruby) == 56, "ev_ruby");
_Static_assert(sizeof(struct ev_written) == 72, "ev_written");
_Static_assert(sizeof(struct ev_info) % 8 == 0, "ev_info");
_Static_assert(sizeof(struct ev_location) % 8 == 0, "ev_location");
_Static_assert(sizeof(struct ev_scope) == 80, "ev_scope");
_Static_assert(sizeof(struct ev_hello) == 160, "ev_hello");
_Static_assert(sizeof(struct ev_probe) == 336, "ev_probe");
_Static_assert(sizeof(struct ev_breaker) == 328, "ev_breaker");
_Static_assert(sizeof(struct ev_action) == 168, "ev_action");
_Static_assert(sizeof(struct ev_state) == 56, "ev_state");

#endif
