/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The regions of one address space in address order, none overlapping another. Sets are shared between a
 * process and its forks; only a set with one owner may be changed, so a change begins with region_set_own.
 */
#ifndef LAPIDARY_REGION_SET_H
#define LAPIDARY_REGION_SET_H

#include "user/probe/maps.h"
#include "user/probe/path_names.h"

struct region_set {
	size_t owners, count, room;
	struct maps_region *regions;
};

struct region_set *region_set_new(void); /* with one owner; NULL: no memory */
struct region_set *region_set_share(struct region_set *set);
void region_set_drop(struct region_set *set, struct path_names *names); /* NULL-safe */
/* Makes *set the caller's alone, by copying when it is shared. 0 or -ENOMEM. */
int region_set_own(struct region_set **set);

/*
 * Puts a region in (its path is copied), over whatever lies there. 1: it lay over something else, 0: it did
 * not, or the same was there, whose missing facts are filled in. -ENOSPC beyond MAPS_REGIONS, -EINVAL.
 */
int region_set_put(struct region_set *set, struct path_names *names, const struct maps_region *region);

/* The region that holds the address, borrowed; NULL: none. */
const struct maps_region *region_set_find(const struct region_set *set, uint64_t address);
size_t region_set_memory(const struct region_set *set);

#endif
