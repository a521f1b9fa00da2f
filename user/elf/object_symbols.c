// SPDX-License-Identifier: Apache-2.0
/*
 * The dynamic symbol table, as the dynamic section gives it: that is what ld.so sees. It does not say how
 * long the table is, so the length comes from the section headers, else from a hash table.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/elf/object_private.h"

enum { TABLE_MAX = 2 * OBJECT_SYMBOLS_MAX, BUCKETS_MAX = 1 << 18, CHAIN_MAX = 1 << 16 };

static size_t count_by_sections(const struct object_reading *reading)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;

	while ((section = elf_nextscn(reading->elf, section)))
		if (gelf_getshdr(section, &header) && header.sh_type == SHT_DYNSYM &&
		    header.sh_addr == reading->dynamic.symbols && header.sh_entsize > 0)
			return header.sh_size / header.sh_entsize;
	return 0;
}

static size_t count_by_hash(struct object_reading *reading)
{
	unsigned char head[8];

	if (!reading->dynamic.hash ||
	    object_bytes(reading, reading->dynamic.hash, head, sizeof(head)) != sizeof(head))
		return 0;
	return object_u32(reading, head + 4); /* one chain a symbol */
}

/* The last symbol is at the end of the chain that begins last. Undefined symbols are in no chain. */
static size_t count_by_gnu_hash(struct object_reading *reading)
{
	uint64_t at = reading->dynamic.gnu_hash;
	uint32_t buckets, first, bloom, last = 0;
	unsigned char head[16];
	Elf_Data *data;

	if (!at || object_bytes(reading, at, head, sizeof(head)) != sizeof(head))
		return 0;
	buckets = object_u32(reading, head);
	first = object_u32(reading, head + 4);
	bloom = object_u32(reading, head + 8);
	if (buckets == 0 || buckets > BUCKETS_MAX || bloom > BUCKETS_MAX)
		return 0;
	at += sizeof(head) + (uint64_t)bloom * (reading->head.bits / 8);
	data = object_chunk(reading, at, buckets * sizeof(uint32_t), ELF_T_WORD);
	for (size_t i = 0; data && i < data->d_size / sizeof(uint32_t); i++)
		if (((const uint32_t *)data->d_buf)[i] > last)
			last = ((const uint32_t *)data->d_buf)[i];
	if (last < first) {
		reading->head.flags |= OBJECT_CUT; /* it gives nothing, and what it asks for is not counted */
		return first;
	}
	at += (uint64_t)buckets * sizeof(uint32_t) + (uint64_t)(last - first) * sizeof(uint32_t);
	data = object_chunk(reading, at, CHAIN_MAX * sizeof(uint32_t), ELF_T_WORD);
	for (size_t i = 0; data && i < data->d_size / sizeof(uint32_t); i++)
		if (((const uint32_t *)data->d_buf)[i] & 1)
			return (size_t)last + i + 1;
	reading->head.flags |= OBJECT_CUT;
	return last;
}

static size_t count_symbols(struct object_reading *reading)
{
	size_t count = count_by_sections(reading);

	if (!count)
		count = count_by_hash(reading);
	if (!count)
		count = count_by_gnu_hash(reading);
	if (count > TABLE_MAX) {
		reading->head.flags |= OBJECT_CUT;
		count = TABLE_MAX;
	}
	return count;
}

static bool is_given(const GElf_Sym *symbol)
{
	unsigned char bind = GELF_ST_BIND(symbol->st_info);
	unsigned char visibility = GELF_ST_VISIBILITY(symbol->st_other);

	return symbol->st_shndx != SHN_UNDEF &&
	       (bind == STB_GLOBAL || bind == STB_WEAK || bind == STB_GNU_UNIQUE) &&
	       (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

static void note_given(struct object_reading *reading, const GElf_Sym *symbol, const char *name)
{
	bool function = GELF_ST_TYPE(symbol->st_info) == STT_FUNC;

	if (strncmp(name, "Init_", 5) == 0 && function)
		reading->head.flags |= OBJECT_GIVES_INIT;
	else if (strcmp(name, "ruby_abi_version") == 0)
		reading->head.flags |= OBJECT_GIVES_ABI_VERSION;
	else if (strcmp(name, "rb_define_method") == 0 && function)
		reading->gives_define_method = true;
	else if (strcmp(name, "ruby_version") == 0 && !function)
		reading->ruby_version = symbol->st_value;
	else if (strcmp(name, "ruby_api_version") == 0 && !function)
		reading->ruby_api = symbol->st_value;
	else if (strcmp(name, "ruby_platform") == 0 && !function)
		reading->ruby_platform = symbol->st_value;
}

static int add_symbol(struct object_reading *reading, const GElf_Sym *symbol, uint16_t version)
{
	const char *name = object_dynamic_name(reading, symbol->st_name);
	bool asked = symbol->st_shndx == SHN_UNDEF && GELF_ST_BIND(symbol->st_info) != STB_LOCAL;
	struct object_symbol entry = {.version = reading->versions[version & (OBJECT_VERSIONS - 1)],
				      .weak = GELF_ST_BIND(symbol->st_info) == STB_WEAK};
	uint32_t *count = asked ? &reading->head.asked_count : &reading->head.given_count;
	int err;

	if (!name || !*name || (!asked && !is_given(symbol)))
		return 0;
	if (!asked)
		note_given(reading, symbol, name);
	if (*count == OBJECT_SYMBOLS_MAX) {
		reading->head.flags |= OBJECT_CUT;
		return 0;
	}
	err = object_add_text(reading, name, strlen(name), &entry.name);
	if (!err && entry.name)
		err = object_list_add(asked ? &reading->asked : &reading->given, &entry, sizeof(entry));
	if (!err && entry.name)
		++*count;
	return err;
}

int object_read_symbols(struct object_reading *reading)
{
	Elf_Data *symbols, *versions = NULL;
	size_t count, entry = gelf_fsize(reading->elf, ELF_T_SYM, 1, EV_CURRENT);
	int err = object_read_versions(reading);

	if (err || !reading->dynamic.symbols)
		return err;
	count = count_symbols(reading);
	if (!count)
		return 0;
	symbols = object_chunk(reading, reading->dynamic.symbols, count * entry, ELF_T_SYM);
	if (!symbols)
		return object_refuse(reading, "its symbol table lies outside of the file");
	if (symbols->d_size / entry < count)
		reading->head.flags |= OBJECT_CUT;
	if (reading->dynamic.versions)
		versions = object_chunk(reading, reading->dynamic.versions, count * sizeof(uint16_t),
					ELF_T_HALF);
	for (size_t i = 1; i < symbols->d_size / entry && !err; i++) {
		uint16_t version = 0;
		GElf_Sym symbol;

		if (!gelf_getsym(symbols, (int)i, &symbol))
			break;
		if (versions && i < versions->d_size / sizeof(uint16_t))
			version = ((const uint16_t *)versions->d_buf)[i];
		err = add_symbol(reading, &symbol, version);
	}
	return err;
}
