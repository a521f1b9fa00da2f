/* SPDX-License-Identifier: Apache-2.0 */
/* What a file says of where its symbols are: in itself, or in another file (.gnu_debuglink). */
#ifndef LAPIDARY_ELF_DEBUG_LINK_H
#define LAPIDARY_ELF_DEBUG_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include "user/elf/file.h"

enum { DEBUG_LINK_MAX = 64 };

/*
 * Returns whether the file has a symbol table of its own. `link` gets the name of the file that it points at
 * and *crc the sum over that file's bytes; "" and 0 when it points at none, or at what is no plain name.
 */
bool debug_link_read(const struct elf_file *file, char link[DEBUG_LINK_MAX], uint32_t *crc);
/* A base name, which leads to no other folder. */
bool debug_link_is_name(const char *name);

#endif
