// SPDX-License-Identifier: Apache-2.0
/*
 * The execution context is `ruby_current_ec`, thread-local since 3.0. A library reaches it through a slot of
 * its global offset table that the loader fills with the module's id: the relocation tells which. Where no
 * symbol says which word of the block it is (distributions strip it), all words are candidates and the
 * kernel side tries them; a block of many words gives no way. In an executable the block lies right below
 * the thread pointer, as the linker laid it out. 2.7 has a plain variable.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <gelf.h>
#include "user/elf/ruby_vm.h"

enum {
	DTV_STEP_GLIBC = 16,
	DTV_STEP_MUSL = 8,
	BLOCK_MAX = 65536, /* no program has more thread-local data that we would believe */
};

enum ruby_column ruby_column_of(const char *version)
{
	static const struct {
		const char *prefix;
		enum ruby_column column;
	} columns[] = {
		{"2.7.", RUBY_2_7}, {"3.0.", RUBY_3_0}, {"3.1.", RUBY_3_1}, {"3.2.", RUBY_3_2},
		{"3.3.", RUBY_3_3}, {"3.4.", RUBY_3_4}, {"4.0.", RUBY_4_0},
	};

	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++)
		if (!strncmp(version, columns[i].prefix, strlen(columns[i].prefix)))
			return columns[i].column;
	return RUBY_NONE;
}

/* Sections of one kind are walked by their entries; libelf keeps what it read. */
struct entries {
	Elf_Data *data;
	size_t count;
	GElf_Shdr header;
};

/* The next section of a type with entries of that size, behind *section (NULL: the first). */
static bool next_entries(Elf *elf, Elf_Scn **section, GElf_Word type, size_t entry, struct entries *out)
{
	while ((*section = elf_nextscn(elf, *section))) {
		if (!gelf_getshdr(*section, &out->header) || out->header.sh_type != type ||
		    out->header.sh_size > ELF_FILE_SECTION_MAX || out->header.sh_entsize != entry)
			continue;
		out->data = elf_getdata(*section, NULL);
		if (!out->data || !out->data->d_buf)
			continue;
		out->count = out->data->d_size / entry;
		return true;
	}
	return false;
}

/* A defined symbol by name and type, in the dynamic or the full table. */
static bool find_symbol(Elf *elf, const char *name, unsigned char type, GElf_Addr *value)
{
	static const GElf_Word tables[] = {SHT_DYNSYM, SHT_SYMTAB};
	struct entries entries;

	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++) {
		Elf_Scn *section = NULL;

		while (next_entries(elf, &section, tables[t], sizeof(Elf64_Sym), &entries)) {
			for (size_t i = 1; i < entries.count; i++) {
				GElf_Sym symbol;
				const char *text;

				if (!gelf_getsym(entries.data, (int)i, &symbol) ||
				    GELF_ST_TYPE(symbol.st_info) != type || symbol.st_shndx == SHN_UNDEF)
					continue;
				text = elf_strptr(elf, entries.header.sh_link, symbol.st_name);
				if (text && !strcmp(text, name)) {
					*value = symbol.st_value;
					return true;
				}
			}
		}
	}
	return false;
}

/* What the loader puts into the global offset table for thread-local data. */
struct slots {
	GElf_Addr module;          /* gets the id of this module; 0: none */
	GElf_Addr offset;          /* gets the offset of ruby_current_ec from the thread pointer; 0: none */
	unsigned int offset_count; /* of offsets without a symbol */
};

static bool names_context(Elf *elf, GElf_Word table, size_t index)
{
	Elf_Scn *section = elf_getscn(elf, table);
	GElf_Shdr header;
	GElf_Sym symbol;
	Elf_Data *data;
	const char *name;

	if (!section || !gelf_getshdr(section, &header) || header.sh_type != SHT_DYNSYM)
		return false;
	data = elf_getdata(section, NULL);
	if (!data || !data->d_buf || !gelf_getsym(data, (int)index, &symbol))
		return false;
	name = elf_strptr(elf, header.sh_link, symbol.st_name);
	return name && !strcmp(name, "ruby_current_ec");
}

static void read_slots(Elf *elf, struct slots *slots)
{
	struct entries entries;
	Elf_Scn *section = NULL;

	memset(slots, 0, sizeof(*slots));
	while (next_entries(elf, &section, SHT_RELA, sizeof(Elf64_Rela), &entries)) {
		for (size_t i = 0; i < entries.count; i++) {
			GElf_Rela rela;
			size_t symbol;

			if (!gelf_getrela(entries.data, (int)i, &rela))
				continue;
			symbol = GELF_R_SYM(rela.r_info);
			if (GELF_R_TYPE(rela.r_info) != R_X86_64_DTPMOD64 &&
			    GELF_R_TYPE(rela.r_info) != R_X86_64_TPOFF64)
				continue;
			if (symbol && !names_context(elf, entries.header.sh_link, symbol))
				continue;
			if (GELF_R_TYPE(rela.r_info) == R_X86_64_DTPMOD64)
				slots->module = rela.r_offset;
			else if (symbol || slots->offset_count++ == 0)
				slots->offset = rela.r_offset;
		}
	}
}

