/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PERF_RECORD_MMAP2 of the whole host, executable mappings only: how a late `require "pg"` is seen and how
 * the maps of a process are known before it dies. One small perf ring a CPU.
 */
#ifndef LAPIDARY_MMAP_RECORDS_H
#define LAPIDARY_MMAP_RECORDS_H

#include <stdint.h>
#include "user/probe/maps.h"

struct mmap_records;

/* ring_pages: data pages a CPU, a power of two. Needs CAP_PERFMON at opening alone. */
int mmap_records_open(unsigned ring_pages, struct mmap_records **out);
void mmap_records_close(struct mmap_records *records);
/* An epoll descriptor over the rings. */
int mmap_records_fd(const struct mmap_records *records);

/* region->path is valid during the call. lost > 0: that many records are missing before this point (region
 * NULL). */
typedef void (*mmap_record_fn)(void *context, uint32_t tgid, uint64_t time_ns,
			       const struct maps_region *region, uint64_t lost);
/* Hands over at most `batch` records a CPU; returns how many, *more set when some are left. */
int mmap_records_drain(struct mmap_records *records, int batch, mmap_record_fn fn, void *context, int *more);

#endif
