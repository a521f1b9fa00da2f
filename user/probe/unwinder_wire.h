/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between agent and unwinder. The first descriptor is a file of memory: struct unwinder_head, its sources,
 * the stack with its windows; the others are copies of files, in the order in which the sources name them,
 * and after them the symbols of their debug files.
 */
#ifndef LAPIDARY_UNWINDER_WIRE_H
#define LAPIDARY_UNWINDER_WIRE_H

#include "bpf/event.h"
#include "user/elf/unwind.h"

enum { UNWINDER_SOURCES = 1024, UNWINDER_CPU_SECONDS = 2 };

struct unwinder_source {
	uint64_t start, end, offset;
	int32_t file, debug; /* which descriptor, -1: none */
};

struct unwinder_head {
	uint64_t regs[REG_COUNT];
	uint64_t vdso;
	uint64_t stack_size, source_count;
	uint64_t code_start;
	uint8_t code[EV_CODE];
	uint8_t missing[sizeof(((struct ev_fault *)0)->missing)];
	struct ev_window windows[WINDOW_COUNT];
};

struct unwinder_question {
	uint64_t number;
};

struct unwinder_answer {
	uint64_t number;
	int32_t result; /* of unwind() */
	uint32_t reserved;
	struct unwind_result unwound;
};

#endif
