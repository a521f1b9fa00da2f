/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each part of the report whether it is whole. A reader who finds nothing
 * must be able to tell "there was nothing" from "we could not look" and from "we were told not to".
 */
#include <stdarg.h>
#include <stdio.h>
#include "user/base/json.h"
#include "user/crash/report_parts.h"

bool page_missing(const struct ev_fault *fault, size_t page)
{
	return page / 8 < sizeof(fault->missing) && fault->missing[page / 8] & 1 << page % 8;
}

/* Pieces are cut where pages begin: the first is a part of one, unless the address is at its start. */
static size_t pieces(uint64_t address, size_t size)
{
	return size ? (size_t)(address % EV_PAGE + size + EV_PAGE - 1) / EV_PAGE : 0;
}

size_t stack_pages(const struct crash_input *input)
{
	return pieces(input->crash->fault.regs[REG_SP_], input->stack_size);
}

size_t pages_missing(const struct crash_input *input, size_t *pages)
{
	size_t missing = 0;

	*pages = stack_pages(input);
	for (size_t i = 0; i < *pages; i++)
		missing += page_missing(&input->crash->fault, i);
	for (int i = 0; input->windows && i < WINDOW_COUNT; i++) {
		*pages += pieces(input->windows[i].address, input->windows[i].size);
		missing += (size_t)__builtin_popcount(input->windows[i].missing);
	}
	return missing;
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

static const char no_fault[] = "no record of the fault reached the agent";

static void registers_state(cJSON *states, const struct crash_input *input)
{
	if (input->no_registers)
		state(states, "registers", "missing", "capture is none for this app");
	else if (!input->crash->has_fault)
		state(states, "registers", "missing", "%s", no_fault);
	else
		state(states, "registers", "complete", "%s", "");
}

static void maps_state(cJSON *states, const struct crash_input *input)
{
	if (!input->region_count)
		state(states, "maps", "missing", "the process was gone before its maps were known");
	else if (input->maps_source == MAPS_PROC)
		state(states, "maps", "complete", "read from /proc");
	else
		state(states, "maps", "partial", "executable mappings alone, from the kernel's mmap records");
}

static void events_state(cJSON *states, const struct crash_input *input)
{
	if (!input->flight)
		state(states, "events", "missing", "nothing was recorded of this process before");
	else if (input->crash->lost_records)
		state(states, "events", "partial", "%llu records were lost shortly before",
		      (unsigned long long)input->crash->lost_records);
	else
		state(states, "events", "complete", "%s", "");
}

static void native_state(cJSON *states, const struct crash_input *input)
{
	static const char *const ends[] = {
		[UNWIND_STACK_ENDS] = "up to the end of the stack that was captured",
		[UNWIND_PAGE_MISSING] = "up to a page of the stack that could not be read",
		[UNWIND_NO_TABLES] = "up to code without unwind tables",
		[UNWIND_LIMIT] = "the innermost frames, up to the limit",
		[UNWIND_DAMAGED] = "up to where tables or stack make no sense",
	};
	const struct unwind_result *unwound = input->unwound;
	const char *part = "native_frames", *scan = "the first is known, the others are words of the stack";

	if (!input->crash->has_fault)
		state(states, part, "missing", "%s", no_fault);
	else if (!unwound)
		state(states, part, "partial", "%.80s; %s",
		      input->unwound_why ? input->unwound_why : "no examiner was asked", scan);
	else if (!unwound->count)
		state(states, part, "partial", "%.80s; %s",
		      unwound->why[0] ? unwound->why : "the examiner found no frame", scan);
	else if (unwound->end == UNWIND_OUTERMOST && unwound->scanned)
		state(states, part, "partial", "%u of %u frames were found by scanning the stack",
		      unwound->scanned, unwound->count);
	else if (unwound->end == UNWIND_OUTERMOST)
		state(states, part, "complete", "%s", "");
	else
		state(states, part, "partial", "%s%s%.80s",
		      unwound->end && unwound->end <= UNWIND_DAMAGED ? ends[unwound->end] : "not to the end",
		      unwound->why[0] ? ": " : "", unwound->why);
}

static void ruby_state(cJSON *states, const struct crash_input *input)
{
	const struct ev_ruby *ruby = input->ruby_stack;
	const char *part = "ruby_frames";

	if (!input->crash->has_fault)
		state(states, part, "missing", "%s", no_fault);
	else if (!ruby && input->crash->fault.flags & FAULT_SMALL)
		state(states, part, "missing", "more than %d faults a second: small record",
		      EV_CAPTURES_PER_SECOND);
	else if (!ruby)
		state(states, part, "missing", "no record of them came with the fault");
	else if (ruby->state == RUBY_STACK_COMPLETE)
		state(states, part, "complete", "%s", "");
	else if (ruby->state == RUBY_STACK_CLIPPED)
		state(states, part, "partial", "the innermost %d; there were more", EV_RUBY_FRAMES);
	else if (ruby->state == RUBY_STACK_NO_CONTEXT)
		state(states, part, "complete", "the thread runs no Ruby");
	else if (ruby->state == RUBY_STACK_UNREADABLE)
		state(states, part, ruby->count ? "partial" : "missing",
		      "some memory of the Ruby stack could not be read");
	else
		state(states, part, "missing", "the frames of this Ruby%s%s cannot be read",
		      input->ruby && *input->ruby ? " " : "", input->ruby ? input->ruby : "");
}

/* It is made when it is asked for, out of registers, stack and maps. */
static void core_state(cJSON *states, const struct crash_input *input)
{
	size_t pages, missing = pages_missing(input, &pages);

	if (!input->crash->has_fault || input->no_registers)
		state(states, "core", "missing", "there are no registers to make one from");
	else if (!input->stack || !input->stack_size)
		state(states, "core", "missing", "there is no stack to make one from");
	else if (!input->region_count)
		state(states, "core", "missing", "the maps to make one from are missing");
	else if (missing || input->crash->fault.flags & FAULT_CLIPPED)
		state(states, "core", "partial", "made on demand; part of the stack is not in it");
	else
		state(states, "core", "complete", "made on demand, by 'lapidary crash core'");
}

cJSON *part_states(const struct crash_input *input)
{
	cJSON *states = cJSON_CreateObject();

	registers_state(states, input);
	stack_state(states, input);
	maps_state(states, input);
	events_state(states, input);
	native_state(states, input);
	ruby_state(states, input);
	core_state(states, input);
	state(states, "stderr", "missing", "%s", input->stderr_why ? input->stderr_why : STDERR_NOT_YET);
	return states;
}
