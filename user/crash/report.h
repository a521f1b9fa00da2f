/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a confirmed crash to its report: cause class, blame, fingerprint, and the files of the bundle
 * (DESIGN.md 5). Pure: everything comes in as arguments.
 */
#ifndef LAPIDARY_REPORT_H
#define LAPIDARY_REPORT_H

#include "user/crash/bundle.h"
#include "user/crash/diagnosis.h"
#include "user/elf/unwind.h"
#include "user/gems/verdict.h"
#include "user/model/model.h"
#include "user/probe/maps.h"

/* Cause classes of FACTS.md 4. */
enum cause {
	CAUSE_UNKNOWN,
	CAUSE_NULL,
	CAUSE_NON_CANONICAL,
	CAUSE_BAD_JUMP,
	CAUSE_WRITE_READ_ONLY,
	CAUSE_NO_ACCESS, /* mapped, but without any right to it */
	CAUSE_UNMAPPED,
	CAUSE_STACK_OVERFLOW,
	CAUSE_INJECTED,
	CAUSE_HEAP_CORRUPTION,
	CAUSE_BUFFER_OVERFLOW, /* found by the compiler's or libc's checks */
	CAUSE_ASSERTION,
	CAUSE_ABORT,
	CAUSE_VM_ERROR,
	CAUSE_ABI_MISMATCH, /* an extension that was built for another Ruby */
	CAUSE_OOM,
	CAUSE_ILLEGAL_INSTRUCTION,
	CAUSE_ARITHMETIC,
	CAUSE_BUS,
};
const char *cause_name(enum cause cause); /* "null", "non_canonical", ... */
/*
 * The class by what the kernel said alone, and one line of evidence ("si_code 1, address 0x0 below 64 KiB").
 * A report looks at the stack and the maps as well (cause_with_stack) and may know better.
 */
enum cause cause_of(const struct crash *crash, char *evidence, size_t size);

/* What was known of a mapped extension when the process died (user/gems/verdict.h). Borrowed. */
struct crash_extension {
	const char *path; /* as the process sees it */
	const struct extension_verdict *verdict;
	const char *command; /* that mends it, in its app; "" or NULL: none was made */
};

struct crash_input {
	const struct crash *crash;
	const struct maps_region *regions; /* may be NULL */
	size_t region_count;
	enum maps_source maps_source;
	bool no_registers;               /* the configuration forbids them */
	const uint8_t *stack;            /* may be NULL: registers alone; the bytes of the windows follow */
	size_t stack_size;               /* without them */
	const struct ev_window *windows; /* WINDOW_COUNT; may be NULL: none */
	size_t stack_limit;              /* of the capture; 0: EV_STACK_LARGE */
	const struct unwind_result *unwound; /* what the examiner made of registers and stack; may be NULL */
	const char *stderr_why;            /* why nothing that it wrote will ever be added; NULL: it may be */
	const char *unwound_why;           /* why it is NULL: "the examiner died of SIGSEGV"; may be NULL */
	const struct ev_ruby *ruby_stack;  /* may be NULL: no such record came */
	const struct diagnoses *diagnoses; /* known patterns; may be NULL */
	const char *flight;                /* events.jsonl, may be NULL */
	size_t flight_size;
	uint64_t wall_offset_ns;                          /* CLOCK_REALTIME minus CLOCK_BOOTTIME */
	const char *host, *agent_version, *server, *ruby; /* ruby: its version */
	const struct crash_extension *extensions;         /* what the check knew; may be NULL */
	size_t extension_count;
};

/* 0 or -ENOMEM. */
int crash_report_new(const struct crash_input *input, struct crash_report **out);

#endif
