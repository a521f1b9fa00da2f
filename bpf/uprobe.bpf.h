/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A uprobe hit in a watched process: whose is it, and does this attachment count there?
 *
 * One lower file seen through two overlay mounts is attached through each, and every hit fires twice. So
 * the first attachment of a group that fires in a process claims the group there. Taking a free slot is a
 * compare-and-swap, because two threads may arrive at once.
 */
#ifndef LAPIDARY_UPROBE_BPF_H
#define LAPIDARY_UPROBE_BPF_H

#include "bpf/thread.bpf.h"

struct hit {
	struct task_struct *task;
	struct mark *mark;
	__u32 group;
};

static __always_inline bool mark_claim(struct mark *mark, __u32 group, __u32 attachment)
{
	__u32 want = group | attachment << 16, seen;
	int i;

	for (i = 0; i < MARK_LIBS; i++) {
		__u32 *slot = (__u32 *)&mark->libs[i];

		seen = *slot;
		if (!seen)
			seen = __sync_val_compare_and_swap(slot, 0, want);
		if (!seen || seen == want)
			return true;
		if ((seen & 0xffff) == group)
			return false;
	}
	return false;
}

/* Does the cookie's attachment count in this process? Counts the hit either way. */
static __always_inline bool hit_counts(struct mark *mark, __u64 cookie, enum site site)
{
	struct counters *count = counters_get();

	if (!count)
		return false;
	if (!mark_claim(mark, cookie >> 16, cookie & 0xffff)) {
		count->ignored++;
		return false;
	}
	count->hits[site]++;
	add_once(mark->hits);
	return true;
}

static __always_inline bool hit_take(void *ctx, enum site site, struct hit *hit)
{
	__u64 cookie;

	hit->task = bpf_get_current_task_btf();
	hit->mark = mark_get(hit->task->group_leader);
	if (!hit->mark)
		return false;
	cookie = bpf_get_attach_cookie(ctx);
	hit->group = cookie >> 16;
	return hit_counts(hit->mark, cookie, site);
}

static __always_inline struct thread *hit_thread(struct hit *hit)
{
	return bpf_task_storage_get(&threads, hit->task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

static __always_inline void count_unreadable(void)
{
	struct counters *count = counters_get();

	if (count)
		count->unreadable++;
}

#endif
