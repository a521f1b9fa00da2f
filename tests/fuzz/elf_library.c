// SPDX-License-Identifier: Apache-2.0
/*
 * library_examine on any bytes: it must come back, and with an answer that library_check believes. The fuzzer
 * finds no ELF file by chance, so give it some to begin with:
 *   build/fuzz/elf_library -max_len=400000 CORPUS-FOLDER (with a copy of libpq.so.5 in it)
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "user/elf/library.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct library library;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	if (library_examine(fd, &library) == 0 && !library_check(&library, size))
		abort();
	return 0;
}
