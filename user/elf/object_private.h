/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of object: the object that is being read, and the lists that grow meanwhile. */
#ifndef LAPIDARY_ELF_OBJECT_PRIVATE_H
#define LAPIDARY_ELF_OBJECT_PRIVATE_H

#include <gelf.h>
#include "user/elf/file.h"
#include "user/elf/object.h"

enum { OBJECT_VERSIONS = 0x8000, OBJECT_NAME_MAX = 1 << 16 };

struct object_list {
	unsigned char *bytes;
	size_t used, room;
};

struct object_load {
	uint64_t address, offset, size;
};

/* What the dynamic section points at: addresses, 0 where it has none. */
struct object_dynamic {
	uint64_t names, names_size, symbols, hash, gnu_hash, versions, needed_versions, given_versions;
};

struct object_reading {
	Elf *elf;
	int fd;
	uint64_t file_size;
	char *why; /* 128 bytes */
	size_t load_count;
	struct object_load loads[ELF_FILE_LOADS_MAX];
	GElf_Phdr dynamic_segment, interpreter_segment;
	struct object_dynamic dynamic;
	const char *names; /* the dynamic string table, ended by a NUL */
	size_t names_size;
	uint64_t ruby_version, ruby_api, ruby_platform; /* addresses; 0: not given */
	bool gives_define_method;
	object_name versions[OBJECT_VERSIONS]; /* by version index: needed and given ones share the numbers */
	struct object_list needed, asked, given, text;
	struct object head; /* last: it has a tail that is not used here */
};

/*
 * What is mapped at `address`, at most `size` bytes, as host-order elements of the type; NULL when it is not
 * in the file or there is no memory. Lives as long as the Elf.
 */
Elf_Data *object_chunk(struct object_reading *reading, uint64_t address, uint64_t size, Elf_Type type);
/* The same as plain bytes into `out`. Returns how many. */
size_t object_bytes(struct object_reading *reading, uint64_t address, void *out, size_t size);
/* Copies a text into the object's: printable, 0 when it is empty. -ENOMEM; beyond the limit OBJECT_CUT is
 * set and the name is 0. */
int object_add_text(struct object_reading *reading, const char *text, size_t length, object_name *out);
/* The name at `offset` of the dynamic string table; NULL when it lies outside. Borrowed. */
const char *object_dynamic_name(const struct object_reading *reading, uint64_t offset);
int object_list_add(struct object_list *list, const void *bytes, size_t size);
/* A number of the file's byte order. */
uint16_t object_u16(const struct object_reading *reading, const unsigned char *at);
uint32_t object_u32(const struct object_reading *reading, const unsigned char *at);

/* Says why (copied) and returns -ENOEXEC. */
int object_refuse(struct object_reading *reading, const char *why);
/* What the name of a library or of an interpreter tells of the libc. */
void object_note_libc(struct object_reading *reading, const char *name);

/* The dynamic section, and what it points at. 0 or -errno with `why`. */
int object_read_dynamic(struct object_reading *reading);
/* Versions first, then both lists of symbols. 0 or -errno with `why`. */
int object_read_symbols(struct object_reading *reading);
/* Fills versions[], and of the head libc and libc_version as far as they tell. */
int object_read_versions(struct object_reading *reading);

#endif
