/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blame: the module of the failing instruction when that may be at fault; else the nearest one above it that
 * may. libc, allocators and Ruby itself fail for whoever called them, so they are never named.
 *
 * How sure:  high    the failing instruction is in it, or it made the call that failed, by unwind tables
 *            medium  further up by tables; or a library failed that it called; or Ruby says that a method of
 *                    it was running
 *            low     found by scanning, past a garbage collection, or by no more than being mapped
 *
 * The search ends at the innermost bytecode (frames.h, reach): an extension further out called into Ruby and
 * waits. When nothing is found the verdict is "unknown": a wrong name sends people after the wrong gem.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/crash/blame.h"
#include "user/crash/libraries.h"

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

static bool may_be_blamed(const struct frame *frame)
{
	return frame->kind == MODULE_EXTENSION || frame->kind == MODULE_LIBRARY;
}

/* The innermost frame that may be blamed; the frame count when there is none. */
static size_t find_suspect(const struct frames *frames)
{
	size_t i = 0;

	while (i < frames->reach && !may_be_blamed(&frames->list[i]))
		i++;
	return i < frames->reach ? i : frames->count;
}

/* The extension that called the library at `from`, by the stack. */
static const struct frame *find_caller(const struct frames *frames, size_t from)
{
	for (size_t i = from + 1; i < frames->reach; i++)
		if (frames->list[i].kind == MODULE_EXTENSION)
			return &frames->list[i];
	return NULL;
}

/* A mapped extension of the gem that customarily uses this library. */
static const struct maps_region *find_customer(const struct crash_input *input, const char *library,
					       struct gem_path *gem)
{
	const char *name = library_gem(library);

	for (size_t i = 0; name && i < input->region_count; i++)
		if (input->regions[i].path && module_kind(input->regions[i].path, gem) == MODULE_EXTENSION &&
		    !strcmp(gem->name, name))
			return &input->regions[i];
	return NULL;
}

static void name_gem(struct blame *out, const struct gem_path *gem)
{
	text_copy(out->gem, sizeof(out->gem), gem->name);
	text_copy(out->version, sizeof(out->version), gem->version);
}

/* A library fails for whoever handed it the pointer: the gem is the one that called it. */
static void blame_library(const struct crash_input *input, const struct frames *frames, size_t at,
			  struct blame *out)
{
	const struct frame *caller = find_caller(frames, at);
	const struct maps_region *customer;
	struct gem_path gem;
	bool scanned = caller && (caller->how == UNWIND_SCANNED || frames->list[at].how == UNWIND_SCANNED);

	if (caller && caller->gem.name[0]) {
		name_gem(out, &caller->gem);
		if (out->confidence[0] == 'h' || !scanned)
			text_copy(out->confidence, sizeof(out->confidence), scanned ? "low" : "medium");
		snprintf(out->how, sizeof(out->how), "failed in %.40s, %s %.40s",
			 text_base(frames->list[at].path),
			 scanned ? "on the stack is a word of" : "called from", text_base(caller->path));
	} else if (!caller && (customer = find_customer(input, frames->list[at].path, &gem))) {
		name_gem(out, &gem);
		text_copy(out->confidence, sizeof(out->confidence), "low");
		snprintf(out->how, sizeof(out->how),
			 "failed in %.40s; its caller is not known, %.40s uses it",
			 text_base(frames->list[at].path), text_base(customer->path));
	}
}

static bool passes_collection(const struct frames *frames, size_t suspect)
{
	for (size_t i = 0; i < suspect; i++)
		if (frames->list[i].kind == MODULE_RUBY && (!strncmp(frames->list[i].symbol, "gc_", 3) ||
							    !strncmp(frames->list[i].symbol, "rb_gc", 5)))
			return true;
	return false;
}

/* Everything inside of it is libc's own way from the call to the signal. */
static bool called_libc(const struct frames *frames, size_t suspect)
{
	for (size_t i = 0; i < suspect; i++)
		if (frames->list[i].kind != MODULE_SYSTEM ||
		    (frames->list[i].path != frames->list[0].path &&
		     strcmp(frames->list[i].path, frames->list[0].path) != 0))
			return false;
	return true;
}

