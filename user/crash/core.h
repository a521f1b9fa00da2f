/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ELF core from a bundle, for gdb and its like: registers, siginfo, auxiliary vector, mappings, the pages
 * of the stack that were read, and a list of the loaded files such as the dynamic linker keeps. Made when
 * it is asked for: the bundle has all of it already, and raw memory is kept once.
 */
#ifndef LAPIDARY_CORE_H
#define LAPIDARY_CORE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "user/crash/bundle_files.h"

/* What the core lacks because the bundle does; each costs the debugger something. */
struct core_gaps {
	bool auxv;                      /* the program cannot be placed: no symbols of its own */
	bool modules;                   /* no shared libraries */
	bool vdso;                      /* no frames of the vdso */
	uint32_t pages;                 /* of the stack, that could not be read */
	uint32_t modules_without_place; /* files whose place is not known */
};

/*
 * Returns 0 with *out (the caller frees) and *gaps; -ENODATA with one line in `why` when there is no stack
 * or no registers, or they contradict each other; -ENOMEM. `vdso` is the vdso that lay at AT_SYSINFO_EHDR,
 * NULL when it is not at hand.
 */
int core_new(const struct bundle_files *bundle, const void *vdso, size_t vdso_size, uint8_t **out,
	     size_t *size, struct core_gaps *gaps, char *why, size_t why_size);

/* Path of the program, as the process saw it: the file that holds AT_ENTRY. Borrowed; NULL: not known. */
const char *core_program(const cJSON *report);

#endif
