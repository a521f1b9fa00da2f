// SPDX-License-Identifier: Apache-2.0
/*
 * Any text of /proc/PID/maps, and any series of changes: regions stay in order and apart. An even first
 * byte makes the rest a text, an odd one a list of commands of eight bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "user/probe/maps.h"

enum { PROCESSES = 4 };

static void check(const struct maps *maps)
{
	for (uint32_t tgid = 1; tgid <= PROCESSES; tgid++) {
		const struct maps_region *regions;
		struct ev_location location;
		uint64_t end = 0;
		size_t count;

		regions = maps_regions(maps, tgid, 1, &count);
		for (size_t i = 0; i < count; i++) {
			if (regions[i].start < end || regions[i].start >= regions[i].end)
				abort();
			end = regions[i].end;
			maps_locate(maps, tgid, 1, end - 1, &location);
			if (location.what == LOCATION_NONE || location.map_start != regions[i].start)
				abort();
		}
	}
}

static void command(struct maps *maps, const uint8_t *c)
{
	static const char *const paths[] = {"/a", "/b.so", "", "[stack]"};
	uint32_t tgid = 1 + c[1] % PROCESSES;
	struct maps_region region = {.start = c[2],
				     .end = c[2] + (uint64_t)c[3] % 32,
				     .offset = c[4],
				     .inode = c[5] % 3,
				     .build_id_len = c[6] % 24,
				     .protection = PROT_EXEC,
				     .path = paths[c[7] % 4]};

	switch (c[0] % 8) {
	case 0:
		maps_fork(maps, tgid, 1, 1 + c[2] % PROCESSES, 1);
		break;
	case 1:
		maps_drop(maps, tgid, 1);
		break;
	case 2:
		maps_stale(maps, c[2] % PROCESSES, 1);
		break;
	case 3:
		maps_load(maps, tgid, 1, "10-20 r-xp 0 1:1 1 /a\n", 22);
		break;
	default:
		maps_add(maps, tgid, 1, &region);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct maps *maps = maps_new();

	if (size > 0 && data[0] % 2 == 0)
		maps_load(maps, 1, 1, (const char *)data + 1, size - 1);
	for (size_t at = 1; size > 0 && data[0] % 2 && at + 8 <= size; at += 8) {
		command(maps, data + at);
		check(maps);
	}
	check(maps);
	if (maps_memory(maps) > 1 << 24)
		abort();
	maps_free(maps);
	return 0;
}
