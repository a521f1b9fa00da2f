// SPDX-License-Identifier: Apache-2.0
/* Registers and what they point at, memory around the fault and the stack pointer, the failing instruction.
 */
#include <ctype.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/crash_show.h"

enum { DUMP_LINE = 16, DUMP_LINES = 4, DUMP_LINES_MORE = 64, CODE_MAX = 256 };

void story_registers(const struct story *story)
{
	static const char *const names[] = {"rip", "rsp", "rbp", "rax", "rbx", "rcx", "rdx", "rsi", "rdi",
					    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "eflags"};
	const cJSON *registers = report_part(story->report, "registers");
	char text[160];
	uint64_t value;

	if (!cJSON_IsObject(registers) && !cJSON_IsObject(report_part(story->report, "register_places")))
		return;
	page_head(&story->page, "Registers, and what they point at");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		bool known = report_hex(registers, names[i], &value);

		text_copy(text, sizeof(text),
			  json_text(report_part(story->report, "register_places"), names[i]));
		if (known && strcmp(names[i], "eflags") != 0)
			place_text(&story->places, value, text, sizeof(text));
		page_raw(&story->page, TINT_NONE, "  %-6s %18s  %s", names[i],
			 known ? json_text(registers, names[i]) : "(redacted)", text);
	}
}

/* "  7ffc00001000 +0x0   00 01 …  ascii": bytes that were not read are dots of their own. */
static void dump_line(const struct story *story, uint64_t address)
{
	uint8_t bytes[DUMP_LINE];
	size_t got = bundle_stack_read(&story->places.stack, address, bytes, sizeof(bytes));
	char hex[3 * DUMP_LINE + 2] = "", text[DUMP_LINE + 1] = "";

	for (size_t i = 0; i < DUMP_LINE; i++) {
		char one[4] = "..";

		if (i < got)
			text_hex(&bytes[i], 1, one);
		snprintf(hex + 3 * i, 4, "%s ", one);
		text[i] = i < got && isprint(bytes[i]) ? (char)bytes[i] : '.';
	}
	page_raw(&story->page, TINT_NONE, "  %12llx  %s %s", (unsigned long long)address, hex, text);
}

static void dump(const struct story *story, const char *name, uint64_t address, int lines)
{
	const struct bundle_stack *stack = &story->places.stack;
	const struct bundle_stretch *stretch = bundle_stack_at(stack, address);
	size_t from;

	if (!stretch)
		return;
	from = (size_t)(stretch->bytes - stack->stretches[0].bytes) + (size_t)(address - stretch->address);
	page_line(&story->page, name, "stack.bin from byte %zu on, of %zu", from, stack->size);
	for (int i = 0; i < lines && address < stretch->address + stretch->size; i++, address += DUMP_LINE)
		dump_line(story, address);
}

static void around_line(const struct story *story, const char *name, const cJSON *mapping, const char *what)
{
	if (cJSON_IsObject(mapping))
		page_line(&story->page, name, "%s to %s %s %s, %s %s", json_text(mapping, "start"),
			  json_text(mapping, "end"), json_text(mapping, "protection"),
			  *json_text(mapping, "path") ? json_text(mapping, "path") : "without a file",
			  json_text(mapping, "distance"), what);
}

/* The failing byte in <>, as the kernel prints code. */
static void story_code(const struct story *story)
{
	const cJSON *code = report_part(story->report, "code_bytes");
	const char *hex = json_text(code, "bytes");
	char text[4 * CODE_MAX + 8] = "";
	size_t used = 0, count = strlen(hex) / 2;
	uint64_t at, rip;

	if (!cJSON_IsObject(code) || !report_hex(code, "address", &at) ||
	    !report_hex(report_part(story->report, "registers"), "rip", &rip))
		return;
	for (size_t i = 0; i < count && i < CODE_MAX; i++)
		text_add(text, sizeof(text), &used, at + i == rip ? "<%.2s> " : "%.2s ", hex + 2 * i);
	page_line(&story->page, "code", "%s", text);
}

void story_memory(const struct story *story)
{
	const cJSON *around = report_part(report_part(story->report, "memory"), "around");
	int lines = story->memory ? DUMP_LINES_MORE : DUMP_LINES;
	const struct bundle_stack *stack = &story->places.stack;
	uint64_t address;

	if (!cJSON_IsObject(around) && !story->places.has_stack &&
	    !cJSON_IsObject(report_part(story->report, "code_bytes")))
		return;
	page_head(&story->page, "Memory around the fault");
	story_code(story);
	if (cJSON_IsObject(around)) {
		around_line(story, "it lies in", report_part(around, "holds"), "from its start");
		if (!cJSON_IsObject(report_part(around, "holds")))
			page_line(&story->page, json_text(around, "address"), "lies in no known mapping");
		around_line(story, "below it", report_part(around, "below"), "from its end");
		around_line(story, "above it", report_part(around, "above"), "to its start");
	}
	if (!story->places.has_stack)
		return;
	if (report_hex(story->report, "fault_address", &address) && bundle_stack_has(stack, address))
		dump(story, "at the fault",
		     address - (address - bundle_stack_at(stack, address)->address) % DUMP_LINE, lines);
	dump(story, "at rsp", stack->stretches[0].address, lines);
}

void story_maps(const struct story *story)
{
	const struct bundle_maps *maps = &story->places.maps;
	size_t files = 0, bare = 0;
	const char *last = "";

	if (!maps->count)
		return;
	for (size_t i = 0; i < maps->count; i++) {
		if (*maps->list[i].path == '/')
			files += strcmp(maps->list[i].path, last) != 0;
		else
			bare++;
		last = maps->list[i].path;
	}
	page_head(&story->page, "Mappings");
	page_line(&story->page, "maps.txt", "%zu mappings of %zu files, %zu of no file%s", maps->count, files,
		  bare, maps->bad ? "; some lines did not parse" : "");
}
