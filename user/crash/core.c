// SPDX-License-Identifier: Apache-2.0
/*
 * An ELF core of a few pages: a header, one PT_NOTE, and a PT_LOAD for each run of stack pages that were
 * read, the vdso, the made-up list of loaded files, and the program's dynamic section.
 *
 * Of that section only DT_DEBUG is known, which the dynamic linker fills in, and not where in it: a
 * debugger takes the place from the program's own file. So each of its first places is a DT_DEBUG: whatever
 * the place, it reads the right pointer, and nothing needs to be read from a file that the crashed process
 * may have chosen. Pages that could not be read are left out rather than zeroed: "cannot access memory" is
 * true.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/crash/core_parts.h"

enum {
	PAGE = 4096,
	SEGMENTS = BUNDLE_STRETCHES * (BUNDLE_PIECES + 1) + 4,
	DYNAMIC_PLACES = 48,
	FREE_MIN = 0x10000
};

struct segments {
	Elf64_Phdr list[SEGMENTS];
	size_t count;
};

static void add_load(struct segments *segments, struct image *image, uint64_t address, const void *bytes,
		     size_t size, uint32_t flags)
{
	Elf64_Phdr *one = &segments->list[segments->count];

	if (!size || segments->count == SEGMENTS)
		return;
	segments->count++;
	*one = (Elf64_Phdr){.p_type = PT_LOAD,
			    .p_flags = flags,
			    .p_vaddr = address,
			    .p_filesz = size,
			    .p_memsz = size,
			    .p_align = 1};
	one->p_offset = image_add(image, bytes, size);
}

static void add_stretch(struct segments *segments, struct image *image, const struct bundle_stretch *stretch,
			struct core_gaps *gaps)
{
	uint64_t end = stretch->address + stretch->size, from = stretch->address, at = from;

	for (; at < end; at = (at / PAGE + 1) * PAGE) {
		if (bundle_stretch_has(stretch, at))
			continue;
		add_load(segments, image, from, stretch->bytes + (from - stretch->address), at - from,
			 PF_R | PF_W);
		from = (at / PAGE + 1) * PAGE;
		gaps->pages++;
	}
	if (from < end)
		add_load(segments, image, from, stretch->bytes + (from - stretch->address), end - from,
			 PF_R | PF_W);
}

static uint64_t step_over(uint64_t at, size_t size, uint64_t start, uint64_t end)
{
	return at + size > start && at < end ? (end / PAGE + 1) * PAGE : at;
}

/* A place for what is made up: below every mapping, else in the first hole that is wide enough. */
static uint64_t free_address(const struct bundle_maps *maps, const struct bundle_stack *stack, size_t size)
{
	uint64_t at = FREE_MIN;

	for (size_t i = 0; i < maps->count; i++)
		at = step_over(at, size, maps->list[i].start, maps->list[i].end);
	for (size_t i = 0; i < stack->count; i++)
		at = step_over(at, size, stack->stretches[i].address,
			       stack->stretches[i].address + stack->stretches[i].size);
	return at;
}

static void add_files(struct segments *segments, struct image *image, const cJSON *report,
		      const struct bundle_maps *maps, const struct bundle_stack *stack,
		      struct core_gaps *gaps)
{
	uint64_t dynamic = 0, places[DYNAMIC_PLACES][2];
	struct image links = {0};
	uint64_t base = free_address(maps, stack, 16 << 20); /* the bundle's own limits keep the list below */

	core_link_map(&links, report, base, gaps);
	image->failed |= links.failed;
	if (links.size && report_hex(core_program_module(report), "dynamic", &dynamic)) {
		for (size_t i = 0; i < DYNAMIC_PLACES; i++) {
			places[i][0] = DT_DEBUG;
			places[i][1] = base;
		}
		add_load(segments, image, base, links.bytes, links.size, PF_R | PF_W);
		add_load(segments, image, dynamic, places, sizeof(places), PF_R | PF_W);
	}
	free(links.bytes);
}

