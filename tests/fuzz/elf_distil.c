// SPDX-License-Identifier: Apache-2.0
/*
 * distil() of any bytes, and of the headers of a real file with changes in them: it must come back, write
 * nothing outside of the file's size, and nothing that the file does not hold there.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/kernel_image.h"
#include "user/elf/distil.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *from, int fd, size_t size)
{
	static uint8_t copy[IMAGE_MAX * 2];
	struct stat st;

	if (fstat(fd, &st) != 0 || (size_t)st.st_size != size || pread(fd, copy, size, 0) != (ssize_t)size)
		abort();
	for (size_t i = 0; i < size; i++)
		if (copy[i] && copy[i] != from[i])
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t image[IMAGE_MAX * 2];
	static int fd = -1, out = -1;
	size_t image_size = size > sizeof(image) ? sizeof(image) : size;

	if (fd < 0) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		out = memfd_create("copy", MFD_CLOEXEC);
	}
	if (size > 0 && data[0] & 1) {
		image_size = image_of_kernel(image);
		for (size_t i = 1; i + 3 <= size; i += 3)
			image[((size_t)data[i] << 8 | data[i + 1]) % image_size] = data[i + 2];
	} else {
		memcpy(image, data, image_size);
	}
	if (fd < 0 || out < 0 || ftruncate(fd, 0) != 0 || ftruncate(out, 0) != 0 ||
	    ftruncate(out, (off_t)image_size) != 0 || pwrite(fd, image, image_size, 0) != (ssize_t)image_size)
		abort();
	if (distil(fd, out) > (int64_t)DISTIL_BYTES_MAX)
		abort();
	check(image, out, image_size);
	return 0;
}
