// SPDX-License-Identifier: Apache-2.0
/*
 * Reading a bundle back. The limits are generous against what the agent writes and small against what would
 * hurt a reader: an exported file comes from elsewhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/crash/bundle_files.h"
#include "user/probe/maps_text.h"

enum { PAGE = 4096 };

const struct bundle_file_kind bundle_file_kinds[BUNDLE_FILES] = {
	[BUNDLE_REPORT] = {"report.json", 4 << 20},  [BUNDLE_MAPS] = {"maps.txt", 4 << 20},
	[BUNDLE_EVENTS] = {"events.jsonl", 4 << 20}, [BUNDLE_STDERR] = {"stderr.txt", 4 << 20},
	[BUNDLE_STACK] = {"stack.bin", 1 << 20},
};

void bundle_files_done(struct bundle_files *bundle)
{
	cJSON_Delete(bundle->report);
	bundle->report = NULL;
	for (int i = 0; i < BUNDLE_FILES; i++) {
		free(bundle->files[i].bytes);
		bundle->files[i].bytes = NULL;
		bundle->files[i].size = 0;
	}
}

/* No path can be made of it. */
static bool id_good(const char *id)
{
	size_t size = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz");

	return size > 0 && size < 20 && !id[size];
}

int bundle_files_parse(struct bundle_files *bundle, char *why, size_t why_size)
{
	const char *text = bundle->files[BUNDLE_REPORT].bytes;
	double format;
	char name[4640];
	int err;

	snprintf(name, sizeof(name), "%s/report.json", bundle->place);
	if (!text) {
		snprintf(why, why_size, "%s: there is none", name);
		return -EBADMSG;
	}
	if (strlen(text) != bundle->files[BUNDLE_REPORT].size) {
		snprintf(why, why_size, "%s: a NUL at byte %zu", name, strlen(text));
		return -EBADMSG;
	}
	err = json_parse(name, text, &bundle->report, why, why_size);
	if (err)
		return err;
	format = json_number(bundle->report, "format", 0);
	if (format != 1 && format != 2) {
		snprintf(why, why_size,
			 format > 2 ? "%s: /format: %g was made by a newer lapidary; this one knows 1 and 2"
				    : "%s: /format: %g is none of ours: it is 1 or 2",
			 name, format);
		return -EBADMSG;
	}
	if (!id_good(json_text(bundle->report, "id"))) {
		snprintf(why, why_size, "%s: /id: none, or no id of a crash", name);
		return -EBADMSG;
	}
	return 0;
}

const cJSON *report_part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

bool report_hex(const cJSON *object, const char *key, uint64_t *out)
{
	const char *text = json_text(object, key);

	return text[0] == '0' && text[1] == 'x' && parse_u64(text, out);
}

/* --- maps.txt --------------------------------------------------------------------------------------- */

/* "/lib/x.so build-id:0a1b": cut apart in place. The path may hold blanks, so the last one counts. */
static const char *split_build_id(char *path)
{
	static const char mark[] = " build-id:";
	char *at = NULL, *id;

	for (char *next = path; (next = strstr(next, mark)); next++)
		at = next;
	if (!at)
		return "";
	id = at + sizeof(mark) - 1;
	if (id[strspn(id, "0123456789abcdef")])
		return "";
	*at = '\0';
	return id;
}

static int keep(struct bundle_maps *out, size_t *room, const struct maps_region *region)
{
	struct bundle_map *one;
	char *path;

	if (out->count && region->start < out->list[out->count - 1].end) {
		out->bad++;
		return 0;
	}
	if (out->count == *room) {
		struct bundle_map *list =
			realloc(out->list, (*room = *room ? *room * 2 : 64) * sizeof(*list));

		if (!list)
			return -ENOMEM;
		out->list = list;
	}
	path = strdup(region->path);
	if (!path)
		return -ENOMEM;
	one = &out->list[out->count++];
	*one = (struct bundle_map){region->start, region->end, region->offset, region->protection, path, ""};
	one->build_id = split_build_id(path);
	return 0;
}

int bundle_maps_read(const char *text, size_t size, struct bundle_maps *out)
{
	struct maps_text lines;
	struct maps_region region;
	size_t room = 0;
	int err = 0;

	*out = (struct bundle_maps){0};
	if (!text)
		return 0;
	maps_text_init(&lines, text, size);
	while (!err && maps_text_next(&lines, &region) == 1)
		err = keep(out, &room, &region);
	out->bad += lines.bad;
	if (err)
		bundle_maps_done(out);
	return err;
}

void bundle_maps_done(struct bundle_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		free((char *)maps->list[i].path);
	free(maps->list);
	*maps = (struct bundle_maps){0};
}

