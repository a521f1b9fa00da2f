// SPDX-License-Identifier: Apache-2.0
/*
 * Headers through libelf, which knows both classes and byte orders; everything else by the program headers,
 * as ld.so does, so that an object without section headers is read like any other.
 *
 * The parts are gathered in lists that grow and put into one piece at the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/elf/object_private.h"

enum {
	HEADERS_MAX = 1024,
	NOTES_MAX = 16 << 10,
	PATH_TEXT = 4096,
};

int object_refuse(struct object_reading *reading, const char *why)
{
	text_copy(reading->why, 128, why);
	return -ENOEXEC;
}

uint16_t object_u16(const struct object_reading *reading, const unsigned char *at)
{
	return reading->head.big_endian ? (uint16_t)(at[0] << 8 | at[1]) : (uint16_t)(at[1] << 8 | at[0]);
}

uint32_t object_u32(const struct object_reading *reading, const unsigned char *at)
{
	uint32_t first = object_u16(reading, at), second = object_u16(reading, at + 2);

	return reading->head.big_endian ? first << 16 | second : second << 16 | first;
}

int object_list_add(struct object_list *list, const void *bytes, size_t size)
{
	if (size > list->room - list->used) {
		size_t room = list->room * 2 + size + 4096;
		unsigned char *moved = realloc(list->bytes, room);

		if (!moved)
			return -ENOMEM;
		list->bytes = moved;
		list->room = room;
	}
	memcpy(list->bytes + list->used, bytes, size);
	list->used += size;
	return 0;
}

int object_add_text(struct object_reading *reading, const char *text, size_t length, object_name *out)
{
	size_t start = reading->text.used;
	int err;

	*out = 0;
	if (length == 0)
		return 0;
	if (length >= OBJECT_NAME_MAX || start + length + 1 > OBJECT_TEXT_MAX) {
		reading->head.flags |= OBJECT_CUT;
		return 0;
	}
	err = object_list_add(&reading->text, text, length);
	if (!err)
		err = object_list_add(&reading->text, "", 1);
	if (err)
		return err;
	for (unsigned char *at = reading->text.bytes + start; *at; at++)
		if (*at < 0x20 || *at > 0x7e)
			*at = '?';
	*out = (object_name)start;
	return 0;
}

const char *object_dynamic_name(const struct object_reading *reading, uint64_t offset)
{
	return offset < reading->names_size ? reading->names + offset : NULL;
}

/* Where `address` lies in the file, and how many bytes of its segment follow; 0: nowhere. */
static uint64_t locate(const struct object_reading *reading, uint64_t address, uint64_t *offset)
{
	for (size_t i = 0; i < reading->load_count; i++) {
		const struct object_load *load = &reading->loads[i];

		if (address < load->address || address - load->address >= load->size)
			continue;
		*offset = load->offset + (address - load->address);
		return load->size - (address - load->address);
	}
	return 0;
}

Elf_Data *object_chunk(struct object_reading *reading, uint64_t address, uint64_t size, Elf_Type type)
{
	uint64_t offset, there = locate(reading, address, &offset);
	size_t element = gelf_fsize(reading->elf, type, 1, EV_CURRENT);

	if (size > there)
		size = there;
	if (element > 1)
		size -= size % element;
	return size ? elf_getdata_rawchunk(reading->elf, (int64_t)offset, size, type) : NULL;
}

size_t object_bytes(struct object_reading *reading, uint64_t address, void *out, size_t size)
{
	uint64_t offset, there = locate(reading, address, &offset);
	ssize_t n;

	if (size > there)
		size = there;
	n = size ? pread(reading->fd, out, size, (off_t)offset) : 0;
	return n > 0 ? (size_t)n : 0;
}

