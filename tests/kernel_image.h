/* SPDX-License-Identifier: Apache-2.0 */
/* An ELF file that is always at hand, small, with symbols and unwind tables: the kernel's own library. */
#ifndef LAPIDARY_TESTS_KERNEL_IMAGE_H
#define LAPIDARY_TESTS_KERNEL_IMAGE_H

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

enum { IMAGE_MAX = 64 * 1024 };

/* Copies it to `out`, which has room for IMAGE_MAX bytes; returns its size. */
static inline size_t image_of_kernel(uint8_t *out)
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	Elf64_Ehdr header;
	size_t size;

	if (!image)
		abort();
	memcpy(&header, image, sizeof(header));
	size = header.e_shoff + (size_t)header.e_shnum * header.e_shentsize;
	if (size > IMAGE_MAX)
		abort();
	memcpy(out, image, size);
	return size;
}

#endif
