// SPDX-License-Identifier: Apache-2.0
/*
 * libelf opens the file with ELF_C_READ, the mode in which it never maps: headers are read at once, a
 * section when it is asked for. Program headers are copied here, so that later questions about addresses
 * cost no library call and no lie in a header is looked at twice.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <gelf.h>
#include "user/elf/file.h"

enum {
	NOTES_MAX = 16 * 1024, /* build-id notes are 36 bytes; this leaves room for others before it */
	HEADERS_MAX = 1024,
};

struct segment {
	uint64_t address, offset, size;
};

struct elf_file {
	int fd;
	Elf *elf;
	uint64_t size;
	size_t load_count, note_count;
	struct segment loads[ELF_FILE_LOADS_MAX];
	struct segment notes[4];
};

/* Reads exactly `size` bytes, or says why not: a file that ends early is a damaged one. */
static int read_exactly(int fd, void *out, size_t size, uint64_t offset)
{
	char *at = out;

	while (size > 0) {
		ssize_t n = pread(fd, at, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOEXEC;
		at += n;
		size -= n;
		offset += n;
	}
	return 0;
}

/* Looks at the header before libelf does: most of what is not for us ends here. */
static int check_header(int fd, uint64_t *size)
{
	struct stat st;
	Elf64_Ehdr header;
	int err;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	if ((uint64_t)st.st_size > ELF_FILE_SIZE_MAX)
		return -EFBIG;
	err = read_exactly(fd, &header, sizeof(header), 0);
	if (err)
		return err;
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    header.e_machine != EM_X86_64)
		return -ENOTSUP;
	if (header.e_type != ET_DYN && header.e_type != ET_EXEC)
		return -ENOEXEC;
	*size = st.st_size;
	return 0;
}

static bool segment_fits(const struct elf_file *file, const struct segment *segment)
{
	return segment->size <= file->size && segment->offset <= file->size - segment->size &&
	       segment->address <= UINT64_MAX - segment->size;
}

static int read_segments(struct elf_file *file)
{
	size_t count;

	if (elf_getphdrnum(file->elf, &count) != 0 || count > HEADERS_MAX)
		return -ENOEXEC;
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr header;
		struct segment segment;

		if (!gelf_getphdr(file->elf, i, &header))
			return -ENOEXEC;
		segment = (struct segment){header.p_vaddr, header.p_offset, header.p_filesz};
		if (header.p_type != PT_LOAD && header.p_type != PT_NOTE)
			continue;
		if (!segment_fits(file, &segment))
			return -ENOEXEC;
		if (header.p_type == PT_LOAD) {
			if (file->load_count == ELF_FILE_LOADS_MAX)
				return -ENOEXEC;
			file->loads[file->load_count++] = segment;
		} else if (file->note_count < sizeof(file->notes) / sizeof(*file->notes)) {
			file->notes[file->note_count++] = segment;
		}
	}
	return 0;
}

int elf_file_open(int fd, struct elf_file **out)
{
	struct elf_file *file;
	int err;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -ENOTSUP;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->fd = fd;
	err = check_header(fd, &file->size);
	if (err)
		goto out;
	err = -ENOEXEC;
	file->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!file->elf || elf_kind(file->elf) != ELF_K_ELF)
		goto out;
	err = read_segments(file);
out:
	if (err)
		elf_file_free(file);
	else
		*out = file;
	return err;
}

void elf_file_free(struct elf_file *file)
{
	if (!file)
		return;
	elf_end(file->elf);
	free(file);
}

Elf *elf_file_elf(const struct elf_file *file)
{
	return file->elf;
}

static const struct segment *load_at(const struct elf_file *file, uint64_t address)
{
	for (size_t i = 0; i < file->load_count; i++) {
		const struct segment *load = &file->loads[i];

		if (address >= load->address && address - load->address < load->size)
			return load;
	}
	return NULL;
}

int elf_file_offset(const struct elf_file *file, uint64_t address, uint64_t *offset)
{
	const struct segment *load = load_at(file, address);

	if (!load)
		return -ENOENT;
	*offset = load->offset + (address - load->address);
	return 0;
}

ssize_t elf_file_read(const struct elf_file *file, uint64_t address, void *out, size_t size)
{
	const struct segment *load = load_at(file, address);
	uint64_t skip;
	int err;

	if (!load)
		return -ENOENT;
	skip = address - load->address;
	if (size > load->size - skip)
		size = load->size - skip;
	err = read_exactly(file->fd, out, size, load->offset + skip);
	return err ? err : (ssize_t)size;
}

/* Name and content of a note are padded to 4 bytes. */
size_t elf_notes_build_id(const uint8_t *notes, size_t size, uint8_t out[ELF_FILE_BUILD_ID_MAX])
{
	size_t at = 0;

	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		size_t name, content;

		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
		content = ((size_t)note.n_descsz + 3) & ~(size_t)3;
		if (name > size - at || content > size - at - name)
			return 0;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz > 0 &&
		    note.n_descsz <= ELF_FILE_BUILD_ID_MAX && memcmp(notes + at, "GNU", 4) == 0) {
			memcpy(out, notes + at + name, note.n_descsz);
			return note.n_descsz;
		}
		at += name + content;
	}
	return 0;
}

size_t elf_file_build_id(const struct elf_file *file, uint8_t out[ELF_FILE_BUILD_ID_MAX])
{
	uint8_t notes[NOTES_MAX];

	for (size_t i = 0; i < file->note_count; i++) {
		size_t size = file->notes[i].size, length;

		if (size > sizeof(notes))
			size = sizeof(notes);
		if (read_exactly(file->fd, notes, size, file->notes[i].offset) != 0)
			continue;
		length = elf_notes_build_id(notes, size, out);
		if (length > 0)
			return length;
	}
	return 0;
}
