// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <gelf.h>
#include "user/base/text.h"
#include "user/elf/debug_link.h"

enum { SECTIONS_MAX = 4096, LINK_SECTION_MAX = 4096 };

bool debug_link_is_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* A name that ends with a NUL, padded to 4 bytes, then the sum. */
static void take_link(Elf_Scn *section, char link[DEBUG_LINK_MAX], uint32_t *crc)
{
	Elf_Data *data = elf_rawdata(section, NULL);
	size_t length, at;

	if (!data || !data->d_buf || !memchr(data->d_buf, '\0', data->d_size))
		return;
	length = strlen(data->d_buf);
	at = (length + 1 + 3) & ~(size_t)3;
	if (length >= DEBUG_LINK_MAX || !debug_link_is_name(data->d_buf) || data->d_size < sizeof(*crc) ||
	    at > data->d_size - sizeof(*crc))
		return;
	text_copy(link, DEBUG_LINK_MAX, data->d_buf);
	memcpy(crc, (const char *)data->d_buf + at, sizeof(*crc));
}

bool debug_link_read(const struct elf_file *file, char link[DEBUG_LINK_MAX], uint32_t *crc)
{
	Elf *elf = elf_file_elf(file);
	Elf_Scn *section = NULL;
	size_t names, looked = 0;
	bool table = false;
	GElf_Shdr header;

	*crc = 0;
	link[0] = '\0';
	if (elf_getshdrstrndx(elf, &names) != 0)
		return false;
	while ((section = elf_nextscn(elf, section)) && looked++ < SECTIONS_MAX) {
		const char *name;

		if (!gelf_getshdr(section, &header))
			continue;
		table = table || header.sh_type == SHT_SYMTAB;
		if (header.sh_type != SHT_PROGBITS || header.sh_size > LINK_SECTION_MAX || header.sh_flags)
			continue;
		name = elf_strptr(elf, names, header.sh_name);
		if (name && !strcmp(name, ".gnu_debuglink"))
			take_link(section, link, crc);
	}
	return table;
}
