/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executable mappings of watched processes, kept from perf mmap records so that they are known when a
 * process dies too fast to be asked (without a handler only 2 of 20 could be read afterwards, FACTS.md 4).
 *
 * A fork copies the parent's maps (shared until one changes), an exec drops them, a lost record or an
 * overlap marks them stale, and a stale set is read anew from /proc/PID/maps. MMAP2 has no unmap record:
 * an overlapping new mapping replaces what lies under it. Bounded: MAPS_PROCESSES sets, MAPS_REGIONS each;
 * paths are interned.
 */
#ifndef LAPIDARY_MAPS_H
#define LAPIDARY_MAPS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "bpf/event.h"

enum { MAPS_PROCESSES = 4096, MAPS_REGIONS = 1024 };

struct maps;

struct maps_region {
	uint64_t start, end, offset; /* offset in the file */
	uint64_t inode;
	uint32_t device_major, device_minor;
	uint32_t protection; /* PROT_* */
	uint8_t build_id_len;
	uint8_t build_id[20];
	const char *path; /* as the process sees it; "[vdso]", "" for anonymous; interned, lives as maps */
};

struct maps *maps_new(void);
void maps_free(struct maps *maps);

/* A region seen in a perf record. */
void maps_add(struct maps *maps, uint32_t tgid, uint64_t start_ns, const struct maps_region *region);
void maps_fork(struct maps *maps, uint32_t parent, uint64_t parent_start_ns, uint32_t child,
	       uint64_t child_start_ns);
void maps_drop(struct maps *maps, uint32_t tgid, uint64_t start_ns);
void maps_stale(struct maps *maps, uint32_t tgid, uint64_t start_ns); /* all sets when tgid is 0 */

/*
 * Replaces a set by the text of /proc/PID/maps (the caller read it; lines that do not parse are counted
 * and skipped). Returns the regions kept, or -errno.
 */
int maps_load(struct maps *maps, uint32_t tgid, uint64_t start_ns, const char *text, size_t size);

/*
 * Fills the location of `address`: module, offset, build-id, protection, source. what is LOCATION_NONE when
 * unknown; head and fault_time_ns stay the caller's.
 */
void maps_locate(const struct maps *maps, uint32_t tgid, uint64_t start_ns, uint64_t address,
		 struct ev_location *out);
/*
 * How the set is known; MAPS_NONE also for a stale one, which asks to be loaded (maps_locate and
 * maps_regions go on answering from it until then).
 */
enum maps_source maps_source(const struct maps *maps, uint32_t tgid, uint64_t start_ns);
/* Regions in address order, borrowed until the next change; count 0 when nothing is known. */
const struct maps_region *maps_regions(const struct maps *maps, uint32_t tgid, uint64_t start_ns,
				       size_t *count);
size_t maps_memory(const struct maps *maps); /* bytes held */

#endif
