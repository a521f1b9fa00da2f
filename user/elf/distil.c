// SPDX-License-Identifier: Apache-2.0
/*
 * Section headers say best what is worth copying. A file without them (they are not needed to run it) gives
 * what its program headers load. Ranges may overlap or lie anywhere: each is cut to the file and to what is
 * left of the budget, so that the same bytes named a thousand times cost the budget and nothing more.
 */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/elf/distil.h"

enum {
	PROGRAM_HEADERS = 64,
	SECTIONS = 4096,
	NAMES_MAX = 64 * 1024,
	PIECE = 64 * 1024,
};

struct copy {
	int fd, out_fd;
	uint64_t size; /* of the file */
	uint64_t left; /* of the budget */
	uint64_t copied;
	Elf64_Ehdr elf;
	char names[NAMES_MAX];
	size_t names_size;
	uint8_t piece[PIECE];
};

static int read_all(const struct copy *copy, uint64_t offset, void *out, size_t size)
{
	ssize_t n;

	if (offset > copy->size || size > copy->size - offset)
		return -ENOEXEC;
	n = pread(copy->fd, out, size, (off_t)offset);
	return n < 0 ? -errno : (size_t)n == size ? 0 : -ENOEXEC;
}

static int copy_range(struct copy *copy, uint64_t offset, uint64_t size)
{
	if (offset >= copy->size)
		return 0;
	if (size > copy->size - offset)
		size = copy->size - offset;
	if (size > copy->left)
		size = copy->left;
	copy->left -= size;
	while (size > 0) {
		size_t want = size < PIECE ? size : PIECE;
		ssize_t n = pread(copy->fd, copy->piece, want, (off_t)offset);

		if (n < 0)
			return -errno;
		if (n == 0)
			return 0; /* truncated meanwhile */
		if (pwrite(copy->out_fd, copy->piece, (size_t)n, (off_t)offset) != n)
			return errno ? -errno : -EIO;
		copy->copied += (uint64_t)n;
		offset += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}

static bool is_ours(const Elf64_Ehdr *elf)
{
	return memcmp(elf->e_ident, ELFMAG, SELFMAG) == 0 && elf->e_ident[EI_CLASS] == ELFCLASS64 &&
	       elf->e_ident[EI_DATA] == ELFDATA2LSB && elf->e_machine == EM_X86_64 &&
	       elf->e_phnum <= PROGRAM_HEADERS && elf->e_phentsize == sizeof(Elf64_Phdr);
}

static bool has_sections(const struct copy *copy)
{
	return copy->elf.e_shoff && copy->elf.e_shnum && copy->elf.e_shnum <= SECTIONS &&
	       copy->elf.e_shentsize == sizeof(Elf64_Shdr);
}

static int section_at(const struct copy *copy, unsigned int index, Elf64_Shdr *out)
{
	return read_all(copy, copy->elf.e_shoff + (uint64_t)index * sizeof(*out), out, sizeof(*out));
}

/* The sections' names; without them nothing is known by name. */
static void read_names(struct copy *copy)
{
	Elf64_Shdr header;

	if (copy->elf.e_shstrndx >= copy->elf.e_shnum ||
	    section_at(copy, copy->elf.e_shstrndx, &header) != 0 || header.sh_size == 0)
		return;
	copy->names_size = header.sh_size < NAMES_MAX ? header.sh_size : NAMES_MAX;
	if (read_all(copy, header.sh_offset, copy->names, copy->names_size) != 0)
		copy->names_size = 0;
	else
		copy->names[copy->names_size - 1] = '\0';
}

static bool is_wanted(const struct copy *copy, const Elf64_Shdr *header)
{
	static const char *const wanted[] = {".eh_frame", ".eh_frame_hdr", ".debug_frame", ".gnu_debuglink"};

	switch (header->sh_type) {
	case SHT_SYMTAB:
	case SHT_STRTAB:
	case SHT_DYNSYM:
	case SHT_DYNAMIC:
	case SHT_NOTE:
	case SHT_SYMTAB_SHNDX:
	case SHT_X86_64_UNWIND:
		return true;
	case SHT_PROGBITS:
		break;
	default:
		return false;
	}
	if (header->sh_flags & SHF_EXECINSTR)
		return true;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		if (header->sh_name < copy->names_size && !strcmp(copy->names + header->sh_name, wanted[i]))
			return true;
	return false;
}

/* Code last: it is the largest and matters least when the budget is short. */
static int copy_sections(struct copy *copy, bool code)
{
	for (unsigned int i = 0; i < copy->elf.e_shnum; i++) {
		Elf64_Shdr header;
		int err = section_at(copy, i, &header);

		if (err)
			return err;
		if (is_wanted(copy, &header) && code == ((header.sh_flags & SHF_EXECINSTR) != 0))
			err = copy_range(copy, header.sh_offset, header.sh_size);
		if (err)
			return err;
	}
	return 0;
}

static int copy_segments(struct copy *copy, bool loaded)
{
	for (unsigned int i = 0; i < copy->elf.e_phnum; i++) {
		Elf64_Phdr header;
		int err = read_all(copy, copy->elf.e_phoff + i * sizeof(header), &header, sizeof(header));

		if (err)
			return err;
		if (header.p_type == PT_GNU_EH_FRAME || header.p_type == PT_DYNAMIC ||
		    header.p_type == PT_NOTE || (loaded && header.p_type == PT_LOAD))
			err = copy_range(copy, header.p_offset, header.p_filesz);
		if (err)
			return err;
	}
	return 0;
}

int64_t distil(int fd, int out_fd)
{
	static struct copy copy; /* the examiner has one thread, and a stack that is not for this */
	struct stat st;
	int err;

	if (fstat(fd, &st) != 0)
		return -errno;
	copy.fd = fd;
	copy.out_fd = out_fd;
	copy.size = (uint64_t)st.st_size;
	copy.left = DISTIL_BYTES_MAX;
	copy.copied = 0;
	copy.names_size = 0;
	err = read_all(&copy, 0, &copy.elf, sizeof(copy.elf));
	if (err || !is_ours(&copy.elf))
		return err && err != -ENOEXEC ? err : -ENOEXEC;
	err = copy_range(&copy, 0, sizeof(copy.elf));
	if (!err)
		err = copy_range(&copy, copy.elf.e_phoff, copy.elf.e_phnum * sizeof(Elf64_Phdr));
	if (!err)
		err = copy_segments(&copy, !has_sections(&copy));
	if (!err && has_sections(&copy)) {
		read_names(&copy);
		err = copy_range(&copy, copy.elf.e_shoff, copy.elf.e_shnum * sizeof(Elf64_Shdr));
		if (!err)
			err = copy_sections(&copy, false);
		if (!err)
			err = copy_sections(&copy, true);
	}
	return err ? err : (int64_t)copy.copied;
}
