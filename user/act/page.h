/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state page: one sealed memfd a scope, which its processes map read only and ask before they use a
 * database. A word is written with one store and read with one load, so no reader ever sees half of it, and
 * a lease that ran out is closed whoever died (fail open).
 *
 * Layout, little endian; docs/design.md 7 has it for those who write a library for another language:
 *   header, 64 bytes: 0 u32 magic "LPG1" · 4 u32 header size 64 · 8 u64 epoch · 16 u32 slots that exist (64)
 *                     · 20 u32 size of a slot (256) · 24 u32 slots in use, grows only
 *   slot, 256 bytes:  0 u64 word of `connect` · 8 u64 word of `query` · 16 u32 seq of connect · 20 u32 seq of
 *                     query · 24 u64 reserved · 32 char target[192], NUL-terminated · rest zero
 *   word: bits 0-1 enum breaker_state; the other bits, with 0 for those two, are the lease's end on
 *         CLOCK_MONOTONIC in ns. Shut while the state is not BREAKER_CLOSED and the end is in the future.
 * A slot is filled before the count that makes it visible grows (release order); it is never given to another
 * target while the page lives.
 */
#ifndef LAPIDARY_PAGE_H
#define LAPIDARY_PAGE_H

#include "user/act/scope.h"

enum { PAGE_SLOTS = 64, PAGE_SLOT_SIZE = 256, PAGE_HEADER_SIZE = 64 };
enum { PAGE_SIZE_BYTES = PAGE_HEADER_SIZE + PAGE_SLOTS * PAGE_SLOT_SIZE };

struct page;

int page_new(uint64_t epoch, struct page **out); /* -errno */
void page_free(struct page *page);
/* A read-only descriptor to pass on, sealed against writing, growing and shrinking; the page's own. */
int page_fd(const struct page *page);
/* The target's slot, taken when it has none; -ENOSPC when all are taken, -EINVAL for an empty or long name.
 */
int page_slot(struct page *page, const char *target);
/* lease_end_ns 0 with BREAKER_CLOSED. */
void page_set(struct page *page, int slot, enum breaker_kind kind, enum breaker_state state,
	      uint64_t lease_end_ns, uint32_t seq);

#endif
