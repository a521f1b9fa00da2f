/* SPDX-License-Identifier: Apache-2.0 */
/* The stacks in report.json: native, Ruby, both as one; how the unwinding went and over which files. */
#include <stdio.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/crash/interleave.h"
#include "user/crash/report_parts.h"

static const char *const hows[] = {
	[UNWIND_REGISTERS] = "registers",
	[UNWIND_TABLES] = "unwind_tables",
	[UNWIND_RESUMED] = "resumed",
	[UNWIND_SCANNED] = "stack_scan",
};

static const char *const symbols[] = {
	[UNWIND_NO_SYMBOLS] = "none",
	[UNWIND_DYNAMIC_SYMBOLS] = "dynamic",
	[UNWIND_FULL_SYMBOLS] = "full",
	[UNWIND_DEBUG_SYMBOLS] = "debug_file",
};

static void add_hex_or_null(cJSON *object, const char *key, uint64_t value)
{
	if (value)
		json_add_hex(object, key, value);
	else
		cJSON_AddNullToObject(object, key);
}

static void add_place(cJSON *json, const struct crash_input *input, const struct frame *frame)
{
	const struct ev_location *at = &input->crash->location;
	uint64_t offset;

	json_add_clean(json, "module", frame->path);
	if (frame->region)
		json_add_build_id(json, frame->region->build_id, frame->region->build_id_len);
	else if (frame->path[0])
		json_add_build_id(json, at->build_id, at->build_id_len);
	else
		cJSON_AddNullToObject(json, "build_id");
	if (frame_offset(input, frame, &offset))
		json_add_hex(json, "offset", offset);
	else
		cJSON_AddNullToObject(json, "offset");
}

static enum unwind_symbols symbol_from(const struct frame *frame)
{
	return frame->symbol[0] && frame->symbol_from <= UNWIND_DEBUG_SYMBOLS ? frame->symbol_from
									      : UNWIND_NO_SYMBOLS;
}

cJSON *part_frames(const struct crash_input *input, const struct frames *frames)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < frames->count; i++) {
		const struct frame *frame = &frames->list[i];
		cJSON *json = cJSON_CreateObject();

		json_add_hex(json, "address", frame->pc);
		add_place(json, input, frame);
		json_add_clean(json, "symbol", frame->symbol);
		if (frame->symbol[0])
			json_add_count(json, "symbol_offset", frame->symbol_offset);
		else
			cJSON_AddNullToObject(json, "symbol_offset");
		cJSON_AddStringToObject(json, "symbol_from", symbols[symbol_from(frame)]);
		add_hex_or_null(json, "function", frame->function);
		cJSON_AddStringToObject(json, "how",
					frame->how <= UNWIND_SCANNED && frame->how ? hows[frame->how]
										   : "stack_scan");
		cJSON_AddBoolToObject(json, "interrupted", frame->interrupted);
		add_hex_or_null(json, "stack_pointer", frame->sp);
		cJSON_AddItemToArray(list, json);
	}
	return list;
}

/* How many frames of the record there are; what a record says of itself is bounded here once more. */
size_t ruby_count(const struct crash_input *input)
{
	if (!input->ruby_stack)
		return 0;
	return input->ruby_stack->count < EV_RUBY_FRAMES ? input->ruby_stack->count : EV_RUBY_FRAMES;
}

cJSON *part_ruby_frames(const struct crash_input *input)
{
	static const char *const kinds[] = {"other", "ruby", "c", "other"};
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < ruby_count(input); i++) {
		const struct ev_ruby_frame *frame = &input->ruby_stack->frames[i];
		char text[EV_RUBY_PATH + 1];
		cJSON *json = cJSON_CreateObject();

		text_copy_bytes(text, sizeof(text), frame->label, sizeof(frame->label));
		json_add_clean(json, "method", text);
		text_copy_bytes(text, sizeof(text), frame->path, sizeof(frame->path));
		json_add_clean(json, "path", text);
		if (frame->line > 0)
			cJSON_AddNumberToObject(json, "line", frame->line);
		else
			cJSON_AddNullToObject(json, "line");
		cJSON_AddStringToObject(json, "kind",
					kinds[frame->kind <= RUBY_FRAME_OTHER ? frame->kind : 0]);
		add_hex_or_null(json, "address", frame->address);
		cJSON_AddItemToArray(list, json);
	}
	return list;
}