static void add_vdso(struct segments *segments, struct image *image, const cJSON *report, const void *vdso,
		     size_t size, struct core_gaps *gaps)
{
	const cJSON *pair;
	uint64_t address = 0;

	cJSON_ArrayForEach(pair, report_part(report, "auxv"))
	{
		const cJSON *value = cJSON_GetArrayItem(pair, 1);

		if (cJSON_GetNumberValue(cJSON_GetArrayItem(pair, 0)) == AT_SYSINFO_EHDR &&
		    cJSON_IsString(value))
			address = strtoull(value->valuestring, NULL, 16);
	}
	gaps->vdso = !vdso || !address;
	if (!gaps->vdso)
		add_load(segments, image, address, vdso, size, PF_R | PF_X);
}

static void put_headers(struct image *image, struct segments *segments, size_t notes, size_t notes_size)
{
	Elf64_Ehdr head = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(head),
		.e_ehsize = sizeof(head),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (Elf64_Half)segments->count,
	};

	segments->list[0] =
		(Elf64_Phdr){.p_type = PT_NOTE, .p_offset = notes, .p_filesz = notes_size, .p_align = 4};
	image_put(image, 0, &head, sizeof(head));
	image_put(image, sizeof(head), segments->list, segments->count * sizeof(Elf64_Phdr));
}

/* Notes, vdso, list, dynamic section, and of each stretch one run of pages more than there are missing ones.
 */
static size_t segments_max(const struct bundle_stack *stack)
{
	size_t count = 4 + stack->count;

	for (size_t k = 0; k < stack->count; k++)
		for (size_t i = 0; i < sizeof(stack->stretches[k].missing); i++)
			count += (size_t)__builtin_popcount(stack->stretches[k].missing[i]);
	return count;
}

static int no_data(char *why, size_t why_size, const char *what)
{
	snprintf(why, why_size, "%s", what);
	return -ENODATA;
}

int core_new(const struct bundle_files *bundle, const void *vdso, size_t vdso_size, uint8_t **out,
	     size_t *size, struct core_gaps *gaps, char *why, size_t why_size)
{
	struct segments *segments = calloc(1, sizeof(*segments));
	struct image image = {0};
	struct bundle_stack stack;
	struct bundle_maps maps = {0};
	char reason[256];
	size_t notes, notes_size;
	int err = -ENOMEM;

	*gaps = (struct core_gaps){0};
	if (!segments ||
	    bundle_maps_read(bundle->files[BUNDLE_MAPS].bytes, bundle->files[BUNDLE_MAPS].size, &maps))
		goto out;
	if (!bundle_stack(bundle, &stack, reason, sizeof(reason))) {
		err = no_data(why, why_size, reason);
		goto out;
	}
	segments->count = 1; /* the notes */
	image_add(&image, NULL, sizeof(Elf64_Ehdr) + segments_max(&stack) * sizeof(Elf64_Phdr));
	notes = image.size;
	err = core_notes_process(&image, bundle->report);
	if (err) {
		no_data(why, why_size, "the report has no registers");
		goto out;
	}
	core_notes_memory(&image, bundle->report, &maps, gaps);
	notes_size = image.size - notes;
	image_align(&image, 16);
	for (size_t i = 0; i < stack.count; i++)
		add_stretch(segments, &image, &stack.stretches[i], gaps);
	add_vdso(segments, &image, bundle->report, vdso, vdso_size, gaps);
	add_files(segments, &image, bundle->report, &maps, &stack, gaps);
	put_headers(&image, segments, notes, notes_size);
	err = image.failed ? -ENOMEM : 0;
	if (!err) {
		*out = image.bytes;
		*size = image.size;
		image.bytes = NULL;
	}
out:
	free(image.bytes);
	free(segments);
	bundle_maps_done(&maps);
	return err;
}
