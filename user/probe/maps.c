// SPDX-License-Identifier: Apache-2.0
/*
 * Who has which set of regions. Forks of one master share one set until one of them maps something, so 200
 * workers cost little more than one.
 *
 * Kept are executable regions and the main thread's stack: they answer where a program counter was. Heap
 * and data come and go without a record, so what could be said of them would be out of date.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "user/base/table.h"
#include "user/base/text.h"
#include "user/probe/maps.h"
#include "user/probe/maps_text.h"
#include "user/probe/region_set.h"

struct key {
	uint64_t start_ns;
	uint32_t tgid, pad;
};

struct process_maps {
	struct region_set *set; /* never NULL */
	enum maps_source source;
	bool stale;
};

struct maps {
	struct table *table; /* key → process_maps */
	struct path_names *names;
};

static void forget(void *context, const void *key, void *value)
{
	struct maps *maps = context;

	(void)key;
	region_set_drop(((struct process_maps *)value)->set, maps->names);
}

struct maps *maps_new(void)
{
	struct maps *maps = calloc(1, sizeof(*maps));

	if (!maps)
		return NULL;
	maps->names = path_names_new();
	maps->table =
		table_new(sizeof(struct key), sizeof(struct process_maps), MAPS_PROCESSES, forget, maps);
	if (!maps->names || !maps->table) {
		maps_free(maps);
		return NULL;
	}
	return maps;
}

void maps_free(struct maps *maps)
{
	if (!maps)
		return;
	if (maps->table)
		table_free(maps->table);
	path_names_free(maps->names);
	free(maps);
}

static struct key key_of(uint32_t tgid, uint64_t start_ns)
{
	return (struct key){.start_ns = start_ns, .tgid = tgid};
}

static const struct process_maps *find(const struct maps *maps, uint32_t tgid, uint64_t start_ns)
{
	struct key key = key_of(tgid, start_ns);

	return table_peek(maps->table, &key);
}

/* Takes over `set`, also on failure. */
static struct process_maps *assign(struct maps *maps, uint32_t tgid, uint64_t start_ns,
				   struct region_set *set)
{
	struct key key = key_of(tgid, start_ns);
	struct process_maps *process = set ? table_put(maps->table, &key, NULL) : NULL;

	if (!process) {
		region_set_drop(set, maps->names);
		return NULL;
	}
	region_set_drop(process->set, maps->names);
	process->set = set;
	return process;
}

static bool is_kept(const struct maps_region *region)
{
	return (region->protection & PROT_EXEC) || strcmp(region->path, "[stack]") == 0;
}

void maps_add(struct maps *maps, uint32_t tgid, uint64_t start_ns, const struct maps_region *region)
{
	struct process_maps *process = (struct process_maps *)find(maps, tgid, start_ns);

	if (!process) {
		process = assign(maps, tgid, start_ns, region_set_new());
		if (!process)
			return;
		process->stale = true; /* what was mapped before is not known */
	}
	if (region_set_own(&process->set) < 0) {
		process->stale = true;
		return;
	}
	process->source = MAPS_RECORDS;
	if (region_set_put(process->set, maps->names, region) != 0)
		process->stale = true;
}

void maps_fork(struct maps *maps, uint32_t parent, uint64_t parent_start_ns, uint32_t child,
	       uint64_t child_start_ns)
{
	const struct process_maps *from = find(maps, parent, parent_start_ns);
	const struct process_maps *early = find(maps, child, child_start_ns);
	struct region_set *own = early ? region_set_share(early->set) : NULL;
	struct process_maps *process = NULL;
	bool stale = from && from->stale;

	if (from)
		process = assign(maps, child, child_start_ns, region_set_share(from->set));
	if (process) {
		process->source = MAPS_INHERITED;
		process->stale = stale;
	}
	/* the rings are not in step: the child may have been seen to map something before its fork was */
	for (size_t i = 0; process && own && i < own->count; i++)
		maps_add(maps, child, child_start_ns, &own->regions[i]);
	region_set_drop(own, maps->names);
}

void maps_drop(struct maps *maps, uint32_t tgid, uint64_t start_ns)
{
	struct key key = key_of(tgid, start_ns);

	table_delete(maps->table, &key);
}

static void make_stale(void *context, const void *key, void *value)
{
	(void)context;
	(void)key;
	((struct process_maps *)value)->stale = true;
}

