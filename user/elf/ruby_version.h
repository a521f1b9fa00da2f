/* SPDX-License-Identifier: Apache-2.0 */
/* Which Ruby a file is: the text of its exported variable `ruby_version`. */
#ifndef LAPIDARY_ELF_RUBY_VERSION_H
#define LAPIDARY_ELF_RUBY_VERSION_H

#include <stddef.h>
#include "user/elf/symbols.h"

/* Copies "3.1.7" into out. -ENOENT: no such bytes in the file; -EINVAL: they do not read like a version. */
int ruby_version_read(const struct elf_file *file, const struct symbol *symbol, char *out, size_t size);

#endif