static int check_file(struct object_reading *reading)
{
	struct stat st;
	char magic[SELFMAG];

	if (fstat(reading->fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return object_refuse(reading, "no regular file");
	if ((uint64_t)st.st_size > ELF_FILE_SIZE_MAX) {
		text_copy(reading->why, 128, "larger than 4 GiB");
		return -EFBIG;
	}
	if (st.st_size == 0)
		return object_refuse(reading, "empty");
	if (pread(reading->fd, magic, sizeof(magic), 0) != sizeof(magic) ||
	    memcmp(magic, ELFMAG, SELFMAG) != 0)
		return object_refuse(reading, "no ELF file");
	reading->file_size = (uint64_t)st.st_size;
	return 0;
}

static int read_header(struct object_reading *reading)
{
	struct object *head = &reading->head;
	GElf_Ehdr header;

	reading->elf = elf_begin(reading->fd, ELF_C_READ, NULL);
	if (!reading->elf || elf_kind(reading->elf) != ELF_K_ELF || !gelf_getehdr(reading->elf, &header))
		return object_refuse(reading, "its ELF header is damaged");
	if (header.e_type != ET_DYN && header.e_type != ET_EXEC)
		return object_refuse(reading, "neither a shared object nor a program");
	head->machine = header.e_machine;
	head->bits = header.e_ident[EI_CLASS] == ELFCLASS64 ? 64 : 32;
	head->big_endian = header.e_ident[EI_DATA] == ELFDATA2MSB;
	if (header.e_type == ET_EXEC)
		head->flags |= OBJECT_IS_PROGRAM;
	return 0;
}

/* Walks the notes of a segment; name and content are padded to 4 bytes. */
static void read_notes(struct object_reading *reading, const GElf_Phdr *segment)
{
	unsigned char notes[NOTES_MAX];
	size_t size = segment->p_filesz < sizeof(notes) ? segment->p_filesz : sizeof(notes), at = 0;
	ssize_t n = pread(reading->fd, notes, size, (off_t)segment->p_offset);

	size = n > 0 ? (size_t)n : 0;
	while (!reading->head.build_id_len && size - at >= 12) {
		uint32_t name = object_u32(reading, notes + at),
			 content = object_u32(reading, notes + at + 4);
		uint32_t type = object_u32(reading, notes + at + 8);
		size_t skip = ((size_t)name + 3) & ~(size_t)3, length = ((size_t)content + 3) & ~(size_t)3;

		at += 12;
		if (skip > size - at || length > size - at - skip)
			return;
		if (type == NT_GNU_BUILD_ID && name == 4 && content > 0 &&
		    content <= sizeof(reading->head.build_id) && memcmp(notes + at, "GNU", 4) == 0) {
			memcpy(reading->head.build_id, notes + at + skip, content);
			reading->head.build_id_len = (uint8_t)content;
		}
		at += skip + length;
	}
}

static int add_load(struct object_reading *reading, const GElf_Phdr *segment)
{
	const uint64_t code[] = {segment->p_vaddr, segment->p_offset, segment->p_filesz, segment->p_memsz};

	if (reading->load_count == ELF_FILE_LOADS_MAX)
		return object_refuse(reading, "too many segments");
	if (segment->p_flags & PF_X)
		reading->head.text_digest =
			digest_fnv(reading->head.text_digest ? reading->head.text_digest : DIGEST_START, code,
				   sizeof(code));
	reading->loads[reading->load_count++] =
		(struct object_load){segment->p_vaddr, segment->p_offset, segment->p_filesz};
	return 0;
}

static int read_segments(struct object_reading *reading)
{
	size_t count;
	int err = 0;

	if (elf_getphdrnum(reading->elf, &count) != 0 || count > HEADERS_MAX)
		return object_refuse(reading, "its program headers are damaged");
	for (size_t i = 0; i < count && !err; i++) {
		GElf_Phdr segment;

		if (!gelf_getphdr(reading->elf, (int)i, &segment))
			return object_refuse(reading, "it ends inside its program headers");
		if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC &&
		    segment.p_type != PT_INTERP && segment.p_type != PT_NOTE)
			continue;
		if (segment.p_filesz > reading->file_size ||
		    segment.p_offset > reading->file_size - segment.p_filesz ||
		    segment.p_vaddr > UINT64_MAX - segment.p_filesz)
			return object_refuse(reading, "truncated: a segment lies outside of the file");
		if (segment.p_type == PT_LOAD)
			err = add_load(reading, &segment);
		else if (segment.p_type == PT_NOTE)
			read_notes(reading, &segment);
		else if (segment.p_type == PT_DYNAMIC)
			reading->dynamic_segment = segment;
		else
			reading->interpreter_segment = segment;
	}
	return err;
}

static int read_interpreter(struct object_reading *reading)
{
	const GElf_Phdr *segment = &reading->interpreter_segment;
	char path[PATH_TEXT];
	ssize_t n;

	if (!segment->p_filesz)
		return 0;
	reading->head.flags |= OBJECT_IS_PROGRAM;
	n = pread(reading->fd, path, segment->p_filesz < sizeof(path) ? segment->p_filesz : sizeof(path),
		  (off_t)segment->p_offset);
	if (n <= 0)
		return object_refuse(reading, "its interpreter's name is damaged");
	path[n - 1] = '\0';
	object_note_libc(reading, path);
	return object_add_text(reading, path, strlen(path), &reading->head.interpreter);
}

/* `const char ruby_version[]`, `const int ruby_api_version[3]`, `const char ruby_platform[]`. */
static int read_ruby(struct object_reading *reading)
{
	struct object *head = &reading->head;
	unsigned char api[3 * sizeof(uint32_t)];
	char text[65] = "";
	size_t length;

	if (!reading->gives_define_method || !reading->ruby_version)
		return 0;
	head->flags |= OBJECT_IS_RUBY;
	object_bytes(reading, reading->ruby_version, text, sizeof(head->ruby_version));
	length = strspn(text, "0123456789.");
	if (length && length < sizeof(head->ruby_version) && text[length] == '\0' && text[0] != '.')
		memcpy(head->ruby_version, text, length);
	if (object_bytes(reading, reading->ruby_api, api, sizeof(api)) == sizeof(api))
		for (size_t i = 0; i < 3; i++)
			head->ruby_api[i] = object_u32(reading, api + i * sizeof(uint32_t));
	memset(text, 0, sizeof(text));
	object_bytes(reading, reading->ruby_platform, text, sizeof(text) - 1);
	length = strnlen(text, sizeof(text));
	if (length == sizeof(text) - 1)
		return 0; /* not ended: no platform is so long */
	return object_add_text(reading, text, length, &head->ruby_platform);
}

static int assemble(const struct object_reading *reading, struct object **out)
{
	const struct object_list *const parts[] = {&reading->needed, &reading->asked, &reading->given,
						   &reading->text};
	size_t size = sizeof(struct object);
	struct object *object;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		size += parts[i]->used;
	object = malloc(size);
	if (!object)
		return -ENOMEM;
	*object = reading->head;
	object->size = (uint32_t)size;
	object->text_size = (uint32_t)reading->text.used;
	size = 0;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		if (parts[i]->used)
			memcpy(object->rest + size, parts[i]->bytes, parts[i]->used);
		size += parts[i]->used;
	}
	*out = object;
	return 0;
}

static int read_all(struct object_reading *reading)
{
	int err = check_file(reading);

	if (!err)
		err = object_list_add(&reading->text, "", 1); /* the name 0 */
	if (!err)
		err = read_header(reading);
	if (!err)
		err = read_segments(reading);
	if (!err)
		err = object_read_dynamic(reading);
	if (!err)
		err = read_interpreter(reading);
	return err ? err : read_ruby(reading);
}

int object_read(int fd, struct object **out, char why[128])
{
	struct object_reading *reading;
	int err;

	*why = '\0';
	if (elf_version(EV_CURRENT) == EV_NONE)
		return -ENOTSUP;
	reading = calloc(1, sizeof(*reading));
	if (!reading)
		return -ENOMEM;
	reading->fd = fd;
	reading->why = why;
	err = read_all(reading);
	if (!err)
		err = assemble(reading, out);
	elf_end(reading->elf);
	free(reading->needed.bytes);
	free(reading->asked.bytes);
	free(reading->given.bytes);
	free(reading->text.bytes);
	free(reading);
	return err;
}
