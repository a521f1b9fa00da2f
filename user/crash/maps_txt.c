/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format of /proc/PID/maps, so that eyes and tools that know it need nothing new, with the build-id
 * behind the path where one is known. A path is the process's own and may hold anything: a newline would
 * forge a line and is written as the kernel does, \012.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "user/base/text.h"
#include "user/crash/report_parts.h"

static void print_path(FILE *out, const char *path)
{
	for (; path && *path; path++)
		if (*path == '\n')
			fputs("\\012", out);
		else
			fputc(*path, out);
}

char *maps_txt(const struct maps_region *regions, size_t count)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		const struct maps_region *at = &regions[i];
		uint8_t id_size = at->build_id_len <= sizeof(at->build_id) ? at->build_id_len : 0;
		char id[2 * sizeof(at->build_id) + 1];

		fprintf(out, "%08llx-%08llx %c%c%cp %08llx %02x:%02x %llu", (unsigned long long)at->start,
			(unsigned long long)at->end, at->protection & PROT_READ ? 'r' : '-',
			at->protection & PROT_WRITE ? 'w' : '-', at->protection & PROT_EXEC ? 'x' : '-',
			(unsigned long long)at->offset, at->device_major, at->device_minor,
			(unsigned long long)at->inode);
		if (at->path && *at->path) {
			fputc(' ', out);
			print_path(out, at->path);
		}
		if (id_size) {
			text_hex(at->build_id, id_size, id);
			fprintf(out, " build-id:%s", id);
		}
		fputc('\n', out);
	}
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
