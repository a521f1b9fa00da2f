/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner of the BPF side: loads the skeleton, attaches the life-cycle programs, reads the rings.
 *
 * Nothing else in user space touches a BPF map or link. All links die with the process (none is pinned
 * yet), so an agent that is killed leaves nothing attached.
 */
#ifndef LAPIDARY_PROBE_H
#define LAPIDARY_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/shared.h"
#include "user/probe/features.h"

struct probe;

struct probe_options {
	size_t life_ring_bytes; /* powers of two, multiples of the page size */
	size_t capture_ring_bytes;
	size_t flow_ring_bytes;
	uint32_t stack_bytes; /* at most EV_STACK_MAX; 0: registers alone */
	bool no_captures;     /* 'capture: none' */
	bool no_uprobe_multi; /* perf uprobes even where uprobe_multi is there */
};

/*
 * Opens, sizes, loads and attaches everything that needs no file: after it returns, life cycle and faults
 * of marked processes arrive. Returns 0, or -errno with one line in `why` (what, why, what to do). Nothing
 * stays attached on failure. -ENOTSUP or -EPERM: this host lacks what is needed (exit 3).
 */
int probe_open(const struct probe_options *options, const struct features *features, struct probe **out,
	       char *why, size_t why_size);
void probe_close(struct probe *probe);

/*
 * Captures what crashing tasks write (EV_WRITTEN) from now on: while one crashes, or always. Call it when the
 * capabilities are dropped that will be. 0 or -errno; -ENOTSUP: not on this kernel.
 */
int probe_reports(struct probe *probe, bool always);

/*
 * A descriptor to poll for reading: readable when LIFE, CAPTURE or FLOW has records. FLOW wakes at most ten
 * times a second, so call probe_drain on every tick as well.
 */
int probe_fd(const struct probe *probe);

/*
 * One raw record, in the ring's memory and valid during the call alone. A negative return value stops
 * the round; the record counts as consumed.
 */
typedef int (*probe_record_fn)(void *context, const void *record, size_t size);

/*
 * Drains LIFE and CAPTURE until both are empty, then at most flow_batch records of FLOW. What LIFE says of a
 * process before its capture was written comes before that capture. Returns the number of records handed
 * over, or -errno. *more is set when FLOW has some left.
 */
int probe_drain(struct probe *probe, int flow_batch, probe_record_fn fn, void *context, bool *more);

/*
 * Marks a process as watched. The identity is checked against the pidfd's process before and after;
 * -ESRCH when it is gone or another. Already marked: 0.
 */
int probe_mark(struct probe *probe, uint32_t tgid, uint64_t start_ns);
int probe_unmark(struct probe *probe, uint32_t tgid, uint64_t start_ns);
/*
 * Where the process has its Ruby, the file of that group: `bias` is the load address less the linked one. A
 * fork inherits it; a Ruby that starts under a probe has noted it itself. Errors as of probe_mark.
 */
int probe_set_place(struct probe *probe, uint32_t tgid, uint64_t start_ns, uint16_t group, uint64_t bias);
/* What a fault of the process would be walked by; -ENOENT when it has no place: no Ruby frames then. */
int probe_read_place(struct probe *probe, uint32_t tgid, uint64_t start_ns, struct ruby_layout *out);
/* Reads the mark (fault and hit counters); -ENOENT when the process is not watched. */
int probe_read_mark(struct probe *probe, uint32_t tgid, uint64_t start_ns, struct mark *out);

/* One process as the kernel's task iterator gives it. */
struct probe_task {
	uint32_t tgid, parent_tgid, uid;
	uint64_t start_ns, parent_start_ns;
	char comm[EV_COMM];
};
typedef void (*probe_task_fn)(void *context, const struct probe_task *task);
/* Calls fn for every thread-group leader of the host. */
int probe_each_task(struct probe *probe, probe_task_fn fn, void *context);

/* A place in a file where the program of `site` belongs. */
struct probe_site {
	enum site site;
	uint64_t offset; /* in the file */
};

/*
 * Attaches to an open file: one uprobe_multi link a site kind (perf uprobes where it is missing, by
 * `perf_open`, which the spawner serves). `group` selects the layout slot, `attachment` tells attachments
 * of one group apart. Returns a handle >= 0 or -errno.
 */
typedef int (*probe_perf_open_fn)(void *context, int file_fd, uint64_t offset);
int probe_attach(struct probe *probe, int file_fd, const struct probe_site *sites, size_t count,
		 uint16_t group, uint16_t attachment, probe_perf_open_fn perf_open, void *context);
/* The handle is free at once; the kernel takes the probes out a moment later, beside the caller. */
void probe_detach(struct probe *probe, int handle);
int probe_set_layout(struct probe *probe, uint16_t group, const struct libpq_layout *libpq,
		     const struct ruby_layout *ruby);

/* Sums the per-CPU counters. */
int probe_counters(const struct probe *probe, struct counters *out);
/* Bytes that rings and maps hold in the kernel, for the memory bench and `features`. */
void probe_memory(const struct probe *probe, size_t *ring_bytes, size_t *map_bytes);

#endif
