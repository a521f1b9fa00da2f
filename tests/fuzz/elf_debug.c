// SPDX-License-Identifier: Apache-2.0
/*
 * distil_debug() of any bytes, and of a small debug file with changes in it; what passes gives names to a
 * stack whose code is the kernel's own library. It must come back, copy nothing that the file does not hold
 * there, and give frames that unwind_check believes.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/kernel_image.h"
#include "user/elf/distil.h"
#include "user/elf/unwind.h"

enum { SYMBOLS = 16, FILE_MAX = 64 * 1024, ID = 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As objcopy leaves it: headers, the note, a symbol table and its names. */
struct debug_file {
	Elf64_Ehdr elf;
	Elf64_Shdr sections[4];
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint8_t id[ID];
	} note;
	Elf64_Sym symbols[SYMBOLS];
	char names[SYMBOLS * 8];
};

static void make(struct debug_file *file)
{
	memset(file, 0, sizeof(*file));
	file->elf = (Elf64_Ehdr){
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_shoff = offsetof(struct debug_file, sections),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 4,
	};
	file->sections[1] = (Elf64_Shdr){.sh_type = SHT_NOTE,
					 .sh_offset = offsetof(struct debug_file, note),
					 .sh_size = sizeof(file->note)};
	file->sections[2] = (Elf64_Shdr){.sh_type = SHT_SYMTAB,
					 .sh_offset = offsetof(struct debug_file, symbols),
					 .sh_size = sizeof(file->symbols),
					 .sh_entsize = sizeof(Elf64_Sym),
					 .sh_link = 3};
	file->sections[3] = (Elf64_Shdr){.sh_type = SHT_STRTAB,
					 .sh_offset = offsetof(struct debug_file, names),
					 .sh_size = sizeof(file->names)};
	file->note.head = (Elf64_Nhdr){4, ID, NT_GNU_BUILD_ID};
	memcpy(file->note.name, "GNU", 4);
	for (int i = 1; i < SYMBOLS; i++) {
		file->symbols[i] = (Elf64_Sym){.st_name = (Elf64_Word)i * 8,
					       .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
					       .st_shndx = 1,
					       .st_value = 0x200 * (Elf64_Addr)i,
					       .st_size = 0x200};
		memcpy(file->names + i * 8, "_ZN1a1bv", 8);
	}
	file->names[sizeof(file->names) - 1] = '\0';
}

static int file_of(const void *data, size_t size, int fd)
{
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	return fd;
}

static void check_copy(const uint8_t *from, int fd, size_t size)
{
	static uint8_t copy[FILE_MAX];
	struct stat st;

	if (fstat(fd, &st) != 0 || (size_t)st.st_size != size || pread(fd, copy, size, 0) != (ssize_t)size)
		abort();
	for (size_t i = 0; i < size; i++)
		if (copy[i] && copy[i] != from[i])
			abort();
}

/* The stack's words lead into the code everywhere, so that many frames are named. */
static void name_frames(int debug_fd)
{
	static struct unwind_result result;
	static uint8_t image[IMAGE_MAX];
	static int code_fd = -1;
	const uint64_t base = 0x7f0000000000, sp = 0x7ffc00000000;
	static uint64_t stack[512], regs[REG_COUNT];
	struct unwind_source source = {.start = base, .end = base + 0x2000, .debug_fd = debug_fd};
	struct unwind_question question = {.regs = regs,
					   .stack = (const uint8_t *)stack,
					   .stack_size = sizeof(stack),
					   .missing = (const uint8_t[8]){0},
					   .sources = &source,
					   .source_count = 1};

	if (code_fd < 0) {
		code_fd = memfd_create("code", MFD_CLOEXEC);
		file_of(image, image_of_kernel(image), code_fd);
	}
	source.fd = code_fd;
	for (size_t i = 0; i < 512; i++)
		stack[i] = base + i * 16;
	regs[REG_IP_] = base + 0x900;
	regs[REG_SP_] = sp;
	if (unwind(&question, &result) == 0 && !unwind_check(&result, 1))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[FILE_MAX];
	static int fd = -1, out = -1;
	struct distil_debug wanted = {.build_id_len = ID};
	size_t length = size < sizeof(bytes) ? size : sizeof(bytes);

	if (fd < 0) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		out = memfd_create("copy", MFD_CLOEXEC);
	}
	if (size > 0 && data[0] & 1) {
		make((struct debug_file *)bytes);
		length = sizeof(struct debug_file);
		for (size_t i = 1; i + 3 <= size; i += 3)
			bytes[((size_t)data[i] << 8 | data[i + 1]) % length] = data[i + 2];
	} else {
		memcpy(bytes, data, length);
	}
	if (size > 0 && data[0] & 2)
		wanted.build_id_len = 0;
	file_of(bytes, length, fd);
	if (ftruncate(out, 0) != 0 || ftruncate(out, (off_t)length) != 0)
		abort();
	if (distil_debug(fd, out, &wanted) > (int64_t)DISTIL_SYMBOLS_MAX)
		abort();
	check_copy(bytes, out, length);
	name_frames(out);
	return 0;
}