cJSON *part_whole_stack(const struct crash_input *input, const struct frames *frames)
{
	struct interleaved stack[INTERLEAVE_MAX];
	size_t count =
		interleave(frames->list, frames->count, input->ruby_stack ? input->ruby_stack->frames : NULL,
			   ruby_count(input), stack);
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < count; i++) {
		cJSON *json = cJSON_CreateObject();

		if (stack[i].native != INTERLEAVE_NONE)
			cJSON_AddNumberToObject(json, "native", stack[i].native);
		if (stack[i].ruby != INTERLEAVE_NONE)
			cJSON_AddNumberToObject(json, "ruby", stack[i].ruby);
		cJSON_AddItemToArray(list, json);
	}
	return list;
}

cJSON *part_unwind(const struct crash_input *input)
{
	static const char *const ends[] = {
		[UNWIND_OUTERMOST] = "outermost",
		[UNWIND_STACK_ENDS] = "stack_ends",
		[UNWIND_PAGE_MISSING] = "page_missing",
		[UNWIND_NO_TABLES] = "no_tables",
		[UNWIND_LIMIT] = "limit",
		[UNWIND_DAMAGED] = "damaged",
	};
	const struct unwind_result *unwound = input->unwound;
	cJSON *json = cJSON_CreateObject();
	bool known = unwound && unwound->end && unwound->end <= UNWIND_DAMAGED;

	cJSON_AddStringToObject(json, "end", known ? ends[unwound->end] : "not_unwound");
	json_add_clean(json, "why",
		       unwound              ? unwound->why
		       : input->unwound_why ? input->unwound_why
					    : "no examiner was asked");
	json_add_count(json, "scanned", unwound ? unwound->scanned : 0);
	return json;
}

static bool is_in(const struct maps_region *region, const struct unwind_module *module)
{
	return region->start >= module->start && region->start < module->end;
}

/* The mapping that a module is about, if the two lists agree; else the first that lies in it. */
static const struct maps_region *region_of_module(const struct crash_input *input,
						  const struct unwind_module *module)
{
	if (module->region < input->region_count && is_in(&input->regions[module->region], module))
		return &input->regions[module->region];
	for (size_t i = 0; i < input->region_count; i++)
		if (is_in(&input->regions[i], module))
			return &input->regions[i];
	return NULL;
}

cJSON *part_modules(const struct crash_input *input)
{
	const struct unwind_result *unwound = input->unwound;
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && unwound && i < unwound->module_count && i < UNWIND_MODULES; i++) {
		const struct unwind_module *module = &unwound->modules[i];
		const struct maps_region *region = region_of_module(input, module);
		cJSON *json = cJSON_CreateObject();

		json_add_clean(json, "path", region ? region->path : "");
		json_add_build_id(json, region ? region->build_id : NULL, region ? region->build_id_len : 0);
		json_add_hex(json, "start", module->start);
		json_add_hex(json, "end", module->end);
		json_add_hex(json, "bias", module->bias);
		add_hex_or_null(json, "dynamic", module->dynamic);
		add_hex_or_null(json, "entry", module->entry);
		cJSON_AddBoolToObject(json, "tables", module->tables);
		cJSON_AddStringToObject(
			json, "symbols",
			symbols[module->symbols <= UNWIND_DEBUG_SYMBOLS ? module->symbols : 0]);
		cJSON_AddItemToArray(list, json);
	}
	return list;
}
