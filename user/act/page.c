// SPDX-License-Identifier: Apache-2.0
/*
 * The memfd is written through one mapping that is made before the seals: F_SEAL_FUTURE_WRITE keeps that one
 * alone writable, whoever reopens the file through /proc. What is passed on is a descriptor opened read only
 * anyway, and the mode lets nobody but the agent's user open it anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/act/page.h"
#include "user/base/text.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

enum { TARGET_SIZE = 192 };

struct page_slot_bytes {
	uint64_t word[BREAKER_KINDS];
	uint32_t seq[BREAKER_KINDS];
	uint64_t reserved;
	char target[TARGET_SIZE];
	unsigned char rest[PAGE_SLOT_SIZE - 32 - TARGET_SIZE];
};

struct page_bytes {
	uint32_t magic, header_size;
	uint64_t epoch;
	uint32_t slots, slot_size, used;
	unsigned char rest[PAGE_HEADER_SIZE - 28];
	struct page_slot_bytes slot[PAGE_SLOTS];
};

_Static_assert(sizeof(struct page_slot_bytes) == PAGE_SLOT_SIZE, "slot");
_Static_assert(sizeof(struct page_bytes) == PAGE_SIZE_BYTES, "page");
_Static_assert(SCOPE_TARGET_SIZE <= TARGET_SIZE, "target");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the layout is little endian");

struct page {
	struct page_bytes *bytes;
	int fd;
};

static int open_memory(void)
{
	int fd = memfd_create("lapidary-state", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("lapidary-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

static void fill_header(struct page_bytes *bytes, uint64_t epoch)
{
	bytes->magic = 0x3147504c; /* "LPG1" */
	bytes->header_size = PAGE_HEADER_SIZE;
	bytes->epoch = epoch;
	bytes->slots = PAGE_SLOTS;
	bytes->slot_size = PAGE_SLOT_SIZE;
}

/* Maps, fills, seals and reopens; `fd` stays the caller's. */
static int make(struct page *page, int fd, uint64_t epoch)
{
	char path[40];
	void *bytes;

	if (ftruncate(fd, PAGE_SIZE_BYTES) != 0 || fchmod(fd, 0400) != 0)
		return -errno;
	bytes = mmap(NULL, PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	page->bytes = bytes;
	fill_header(page->bytes, epoch);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	page->fd = open(path, O_RDONLY | O_CLOEXEC);
	return page->fd < 0 ? -errno : 0;
}

int page_new(uint64_t epoch, struct page **out)
{
	struct page *page = calloc(1, sizeof(*page));
	int fd = -1, err = -ENOMEM;

	if (!page)
		goto out;
	page->fd = -1;
	err = fd = open_memory();
	if (fd >= 0)
		err = make(page, fd, epoch);
	if (err)
		goto out;
	*out = page;
	page = NULL;
out:
	if (fd >= 0)
		close(fd);
	page_free(page);
	return err;
}

void page_free(struct page *page)
{
	if (!page)
		return;
	if (page->bytes)
		munmap(page->bytes, PAGE_SIZE_BYTES);
	if (page->fd >= 0)
		close(page->fd);
	free(page);
}

int page_fd(const struct page *page)
{
	return page->fd;
}

int page_slot(struct page *page, const char *target)
{
	uint32_t used = page->bytes->used;

	if (!*target || strlen(target) >= SCOPE_TARGET_SIZE)
		return -EINVAL;
	for (uint32_t slot = 0; slot < used; slot++)
		if (strcmp(page->bytes->slot[slot].target, target) == 0)
			return (int)slot;
	if (used == PAGE_SLOTS)
		return -ENOSPC;
	text_copy(page->bytes->slot[used].target, TARGET_SIZE, target);
	__atomic_store_n(&page->bytes->used, used + 1, __ATOMIC_RELEASE);
	return (int)used;
}

/* The low bits of the lease's end make room for the state, rounded up, so that no lease ends early. */
void page_set(struct page *page, int slot, enum breaker_kind kind, enum breaker_state state,
	      uint64_t lease_end_ns, uint32_t seq)
{
	struct page_slot_bytes *at = &page->bytes->slot[slot];
	uint64_t word = state == BREAKER_CLOSED ? 0 : ((lease_end_ns + 3) & ~3ull) | (uint64_t)state;

	__atomic_store_n(&at->seq[kind], seq, __ATOMIC_RELAXED);
	__atomic_store_n(&at->word[kind], word, __ATOMIC_RELEASE);
}