struct program {
	bool executable;
	uint64_t block, align; /* of the thread-local data; block 0: none */
};

static int read_program(Elf *elf, struct program *out)
{
	size_t count;
	GElf_Ehdr header;

	memset(out, 0, sizeof(*out));
	if (!gelf_getehdr(elf, &header) || elf_getphdrnum(elf, &count) != 0)
		return -ENOEXEC;
	out->executable = header.e_type == ET_EXEC;
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr segment;

		if (!gelf_getphdr(elf, (int)i, &segment))
			return -ENOEXEC;
		if (segment.p_type == PT_INTERP)
			out->executable = true;
		if (segment.p_type != PT_TLS)
			continue;
		out->block = segment.p_memsz;
		out->align = segment.p_align ? segment.p_align : 1;
	}
	if (out->block > BLOCK_MAX || out->align > BLOCK_MAX || (out->align & (out->align - 1)))
		return -ENOEXEC;
	return 0;
}

static bool needs_musl(Elf *elf)
{
	struct entries entries;
	Elf_Scn *section = NULL;

	while (next_entries(elf, &section, SHT_DYNAMIC, sizeof(Elf64_Dyn), &entries)) {
		for (size_t i = 0; i < entries.count; i++) {
			GElf_Dyn dynamic;
			const char *name;

			if (!gelf_getdyn(entries.data, (int)i, &dynamic) || dynamic.d_tag == DT_NULL)
				break;
			if (dynamic.d_tag != DT_NEEDED)
				continue;
			name = elf_strptr(elf, entries.header.sh_link, dynamic.d_un.d_val);
			if (name && !strncmp(name, "libc.musl", strlen("libc.musl")))
				return true;
		}
	}
	return false;
}

static int global_context(Elf *elf, struct ruby_layout *out)
{
	GElf_Addr value;

	if (!find_symbol(elf, "ruby_current_execution_context_ptr", STT_OBJECT, &value))
		return -ENOENT;
	out->context = value;
	out->how = RUBY_CONTEXT_GLOBAL;
	out->words = 1;
	return 0;
}

/* Which words of the block may hold it. */
static int choose_words(Elf *elf, const struct program *program, struct ruby_layout *out)
{
	GElf_Addr value;

	if (find_symbol(elf, "ruby_current_ec", STT_TLS, &value)) {
		if (value % 8 != 0 || value + 8 > program->block)
			return -ENOEXEC;
		out->word = (uint32_t)value;
		out->words = 1;
		return 0;
	}
	out->words = (uint32_t)(program->block / 8);
	return out->words > 0 && out->words <= RUBY_WORDS_MAX ? 0 : -ENOENT;
}

static int local_context(Elf *elf, struct ruby_layout *out)
{
	struct program program;
	struct slots slots;
	int err = read_program(elf, &program);

	if (err)
		return err;
	if (program.block == 0)
		return -ENOENT;
	err = choose_words(elf, &program, out);
	read_slots(elf, &slots);
	if (program.executable) {
		out->how = RUBY_CONTEXT_PROGRAM;
		out->context = (program.block + program.align - 1) & ~(program.align - 1);
	} else if (slots.module) {
		out->how = RUBY_CONTEXT_MODULE;
		out->context = slots.module;
	} else if (slots.offset && slots.offset_count <= 1) {
		out->how = RUBY_CONTEXT_OFFSET;
		out->context = slots.offset;
		out->word = 0; /* the slot's offset is that of the word itself */
		out->words = 1;
		err = 0;
	} else {
		err = -ENOENT;
	}
	return err;
}

int ruby_vm_context(const struct elf_file *file, enum ruby_column column, struct ruby_layout *out)
{
	Elf *elf = elf_file_elf(file);
	int err;

	out->word = out->words = 0;
	out->dtv_step = needs_musl(elf) ? DTV_STEP_MUSL : DTV_STEP_GLIBC;
	err = column == RUBY_2_7 ? global_context(elf, out) : local_context(elf, out);
	if (err) {
		out->how = RUBY_CONTEXT_UNKNOWN;
		out->context = 0;
		out->word = out->words = 0;
	}
	return err;
}
