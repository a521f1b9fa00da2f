/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report is put together in one go from what the model knows and what the capture holds; nothing is
 * fetched. The columns of the row are copies of what report.json says, so that a store that lost its
 * database can be rebuilt from the bundles alone.
 *
 * No statement literal is here (decode took them out) and no raw memory: that is stack.bin, which can be
 * left out of an export. Registers are single words and stay.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/crash/diagnosis_match.h"
#include "user/crash/report_parts.h"

enum { REPORT_FORMAT = 2 };

static void clean_copy(char *out, size_t size, const char *in)
{
	text_copy(out, size, in);
	text_clean(out);
}

static void fill_columns(const struct crash_input *input, enum cause cause, struct crash_report *out)
{
	static const char *const confirmed[] = {"not", "handler", "death", "oom", "default_action"};
	const struct crash *crash = input->crash;

	clean_copy(out->id, sizeof(out->id), crash->id);
	when_rfc3339(crash->time_ns + input->wall_offset_ns, out->time);
	when_rfc3339(crash->process.start_ns + input->wall_offset_ns, out->start_time);
	clean_copy(out->app, sizeof(out->app), crash->app);
	clean_copy(out->comm, sizeof(out->comm), crash->comm);
	if (crash_signal(crash))
		signal_name(crash_signal(crash), out->signal);
	if (crash->has_fault)
		signal_code_name((int)crash->fault.signal, crash->fault.code, out->code);
	if (crash_has_address(crash))
		snprintf(out->fault_address, sizeof(out->fault_address), "0x%llx",
			 (unsigned long long)crash->fault.address);
	text_copy(out->cause, sizeof(out->cause), cause_name(cause));
	text_copy(out->confirmed_by, sizeof(out->confirmed_by),
		  confirmed[crash->confirmed_by <= CONFIRMED_DEFAULT ? crash->confirmed_by : 0]);
	clean_copy(out->host, sizeof(out->host), input->host);
	out->pid = crash->process.tgid;
	out->fault_ns = crash->time_ns;
	out->uid = crash->uid;
	out->status = crash->status;
	text_clean(out->blame.module);
	text_clean(out->blame.how);
}

static cJSON *blame_json(const struct blame *blame)
{
	cJSON *json = cJSON_CreateObject();

	json_add_text(json, "module", blame->module);
	json_add_text(json, "gem", blame->gem);
	json_add_text(json, "version", blame->version);
	cJSON_AddStringToObject(json, "confidence", blame->confidence);
	json_add_text(json, "how", blame->how);
	return json;
}

static void add_process(cJSON *json, const struct crash_input *input, const struct crash_report *out)
{
	static const char *const roles[] = {"single", "master", "worker"};
	const struct crash *crash = input->crash;
	cJSON *parent;

	json_add_text(json, "app", out->app);
	cJSON_AddNumberToObject(json, "pid", out->pid);
	cJSON_AddStringToObject(json, "start_time", out->start_time);
	json_add_text(json, "comm", out->comm);
	cJSON_AddNumberToObject(json, "uid", out->uid);
	cJSON_AddStringToObject(json, "role", roles[crash->role <= ROLE_WORKER ? crash->role : 0]);
	parent = cJSON_AddObjectToObject(json, "parent");
	cJSON_AddNumberToObject(parent, "pid", crash->parent.tgid);
	json_add_time(parent, "start_time",
		      crash->parent.start_ns ? crash->parent.start_ns + input->wall_offset_ns : 0);
	json_add_text(json, "server", input->server);
	json_add_text(json, "ruby", input->ruby);
	cJSON_AddNumberToObject(json, "live_workers", crash->live_workers);
	json_add_text(json, "host", input->host);
	json_add_text(json, "agent_version", input->agent_version);
}

static void add_verdict(cJSON *json, struct facts *facts, const char *evidence,
			const struct crash_report *out)
{
	const struct crash_input *input = facts->input;
	cJSON *blame, *diagnosis;

	json_add_text(json, "signal", out->signal);
	json_add_text(json, "code", out->code);
	json_add_text(json, "fault_address", out->fault_address);
	cJSON_AddStringToObject(json, "cause", out->cause);
	json_add_text(json, "cause_evidence", evidence);
	blame = blame_json(&out->blame);
	cJSON_AddItemToObject(blame, "verdict", part_extension_verdict(input, out->blame.module));
	cJSON_AddItemToObject(json, "blame", blame);
	cJSON_AddStringToObject(json, "fingerprint", out->fingerprint);
	cJSON_AddStringToObject(json, "confirmed_by", out->confirmed_by);
	json_add_time(json, "confirmed_at",
		      input->crash->confirmed_ns ? input->crash->confirmed_ns + input->wall_offset_ns : 0);
	cJSON_AddItemToObject(json, "exit", crash_exit(input->crash->status));
	diagnosis = diagnose(input->diagnoses, facts);
	cJSON_AddItemToObject(json, "diagnosis", diagnosis);
	cJSON_AddItemToObject(json, "remedies", remedies_of(input, facts->cause, &out->blame, diagnosis));
}