void maps_stale(struct maps *maps, uint32_t tgid, uint64_t start_ns)
{
	struct process_maps *process = (struct process_maps *)find(maps, tgid, start_ns);

	if (tgid == 0)
		table_each(maps->table, make_stale, NULL);
	else if (process)
		process->stale = true;
}

/* /proc knows no build-ids: those of regions that were there before stay. */
static void carry_build_id(struct maps_region *region, const struct region_set *before)
{
	const struct maps_region *old = region_set_find(before, region->start);

	if (!old || !old->build_id_len || old->start != region->start || old->offset != region->offset ||
	    (old->inode && old->inode != region->inode) || strcmp(old->path, region->path) != 0)
		return;
	region->build_id_len = old->build_id_len;
	memcpy(region->build_id, old->build_id, sizeof(region->build_id));
}

int maps_load(struct maps *maps, uint32_t tgid, uint64_t start_ns, const char *text, size_t size)
{
	const struct process_maps *before = find(maps, tgid, start_ns);
	struct region_set *set = region_set_new();
	struct process_maps *process;
	struct maps_region region;
	struct maps_text lines;
	int err = set ? 0 : -ENOMEM;

	maps_text_init(&lines, text, size);
	while (err >= 0 && maps_text_next(&lines, &region)) {
		if (!is_kept(&region))
			continue;
		if (before)
			carry_build_id(&region, before->set);
		err = region_set_put(set, maps->names, &region);
	}
	if (err < 0 && err != -ENOSPC) {
		region_set_drop(set, maps->names);
		return err;
	}
	process = assign(maps, tgid, start_ns, set);
	if (!process)
		return -ENOMEM;
	process->source = MAPS_PROC;
	process->stale = false;
	return (int)set->count;
}

static enum location_what what_is(const struct maps_region *region)
{
	if (strcmp(region->path, "[vdso]") == 0 || strcmp(region->path, "[vsyscall]") == 0)
		return LOCATION_VDSO;
	if (strcmp(region->path, "[stack]") == 0)
		return LOCATION_STACK;
	return region->path[0] == '/' ? LOCATION_FILE : LOCATION_ANON;
}

void maps_locate(const struct maps *maps, uint32_t tgid, uint64_t start_ns, uint64_t address,
		 struct ev_location *out)
{
	const struct process_maps *process = find(maps, tgid, start_ns);
	const struct maps_region *region = process ? region_set_find(process->set, address) : NULL;

	out->source = process ? process->source : MAPS_NONE;
	out->what = LOCATION_NONE;
	out->offset = out->map_start = 0;
	out->inode_low = out->protection = 0;
	out->build_id_len = 0;
	memset(out->build_id, 0, sizeof(out->build_id));
	memset(out->module, 0, sizeof(out->module));
	if (!region)
		return;
	out->what = what_is(region);
	out->offset = address - region->start + region->offset;
	out->map_start = region->start;
	out->inode_low = (uint32_t)region->inode;
	out->protection = region->protection;
	out->build_id_len = region->build_id_len;
	memcpy(out->build_id, region->build_id, region->build_id_len);
	text_copy(out->module, sizeof(out->module), region->path);
}

enum maps_source maps_source(const struct maps *maps, uint32_t tgid, uint64_t start_ns)
{
	const struct process_maps *process = find(maps, tgid, start_ns);

	return process && !process->stale ? process->source : MAPS_NONE;
}

const struct maps_region *maps_regions(const struct maps *maps, uint32_t tgid, uint64_t start_ns,
				       size_t *count)
{
	const struct process_maps *process = find(maps, tgid, start_ns);

	*count = process ? process->set->count : 0;
	return process ? process->set->regions : NULL;
}

/* A shared set counts for each of its owners in parts. */
static void add_memory(void *context, const void *key, void *value)
{
	const struct region_set *set = ((struct process_maps *)value)->set;

	(void)key;
	*(size_t *)context += region_set_memory(set) / set->owners;
}

size_t maps_memory(const struct maps *maps)
{
	/* an entry of the table: links and hash beside key and value */
	size_t entry = sizeof(struct key) + sizeof(struct process_maps) + 6 * sizeof(void *);
	size_t bytes = path_names_memory(maps->names) + table_count(maps->table) * entry;

	table_each(maps->table, add_memory, &bytes);
	return bytes;
}
