/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From captured registers and stack to frames, by the unwind tables of the files that were mapped
 * (elfutils' libdwfl), with a marked scan where tables are missing. No process is known here: modules
 * are descriptors of ELF files (or of the distilled copies of them, distil.h) and where they lay.
 *
 * Files and stack may be hostile: this runs in the examiner alone. The result travels over its socket as it
 * is: fixed size, no pointers; whoever receives it calls unwind_check.
 */
#ifndef LAPIDARY_UNWIND_H
#define LAPIDARY_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/event.h"

enum {
	UNWIND_FRAMES = 256,
	UNWIND_MODULES = 192,
	UNWIND_SYMBOL = 160,
	UNWIND_NO_MODULE = 0xffff,
};

/* How a frame was found, best first. */
enum unwind_how {
	UNWIND_REGISTERS = 1, /* the failing instruction itself */
	UNWIND_TABLES,        /* by unwind tables from the frame before */
	UNWIND_RESUMED,       /* a jump to nowhere: what the call pushed, *rsp */
	UNWIND_SCANNED,       /* a word on the stack that follows a call instruction: lower confidence */
};

/* Which table a name is from. */
enum unwind_symbols {
	UNWIND_NO_SYMBOLS,
	UNWIND_DYNAMIC_SYMBOLS, /* what the file exports */
	UNWIND_FULL_SYMBOLS,    /* its own full table */
	UNWIND_DEBUG_SYMBOLS,   /* that of a separate debug file */
};

struct unwind_frame {
	uint64_t pc;            /* a return address for all but the first and those a signal interrupted */
	uint64_t sp;            /* the stack pointer in this frame; 0: not known */
	uint64_t function;      /* where its function begins, by unwind table, else by symbol; 0: not known */
	uint16_t module;        /* index into modules, UNWIND_NO_MODULE: in none */
	uint8_t how;            /* enum unwind_how */
	uint8_t interrupted;    /* 1: a signal interrupted it, pc is not a return address */
	uint32_t symbol_offset; /* pc from the symbol's start */
	uint32_t symbol_from;   /* enum unwind_symbols */
	uint32_t reserved;
	char symbol[UNWIND_SYMBOL]; /* demangled, "" when none covers it */
};

/* One file as it lay in the process. */
struct unwind_module {
	uint64_t start, end; /* first to last byte of its mappings */
	uint64_t bias;       /* of its addresses in memory against those in the file */
	uint64_t dynamic;    /* of its dynamic section, in memory; 0: none */
	uint64_t entry;      /* e_entry, in memory */
	uint32_t region;     /* index of the caller's module that this is about */
	uint8_t tables;      /* 1: it has unwind tables */
	uint8_t symbols;     /* enum unwind_symbols: the best of its tables */
	uint8_t readable;    /* 0: no copy of the file was at hand */
	uint8_t reserved;
};

enum unwind_end {
	UNWIND_OUTERMOST = 1, /* the first frame of the thread was reached */
	UNWIND_STACK_ENDS,    /* at the end of what was captured */
	UNWIND_PAGE_MISSING,  /* at a page that could not be read */
	UNWIND_NO_TABLES,     /* at code without tables, and the scan found nothing more */
	UNWIND_LIMIT,         /* UNWIND_FRAMES */
	UNWIND_DAMAGED,       /* tables or stack make no sense */
};

struct unwind_result {
	uint32_t count; /* frames, innermost first */
	uint32_t end;   /* enum unwind_end */
	uint32_t module_count;
	uint32_t scanned;     /* frames that were found by scanning */
	char why[96];         /* one line about the end, "" when it is UNWIND_OUTERMOST */
	char instruction[96]; /* the one that failed (instruction.h), "" when its bytes are not known */
	struct unwind_module modules[UNWIND_MODULES];
	struct unwind_frame frames[UNWIND_FRAMES];
};

/* What is asked. Borrowed during the call. */
struct unwind_source {
	uint64_t start, end, offset; /* an executable mapping, offset in the file */
	int fd;                      /* the file, or its distilled copy; -1: not at hand */
	int debug_fd;                /* separate debug file; -1: none */
};

struct unwind_question {
	const uint64_t *regs;                /* REG_COUNT, enum reg_x86_64 */
	const uint8_t *stack;                /* from regs[REG_SP_] on; the bytes of the windows follow */
	size_t stack_size;                   /* without them */
	const uint8_t *missing;              /* as in struct ev_fault */
	const struct ev_window *windows;     /* WINDOW_COUNT; NULL: none */
	const struct unwind_source *sources; /* in the order of their addresses, none over another */
	size_t source_count;
	uint64_t vdso;       /* where the process has it, 0: unknown */
	const uint8_t *code; /* EV_CODE bytes around the instruction pointer, as in struct ev_fault */
	uint64_t code_start; /* 0: none */
};

/* Bytes of all windows; NULL: 0. */
size_t unwind_windows_size(const struct ev_window windows[WINDOW_COUNT]);

/* Returns 0 with *out filled (count 0 when nothing could be said), -ENOMEM. */
int unwind(const struct unwind_question *question, struct unwind_result *out);

/* Is this a result that unwind could have given? Texts are made printable. */
bool unwind_check(struct unwind_result *result, size_t source_count);

#endif
