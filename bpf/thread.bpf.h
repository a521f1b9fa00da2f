/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What is remembered of a thread of a watched process: the fault it has not recovered from, its last
 * statement, and what was last said of its connections. Task storage, so it goes when the thread goes.
 */
#ifndef LAPIDARY_THREAD_BPF_H
#define LAPIDARY_THREAD_BPF_H

#include "bpf/common.bpf.h"

/* A fault in brief: enough for a small record. time_ns 0: none is pending. */
struct pending {
	__u64 time_ns;
	__u64 address;
	__u64 handler;
	__u64 trap_nr;
	__u64 error_code;
	__u64 cr2;
	__u64 ip, sp, bp;
	__u32 signal;
	__s32 code;
	__u32 sender_tgid;
	__u32 sender_uid;
	__u32 flags;
	__u32 recorded; /* 0: over the budget, no record of it was made */
};

/* What a crashing thread writes is its report. It outlives `fault`, which the confirmation clears. */
struct report {
	__u64 fault_ns; /* of the fault, or of the call of rb_bug, that it is about; 0: none */
	__u64 written;  /* bytes that the thread had written before */
	__u64 sp;       /* of the fault */
	__u32 kept;     /* bytes handed on */
	__u8 confirmed; /* it will end in death: no later fault takes its place */
	__u8 begun;     /* a piece was handed on */
	__u8 reserved[2];
};

struct thread {
	struct pending fault;
	struct report report;
	__u64 interrupted_sp; /* of what the handler on the alternate stack interrupted; 0: not known */
	__u64 conn_polled;    /* in PQconnectPoll now */
	__u64 conn_open;      /* what was last reported, so that it is reported once */
	__u64 conn_failed;
	__u64 conn_broken;
	__u64 result;     /* the PGresult whose status was last reported */
	__u64 sql_end_ns; /* 0: in flight */
	/* The last statement, kept as the record that told of it (statement_of): one copy serves both. */
	__u64 query[(sizeof(struct ev_query_start) + EV_SQL_MAX) / 8];
};

static __always_inline struct ev_query_start *statement_of(struct thread *thread)
{
	return (struct ev_query_start *)thread->query;
}

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads __weak SEC(".maps");

#endif