static const char *confidence_above(enum cause cause, const struct frames *frames, size_t suspect)
{
	const struct frame *frame = &frames->list[suspect];
	/* a call to nowhere pushed where it came from, even if tables are missing */
	bool pushed = cause == CAUSE_BAD_JUMP && frames->scan->count && suspect == 1 &&
		      frames->scan->frames[0].distance == 0 && frames->scan->frames[0].address == frame->pc;

	if (pushed || (suspect == 1 && frame->how == UNWIND_RESUMED))
		return "high";
	if (frame->how == UNWIND_SCANNED || cause == CAUSE_STACK_OVERFLOW ||
	    passes_collection(frames, suspect))
		return "low";
	if (suspect == 1 && cause != CAUSE_HEAP_CORRUPTION)
		return "high";
	if ((cause == CAUSE_ABORT || cause == CAUSE_ASSERTION || cause == CAUSE_BUFFER_OVERFLOW) &&
	    called_libc(frames, suspect))
		return "high";
	return "medium";
}

static void say_how(enum cause cause, const struct frames *frames, size_t suspect, struct blame *out)
{
	const struct frame *frame = &frames->list[suspect];
	const char *failed = frames->list[0].path[0] ? text_base(frames->list[0].path) : "no file";
	const char *name = text_base(frame->path);

	if (suspect == 0)
		snprintf(out->how, sizeof(out->how), "the instruction that failed is in %.80s", name);
	else if (cause == CAUSE_BAD_JUMP && out->confidence[0] == 'h')
		snprintf(out->how, sizeof(out->how),
			 "%.60s made the call to a bad address: its return address is on top", name);
	else if (frame->how == UNWIND_SCANNED)
		snprintf(out->how, sizeof(out->how),
			 "failed in %.30s; the nearest word of the stack that may be a call is in %.30s",
			 failed, name);
	else if (suspect == 1)
		snprintf(out->how, sizeof(out->how), "failed in %.40s, which %.40s called", failed, name);
	else
		snprintf(out->how, sizeof(out->how), "failed in %.30s, %u calls below %.30s%s", failed,
			 (unsigned)suspect, name,
			 passes_collection(frames, suspect) ? ", in a garbage collection" : "");
}

static void blame_frame(const struct crash_input *input, enum cause cause, const struct frames *frames,
			size_t suspect, struct blame *out)
{
	const struct frame *frame = &frames->list[suspect];

	blame_module(out, frame->path, &frame->gem,
		     suspect ? confidence_above(cause, frames, suspect) : "high");
	say_how(cause, frames, suspect, out);
	if (frame->kind == MODULE_LIBRARY)
		blame_library(input, frames, suspect, out);
}

/* Ruby says itself whose method was running. */
static bool blame_method(const struct crash_input *input, struct blame *out)
{
	const struct ev_ruby_frame *method;
	const struct maps_region *region = frames_method(input, &method);
	struct gem_path gem;
	char label[EV_RUBY_LABEL + 1];

	if (!region)
		return false;
	module_kind(region->path, &gem);
	text_copy_bytes(label, sizeof(label), method->label, sizeof(method->label));
	blame_module(out, region->path, &gem, "medium");
	snprintf(out->how, sizeof(out->how), "Ruby was in %.60s, a method of %.40s",
		 label[0] ? label : "a method in C", text_base(region->path));
	return true;
}

static void blame_mismatch(const struct abi_mismatch *abi, struct blame *out)
{
	static const char *const confidences[] = {"none", "low", "medium", "high"};
	static const char *const wheres[] = {"", "it is mapped", "a word of the stack is in it",
					     "it is on the stack"};

	blame_module(out, abi->path, &abi->gem, confidences[abi->where]);
	snprintf(out->how, sizeof(out->how), "%.40s was built for Ruby %s, %s runs; %s", text_base(abi->path),
		 abi->gem.abi, abi->running, wheres[abi->where]);
}

void blame_of(const struct crash_input *input, enum cause cause, const struct frames *frames,
	      const struct abi_mismatch *abi, struct blame *out)
{
	size_t suspect = find_suspect(frames);
	char how[128];

	if (cause == CAUSE_OOM)
		blame_nobody(out, "memory ran out; what took it is not known from one process");
	else if (cause == CAUSE_INJECTED)
		blame_nobody(out, "the signal was sent, no instruction failed");
	else if (!input->crash->has_fault)
		blame_nobody(out, "the record of the fault is missing");
	else if (cause == CAUSE_ABI_MISMATCH)
		blame_mismatch(abi, out);
	else if (suspect < frames->count) {
		blame_frame(input, cause, frames, suspect, out);
		if (out->confidence[0] == 'l' && frames->list[suspect].how == UNWIND_SCANNED)
			blame_method(input, out);
	} else if (!blame_method(input, out)) {
		snprintf(how, sizeof(how), "failed in %.60s, and %s",
			 frames->count && frames->list[0].path[0] ? text_base(frames->list[0].path)
								  : "no file",
			 !input->stack_size ? "there is no stack to look at"
			 : frames->unwound  ? "no extension called it"
					    : "no extension is near on the stack");
		blame_nobody(out, how);
	}
}
