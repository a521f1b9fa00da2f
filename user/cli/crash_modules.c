// SPDX-License-Identifier: Apache-2.0
/*
 * Where each file lay, for a report without that list (the examiner was killed, or an older version wrote
 * it): from the mappings and the files that are still there. A file counts only with the build-id that ran.
 * It is read as the examiner would, header and segments alone, with pread.
 */
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/crash.h"
#include "user/elf/file.h"

enum { MODULES = 512, PAGE = 4096 };

int crash_file_open(const char *path, struct elf_file **out, char build_id[2 * ELF_FILE_BUILD_ID_MAX + 1])
{
	uint8_t id[ELF_FILE_BUILD_ID_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	*out = NULL;
	build_id[0] = '\0';
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && elf_file_open(fd, out) == 0)
		text_hex(id, elf_file_build_id(*out, id), build_id);
	return fd;
}

/* Bias by the executable segment that the mapping is of, and the dynamic section's address. */
static bool place(Elf *elf, const struct bundle_map *map, uint64_t *bias, uint64_t *dynamic, uint64_t *size)
{
	size_t count = 0;
	bool found = false;

	*dynamic = *size = 0;
	if (elf_getphdrnum(elf, &count) || count > ELF_FILE_LOADS_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr at;

		if (!gelf_getphdr(elf, (int)i, &at))
			return false;
		if (at.p_type == PT_DYNAMIC)
			*dynamic = at.p_vaddr;
		if (at.p_type != PT_LOAD)
			continue;
		if (at.p_vaddr + at.p_memsz > *size)
			*size = at.p_vaddr + at.p_memsz;
		if (at.p_flags & PF_X && map->offset >= at.p_offset / PAGE * PAGE &&
		    map->offset < at.p_offset + at.p_filesz) {
			*bias = map->start - map->offset + at.p_offset - at.p_vaddr;
			found = true;
		}
	}
	return found;
}

static void add_module(cJSON *modules, const struct bundle_map *map)
{
	char build_id[2 * ELF_FILE_BUILD_ID_MAX + 1];
	struct elf_file *file = NULL;
	uint64_t bias, dynamic, size;
	int fd = crash_file_open(map->path, &file, build_id);
	GElf_Ehdr head;
	cJSON *module;

	if (file && *build_id && !strcmp(build_id, map->build_id) &&
	    place(elf_file_elf(file), map, &bias, &dynamic, &size) &&
	    gelf_getehdr(elf_file_elf(file), &head)) {
		module = cJSON_CreateObject();
		cJSON_AddStringToObject(module, "path", map->path);
		cJSON_AddStringToObject(module, "build_id", build_id);
		json_add_hex(module, "start", bias);
		json_add_hex(module, "end", bias + size);
		json_add_hex(module, "bias", bias);
		if (dynamic)
			json_add_hex(module, "dynamic", bias + dynamic);
		json_add_hex(module, "entry", bias + head.e_entry);
		cJSON_AddItemToArray(modules, module);
	}
	elf_file_free(file);
	if (fd >= 0)
		close(fd);
}

int crash_find_modules(struct bundle_files *bundle)
{
	struct bundle_maps maps;
	const char *last = "";
	cJSON *modules;
	int err;

	if (report_part(bundle->report, "modules") && report_part(bundle->report, "modules")->child)
		return 0;
	err = bundle_maps_read(bundle->files[BUNDLE_MAPS].bytes, bundle->files[BUNDLE_MAPS].size, &maps);
	if (err)
		return err;
	cJSON_DeleteItemFromObjectCaseSensitive(bundle->report, "modules");
	modules = cJSON_AddArrayToObject(bundle->report, "modules");
	for (size_t i = 0; i < maps.count && i < MODULES; i++) {
		const struct bundle_map *map = &maps.list[i];

		if (map->path[0] == '/' && map->protection & PROT_EXEC && strcmp(map->path, last) != 0)
			add_module(modules, map);
		last = map->path;
	}
	bundle_maps_done(&maps);
	return 0;
}
