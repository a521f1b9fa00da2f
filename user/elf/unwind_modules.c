// SPDX-License-Identifier: Apache-2.0
/*
 * Where the files lay, from their program headers and the executable mappings. Headers are read here with
 * pread and checked, whatever libelf makes of them later; a file whose headers do not fit its mapping is as
 * good as none.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
#include "user/elf/unwind_private.h"

enum { HEADERS_MAX = 64, VDSO_MAX = 64 * 1024 };

#define PAGE_MASK (~(uint64_t)(EV_PAGE - 1))

static bool read_file(const struct unwind_file *file, uint64_t offset, void *out, size_t size)
{
	if (!file->image)
		return file->fd >= 0 && pread(file->fd, out, size, (off_t)offset) == (ssize_t)size;
	if (size > file->image_size || offset > file->image_size - size)
		return false;
	memcpy(out, file->image + offset, size);
	return true;
}

struct headers {
	Elf64_Ehdr elf;
	Elf64_Phdr program[HEADERS_MAX];
};

static bool read_headers(const struct unwind_file *file, struct headers *headers)
{
	const Elf64_Ehdr *elf = &headers->elf;

	return read_file(file, 0, &headers->elf, sizeof(headers->elf)) &&
	       memcmp(elf->e_ident, ELFMAG, SELFMAG) == 0 && elf->e_ident[EI_CLASS] == ELFCLASS64 &&
	       elf->e_ident[EI_DATA] == ELFDATA2LSB && elf->e_machine == EM_X86_64 &&
	       (elf->e_type == ET_DYN || elf->e_type == ET_EXEC) && elf->e_phnum > 0 &&
	       elf->e_phnum <= HEADERS_MAX && elf->e_phentsize == sizeof(Elf64_Phdr) &&
	       read_file(file, elf->e_phoff, headers->program, elf->e_phnum * sizeof(Elf64_Phdr));
}

/* The segment that the mapping shows; executable ones first, since two may share a page of the file. */
static const Elf64_Phdr *mapped_segment(const struct headers *headers, const struct unwind_source *source)
{
	const Elf64_Phdr *found = NULL;

	for (int i = 0; i < headers->elf.e_phnum; i++) {
		const Elf64_Phdr *header = &headers->program[i];

		if (header->p_type != PT_LOAD || source->offset < (header->p_offset & PAGE_MASK) ||
		    source->offset - (header->p_offset & PAGE_MASK) >=
			    header->p_filesz + header->p_offset % EV_PAGE)
			continue;
		if (!found || (header->p_flags & PF_X && !(found->p_flags & PF_X)))
			found = header;
	}
	return found;
}

/*
 * libdwfl takes a module's start for that of its first segment, aligned as that asks; the bias that it
 * computes from it is then the one that is computed here from the mapping.
 */
static bool lay_out(const struct headers *headers, const struct unwind_source *source,
		    struct unwind_module *module, struct unwind_file *file)
{
	const Elf64_Phdr *mapped = mapped_segment(headers, source), *first = NULL;
	uint64_t end = 0;

	if (!mapped)
		return false;
	module->bias = source->start - source->offset + mapped->p_offset - mapped->p_vaddr;
	for (int i = 0; i < headers->elf.e_phnum; i++) {
		const Elf64_Phdr *header = &headers->program[i];

		if (header->p_type == PT_LOAD) {
			first = first ? first : header;
			if (header->p_vaddr + header->p_memsz > end)
				end = header->p_vaddr + header->p_memsz;
		} else if (header->p_type == PT_DYNAMIC) {
			module->dynamic = module->bias + header->p_vaddr;
		} else if (header->p_type == PT_GNU_EH_FRAME) {
			file->header_offset = header->p_offset;
			file->header_address = header->p_vaddr;
			file->header_size = header->p_filesz;
		}
	}
	if (!first)
		return false;
	module->start = module->bias + (first->p_vaddr & -first->p_align);
	module->end = module->bias + ((end + EV_PAGE - 1) & PAGE_MASK);
	module->entry = headers->elf.e_entry ? module->bias + headers->elf.e_entry : 0;
	module->tables = file->header_size > 0;
	return module->start <= source->start && module->end >= source->end;
}

/* The kernel maps the same image into every process: ours will do. */
static void take_vdso(struct unwind_file *file)
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR); /* NOLINT: an address it is */
	Elf64_Ehdr header;
	uint64_t size;

	if (!image)
		return;
	memcpy(&header, image, sizeof(header));
	size = header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize;
	if (size < sizeof(header) || size > VDSO_MAX)
		return;
	file->image = image;
	file->image_size = size;
}

static void describe(const struct unwind_walk *walk, uint32_t region, struct unwind_module *module,
		     struct unwind_file *file)
{
	const struct unwind_source *source = &walk->question->sources[region];
	struct headers headers;

	*file = (struct unwind_file){.fd = source->fd, .debug_fd = source->debug_fd};
	*module = (struct unwind_module){0};
	if (walk->question->vdso && walk->question->vdso >= source->start &&
	    walk->question->vdso < source->end)
		take_vdso(file);
	if (read_headers(file, &headers) && lay_out(&headers, source, module, file)) {
		module->readable = 1;
	} else {
		*module = (struct unwind_module){
			.start = source->start, .end = source->end, .bias = source->start - source->offset};
		file->fd = -1;
		file->image = NULL;
		file->header_size = 0;
	}
	module->region = region;
}

/* Of all words that may be addresses of code: which mappings they are in. Only asked when there are too many.
 */