static char *report_print(struct facts *facts, const char *evidence, const struct crash_report *out)
{
	const struct crash_input *input = facts->input;
	const struct crash *crash = input->crash;
	cJSON *json = cJSON_CreateObject();
	char *printed, *text;

	cJSON_AddNumberToObject(json, "format", REPORT_FORMAT);
	cJSON_AddStringToObject(json, "id", out->id);
	cJSON_AddStringToObject(json, "time", out->time);
	add_process(json, input, out);
	add_verdict(json, facts, evidence, out);
	cJSON_AddItemToObject(json, "fault", part_fault(crash));
	cJSON_AddItemToObject(json, "location", part_location(crash));
	cJSON_AddItemToObject(json, "registers", part_registers(input));
	cJSON_AddItemToObject(json, "code_bytes", part_code(input));
	cJSON_AddItemToObject(json, "native_frames", part_frames(input, facts->frames));
	cJSON_AddItemToObject(json, "ruby_frames", part_ruby_frames(input));
	cJSON_AddItemToObject(json, "stack", part_whole_stack(input, facts->frames));
	cJSON_AddItemToObject(json, "unwind", part_unwind(input));
	cJSON_AddItemToObject(json, "modules", part_modules(input));
	cJSON_AddItemToObject(json, "vm_error", part_vm_error(crash));
	cJSON_AddItemToObject(json, "sql", part_sql(crash, input->wall_offset_ns));
	cJSON_AddItemToObject(json, "memory", part_memory(input));
	cJSON_AddItemToObject(json, "auxv", part_auxv(input));
	cJSON_AddItemToObject(json, "gems", part_gems(input));
	cJSON_AddItemToObject(json, "capture", part_capture(input));
	cJSON_AddItemToObject(json, "stderr", part_stderr(input));
	json_add_count(json, "lost_records", crash->lost_records);
	cJSON_AddItemToObject(json, "parts", part_states(input));
	printed = cJSON_Print(json);
	cJSON_Delete(json);
	text = printed ? strdup(printed) : NULL; /* cJSON's allocator need not be free()'s */
	cJSON_free(printed);
	return text;
}

static bool take_stack(const struct crash_input *input, struct crash_report *report)
{
	size_t size = input->stack_size + unwind_windows_size(input->windows);

	report->stack = malloc(size);
	if (!report->stack)
		return false;
	memcpy(report->stack, input->stack, size);
	report->stack_size = size;
	return true;
}

int crash_report_new(const struct crash_input *input, struct crash_report **out)
{
	struct crash_report *report = calloc(1, sizeof(*report));
	struct frames *frames = frames_new(input);
	struct abi_mismatch abi;
	char evidence[288];
	struct facts facts;
	int err = -ENOMEM;

	if (!report || !frames)
		goto out;
	abi_find(input, frames, &abi);
	facts = (struct facts){.input = input, .frames = frames, .abi = &abi, .blame = &report->blame};
	facts.cause = cause_with_stack(input, frames, &abi, evidence, sizeof(evidence));
	text_clean(evidence);
	blame_of(input, facts.cause, frames, &abi, &report->blame);
	fingerprint_of(input, facts.cause, &report->blame, frames, report->fingerprint);
	fill_columns(input, facts.cause, report);
	report->report_json = report_print(&facts, evidence, report);
	if (!report->report_json)
		goto out;
	if (input->region_count && !(report->maps_txt = maps_txt(input->regions, input->region_count)))
		goto out;
	if (input->flight && !(report->events_jsonl = strndup(input->flight, input->flight_size)))
		goto out;
	if (input->stack && input->stack_size && !take_stack(input, report))
		goto out;
	*out = report;
	report = NULL;
	err = 0;
out:
	frames_free(frames);
	crash_report_free(report);
	return err;
}
