/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sections of report.json. What is not known is null, never an empty text or a zero that could be
 * mistaken for a value. Names and paths come from the process and are cleaned on their way in.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/crash/report_parts.h"

void json_add_clean(cJSON *object, const char *key, const char *text)
{
	char clean[512];

	text_copy(clean, sizeof(clean), text);
	text_clean(clean);
	json_add_text(object, key, clean);
}

void json_add_build_id(cJSON *object, const uint8_t *id, size_t size)
{
	char hex[41] = "";

	if (id && size <= 20)
		text_hex(id, size, hex);
	json_add_text(object, "build_id", hex);
}

cJSON *part_registers(const struct crash_input *input)
{
	static const char *const names[REG_COUNT] = {
		"r15",    "r14", "r13", "r12",     "rbp",     "rbx", "r11",      "r10", "r9",
		"r8",     "rax", "rcx", "rdx",     "rsi",     "rdi", "orig_rax", "rip", "cs",
		"eflags", "rsp", "ss",  "fs_base", "gs_base", "ds",  "es",       "fs",  "gs",
	};
	const struct crash *crash = input->crash;
	cJSON *registers;

	if (!crash->has_fault || input->no_registers)
		return cJSON_CreateNull();
	registers = cJSON_CreateObject();
	for (int i = 0; i < REG_COUNT; i++)
		json_add_hex(registers, names[i], crash->fault.regs[i]);
	return registers;
}

cJSON *part_fault(const struct crash *crash)
{
	const struct ev_fault *fault = &crash->fault;
	cJSON *json, *sender;

	if (!crash->has_fault)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	cJSON_AddNumberToObject(json, "signal_number", fault->signal);
	cJSON_AddNumberToObject(json, "code_number", fault->code);
	cJSON_AddNumberToObject(json, "thread", fault->head.tid);
	json_add_clean(json, "thread_name", fault->comm);
	json_add_count(json, "trap_number", fault->trap_nr);
	json_add_hex(json, "error_code", fault->error_code);
	json_add_hex(json, "cr2", fault->cr2);
	if (fault->handler <= 1)
		cJSON_AddStringToObject(json, "handler", fault->handler ? "ignored" : "default");
	else
		json_add_hex(json, "handler", fault->handler);
	cJSON_AddBoolToObject(json, "default_action", (fault->flags & FAULT_DEFAULT_ACTION) != 0);
	cJSON_AddBoolToObject(json, "on_alternate_stack", (fault->flags & FAULT_ON_ALTSTACK) != 0);
	cJSON_AddBoolToObject(json, "sent_by_itself", (fault->flags & FAULT_SELF) != 0);
	cJSON_AddNumberToObject(json, "unrecorded_before", fault->suppressed);
	if (fault->code > 0) {
		cJSON_AddNullToObject(json, "sender");
		return json;
	}
	sender = cJSON_AddObjectToObject(json, "sender");
	cJSON_AddNumberToObject(sender, "pid", fault->sender_tgid);
	cJSON_AddNumberToObject(sender, "uid", fault->sender_uid);
	return json;
}

cJSON *part_location(const struct crash *crash)
{
	static const char *const kinds[] = {"none", "file", "anonymous", "vdso", "stack"};
	static const char *const sources[] = {"none", "mmap_records", "proc_maps", "inherited"};
	const struct ev_location *at = &crash->location;
	cJSON *json;

	if (!crash->has_fault)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	json_add_hex(json, "address", crash->fault.regs[REG_IP_]);
	cJSON_AddStringToObject(json, "kind", at->what < 5 ? kinds[at->what] : "none");
	json_add_clean(json, "module", at->module);
	json_add_build_id(json, at->build_id, at->build_id_len);
	if (at->what == LOCATION_FILE || at->what == LOCATION_VDSO) {
		json_add_hex(json, "offset", at->offset);
		json_add_hex(json, "map_start", at->map_start);
	} else {
		cJSON_AddNullToObject(json, "offset");
		cJSON_AddNullToObject(json, "map_start");
	}
	cJSON_AddStringToObject(json, "source", at->source < 4 ? sources[at->source] : "none");
	return json;
}

