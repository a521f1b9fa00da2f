// SPDX-License-Identifier: Apache-2.0
/*
 * object_read on any bytes: it must come back, with an answer that object_check believes, or with a reason.
 * Any machine, class and byte order is read, so the first bytes of the input need only say ELF. The fuzzer
 * finds tables faster when it begins with some:
 *   build/fuzz/elf_object -max_len=400000 CORPUS-FOLDER (with a copy of an extension in it)
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "user/elf/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct object *object;
	char why[128];
	int err;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	memset(why, 'x', sizeof(why));
	err = object_read(fd, &object, why);
	if (!memchr(why, '\0', sizeof(why)) || (err && !why[0]))
		abort();
	if (err)
		return 0;
	if (!object_check(object, object->size))
		abort();
	free(object);
	return 0;
}
