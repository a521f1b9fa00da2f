// SPDX-License-Identifier: Apache-2.0
/* The core's bytes, and the notes that are the same on every 64-bit processor. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/crash/core_parts.h"

enum { AUXV_MAX = 64, FILES_MAX = 4096, PAGE = 4096 };

size_t image_add(struct image *image, const void *bytes, size_t size)
{
	size_t at = image->size, room = image->room ? image->room : 16384;

	if (image->failed || !size)
		return at;
	while (room - at < size)
		room *= 2;
	if (room != image->room) {
		uint8_t *grown = realloc(image->bytes, room);

		image->failed = !grown;
		if (!grown)
			return at;
		image->bytes = grown;
		image->room = room;
	}
	if (bytes)
		memcpy(image->bytes + at, bytes, size);
	else
		memset(image->bytes + at, 0, size);
	image->size += size;
	return at;
}

void image_align(struct image *image, size_t to)
{
	image_add(image, NULL, (to - image->size % to) % to);
}

void image_put(struct image *image, size_t at, const void *bytes, size_t size)
{
	if (!image->failed && at + size <= image->size)
		memcpy(image->bytes + at, bytes, size);
}

void note_add(struct image *image, uint32_t type, const void *bytes, size_t size)
{
	Elf64_Nhdr head = {.n_namesz = sizeof("CORE"), .n_descsz = (Elf64_Word)size, .n_type = type};

	image_add(image, &head, sizeof(head));
	image_add(image, "CORE\0\0\0", 8);
	image_add(image, bytes, size);
	image_align(image, 4);
}

/* [[type, "0x…"], …] */
static void add_auxv(struct image *image, const cJSON *report, struct core_gaps *gaps)
{
	uint64_t pairs[AUXV_MAX + 1][2] = {0};
	const cJSON *pair;
	size_t count = 0;

	cJSON_ArrayForEach(pair, report_part(report, "auxv"))
	{
		const cJSON *type = cJSON_GetArrayItem(pair, 0), *value = cJSON_GetArrayItem(pair, 1);

		if (count == AUXV_MAX || !cJSON_IsNumber(type) || type->valuedouble < 0 ||
		    type->valuedouble > 1e9 || !cJSON_IsString(value) ||
		    !parse_u64(value->valuestring, &pairs[count][1]))
			continue;
		pairs[count][0] = (uint64_t)type->valuedouble;
		if (pairs[count][0] != AT_NULL)
			count++;
	}
	gaps->auxv = !count;
	pairs[count][0] = pairs[count][1] = 0; /* AT_NULL ends it */
	if (count)
		note_add(image, NT_AUXV, pairs, (count + 1) * sizeof(pairs[0]));
}

/* Count and page size, then start, end and offset in pages of each, then the names. */
static void add_files(struct image *image, const struct bundle_maps *maps)
{
	struct image note = {0};
	uint64_t count = 0, page = PAGE;

	image_add(&note, &count, sizeof(count));
	image_add(&note, &page, sizeof(page));
	for (size_t i = 0; i < maps->count && count < FILES_MAX; i++) {
		const struct bundle_map *at = &maps->list[i];
		uint64_t place[3] = {at->start, at->end, at->offset / PAGE};

		if (at->path[0] != '/')
			continue;
		image_add(&note, place, sizeof(place));
		count++;
	}
	image_put(&note, 0, &count, sizeof(count));
	for (size_t i = 0, named = 0; i < maps->count && named < count; i++) {
		if (maps->list[i].path[0] != '/')
			continue;
		image_add(&note, maps->list[i].path, strlen(maps->list[i].path) + 1);
		named++;
	}
	if (count && !note.failed)
		note_add(image, NT_FILE, note.bytes, note.size);
	image->failed |= note.failed;
	free(note.bytes);
}

void core_notes_memory(struct image *image, const cJSON *report, const struct bundle_maps *maps,
		       struct core_gaps *gaps)
{
	add_auxv(image, report, gaps);
	add_files(image, maps);
}
