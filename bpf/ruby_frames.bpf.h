/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The Ruby frames of the thread that faults, walked in its own context.
 *
 * The walk reads nothing but the process's memory, every value of which may be a lie: whatever is read is
 * bounded before it is used, and a frame that makes no sense ends the walk with a state that says so.
 */
#ifndef LAPIDARY_RUBY_FRAMES_BPF_H
#define LAPIDARY_RUBY_FRAMES_BPF_H

#include "bpf/common.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ruby_place);
} places __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GROUPS_MAX);
	__type(key, __u32);
	__type(value, struct ruby_layout);
} rubies __weak SEC(".maps");

/* A word of memory at a time, so that a field may be picked by an offset that is only known when it runs. */
enum ruby_words { RUBY_EC_WORDS = 8, RUBY_CFP_WORDS = 5, RUBY_BODY_WORDS = 20, RUBY_OBJECT_WORDS = 5 };

/* Offsets in bytes that differ between versions; the table of them is in ruby_frames.bpf.c. */
struct ruby_offsets {
	__u32 ec_thread;
	__u32 cfp_size;
	__u32 body_insns, body_insns_count, body_insns_index;
	__u32 insn_size;
	__u32 string_embedded;
	__u32 thread_id; /* in rb_thread_t, of 2.7 alone: tells whether the context is this thread's */
};

/*
 * What a walk needs, and the record that it makes. Too large for the stack; one a CPU is enough, since a
 * tracing program does not run inside itself on one CPU.
 */
struct ruby_walk {
	struct ruby_offsets at;
	struct ruby_layout ruby;
	__u64 bias;
	__u64 thread_pointer;
	__u64 cfp, end; /* what is left to walk */
	__u64 names;    /* the array of method names, 0: none */
	__u64 text;     /* the string that is copied next */
	__u64 ec[RUBY_EC_WORDS];
	__u64 frame[RUBY_CFP_WORDS];
	__u64 body[RUBY_BODY_WORDS];
	__u64 object[RUBY_OBJECT_WORDS];
	__u64 block[2];
	__u32 state; /* enum ruby_stack_state */
	__u32 count;
	__u64 record[sizeof(struct ev_ruby) / 8]; /* ruby_record; the frames follow it */
	struct ev_ruby_frame frames[EV_RUBY_FRAMES];
};

static __always_inline struct ev_ruby *ruby_record(struct ruby_walk *walk)
{
	return (struct ev_ruby *)walk->record;
}

/* Fills state, count and frames; the head and the place are the caller's. Returns 0. */
int ruby_walk_frames(struct ruby_walk *walk);

#endif