cJSON *part_vm_error(const struct crash *crash)
{
	static const char *const functions[] = {"", "rb_bug", "rb_fatal", "rb_memerror", "rb_assert_failure"};
	cJSON *json;

	if (!crash->fatal.kind || crash->fatal.kind > FATAL_ASSERT)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "function", functions[crash->fatal.kind]);
	json_add_clean(json, "message", crash->fatal.message);
	if (crash->fatal.kind == FATAL_ASSERT)
		cJSON_AddNumberToObject(json, "line", crash->fatal.line);
	else
		cJSON_AddNullToObject(json, "line");
	return json;
}

cJSON *part_sql(const struct crash *crash, uint64_t wall_offset_ns)
{
	const struct ev_fault *fault = &crash->fault;
	cJSON *json;

	if (!crash->sql[0])
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	json_add_clean(json, "statement", crash->sql);
	cJSON_AddBoolToObject(json, "in_flight", crash->sql_in_flight);
	json_add_clean(json, "target", crash->target);
	json_add_time(json, "started", fault->sql_start_ns ? fault->sql_start_ns + wall_offset_ns : 0);
	json_add_time(json, "ended", fault->sql_end_ns ? fault->sql_end_ns + wall_offset_ns : 0);
	return json;
}

cJSON *part_gems(const struct crash_input *input)
{
	cJSON *list = cJSON_CreateArray(), *gem;
	const char *last = "";

	for (size_t i = 0; list && i < input->region_count; i++) {
		const char *path = input->regions[i].path;
		struct gem_path found;

		if (!path || !strcmp(path, last) || !gem_path_parse(path, &found))
			continue;
		last = path; /* the segments of one file stand together */
		gem = cJSON_CreateObject();
		cJSON_AddStringToObject(gem, "name", found.name);
		json_add_text(gem, "version", found.version);
		json_add_text(gem, "abi", found.abi);
		json_add_clean(gem, "path", path);
		cJSON_AddItemToArray(list, gem);
	}
	return list;
}

cJSON *part_capture(const struct crash_input *input)
{
	const struct crash *crash = input->crash;
	cJSON *json;

	if (!crash->has_fault)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	if (crash->fault.capture_ns)
		json_add_count(json, "took_ns", crash->fault.capture_ns);
	else
		cJSON_AddNullToObject(json, "took_ns");
	json_add_count(json, "stack_limit", input->stack_limit ? input->stack_limit : EV_STACK_LARGE);
	return json;
}

/* Pairs as the kernel gave them to the program; none of it is a secret, AT_RANDOM points to one. */
cJSON *part_auxv(const struct crash_input *input)
{
	const struct ev_fault *fault = &input->crash->fault;
	cJSON *list = cJSON_CreateArray();

	if (!list || !input->crash->has_fault || input->no_registers)
		return list;
	for (size_t i = 0; i < fault->auxv_count && i < EV_AUXV; i++) {
		cJSON *pair = cJSON_CreateArray();
		char text[20];

		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)fault->auxv[i][1]);
		/* types are small numbers; what is not stays exact to 2^53 as all numbers here */
		cJSON_AddItemToArray(pair,
				     cJSON_CreateNumber((double)(fault->auxv[i][0] & 0xffffffffffffull)));
		cJSON_AddItemToArray(pair, cJSON_CreateString(text));
		cJSON_AddItemToArray(list, pair);
	}
	return list;
}

cJSON *part_code(const struct crash_input *input)
{
	const struct ev_fault *fault = &input->crash->fault;
	char hex[2 * EV_CODE + 1];
	cJSON *json;

	if (!input->crash->has_fault || input->no_registers || !fault->code_start)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	json_add_hex(json, "address", fault->code_start);
	text_hex(fault->text, EV_CODE, hex);
	cJSON_AddStringToObject(json, "bytes", hex);
	json_add_clean(json, "instruction", input->unwound ? input->unwound->instruction : "");
	return json;
}

/* What the process wrote comes after the report, if it could write: the store amends this section. */
cJSON *part_stderr(const struct crash_input *input)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "state", "missing");
	cJSON_AddStringToObject(json, "why", input->stderr_why ? input->stderr_why : STDERR_NOT_YET);
	cJSON_AddNullToObject(json, "file");
	cJSON_AddNumberToObject(json, "bytes", 0);
	return json;
}
