// SPDX-License-Identifier: Apache-2.0
/*
 * The dynamic section by its segment. One pass finds the string table, the next the texts in it.
 */
#include <string.h>
#include "user/base/text.h"
#include "user/elf/object_private.h"

enum {
	DYNAMIC_MAX = 64 << 10,
	NAMES_MAX = 16 << 20, /* of the string table; chromium's is 3 MiB */
};

static void note_dynamic(struct object_reading *reading, const GElf_Dyn *entry)
{
	struct object_dynamic *dynamic = &reading->dynamic;

	switch (entry->d_tag) {
	case DT_STRTAB:
		dynamic->names = entry->d_un.d_ptr;
		break;
	case DT_STRSZ:
		dynamic->names_size = entry->d_un.d_val;
		break;
	case DT_SYMTAB:
		dynamic->symbols = entry->d_un.d_ptr;
		break;
	case DT_HASH:
		dynamic->hash = entry->d_un.d_ptr;
		break;
	case DT_GNU_HASH:
		dynamic->gnu_hash = entry->d_un.d_ptr;
		break;
	case DT_VERSYM:
		dynamic->versions = entry->d_un.d_ptr;
		break;
	case DT_VERNEED:
		dynamic->needed_versions = entry->d_un.d_ptr;
		break;
	case DT_VERDEF:
		dynamic->given_versions = entry->d_un.d_ptr;
		break;
	case DT_FLAGS_1:
		if (entry->d_un.d_val & DF_1_PIE)
			reading->head.flags |= OBJECT_IS_PROGRAM;
		break;
	default:
		break;
	}
}

static int read_names(struct object_reading *reading)
{
	uint64_t size = reading->dynamic.names_size;
	Elf_Data *data;

	if (!reading->dynamic.names || !size)
		return 0;
	if (size > NAMES_MAX) {
		size = NAMES_MAX;
		reading->head.flags |= OBJECT_CUT;
	}
	data = object_chunk(reading, reading->dynamic.names, size, ELF_T_BYTE);
	if (!data || !data->d_buf)
		return object_refuse(reading, "its string table lies outside of the file");
	reading->names = data->d_buf;
	reading->names_size = data->d_size;
	/* the last name may not be whole */
	while (reading->names_size && reading->names[reading->names_size - 1] != '\0')
		reading->names_size--;
	return 0;
}

void object_note_libc(struct object_reading *reading, const char *name)
{
	const char *base = text_base(name);

	if (strncmp(base, "ld-musl-", 8) == 0 || strncmp(base, "libc.musl-", 10) == 0 ||
	    strcmp(base, "libc.so") == 0)
		reading->head.libc = OBJECT_LIBC_MUSL;
	else if (!reading->head.libc && (strncmp(base, "ld-linux", 8) == 0 ||
					 strncmp(base, "ld64.so", 7) == 0 || strcmp(base, "libc.so.6") == 0))
		reading->head.libc = OBJECT_LIBC_GLIBC;
}

/* DT_NEEDED, DT_SONAME, DT_RUNPATH, DT_RPATH: texts, once the string table is there. */
static int add_dynamic_text(struct object_reading *reading, const GElf_Dyn *entry)
{
	const char *text = object_dynamic_name(reading, entry->d_un.d_val);
	struct object *head = &reading->head;
	object_name name = 0;
	int err;

	if (entry->d_tag != DT_NEEDED && entry->d_tag != DT_SONAME && entry->d_tag != DT_RUNPATH &&
	    entry->d_tag != DT_RPATH)
		return 0;
	if (!text)
		return object_refuse(reading,
				     "a name of its dynamic section lies outside of the string table");
	err = object_add_text(reading, text, strlen(text), &name);
	if (err || !name)
		return err;
	if (entry->d_tag == DT_SONAME || entry->d_tag == DT_NEEDED)
		object_note_libc(reading, text);
	if (entry->d_tag == DT_SONAME) {
		head->soname = name;
	} else if (entry->d_tag == DT_RUNPATH) {
		head->runpath = name;
		head->flags &= ~(uint32_t)OBJECT_RPATH;
	} else if (entry->d_tag == DT_RPATH && !head->runpath) {
		head->runpath = name;
		head->flags |= OBJECT_RPATH;
	} else if (entry->d_tag == DT_NEEDED && head->needed_count < OBJECT_NEEDED_MAX) {
		head->needed_count++;
		err = object_list_add(&reading->needed, &name, sizeof(name));
	} else if (entry->d_tag == DT_NEEDED) {
		head->flags |= OBJECT_CUT;
	}
	return err;
}

int object_read_dynamic(struct object_reading *reading)
{
	const GElf_Phdr *segment = &reading->dynamic_segment;
	size_t entry = gelf_fsize(reading->elf, ELF_T_DYN, 1, EV_CURRENT), count;
	Elf_Data *data;
	GElf_Dyn dyn;
	int err;

	if (segment->p_filesz < entry) {
		reading->head.flags |= OBJECT_STATIC;
		return 0;
	}
	count = (segment->p_filesz < DYNAMIC_MAX ? segment->p_filesz : DYNAMIC_MAX) / entry;
	data = elf_getdata_rawchunk(reading->elf, (int64_t)segment->p_offset, count * entry, ELF_T_DYN);
	if (!data)
		return object_refuse(reading, "its dynamic section is damaged");
	for (size_t i = 0; i < count && gelf_getdyn(data, (int)i, &dyn) && dyn.d_tag != DT_NULL; i++)
		note_dynamic(reading, &dyn);
	err = read_names(reading);
	for (size_t i = 0; i < count && !err && gelf_getdyn(data, (int)i, &dyn) && dyn.d_tag != DT_NULL; i++)
		err = add_dynamic_text(reading, &dyn);
	return err ? err : object_read_symbols(reading);
}
