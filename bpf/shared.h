/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What both sides of the BPF maps touch and that is not an event: the mark of a watched process, what a
 * probed file's code told us (layouts), where a process has its Ruby, and the counters.
 */
#ifndef LAPIDARY_SHARED_H
#define LAPIDARY_SHARED_H

#include "event.h"

enum shared_limit {
	MARK_LIBS = 4,    /* libraries a process may be probed through: one libruby and three libpq */
	GROUPS_MAX = 256, /* distinct probed files (build-ids), index of the layouts array */
};

/*
 * A uprobe cookie says which attachment it belongs to: group << 16 | attachment. A group is one build-id
 * (and its layout); an attachment is one inode as one mount shows it. One lower file seen through two
 * overlay mounts is attached twice and every hit fires twice, so the first attachment of a group that
 * fires in a process claims the group there and hits of the others are ignored.
 */
struct mark_lib {
	__u16 group; /* 0: free slot; groups count from 1 */
	__u16 attachment;
};

/* Task storage on the group leader: this process is watched. User space writes it by pidfd. */
struct mark {
	__u64 start_ns; /* of the process; 0 means not watched (storage left over from an exec) */
	__u64 user_faults;
	__u64 hits;        /* probe hits, for the overhead account */
	__u64 window_ns;   /* start of the running second of the capture budget */
	__u32 captures;    /* full captures in it */
	__u32 suppressed;  /* faults since the last record */
	__u32 kill_sender; /* who sent the last signal that can kill */
	__u32 small;       /* small fault records in the running second */
	__u32 kill_signal; /* which signal that was */
	__u32 kill_uid;
	__u32 notes;   /* other LIFE records in the running second that the process itself can cause */
	__u32 reports; /* its threads that write a report of their crash */
	struct mark_lib libs[MARK_LIBS];
};

/*
 * Offsets that the library's own accessors use, read from their code (user/elf/accessor.h); 0xffffffff
 * where one could not be read: then the field is left empty, never guessed.
 */
struct libpq_layout {
	__u32 result_status; /* PGresult */
	__u32 result_errors; /* PGresult: head of the error field list {next 0, code 8, text 9} */
	__u32 conn_status;   /* PGconn */
	__u32 conn_socket;
	__u32 conn_database; /* char * */
	__u32 conn_message;  /* char * (data of the PQExpBuffer) */
	__u32 conn_hosts;    /* pg_conn_host * */
	__u32 conn_which;    /* int: index into hosts */
	__u32 host_stride;   /* sizeof(pg_conn_host) */
	__u32 host_name;     /* char * in pg_conn_host */
	__u32 host_address;  /* char * in pg_conn_host */
	__u32 host_port;     /* char * in pg_conn_host */
};

#define LAYOUT_UNKNOWN 0xffffffffu

/* The Rubies whose frames can be walked: columns of the table in bpf/ruby_frames.bpf.c. */
enum ruby_column {
	RUBY_NONE, /* no such column */
	RUBY_2_7,
	RUBY_3_0,
	RUBY_3_1,
	RUBY_3_2,
	RUBY_3_3,
	RUBY_3_4,
	RUBY_4_0,
	RUBY_COLUMNS,
};

/* Where a thread's running execution context is found. */
enum ruby_context {
	RUBY_CONTEXT_UNKNOWN,
	RUBY_CONTEXT_GLOBAL, /* 2.7: a variable at `context`, of whoever holds the GVL */
	RUBY_CONTEXT_MODULE, /* thread-local, in a library: the GOT slot at `context` has the module's id */
	RUBY_CONTEXT_OFFSET, /* thread-local: the GOT slot at `context` has the offset from the thread pointer
			      */
	RUBY_CONTEXT_PROGRAM, /* thread-local, in the executable: `context` below the thread pointer */
	RUBY_CONTEXT_END,
};

enum { RUBY_WORDS_MAX = 8 }; /* thread-local words that are tried */

/* What a file tells of its Ruby; addresses are as linked, 0 where there is none. */
struct ruby_layout {
	__u64 start;    /* where the probe of SITE_RUBY_START is */
	__u64 context;  /* see enum ruby_context */
	__u64 names;    /* global_symbols.ids: the array of method names */
	__u32 column;   /* enum ruby_column */
	__u32 how;      /* enum ruby_context */
	__u32 word;     /* offset of the first word to try, in the thread-local block or at `context` */
	__u32 words;    /* how many; more than one where no symbol says which it is */
	__u32 dtv_step; /* bytes a module in the thread's vector of blocks: 16 with glibc, 8 with musl */
	__u32 last_op;  /* tLAST_OP_ID: ids up to it are no names but operators, and count differently */
};

/* Task storage on the group leader beside the mark: the Ruby that this process maps. */
struct ruby_place {
	__u64 bias;  /* of the addresses in memory against those as linked */
	__u32 group; /* of the file; index of the layouts. 0: none */
	__u32 reserved;
};

/* What a uprobe site is for: the program that is attached there. */
enum site {
	SITE_RUBY_START, /* ruby_sysinit, else ruby_setup */
	SITE_RUBY_BUG,
	SITE_RUBY_FATAL,
	SITE_RUBY_MEMERROR,
	SITE_RUBY_ASSERT,
	SITE_RUBY_CONFIRM, /* rb_source_location_cstr */
	SITE_PQ_SEND_QUERY,
	SITE_PQ_SEND_PARAMS,
	SITE_PQ_SEND_PREPARE,
	SITE_PQ_SEND_PREPARED,
	SITE_PQ_RESULT_STATUS,
	SITE_PQ_CONNECT_POLL,
	SITE_PQ_CONNECT_POLL_RETURN, /* the second: every ret instruction */
	SITE_PQ_FINISH,
	SITE_PQ_ERROR_MESSAGE,
	SITE_COUNT,
};

/*
 * Of the probe on what crashing tasks write, which is attached only while one does. The elements of an array:
 * each has one writer.
 */
enum report_word {
	REPORT_SINCE, /* CLOCK_BOOTTIME ns since when the probe is attached, 0: it is not; user space sets it
		       */
	REPORT_OPEN,  /* confirmed crashes whose process has not ended */
	REPORT_WORDS,
};

/* One record of the ring `report_wake`: attach the probe. */
struct report_call {
	__u64 time_ns;
	__u32 confirmed; /* 0: a fault with a handler, which may be rescued */
	__u32 reserved;
};

/* Per-CPU array of one element. */
struct counters {
	__u64 records[LANE_COUNT];
	__u64 dropped[LANE_COUNT]; /* the ring had no room */
	__u64 suppressed;          /* faults over the capture budget */
	__u64 ignored;             /* hits of a file's second attachment */
	__u64 hits[SITE_COUNT];    /* hits in watched processes */
	__u64 unreadable;          /* user memory that a probe wanted and could not read */
};

_Static_assert(sizeof(struct mark) == 80, "mark");
_Static_assert(sizeof(struct libpq_layout) == 48, "libpq_layout");
_Static_assert(sizeof(struct ruby_layout) == 48, "ruby_layout");
_Static_assert(sizeof(struct ruby_place) == 16, "ruby_place");

#endif
