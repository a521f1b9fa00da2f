/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What every probe needs: the maps, the lanes, the mark look-up and the head of a record.
 *
 * The maps are defined weakly in this header, so each object carries the same definition and the static
 * linker folds them into one. A probe that finds no mark has paid one storage look-up and returns; no
 * event of an unwatched process is ever made. Sequence numbers are taken before the ring is asked for
 * room: a record that found none leaves a hole that user space sees, and a counter that says how many.
 */
#ifndef LAPIDARY_COMMON_BPF_H
#define LAPIDARY_COMMON_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "bpf/event.h"
#include "bpf/shared.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mark);
} marks __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters __weak SEC(".maps");

/* Taken by all CPUs; one word a lane, so that a hole means a loss and nothing else. */
struct lane_state {
	__u64 seq[LANE_COUNT];
	__u64 flow_woken_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lane_state);
} lanes __weak SEC(".maps");

/* Sizes are placeholders: probe_open sets them before load. */
#define RING(name)                                                                                           \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                          \
		__uint(max_entries, 65536);                                                                  \
	} name __weak SEC(".maps")
RING(life);
RING(capture);
RING(flow);

enum {
	FLOW_WAKE_NS = 100 * 1000 * 1000, /* a wake-up costs more than a record: ten a second are enough */
	SECOND_NS = 1000 * 1000 * 1000,
	NOTES_PER_SECOND =
		256, /* what one process may put into LIFE by its own calls; the rest goes to FLOW */
};

#define add_once(place) __sync_fetch_and_add(&(place), 1)

static __always_inline struct counters *counters_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

/* The mark of a thread group, NULL when it is not watched. */
static __always_inline struct mark *mark_get(struct task_struct *leader)
{
	struct mark *mark = bpf_task_storage_get(&marks, leader, 0, 0);

	return mark && mark->start_ns ? mark : NULL;
}

/* Starts a new second of the budgets when the old one is over. Racing threads at worst share one anew. */
static __always_inline void mark_tick(struct mark *mark, __u64 now)
{
	if (now - mark->window_ns < SECOND_NS)
		return;
	mark->window_ns = now;
	mark->captures = 0;
	mark->small = 0;
	mark->notes = 0;
}

/* The lane for a LIFE record that a process causes by a call of its own: a flood of them is flow. */
static __always_inline enum lane mark_note(struct mark *mark, __u64 now)
{
	mark_tick(mark, now);
	return add_once(mark->notes) < NOTES_PER_SECOND ? LANE_LIFE : LANE_FLOW;
}

static __always_inline void *lane_ring(enum lane lane)
{
	return lane == LANE_LIFE ? (void *)&life : lane == LANE_CAPTURE ? (void *)&capture : (void *)&flow;
}

static __always_inline __u64 lane_next(enum lane lane)
{
	__u32 zero = 0;
	struct lane_state *state = bpf_map_lookup_elem(&lanes, &zero);

	return state && lane < LANE_COUNT ? add_once(state->seq[lane]) + 1 : 0;
}

/* FLOW wakes the agent rarely: it drains that lane with every other wake-up and every tick anyway. */
static __always_inline __u64 lane_wake(enum lane lane, __u64 now)
{
	__u32 zero = 0;
	struct lane_state *state;

	if (lane != LANE_FLOW)
		return 0;
	state = bpf_map_lookup_elem(&lanes, &zero);
	if (!state || now - state->flow_woken_ns < FLOW_WAKE_NS)
		return BPF_RB_NO_WAKEUP;
	state->flow_woken_ns = now;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void lane_count(enum lane lane, bool dropped)
{
	struct counters *count = counters_get();

	if (!count || lane >= LANE_COUNT)
		return;
	if (dropped)
		count->dropped[lane]++;
	else
		count->records[lane]++;
}

/* Fills the head for a record of the task whose leader is given. */
static __always_inline void head_fill(struct ev_head *head, enum event_type type, __u32 size, enum lane lane,
				      __u64 now, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	head->size = size;
	head->type = type;
	head->lane = lane;
	head->flags = 0;
	head->seq = lane_next(lane);
	head->time_ns = now;
	head->start_ns = leader->start_boottime;
	head->tgid = task->tgid;
	head->tid = task->pid;
}

/* Sends a whole record whose head is filled. */
static __always_inline void lane_send(enum lane lane, void *record, __u64 size, __u64 now)
{
	lane_count(lane, bpf_ringbuf_output(lane_ring(lane), record, size, lane_wake(lane, now)) != 0);
}

/* EV_WATCH or EV_FORK of `task`, which must be a group leader. */
static __always_inline void birth_send(struct task_struct *task, struct task_struct *parent,
				       enum event_type type)
{
	struct ev_birth ev = {};
	__u64 now = bpf_ktime_get_boot_ns();

	head_fill(&ev.head, type, sizeof(ev), LANE_LIFE, now, task);
	ev.parent_tgid = parent->tgid;
	ev.parent_start_ns = parent->group_leader->start_boottime;
	ev.uid = task->cred->uid.val;
	BPF_CORE_READ_STR_INTO(&ev.comm, task, comm);
	lane_send(LANE_LIFE, &ev, sizeof(ev), now);
}

#endif
