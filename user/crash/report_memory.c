/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory: the stack that was taken, and what lies around the fault's address. Bytes are not copied into
 * report.json, they stay in stack.bin: `crash show` prints those around the stack pointer and the address
 * from there.
 */
#include <stdio.h>
#include <sys/mman.h>
#include "user/base/json.h"
#include "user/crash/report_parts.h"

static cJSON *window_json(const struct ev_window *window, enum stack_window which)
{
	static const char *const names[WINDOW_COUNT] = {
		[WINDOW_INTERRUPTED] = "interrupted",
		[WINDOW_FIRST] = "first_frames",
	};
	cJSON *json = cJSON_CreateObject(), *list;

	cJSON_AddStringToObject(json, "what", names[which]);
	json_add_hex(json, "address", window->address);
	json_add_count(json, "size", window->size);
	list = cJSON_AddArrayToObject(json, "missing");
	for (int i = 0; i < 32; i++)
		if (window->missing >> i & 1)
			cJSON_AddItemToArray(list, cJSON_CreateNumber(i));
	return json;
}

static cJSON *stack_json(const struct crash_input *input)
{
	size_t pages, missing = pages_missing(input, &pages);
	cJSON *stack, *list;

	if (!input->stack || !input->crash->has_fault)
		return cJSON_CreateNull();
	stack = cJSON_CreateObject();
	json_add_hex(stack, "address", input->crash->fault.regs[REG_SP_]);
	json_add_count(stack, "size", input->stack_size);
	cJSON_AddStringToObject(stack, "file", "stack.bin");
	json_add_count(stack, "pages", pages);
	json_add_count(stack, "pages_missing", missing);
	list = cJSON_AddArrayToObject(stack, "missing");
	for (size_t i = 0; i < stack_pages(input); i++)
		if (page_missing(&input->crash->fault, i))
			cJSON_AddItemToArray(list, cJSON_CreateNumber((double)i));
	list = cJSON_AddArrayToObject(stack, "windows");
	for (int i = 0; input->windows && i < WINDOW_COUNT; i++)
		if (input->windows[i].size)
			cJSON_AddItemToArray(list, window_json(&input->windows[i], i));
	return stack;
}

static cJSON *region_json(const struct maps_region *region, uint64_t distance)
{
	cJSON *json;
	char rights[5];

	if (!region)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	json_add_hex(json, "start", region->start);
	json_add_hex(json, "end", region->end);
	snprintf(rights, sizeof(rights), "%c%c%cp", region->protection & PROT_READ ? 'r' : '-',
		 region->protection & PROT_WRITE ? 'w' : '-', region->protection & PROT_EXEC ? 'x' : '-');
	cJSON_AddStringToObject(json, "protection", rights);
	json_add_clean(json, "path", region->path);
	json_add_hex(json, "distance", distance);
	return json;
}

/* The known mapping that holds the address, and the nearest ones beside it. */
static cJSON *around_json(const struct crash_input *input)
{
	const struct crash *crash = input->crash;
	uint64_t address = crash->fault.address, sp = crash->fault.regs[REG_SP_];
	const struct maps_region *holds = NULL, *below = NULL, *above = NULL, *at;
	cJSON *json;

	if (!crash_has_address(crash))
		return cJSON_CreateNull();
	for (size_t i = 0; i < input->region_count; i++) {
		at = &input->regions[i];
		if (address >= at->start && address < at->end)
			holds = at;
		else if (at->end <= address && (!below || at->end > below->end))
			below = at;
		else if (at->start > address && (!above || at->start < above->start))
			above = at;
	}
	json = cJSON_CreateObject();
	json_add_hex(json, "address", address);
	cJSON_AddItemToObject(json, "holds", region_json(holds, holds ? address - holds->start : 0));
	cJSON_AddItemToObject(json, "below", region_json(below, below ? address - below->end : 0));
	cJSON_AddItemToObject(json, "above", region_json(above, above ? above->start - address : 0));
	if (!input->no_registers && address >= sp && address - sp < input->stack_size)
		json_add_hex(json, "in_stack_at", address - sp);
	else
		cJSON_AddNullToObject(json, "in_stack_at");
	return json;
}

cJSON *part_memory(const struct crash_input *input)
{
	cJSON *memory = cJSON_CreateObject();

	cJSON_AddItemToObject(memory, "stack", stack_json(input));
	cJSON_AddItemToObject(memory, "around", around_json(input));
	return memory;
}
