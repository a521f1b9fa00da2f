// SPDX-License-Identifier: Apache-2.0
/*
 * Which files lay where comes from two lists: the modules that were unwound through (from their first
 * mapping to their last) and maps.txt, which mostly knows executable mappings alone. So an address that
 * neither holds may be heap, data, or nothing at all, and is called that.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/crash_places.h"

#define CANONICAL_END 0x800000000000ull
#define KERNEL_START  0xffff800000000000ull

enum { SMALL = 0x10000, PAGE = 4096 };

int places_init(struct places *places, const struct bundle_files *bundle)
{
	*places = (struct places){.report = bundle->report};
	places->has_stack = bundle_stack(bundle, &places->stack, NULL, 0);
	return bundle_maps_read(bundle->files[BUNDLE_MAPS].bytes, bundle->files[BUNDLE_MAPS].size,
				&places->maps);
}

void places_done(struct places *places)
{
	bundle_maps_done(&places->maps);
}

/* Path of the file there, and where it begins; NULL: none. */
static const char *file_at(const struct places *places, uint64_t address, uint64_t *offset)
{
	const struct bundle_map *map = bundle_maps_find(&places->maps, address);
	const cJSON *module;
	uint64_t start, end;

	if (map && *map->path && strncmp(map->path, "[stack", 6) != 0) {
		*offset = address - map->start + map->offset;
		return map->path;
	}
	cJSON_ArrayForEach(module, report_part(places->report, "modules"))
	{
		if (report_hex(module, "start", &start) && report_hex(module, "end", &end) &&
		    address >= start && address < end && *json_text(module, "path")) {
			*offset = address - start;
			return json_text(module, "path");
		}
	}
	return NULL;
}

static bool in_stack(const struct places *places, uint64_t address)
{
	const struct bundle_stack *stack = &places->stack;
	const struct bundle_map *map = bundle_maps_find(&places->maps, address);

	if (map && !strncmp(map->path, "[stack", 6))
		return true;
	for (size_t i = 0; places->has_stack && i < stack->count; i++) {
		const struct bundle_stretch *one = &stack->stretches[i];

		if (address >= one->address - one->address % PAGE && address < one->address + one->size)
			return true;
	}
	return false;
}

enum place_class place_class(const struct places *places, uint64_t address)
{
	uint64_t offset;

	if (!address)
		return PLACE_ZERO;
	if (address < SMALL)
		return PLACE_SMALL;
	if (in_stack(places, address))
		return PLACE_STACK;
	if (file_at(places, address, &offset))
		return PLACE_FILE;
	if (bundle_maps_find(&places->maps, address))
		return PLACE_MAPPING;
	return address >= CANONICAL_END && address < KERNEL_START ? PLACE_NOT_CANONICAL : PLACE_OTHER;
}

const char *place_class_name(enum place_class class)
{
	static const char *const names[] = {"zero",    "small number",  "stack", "file",
					    "mapping", "not canonical", "other"};

	return class <= PLACE_OTHER ? names[class] : "other";
}

const char *place_file(const struct places *places, uint64_t address)
{
	uint64_t offset;
	const char *path = file_at(places, address, &offset);

	return path ? text_base(path) : "";
}

void place_text(const struct places *places, uint64_t address, char *out, size_t size)
{
	enum place_class class = place_class(places, address);
	uint64_t offset = 0;
	const char *path;

	switch (class) {
	case PLACE_STACK:
		if (!places->has_stack)
			snprintf(out, size, "stack");
		else if (address < places->stack.stretches[0].address)
			snprintf(out, size, "stack, %llu below its pointer",
				 (unsigned long long)(places->stack.stretches[0].address - address));
		else
			snprintf(out, size, "stack +0x%llx",
				 (unsigned long long)(address - places->stack.stretches[0].address));
		break;
	case PLACE_FILE:
		path = file_at(places, address, &offset);
		snprintf(out, size, "%s +0x%llx", text_base(path), (unsigned long long)offset);
		break;
	case PLACE_SMALL:
		snprintf(out, size, "%llu", (unsigned long long)address);
		break;
	case PLACE_MAPPING:
		snprintf(out, size, "executable memory of no file");
		break;
	case PLACE_OTHER:
		snprintf(out, size, "%s", "");
		break;
	default:
		snprintf(out, size, "%s", place_class_name(class));
	}
}
