/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Ruby's file tells of where its virtual machine keeps things in memory: how a thread finds its
 * execution context, and the table of method names. Walking the frames from there is the kernel side's
 * work (bpf/ruby_frames.bpf.c).
 */
#ifndef LAPIDARY_ELF_RUBY_VM_H
#define LAPIDARY_ELF_RUBY_VM_H

#include "bpf/shared.h"
#include "user/elf/code.h"
#include "user/elf/file.h"
#include "user/elf/symbols.h"

/* The column of a version ("3.1.7"), RUBY_NONE when there is none. */
enum ruby_column ruby_column_of(const char *version);

/*
 * Fills context, how, word, words and dtv_step. 0, -ENOENT when the file gives no way, -ENOEXEC when it is
 * damaged; `how` is RUBY_CONTEXT_UNKNOWN then.
 */
int ruby_vm_context(const struct elf_file *file, enum ruby_column column, struct ruby_layout *out);

/*
 * Fills names and last_op from the code of rb_id2str. 0, or -ENOENT (both 0) when it is not the code that is
 * expected.
 */
int ruby_vm_names(const struct elf_file *file, struct code_reader *reader, const struct symbol *id2str,
		  struct ruby_layout *out);

#endif
