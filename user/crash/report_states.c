/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that was taken, and for each part of the report whether it is whole. A reader who finds nothing
 * must be able to tell "there was nothing" from "we could not look" and from "we were told not to".
 */
#include <stdarg.h>
#include <stdio.h>
#include "user/base/json.h"
#include "user/crash/report_parts.h"

static bool page_missing(const struct ev_fault *fault, size_t page)
{
	return page / 8 < sizeof(fault->missing) && fault->missing[page / 8] & 1 << page % 8;
}

/* Pieces of the stack that could not be read. */
static size_t pages_missing(const struct crash_input *input, size_t *pages)
{
	size_t missing = 0;

	*pages = (input->stack_size + EV_PAGE - 1) / EV_PAGE;
	for (size_t i = 0; i < *pages; i++)
		missing += page_missing(&input->crash->fault, i);
	return missing;
}

cJSON *part_memory(const struct crash_input *input)
{
	size_t pages, missing = pages_missing(input, &pages);
	cJSON *memory = cJSON_CreateObject(), *stack, *list;

	if (!memory || !input->stack || !input->crash->has_fault) {
		cJSON_AddNullToObject(memory, "stack");
		return memory;
	}
	stack = cJSON_AddObjectToObject(memory, "stack");
	json_add_hex(stack, "address", input->crash->fault.regs[REG_SP_]);
	json_add_count(stack, "size", input->stack_size);
	cJSON_AddStringToObject(stack, "file", "stack.bin");
	json_add_count(stack, "pages", pages);
	json_add_count(stack, "pages_missing", missing);
	list = cJSON_AddArrayToObject(stack, "missing");
	for (size_t i = 0; i < pages; i++)
		if (page_missing(&input->crash->fault, i))
			cJSON_AddItemToArray(list, cJSON_CreateNumber((double)i));
	return memory;
}

static void state(cJSON *states, const char *part, const char *state_name, const char *why, ...)
	__attribute__((format(printf, 4, 5)));

static void state(cJSON *states, const char *part, const char *state_name, const char *why, ...)
{
	cJSON *one = cJSON_AddObjectToObject(states, part);
	char line[160] = "";
	va_list args;

	va_start(args, why);
	vsnprintf(line, sizeof(line), why, args);
	va_end(args);
	cJSON_AddStringToObject(one, "state", state_name);
	json_add_text(one, "why", line);
}

static void stack_state(cJSON *states, const struct crash_input *input)
{
	const struct ev_fault *fault = &input->crash->fault;
	size_t pages, missing = pages_missing(input, &pages);

	if (!input->crash->has_fault)
		state(states, "stack", "missing", "no record of the fault reached the agent");
	else if (!input->stack && fault->flags & FAULT_SMALL)
		state(states, "stack", "missing", "more than %d faults a second: small record",
		      EV_CAPTURES_PER_SECOND);
	else if (!input->stack && fault->flags & FAULT_STRIPPED)
		state(states, "stack", "missing", "recordings leave the stack out");
	else if (!input->stack)
		state(states, "stack", "missing",
		      "not captured: the configuration says so, or the queue was full");
	else if (missing)
		state(states, "stack", "partial", "%zu of %zu pages could not be read", missing, pages);
	else if (fault->flags & FAULT_CLIPPED)
		state(states, "stack", "complete", "up to the environment or the limit");
	else
		state(states, "stack", "complete", "%s", "");
}

cJSON *part_states(const struct crash_input *input)
{
	const struct crash *crash = input->crash;
	cJSON *states = cJSON_CreateObject();
	static const char later[] = "captured by a later version";

	if (input->no_registers)
		state(states, "registers", "missing", "capture is none for this app");
	else if (crash->has_fault)
		state(states, "registers", "complete", "%s", "");
	else
		state(states, "registers", "missing", "no record of the fault reached the agent");
	stack_state(states, input);
	if (!input->region_count)
		state(states, "maps", "missing", "the process was gone before its maps were known");
	else if (input->maps_source == MAPS_PROC)
		state(states, "maps", "complete", "read from /proc");
	else
		state(states, "maps", "partial", "executable mappings alone, from the kernel's mmap records");
	if (!input->flight)
		state(states, "events", "missing", "nothing was recorded of this process before");
	else if (crash->lost_records)
		state(states, "events", "partial", "%llu records were lost shortly before",
		      (unsigned long long)crash->lost_records);
	else
		state(states, "events", "complete", "%s", "");
	if (crash->has_fault)
		state(states, "native_frames", "partial",
		      "the first is known; the others are words found on the stack");
	else
		state(states, "native_frames", "missing", "no record of the fault reached the agent");
	state(states, "ruby_frames", "missing", "%s", later);
	state(states, "core", "missing", "%s", later);
	state(states, "stderr", "missing", "%s", later);
	return states;
}
