/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What both sides of the BPF maps touch and that is not an event: the mark of a watched process, what a
 * probed file's code told us (layout), and the counters.
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

#endif
