// SPDX-License-Identifier: Apache-2.0
/*
 * A pass: libdwfl leads from a set of registers as far as unwind tables reach. It is asked frame by frame and
 * stopped before code without tables, where it would guess from the frame pointer and not say so.
 *
 * That a frame's return address could not be read and that it has none look the same to libdwfl; what the
 * memory callback had to refuse tells them apart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dwarf.h>
#include "user/base/text.h"
#include "user/elf/unwind_private.h"

enum { THREAD = 1 };

/* --- what libdwfl asks -------------------------------------------------------------------------------- */

static int find_elf(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, char **file_name,
		    Elf **elf)
{
	struct unwind_walk *walk = *user;
	uint16_t index = (uint16_t)strtoul(name, NULL, 10);

	(void)module;
	(void)base;
	*file_name = NULL;
	*elf = unwind_module_elf(walk, index);
	if (*elf)
		elf_begin(-1, ELF_C_READ, *elf); /* one reference is libdwfl's */
	return -1;
}

/* Symbols of debug files are read in unwind_symbols.c; tables are never there alone. */
static int find_debuginfo(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base,
			  const char *file_name, const char *link, GElf_Word crc, char **debug_name)
{
	(void)module;
	(void)user;
	(void)name;
	(void)base;
	(void)file_name;
	(void)link;
	(void)crc;
	(void)debug_name;
	return -1;
}

static pid_t next_thread(Dwfl *dwfl, void *context, void **thread)
{
	(void)dwfl;
	(void)thread;
	(void)context;
	return 0;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *context, void **thread)
{
	(void)dwfl;
	*thread = context;
	return tid == THREAD;
}

static bool memory_read(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *word, void *context)
{
	struct unwind_walk *walk = context;
	enum unwind_end lost = unwind_stack_word(walk->question, address, word);

	(void)dwfl;
	if (lost && walk->lost != UNWIND_PAGE_MISSING)
		walk->lost = lost;
	return lost == 0;
}

static bool set_registers(Dwfl_Thread *thread, void *context)
{
	const struct unwind_walk *walk = context;

	for (int i = 0; i < UNWIND_REGISTERS_COUNT; i++)
		if (walk->known & 1u << i && !dwfl_thread_state_registers(thread, i, 1, &walk->regs[i]))
			return false;
	return true;
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = memory_read,
	.set_initial_registers = set_registers,
};

static const Dwfl_Callbacks callbacks = {
	.find_elf = find_elf,
	.find_debuginfo = find_debuginfo,
	.section_address = dwfl_offline_section_address,
};

/* Registers have the same numbers in every module, so libdwfl gets its processor from a header without a
 * file. */
static Elf *processor(void)
{
	static const Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_ehsize = sizeof(Elf64_Ehdr),
	};

	return elf_memory((char *)&header, sizeof(header));
}

static bool report_module(struct unwind_walk *walk, uint32_t index)
{
	const struct unwind_module *module = &walk->out->modules[index];
	Dwfl_Module *reported;
	void **user;
	char name[16];

	if (!module->readable)
		return true;
	snprintf(name, sizeof(name), "%u", index);
	reported = dwfl_report_module(walk->dwfl, name, module->start, module->end);
	if (!reported || !dwfl_module_info(reported, &user, NULL, NULL, NULL, NULL, NULL, NULL))
		return false;
	*user = walk;
	return true;
}

bool unwind_walk_open(struct unwind_walk *walk)
{
	Elf *elf = processor();
	bool done;

	walk->dwfl = dwfl_begin(&callbacks);
	if (!walk->dwfl || !elf) {
		elf_end(elf);
		return false;
	}
	dwfl_report_begin(walk->dwfl);
	for (uint32_t i = 0; i < walk->out->module_count; i++)
		if (!report_module(walk, i))
			walk->out->modules[i].readable = 0;
	done = dwfl_report_end(walk->dwfl, NULL, NULL) == 0 &&
	       dwfl_attach_state(walk->dwfl, elf, THREAD, &thread_callbacks, walk);
	elf_end(elf);
	return done;
}

/* --- frame by frame ----------------------------------------------------------------------------------- */

/* Do unwind tables cover the address? *signal: its caller was interrupted by a signal. */
static bool has_tables(struct unwind_walk *walk, uint64_t address, bool *signal)
{
	Dwfl_Module *module = dwfl_addrmodule(walk->dwfl, address);

	for (int kind = 0; module && kind < 2; kind++) {
		Dwarf_Frame *frame = NULL;
		Dwarf_Addr bias = 0;
		Dwarf_CFI *cfi =
			kind == 0 ? dwfl_module_eh_cfi(module, &bias) : dwfl_module_dwarf_cfi(module, &bias);

		if (!cfi || dwarf_cfi_addrframe(cfi, address - bias, &frame) != 0)
			continue;
		if (dwarf_frame_info(frame, NULL, NULL, signal) == -1)
			*signal = false;
		free(frame);
		return true;
	}
	return false;
}