const struct bundle_map *bundle_maps_find(const struct bundle_maps *maps, uint64_t address)
{
	size_t low = 0, high = maps->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (address < maps->list[middle].start)
			high = middle;
		else if (address >= maps->list[middle].end)
			low = middle + 1;
		else
			return &maps->list[middle];
	}
	return NULL;
}

/* --- the stack -------------------------------------------------------------------------------------- */

static void note_missing(struct bundle_stretch *stretch, const cJSON *numbers)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, numbers)
	{
		double number = cJSON_IsNumber(one) ? one->valuedouble : -1;

		if (number >= 0 && number < BUNDLE_PIECES)
			stretch->missing[(unsigned)number / 8] |= (uint8_t)(1 << (unsigned)number % 8);
	}
}

/* The next stretch, of what `left` bytes of the file are left for. Returns what is wrong with it, NULL:
 * nothing. */
static const char *add_stretch(struct bundle_stack *out, const cJSON *json, const uint8_t *bytes, size_t left)
{
	struct bundle_stretch *one = &out->stretches[out->count];
	double size = json_number(json, "size", -1);

	if (!report_hex(json, "address", &one->address))
		return "report.json: /memory/stack: a part without an address";
	if (size < 1 || size > (double)left)
		return "stack.bin does not have the size that report.json says";
	one->size = (size_t)size;
	one->bytes = bytes;
	if (one->size > UINT64_MAX - PAGE - one->address)
		return "report.json: /memory/stack: an address beyond the end of memory";
	note_missing(one, report_part(json, "missing"));
	out->count++;
	out->size += one->size;
	return NULL;
}

static const char *add_stretches(struct bundle_stack *out, const cJSON *stack, const uint8_t *bytes,
				 size_t size)
{
	const char *wrong = add_stretch(out, stack, bytes, size);
	const cJSON *window;

	cJSON_ArrayForEach(window, report_part(stack, "windows"))
	{
		if (wrong || out->count == BUNDLE_STRETCHES)
			break;
		wrong = add_stretch(out, window, bytes + out->size, size - out->size);
	}
	if (!wrong && out->size != size)
		wrong = "stack.bin does not have the size that report.json says";
	return wrong;
}

bool bundle_stack(const struct bundle_files *bundle, struct bundle_stack *out, char *why, size_t why_size)
{
	const cJSON *stack = report_part(report_part(bundle->report, "memory"), "stack");
	const cJSON *state = report_part(report_part(bundle->report, "parts"), "stack");
	const uint8_t *bytes = (const uint8_t *)bundle->files[BUNDLE_STACK].bytes;
	const char *reason;

	*out = (struct bundle_stack){0};
	if (!cJSON_IsObject(stack))
		reason = *json_text(state, "why") ? json_text(state, "why") : "the report has none";
	else if (!bytes)
		reason = "stack.bin is not there";
	else
		reason = add_stretches(out, stack, bytes, bundle->files[BUNDLE_STACK].size);
	if (!reason)
		return true;
	*out = (struct bundle_stack){0};
	if (why)
		snprintf(why, why_size, "%s", reason);
	return false;
}

const struct bundle_stretch *bundle_stack_at(const struct bundle_stack *stack, uint64_t address)
{
	for (size_t i = 0; i < stack->count; i++)
		if (address >= stack->stretches[i].address &&
		    address - stack->stretches[i].address < stack->stretches[i].size)
			return &stack->stretches[i];
	return NULL;
}

bool bundle_stretch_has(const struct bundle_stretch *stretch, uint64_t address)
{
	uint64_t piece = address / PAGE - stretch->address / PAGE;

	return address >= stretch->address && address - stretch->address < stretch->size &&
	       !(stretch->missing[piece / 8] >> piece % 8 & 1);
}

bool bundle_stack_has(const struct bundle_stack *stack, uint64_t address)
{
	const struct bundle_stretch *stretch = bundle_stack_at(stack, address);

	return stretch && bundle_stretch_has(stretch, address);
}

size_t bundle_stack_read(const struct bundle_stack *stack, uint64_t address, void *out, size_t size)
{
	const struct bundle_stretch *stretch = bundle_stack_at(stack, address);
	uint64_t end, at = address;

	if (!stretch)
		return 0;
	end = stretch->address + stretch->size;
	while (at < end && at - address < size && bundle_stretch_has(stretch, at))
		at = (at / PAGE + 1) * PAGE;
	if (at > end)
		at = end;
	if (at - address < size)
		size = at - address;
	if (size)
		memcpy(out, stretch->bytes + (address - stretch->address), size);
	return size;
}
