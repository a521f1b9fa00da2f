/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the probe owner share: probe.c (load), lanes.c (rings), marks.c (who is watched),
 * attach.c (uprobes). Nobody else includes this.
 */
#ifndef LAPIDARY_PROBE_PRIVATE_H
#define LAPIDARY_PROBE_PRIVATE_H

#include "user/probe/probe.h"

struct lapidary_bpf;
struct ring_buffer;

/* One attached file: the links of its sites. */
struct attachment {
	int *links;
	size_t count;
};

/* One ring and what its reader is in the middle of. */
struct lane_reader {
	struct ring_buffer *ring;
	struct lane_reader *before; /* whose records come before each of this one's; NULL: nobody's */
	probe_record_fn fn;
	void *context;
	int left; /* records it may still hand over this round */
	int handed;
	int stopped; /* what a callback that wanted to stop returned */
};

enum { PROBE_LANES = 3 }; /* LIFE, CAPTURE, FLOW */

struct probe {
	struct lapidary_bpf *skeleton;
	bool multi;    /* uprobes go by uprobe_multi */
	int list_link; /* the task iterator */
	int epoll;
	int cpus;
	struct lane_reader readers[PROBE_LANES];
	struct closer *closer;     /* of links that are let go */
	struct reporter *reporter; /* NULL: what crashing tasks write is not captured */
	struct attachment *attachments;
	size_t attachment_room;
};

int lanes_open(struct probe *probe);
void lanes_close(struct probe *probe);
void attachments_close(struct probe *probe);
/* Tells the uprobe programs how they will be attached; before load. */
void attach_prepare(struct probe *probe);

#endif