/* What a scan goes on from. */
static void keep_registers(struct unwind_walk *walk, Dwfl_Frame *state)
{
	walk->known = 0;
	for (unsigned i = 0; i < UNWIND_PC; i++)
		if (dwfl_frame_reg(state, i, &walk->regs[i]) == 0)
			walk->known |= 1u << i;
}

static int stop(struct unwind_walk *walk, enum unwind_end why)
{
	walk->stopped = why;
	return DWARF_CB_ABORT;
}

static int on_frame(Dwfl_Frame *state, void *context)
{
	struct unwind_walk *walk = context;
	struct unwind_result *out = walk->out;
	struct unwind_frame *frame = &out->frames[out->count];
	bool exact = walk->interrupted, signal = false, tables;
	Dwarf_Addr pc;
	Dwarf_Word sp = 0;

	if (out->count == UNWIND_FRAMES)
		return stop(walk, UNWIND_LIMIT);
	if (!dwfl_frame_pc(state, &pc, NULL))
		return stop(walk, UNWIND_DAMAGED);
	dwfl_frame_reg(state, UNWIND_SP, &sp);
	if (!walk->first && !walk->moved && sp <= walk->last_sp)
		return stop(walk, UNWIND_DAMAGED); /* stacks shrink on the way out, or it is a loop */
	*frame = (struct unwind_frame){
		.pc = walk->first ? walk->pc : pc,
		.sp = sp,
		.how = walk->first ? walk->how : UNWIND_TABLES,
		.interrupted = exact,
	};
	exact = exact || frame->how == UNWIND_REGISTERS;
	frame->module = unwind_module_at(walk, exact ? frame->pc : frame->pc - 1);
	out->count++;
	tables = has_tables(walk, exact ? frame->pc : frame->pc - 1, &signal);
	if (tables && frame->module != UNWIND_NO_MODULE) {
		out->modules[frame->module].tables = 1;
		frame->function =
			unwind_function_start(walk, frame->module, exact ? frame->pc : frame->pc - 1);
	}
	keep_registers(walk, state);
	walk->first = false;
	walk->interrupted = walk->moved = signal;
	walk->last_sp = sp;
	walk->lost = 0;
	return tables ? DWARF_CB_OK : stop(walk, UNWIND_NO_TABLES);
}

static void begin(struct unwind_walk *walk, uint64_t pc, enum unwind_how how)
{
	walk->pc = pc;
	walk->how = how;
	walk->first = true;
	walk->interrupted = walk->moved = false;
	walk->lost = walk->stopped = 0;
	/* libdwfl takes the first frame's pc for exact; that of a caller lies behind its call */
	walk->regs[UNWIND_PC] = how == UNWIND_REGISTERS ? pc : pc - 1;
	walk->known |= 1u << UNWIND_PC;
}

void unwind_walk_from(struct unwind_walk *walk, uint64_t pc, enum unwind_how how)
{
	int result;

	begin(walk, pc, how);
	result = dwfl_getthread_frames(walk->dwfl, THREAD, on_frame, walk);
	if (walk->stopped)
		return;
	if (walk->lost)
		walk->stopped = walk->lost;
	else
		walk->stopped = result == 0 ? UNWIND_OUTERMOST : UNWIND_DAMAGED;
}

/* --- is it worth a pass? ------------------------------------------------------------------------------ */

struct trial {
	struct unwind_walk *walk;
	int frames;
	bool good;
};

static int on_trial(Dwfl_Frame *state, void *context)
{
	struct trial *trial = context;
	bool signal = false;
	uint64_t target;
	Dwarf_Addr pc;

	if (trial->frames++ == 0) {
		if (has_tables(trial->walk, trial->walk->pc - 1, &signal))
			return DWARF_CB_OK;
		trial->good = true; /* that a call precedes it is all there is */
		return DWARF_CB_ABORT;
	}
	trial->good = dwfl_frame_pc(state, &pc, NULL) &&
		      unwind_follows_call(trial->walk, pc, &target) != UNWIND_NO_CALL;
	return DWARF_CB_ABORT;
}

bool unwind_walk_try(struct unwind_walk *walk, uint64_t pc)
{
	struct trial trial = {.walk = walk};
	int result;

	begin(walk, pc, UNWIND_SCANNED);
	result = dwfl_getthread_frames(walk->dwfl, THREAD, on_trial, &trial);
	return trial.good || (result == 0 && trial.frames == 1 && !walk->lost);
}
