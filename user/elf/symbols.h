/* SPDX-License-Identifier: Apache-2.0 */
/* What an ELF file defines and exports. */
#ifndef LAPIDARY_ELF_SYMBOLS_H
#define LAPIDARY_ELF_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "user/elf/file.h"

struct symbol {
	const char *name; /* asked for; the caller's */
	bool data;        /* asked for: a variable, else a function */
	bool found;
	uint64_t address; /* as linked */
	uint64_t offset;  /* in the file */
	uint64_t size;    /* 0 when the file does not say */
};

/*
 * Looks all `wanted` names up in one pass over the dynamic symbol table. A name counts when the file itself
 * defines it, exports it and has bytes for it. Returns 0 (also when nothing was found), or -errno.
 */
int symbols_find(const struct elf_file *file, struct symbol *wanted, size_t count);

/*
 * The names that belong to a symbol table: section `index`, borrowed from the Elf, guaranteed to end with a
 * NUL. -ENOEXEC: no such section, or one that does not end so.
 */
int symbols_names(Elf *elf, size_t index, const char **names, size_t *size);

#endif
