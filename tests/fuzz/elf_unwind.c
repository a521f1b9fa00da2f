// SPDX-License-Identifier: Apache-2.0
/*
 * unwind() over registers, a stack and a file that others made up: it must come back, with a result that
 * unwind_check believes. No ELF file comes about by chance, so the file is the kernel's own small library
 * (the vdso: real tables, real code, 8 KiB) with the input's changes in it, or, by the input's first bit, the
 * input itself: give it such with a corpus, build/fuzz/elf_unwind -max_len=400000 CORPUS-FOLDER.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/kernel_image.h"
#include "user/elf/unwind.h"

enum { CHANGES_MAX = 64, STACK_MAX = 16 * 1024, WINDOW_MAX = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static void take(struct input *input, void *out, size_t size)
{
	size_t have = size < input->size ? size : input->size;

	memset(out, 0, size);
	memcpy(out, input->data, have);
	input->data += have;
	input->size -= have;
}

/* Pairs of a place and a value; the first ones are most often headers when the place is small. */
static void change(struct input *input, uint8_t *image, size_t size)
{
	uint8_t count;

	take(input, &count, 1);
	for (int i = 0; i < count % CHANGES_MAX; i++) {
		uint8_t one[4];

		take(input, one, sizeof(one));
		image[((size_t)one[0] << 8 | one[1]) % size] = one[2];
	}
}

static int file_of(const void *data, size_t size)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct unwind_result result;
	static uint8_t image[IMAGE_MAX], stack[STACK_MAX + WINDOW_COUNT * WINDOW_MAX],
		missing[STACK_MAX / EV_PAGE / 8 + 4];
	const uint64_t base = 0x7f0000000000, sp = 0x7ffc00000000;
	struct input input = {data, size};
	uint64_t regs[REG_COUNT];
	struct unwind_source source = {.start = base, .end = base + 0x2000, .debug_fd = -1};
	struct ev_window windows[WINDOW_COUNT];
	struct unwind_question question = {
		.regs = regs, .missing = missing, .windows = windows, .sources = &source};
	uint16_t ip, words;
	uint8_t kind;
	size_t image_size;

	take(&input, &kind, 1);
	take(&input, regs, sizeof(regs));
	take(&input, &ip, sizeof(ip));
	take(&input, missing, 1);
	regs[REG_SP_] = sp + (regs[REG_SP_] & 0xfff);
	regs[REG_IP_] = kind & 2 ? regs[REG_IP_] : base + ip;
	if (kind & 4)
		regs[REG_BP_] = regs[REG_SP_] + (regs[REG_BP_] & 0xff8);
	take(&input, &words, sizeof(words));
	words %= STACK_MAX / 8;
	/* most words lead into the code or up the stack, as those of a stack do */
	for (size_t i = 0; i < words; i++) {
		uint16_t half;
		uint64_t word;

		take(&input, &half, sizeof(half));
		word = half & 1 ? base + (half >> 1) % 0x2000 : half & 2 ? sp + (half >> 1) : half;
		memcpy(stack + i * 8, &word, sizeof(word));
	}
	/* what lies elsewhere, and may be made to lie anywhere */
	for (size_t i = 0, at = (size_t)words * 8; i < WINDOW_COUNT; at += windows[i++].size) {
		take(&input, &windows[i], kind & 8 ? sizeof(windows[i]) : 0);
		if (!(kind & 16))
			windows[i].address = sp + windows[i].address % 0x20000;
		windows[i].size = kind & 8 ? windows[i].size % WINDOW_MAX : 0;
		take(&input, stack + at, windows[i].size);
	}
	question.stack = stack;
	question.stack_size = (size_t)words * 8;
	if (kind & 1) {
		source.fd = file_of(input.data, input.size);
	} else {
		image_size = image_of_kernel(image);
		change(&input, image, image_size);
		source.fd = file_of(image, image_size);
	}
	if (unwind(&question, &result) == 0 && !unwind_check(&result, 1))
		abort();
	return 0;
}
