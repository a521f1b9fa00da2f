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
#include "user/elf/file.h"

enum {
	PROGRAM_HEADERS = 64,
	SECTIONS = 4096,
	NAMES_MAX = 64 * 1024,
	PIECE = 64 * 1024,
	NOTES_MAX = 4096,
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
	       elf->e_phnum <= PROGRAM_HEADERS &&
	       (elf->e_phnum == 0 || elf->e_phentsize == sizeof(Elf64_Phdr));
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

static int begin(struct copy *copy, int fd, int out_fd, uint64_t budget)
{
	struct stat st;
	int err;

	if (fstat(fd, &st) != 0)
		return -errno;
	copy->fd = fd;
	copy->out_fd = out_fd;
	copy->size = (uint64_t)st.st_size;
	copy->left = budget;
	copy->copied = 0;
	copy->names_size = 0;
	err = read_all(copy, 0, &copy->elf, sizeof(copy->elf));
	return err ? err : is_ours(&copy->elf) ? 0 : -ENOEXEC;
}

static int copy_headers(struct copy *copy)
{
	int err = copy_range(copy, 0, sizeof(copy->elf));

	return err ? err : copy_range(copy, copy->elf.e_phoff, copy->elf.e_phnum * sizeof(Elf64_Phdr));
}

static struct copy scratch; /* the examiner has one thread, and a stack that is not for this */

int64_t distil(int fd, int out_fd)
{
	struct copy *copy = &scratch;
	int err = begin(copy, fd, out_fd, DISTIL_BYTES_MAX);

	if (!err)
		err = copy_headers(copy);
	if (!err)
		err = copy_segments(copy, !has_sections(copy));
	if (!err && has_sections(copy)) {
		read_names(copy);
		err = copy_range(copy, copy->elf.e_shoff, copy->elf.e_shnum * sizeof(Elf64_Shdr));
		if (!err)
			err = copy_sections(copy, false);
		if (!err)
			err = copy_sections(copy, true);
	}
	return err ? err : (int64_t)copy->copied;
}

/* --- separate debug files ----------------------------------------------------------------------------- */

/* Their program headers are those of the file that they were made from and lead nowhere: notes are found as
 * sections. */
static bool has_build_id(const struct copy *copy, const struct distil_debug *wanted)
{
	for (unsigned int i = 0; i < copy->elf.e_shnum; i++) {
		uint8_t notes[NOTES_MAX], id[ELF_FILE_BUILD_ID_MAX];
		Elf64_Shdr header;

		if (section_at(copy, i, &header) != 0 || header.sh_type != SHT_NOTE ||
		    header.sh_size > sizeof(notes) ||
		    read_all(copy, header.sh_offset, notes, header.sh_size) != 0)
			continue;
		if (elf_notes_build_id(notes, header.sh_size, id) == wanted->build_id_len)
			return memcmp(id, wanted->build_id, wanted->build_id_len) == 0;
	}
	return false;
}

/* The CRC-32 of IEEE 802.3, as .gnu_debuglink has it. */
static void fill_sums(uint32_t sums[256])
{
	for (uint32_t i = 0; i < 256; i++) {
		sums[i] = i;
		for (int bit = 0; bit < 8; bit++)
			sums[i] = sums[i] >> 1 ^ (sums[i] & 1 ? 0xedb88320 : 0);
	}
}

static int check_sum(struct copy *copy, uint32_t crc)
{
	uint32_t sums[256], sum = 0xffffffff;
	ssize_t n = 0;

	if (copy->size > DISTIL_SUMMED_MAX)
		return -EFBIG;
	fill_sums(sums);
	for (uint64_t at = 0; at < copy->size; at += (uint64_t)n) {
		n = pread(copy->fd, copy->piece, PIECE, (off_t)at);
		if (n <= 0)
			return n < 0 ? -errno : -ENOEXEC;
		for (ssize_t i = 0; i < n; i++)
			sum = sum >> 8 ^ sums[(sum ^ copy->piece[i]) & 0xff];
	}
	return ~sum == crc ? 0 : -ESTALE;
}

static int copy_symbols(struct copy *copy)
{
	for (unsigned int i = 0; i < copy->elf.e_shnum; i++) {
		Elf64_Shdr table, names;
		int err = section_at(copy, i, &table);

		if (err)
			return err;
		if (table.sh_type != SHT_SYMTAB)
			continue;
		if (table.sh_link >= copy->elf.e_shnum || section_at(copy, table.sh_link, &names) != 0 ||
		    names.sh_type != SHT_STRTAB || table.sh_size == 0 || table.sh_offset > copy->size ||
		    table.sh_size > copy->size - table.sh_offset || names.sh_offset > copy->size ||
		    names.sh_size > copy->size - names.sh_offset)
			return -ENOEXEC;
		if (table.sh_size > copy->left || names.sh_size > copy->left - table.sh_size)
			return -EFBIG;
		err = copy_range(copy, table.sh_offset, table.sh_size);
		return err ? err : copy_range(copy, names.sh_offset, names.sh_size);
	}
	return -ENODATA;
}

int64_t distil_debug(int fd, int out_fd, const struct distil_debug *wanted)
{
	struct copy *copy = &scratch;
	int err = begin(copy, fd, out_fd, DISTIL_SYMBOLS_MAX);

	if (!err && !has_sections(copy))
		err = -ENODATA;
	else if (!err && (copy->elf.e_shoff > copy->size ||
			  copy->elf.e_shnum * sizeof(Elf64_Shdr) > copy->size - copy->elf.e_shoff))
		err = -ENOEXEC;
	if (!err && wanted->build_id_len)
		err = has_build_id(copy, wanted) ? 0 : -ESTALE;
	else if (!err)
		err = check_sum(copy, wanted->crc);
	if (!err)
		err = copy_headers(copy);
	if (!err)
		err = copy_range(copy, copy->elf.e_shoff, copy->elf.e_shnum * sizeof(Elf64_Shdr));
	if (!err)
		err = copy_symbols(copy);
	return err ? err : (int64_t)copy->copied;
}