static void mark_hit(const struct unwind_walk *walk, bool *hit)
{
	const struct unwind_question *question = walk->question;
	const struct unwind_source *source = unwind_source_at(walk, question->regs[REG_IP_]);

	if (source)
		hit[source - question->sources] = true;
	for (size_t at = 0; at + 8 <= question->stack_size; at += 8) {
		uint64_t word;

		memcpy(&word, question->stack + at, sizeof(word));
		source = word ? unwind_source_at(walk, word) : NULL;
		if (source)
			hit[source - question->sources] = true;
	}
}

static bool same_file(const struct unwind_module *a, const struct unwind_module *b)
{
	return a->readable && b->readable && a->bias == b->bias && a->start == b->start && a->end == b->end;
}

/* No module reaches into the next one's code, whatever the headers say of their sizes. */
static void part(struct unwind_walk *walk)
{
	struct unwind_result *out = walk->out;

	for (uint32_t i = 0; i + 1 < out->module_count; i++) {
		struct unwind_module *module = &out->modules[i], *next = module + 1;

		if (next->start < walk->question->sources[module->region].end) {
			next->readable = next->tables = 0;
			next->start = walk->question->sources[next->region].start;
			walk->files[i + 1].fd = -1;
			walk->files[i + 1].image = NULL;
		}
		if (module->end > next->start)
			module->end = next->start;
	}
}

bool unwind_modules_load(struct unwind_walk *walk)
{
	size_t count = walk->question->source_count;
	struct unwind_result *out = walk->out;
	bool *hit = calloc(count + 1, sizeof(*hit));

	walk->module_of = malloc((count + 1) * sizeof(*walk->module_of));
	if (!hit || !walk->module_of) {
		free(hit);
		return false;
	}
	if (count > UNWIND_MODULES)
		mark_hit(walk, hit);
	for (size_t i = 0; i < count; i++) {
		struct unwind_module *module = &out->modules[out->module_count];

		walk->module_of[i] = UNWIND_NO_MODULE;
		if (out->module_count == UNWIND_MODULES || (count > UNWIND_MODULES && !hit[i]))
			continue;
		describe(walk, (uint32_t)i, module, &walk->files[out->module_count]);
		if (out->module_count == 0 || !same_file(module - 1, module))
			out->module_count++;
		walk->module_of[i] = (uint16_t)(out->module_count - 1);
	}
	part(walk);
	free(hit);
	return true;
}

void unwind_modules_done(struct unwind_walk *walk)
{
	for (uint32_t i = 0; i < walk->out->module_count; i++)
		elf_end(walk->files[i].elf);
	free(walk->module_of);
}

/* Sources are in the order of their addresses; unwind() made sure of it. */
const struct unwind_source *unwind_source_at(const struct unwind_walk *walk, uint64_t address)
{
	const struct unwind_source *sources = walk->question->sources;
	size_t low = 0, high = walk->question->source_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (address >= sources[middle].end)
			low = middle + 1;
		else
			high = middle;
	}
	return low < walk->question->source_count && address >= sources[low].start ? &sources[low] : NULL;
}

uint16_t unwind_module_at(const struct unwind_walk *walk, uint64_t address)
{
	const struct unwind_source *source = unwind_source_at(walk, address);

	return source ? walk->module_of[source - walk->question->sources] : UNWIND_NO_MODULE;
}

Elf *unwind_module_elf(struct unwind_walk *walk, uint16_t module)
{
	struct unwind_file *file = &walk->files[module];

	if (file->tried)
		return file->elf;
	file->tried = true;
	if (file->image)
		file->elf = elf_memory((char *)file->image, file->image_size);
	else if (file->fd >= 0)
		file->elf = elf_begin(file->fd, ELF_C_READ, NULL);
	return file->elf;
}

bool unwind_code_read(const struct unwind_walk *walk, uint64_t address, void *out, size_t size)
{
	const struct unwind_source *source = unwind_source_at(walk, address);
	uint16_t module = unwind_module_at(walk, address);

	return module != UNWIND_NO_MODULE && source->end - address >= size &&
	       read_file(&walk->files[module], source->offset + (address - source->start), out, size);
}

/*
 * The table that every linker makes: pairs of 4 bytes, function and description, both from the header's own
 * address on, sorted. Any other form is allowed, and not known to occur.
 */
uint64_t unwind_function_start(const struct unwind_walk *walk, uint16_t module, uint64_t address)
{
	static const uint8_t form[4] = {1, 0x1b, 0x03, 0x3b};
	const struct unwind_file *file = &walk->files[module];
	uint64_t bias = walk->out->modules[module].bias;
	int64_t wanted = (int64_t)(address - bias - file->header_address);
	uint32_t count, low = 0;
	uint8_t head[12];
	int32_t found = 0;

	if (file->header_size < sizeof(head) || !read_file(file, file->header_offset, head, sizeof(head)) ||
	    memcmp(head, form, sizeof(form)) != 0)
		return 0;
	memcpy(&count, head + 8, sizeof(count));
	if (count > (file->header_size - sizeof(head)) / 8)
		return 0;
	for (uint32_t high = count; low < high;) {
		uint32_t middle = low + (high - low) / 2;
		int32_t start;

		if (!read_file(file, file->header_offset + sizeof(head) + (uint64_t)middle * 8, &start,
			       sizeof(start)))
			return 0;
		if (start > wanted) {
			high = middle;
		} else {
			low = middle + 1;
			found = start;
		}
	}
	return low ? bias + file->header_address + (uint64_t)(int64_t)found : 0;
}
