/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blame: the module of the failing instruction when that may be at fault, else the nearest one on the
 * stack. What rests on the instruction pointer is high confidence; a word of the stack within the frames
 * that a libc function or a failed call takes is medium; anything found by looking further is low. When
 * nothing is found the verdict is "unknown": a wrong name sends people after the wrong gem.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/crash/blame.h"

enum { NEAR = 512 }; /* bytes: a couple of frames of libc */

static void blame_nobody(struct blame *out, const char *how)
{
	memset(out, 0, sizeof(*out));
	text_copy(out->module, sizeof(out->module), "unknown");
	text_copy(out->confidence, sizeof(out->confidence), "none");
	text_copy(out->how, sizeof(out->how), how);
}

static void blame_module(struct blame *out, const char *module, const struct gem_path *gem,
			 const char *confidence)
{
	memset(out, 0, sizeof(*out));
	text_copy(out->module, sizeof(out->module), module);
	text_copy(out->gem, sizeof(out->gem), gem->name);
	text_copy(out->version, sizeof(out->version), gem->version);
	text_copy(out->confidence, sizeof(out->confidence), confidence);
}

/* The path that holds the instruction pointer: from the location record, else from the maps. */
static const char *fault_module(const struct crash_input *input)
{
	const struct crash *crash = input->crash;
	const struct maps_region *region;

	if (crash->location.what == LOCATION_FILE || crash->location.what == LOCATION_VDSO)
		return crash->location.module;
	if (!crash->has_fault || crash->location.what != LOCATION_NONE)
		return "";
	region = region_of(input->regions, input->region_count, crash->fault.regs[REG_IP_]);
	return region ? region->path : "";
}

static void blame_instruction(const char *module, enum module_kind kind, const struct gem_path *gem,
			      const struct scan *scan, struct blame *out)
{
	blame_module(out, module, gem, "high");
	snprintf(out->how, sizeof(out->how), "the instruction that failed is in %.80s", text_base(module));
	if (kind != MODULE_LIBRARY || !scan->extension || !scan->extension->gem.name[0])
		return;
	/* a library fails for whoever handed it the pointer: the gem is the one that called it */
	text_copy(out->gem, sizeof(out->gem), scan->extension->gem.name);
	text_copy(out->version, sizeof(out->version), scan->extension->gem.version);
	text_copy(out->confidence, sizeof(out->confidence), "medium");
	snprintf(out->how, sizeof(out->how), "failed in %.40s, with %.40s on the stack at sp+0x%zx",
		 text_base(module), text_base(scan->extension->region->path), scan->extension->distance);
}

static void blame_stack(const char *module, enum cause cause, const struct scan *scan, struct blame *out)
{
	const struct scan_frame *frame = scan->suspect;
	bool called = cause == CAUSE_BAD_JUMP && frame->distance == 0; /* a call pushed where it came from */
	const char *confidence = called                                                    ? "high"
				 : frame->distance < NEAR && cause != CAUSE_STACK_OVERFLOW ? "medium"
											   : "low";

	blame_module(out, frame->region->path, &frame->gem, confidence);
	if (called)
		snprintf(out->how, sizeof(out->how),
			 "it made the call to a bad address: its return address is on top");
	else
		snprintf(out->how, sizeof(out->how),
			 "failed in %.40s; the nearest word on the stack that is in an extension, sp+0x%zx",
			 module[0] ? text_base(module) : "no file", frame->distance);
	if (frame->kind == MODULE_LIBRARY && scan->extension &&
	    scan->extension->distance - frame->distance < NEAR) {
		text_copy(out->gem, sizeof(out->gem), scan->extension->gem.name);
		text_copy(out->version, sizeof(out->version), scan->extension->gem.version);
	}
}

void blame_of(const struct crash_input *input, enum cause cause, const struct scan *scan, struct blame *out)
{
	const char *module = fault_module(input);
	char how[128];
	struct gem_path gem;
	enum module_kind kind = module_kind(module, &gem);

	if (cause == CAUSE_OOM)
		blame_nobody(out, "memory ran out; what took it is not known from one process");
	else if (cause == CAUSE_INJECTED)
		blame_nobody(out, "the signal was sent, no instruction failed");
	else if (!input->crash->has_fault)
		blame_nobody(out, "the record of the fault is missing");
	else if (cause == CAUSE_BAD_JUMP && scan->suspect)
		blame_stack(module, cause, scan, out);
	else if (kind == MODULE_EXTENSION || kind == MODULE_LIBRARY)
		blame_instruction(module, kind, &gem, scan, out);
	else if (scan->suspect)
		blame_stack(module, cause, scan, out);
	else {
		snprintf(how, sizeof(how), "failed in %.60s, and %s",
			 module[0] ? text_base(module) : "no file",
			 input->stack_size ? "no extension is near on the stack"
					   : "there is no stack to look at");
		blame_nobody(out, how);
	}
}
