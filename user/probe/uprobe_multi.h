/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uprobe_multi links (Linux 6.6), of which libbpf 1.1 and its headers know nothing: one link, any number of
 * places in one file, one consumer list walked a hit.
 */
#ifndef LAPIDARY_UPROBE_MULTI_H
#define LAPIDARY_UPROBE_MULTI_H

#include <stdint.h>

enum { TRACE_UPROBE_MULTI = 48 /* enum bpf_attach_type */, UPROBE_MULTI_MAX = 64 };

/* Attaches at `count` (at most UPROBE_MULTI_MAX) places, all with one cookie. A descriptor or -errno. */
int uprobe_multi_link(int program_fd, int file_fd, const uint64_t *offsets, uint32_t count, uint64_t cookie);

#endif
