// SPDX-License-Identifier: Apache-2.0
/* A sorted array: address spaces change seldom and are searched when something dies. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "user/probe/region_set.h"

struct region_set *region_set_new(void)
{
	struct region_set *set = calloc(1, sizeof(*set));

	if (set)
		set->owners = 1;
	return set;
}

struct region_set *region_set_share(struct region_set *set)
{
	set->owners++;
	return set;
}

void region_set_drop(struct region_set *set, struct path_names *names)
{
	if (!set || --set->owners > 0)
		return;
	for (size_t i = 0; i < set->count; i++)
		path_names_drop(names, set->regions[i].path);
	free(set->regions);
	free(set);
}

int region_set_own(struct region_set **set)
{
	struct region_set *shared = *set, *own;

	if (shared->owners == 1)
		return 0;
	own = region_set_new();
	if (!own)
		return -ENOMEM;
	own->regions = malloc((shared->count + 1) * sizeof(*own->regions));
	if (!own->regions) {
		free(own);
		return -ENOMEM;
	}
	own->count = shared->count;
	own->room = shared->count + 1;
	for (size_t i = 0; i < shared->count; i++) {
		own->regions[i] = shared->regions[i];
		path_names_again(own->regions[i].path);
	}
	shared->owners--;
	*set = own;
	return 0;
}

/* Index of the first region that ends behind the address. */
static size_t first_behind(const struct region_set *set, uint64_t address)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->regions[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct maps_region *region_set_find(const struct region_set *set, uint64_t address)
{
	size_t at = first_behind(set, address);

	return at < set->count && set->regions[at].start <= address ? &set->regions[at] : NULL;
}

static void remove_at(struct region_set *set, struct path_names *names, size_t at)
{
	path_names_drop(names, set->regions[at].path);
	set->count--;
	memmove(set->regions + at, set->regions + at + 1, (set->count - at) * sizeof(*set->regions));
}

/* Room is there. */
static void insert_at(struct region_set *set, size_t at, const struct maps_region *region)
{
	memmove(set->regions + at + 1, set->regions + at, (set->count - at) * sizeof(*set->regions));
	set->regions[at] = *region;
	set->count++;
}

/* Room for two more: the new region, and the second half of one that it splits. */
static int make_room(struct region_set *set)
{
	size_t room = set->count + set->count / 4 + 2;
	struct maps_region *regions;

	if (set->count + 2 > MAPS_REGIONS)
		return -ENOSPC;
	if (set->count + 2 <= set->room)
		return 0;
	regions = realloc(set->regions, room * sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	set->regions = regions;
	set->room = room;
	return 0;
}

static void cut_start(struct maps_region *region, uint64_t start)
{
	region->offset += start - region->start;
	region->start = start;
}

/* Takes [start, end) out of what lies at `at` and behind; returns where a region of that range belongs. */
static size_t clear_range(struct region_set *set, struct path_names *names, size_t at, uint64_t start,
			  uint64_t end)
{
	while (at < set->count && set->regions[at].start < end) {
		struct maps_region *old = &set->regions[at], tail = *old;

		if (old->start < start) {
			old->end = start;
			at++;
			if (tail.end > end) {
				cut_start(&tail, end);
				path_names_again(tail.path);
				insert_at(set, at, &tail);
			}
		} else if (old->end > end) {
			cut_start(old, end);
		} else {
			remove_at(set, names, at);
		}
	}
	return at;
}

/* One mapping told twice, of which /proc and one kind of record know the inode, the other the build-id. */
static bool is_same(const struct maps_region *a, const struct maps_region *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       strcmp(a->path, b->path) == 0 && (!a->inode || !b->inode || a->inode == b->inode) &&
	       (!a->build_id_len || !b->build_id_len ||
		(a->build_id_len == b->build_id_len &&
		 memcmp(a->build_id, b->build_id, a->build_id_len) == 0));
}

static void fill_in(struct maps_region *old, const struct maps_region *region)
{
	if (region->inode) {
		old->inode = region->inode;
		old->device_major = region->device_major;
		old->device_minor = region->device_minor;
	}
	if (region->build_id_len) {
		old->build_id_len = region->build_id_len;
		memcpy(old->build_id, region->build_id, sizeof(old->build_id));
	}
	old->protection = region->protection;
}

int region_set_put(struct region_set *set, struct path_names *names, const struct maps_region *region)
{
	struct maps_region fresh = *region;
	size_t at = first_behind(set, region->start);
	bool over;
	int err;

	if (region->start >= region->end || region->build_id_len > sizeof(region->build_id))
		return -EINVAL;
	if (at < set->count && is_same(&set->regions[at], region)) {
		fill_in(&set->regions[at], region);
		return 0;
	}
	err = make_room(set);
	if (err)
		return err;
	fresh.path = path_names_keep(names, region->path ? region->path : "");
	if (!fresh.path)
		return -ENOMEM;
	over = at < set->count && set->regions[at].start < region->end;
	at = clear_range(set, names, at, region->start, region->end);
	insert_at(set, at, &fresh);
	return over;
}

size_t region_set_memory(const struct region_set *set)
{
	return sizeof(*set) + set->room * sizeof(*set->regions);
}
