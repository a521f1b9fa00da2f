/* SPDX-License-Identifier: Apache-2.0 */
/* What unwind*.c share: the modules as files, the walk over the frames, and the questions they ask each
 * other. */
#ifndef LAPIDARY_UNWIND_PRIVATE_H
#define LAPIDARY_UNWIND_PRIVATE_H

#include <libelf.h>
#include <elfutils/libdwfl.h>
#include "user/elf/code.h"
#include "user/elf/unwind.h"

/* DWARF's numbers for x86-64: 16 general registers in an order of its own, then the return address. */
enum { UNWIND_BP = 6, UNWIND_SP = 7, UNWIND_PC = 16, UNWIND_REGISTERS_COUNT = 17 };

/* The file behind a module. Opened when a frame is in it, not before: most are never asked. */
struct unwind_file {
	int fd, debug_fd;
	const uint8_t *image; /* of the vdso: this process's own; else NULL */
	size_t image_size;
	Elf *elf;
	bool tried;
	uint64_t header_offset, header_address, header_size; /* .eh_frame_hdr; size 0: none */
};

struct unwind_walk {
	const struct unwind_question *question;
	struct unwind_result *out;
	struct unwind_file files[UNWIND_MODULES]; /* beside out->modules */
	uint16_t *module_of;                      /* of each source, UNWIND_NO_MODULE */
	struct code_reader *reader;
	Dwfl *dwfl;

	/* one pass: from a set of registers as far as the tables lead */
	uint64_t regs[UNWIND_REGISTERS_COUNT];
	uint32_t known;      /* mask of regs */
	uint64_t pc;         /* of the pass's first frame */
	enum unwind_how how; /* that frame was found */
	bool first;          /* it is still to come */
	bool interrupted;    /* the next frame is one that a signal interrupted */
	bool moved;          /* the next frame may be on another stack */
	uint64_t last_sp;
	enum unwind_end lost; /* why memory could not be read since the last frame, 0: it could */
	enum unwind_end stopped;
};

/* unwind_modules.c: what lay where. False: no memory. */
bool unwind_modules_load(struct unwind_walk *walk);
void unwind_modules_done(struct unwind_walk *walk);
/* The executable mapping that holds the address, NULL: none. */
const struct unwind_source *unwind_source_at(const struct unwind_walk *walk, uint64_t address);
/* Index of the module whose code is there, UNWIND_NO_MODULE. */
uint16_t unwind_module_at(const struct unwind_walk *walk, uint64_t address);
/* Opens it if need be; NULL: not at hand, or no ELF file. Borrowed. */
Elf *unwind_module_elf(struct unwind_walk *walk, uint16_t module);
/* Reads code, wholly or not at all. */
bool unwind_code_read(const struct unwind_walk *walk, uint64_t address, void *out, size_t size);
/* Where the function that the address is in begins, by the sorted table of .eh_frame_hdr; 0: not known. */
uint64_t unwind_function_start(const struct unwind_walk *walk, uint16_t module, uint64_t address);

/* unwind_stack.c: a word of the captured stack; 0, or why there is none. */
enum unwind_end unwind_stack_word(const struct unwind_question *question, uint64_t address, uint64_t *word);

/* unwind_walk.c: passes. */
bool unwind_walk_open(struct unwind_walk *walk);
void unwind_walk_from(struct unwind_walk *walk, uint64_t pc, enum unwind_how how);
/* Does a walk from these registers come to a caller that may be one? Leaves no frame behind. */
bool unwind_walk_try(struct unwind_walk *walk, uint64_t pc);

/* unwind_x86_64.c */
void unwind_registers(const uint64_t regs[REG_COUNT], uint64_t out[UNWIND_REGISTERS_COUNT]);
enum unwind_call { UNWIND_NO_CALL, UNWIND_MAY_BE_CALL, UNWIND_CALL };
/* Does the code before a word say that the word is a return address? *target: of a direct call, else 0. */
enum unwind_call unwind_follows_call(const struct unwind_walk *walk, uint64_t word, uint64_t *target);

/* unwind_scan.c: puts the pass's registers at the next return address above them; false: none was found. */
bool unwind_scan(struct unwind_walk *walk, uint64_t *pc);

/* unwind_symbols.c: names for all frames. */
void unwind_name(struct unwind_walk *walk);

#endif
