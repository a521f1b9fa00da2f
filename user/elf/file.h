/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ELF file behind a descriptor: what it claims to be, checked. Everything is read with pread, piece by
 * piece and bounded: a mapped file that its owner truncates would kill the reader with SIGBUS.
 */
#ifndef LAPIDARY_ELF_FILE_H
#define LAPIDARY_ELF_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <libelf.h>

enum elf_file_limit {
	ELF_FILE_SECTION_MAX = 64 << 20, /* of a symbol or string table; chromium's are 3 MiB */
	ELF_FILE_LOADS_MAX = 64,
	ELF_FILE_BUILD_ID_MAX = 20,
};

#define ELF_FILE_SIZE_MAX (UINT64_C(1) << 32)

struct elf_file;

/*
 * fd stays the caller's and must outlive the file. -ENOEXEC: not an ELF program or library, or damaged;
 * -ENOTSUP: not 64-bit little-endian x86-64; -EFBIG: larger than ELF_FILE_SIZE_MAX.
 */
int elf_file_open(int fd, struct elf_file **out);
void elf_file_free(struct elf_file *file);

/* libelf's handle, borrowed. */
Elf *elf_file_elf(const struct elf_file *file);

/* Where the byte that is mapped at `address` lies in the file. -ENOENT: no file-backed segment holds it. */
int elf_file_offset(const struct elf_file *file, uint64_t address, uint64_t *offset);

/*
 * Reads what is mapped at `address`: at most `size` bytes, fewer at the end of its segment. Returns how
 * many, or -errno.
 */
ssize_t elf_file_read(const struct elf_file *file, uint64_t address, void *out, size_t size);

/* Copies the GNU build-id and returns its length, 0 when there is none. */
size_t elf_file_build_id(const struct elf_file *file, uint8_t out[ELF_FILE_BUILD_ID_MAX]);
/* The same out of the bytes of a section or segment of notes. */
size_t elf_notes_build_id(const uint8_t *notes, size_t size, uint8_t out[ELF_FILE_BUILD_ID_MAX]);

#endif
