// SPDX-License-Identifier: Apache-2.0
/* The state page as its readers see it: laid out as promised, and proof against all of their attempts to
 * write. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/act/page.h"

static const unsigned char *look(const struct page *page)
{
	void *bytes = mmap(NULL, PAGE_SIZE_BYTES, PROT_READ, MAP_SHARED, page_fd(page), 0);

	assert_ptr_not_equal(bytes, MAP_FAILED);
	return bytes;
}

static uint64_t u64_at(const unsigned char *bytes, size_t at)
{
	return __atomic_load_n((const uint64_t *)(const void *)(bytes + at), __ATOMIC_ACQUIRE);
}

static uint32_t u32_at(const unsigned char *bytes, size_t at)
{
	uint32_t value;

	memcpy(&value, bytes + at, sizeof(value));
	return value;
}

static void the_layout_is_the_promised_one(void **state)
{
	const unsigned char *bytes;
	struct page *page;
	struct stat info;

	(void)state;
	assert_int_equal(page_new(0x123456789abcull, &page), 0);
	bytes = look(page);
	assert_memory_equal(bytes, "LPG1", 4);
	assert_int_equal(u32_at(bytes, 4), 64);
	assert_int_equal(u64_at(bytes, 8), 0x123456789abcull);
	assert_int_equal(u32_at(bytes, 16), 64);
	assert_int_equal(u32_at(bytes, 20), 256);
	assert_int_equal(u32_at(bytes, 24), 0);
	assert_int_equal(fstat(page_fd(page), &info), 0);
	assert_int_equal(info.st_size, 64 + 64 * 256);

	assert_int_equal(page_slot(page, "postgres://a:1/b"), 0);
	assert_int_equal(page_slot(page, "postgres://c:1/d"), 1);
	assert_int_equal(page_slot(page, "postgres://a:1/b"), 0);
	assert_int_equal(u32_at(bytes, 24), 2);
	assert_string_equal((const char *)bytes + 64 + 256 + 32, "postgres://c:1/d");

	page_set(page, 1, BREAKER_QUERY, BREAKER_OPEN, 1000001, 7);
	assert_int_equal(u64_at(bytes, 64 + 256), 0);
	assert_int_equal(u64_at(bytes, 64 + 256 + 8) & 3, BREAKER_OPEN);
	assert_in_range(u64_at(bytes, 64 + 256 + 8) & ~3ull, 1000001, 1000004);
	assert_int_equal(u32_at(bytes, 64 + 256 + 16), 0);
	assert_int_equal(u32_at(bytes, 64 + 256 + 20), 7);
	page_set(page, 1, BREAKER_CONNECT, BREAKER_HALF_OPEN, 4000, 8);
	assert_int_equal(u64_at(bytes, 64 + 256), 4000 | BREAKER_HALF_OPEN);
	page_set(page, 1, BREAKER_QUERY, BREAKER_CLOSED, 0, 9);
	assert_int_equal(u64_at(bytes, 64 + 256 + 8), 0);
	assert_int_equal(u32_at(bytes, 64 + 256 + 20), 9);
	munmap((void *)bytes, PAGE_SIZE_BYTES);
	page_free(page);
	page_free(NULL);
}

static void slots_run_out_and_names_are_checked(void **state)
{
	char name[SCOPE_TARGET_SIZE + 1];
	struct page *page;

	(void)state;
	assert_int_equal(page_new(1, &page), 0);
	assert_int_equal(page_slot(page, ""), -EINVAL);
	memset(name, 'x', sizeof(name));
	name[SCOPE_TARGET_SIZE] = '\0';
	assert_int_equal(page_slot(page, name), -EINVAL);
	name[SCOPE_TARGET_SIZE - 1] = '\0';
	assert_int_equal(page_slot(page, name), 0);
	for (int i = 1; i < PAGE_SLOTS; i++) {
		snprintf(name, sizeof(name), "postgres://host:%d/", i);
		assert_int_equal(page_slot(page, name), i);
	}
	assert_int_equal(page_slot(page, "one more"), -ENOSPC);
	assert_int_equal(page_slot(page, "postgres://host:63/"), 63);
	page_free(page);
}

/* Each way to write that a holder of the descriptor has; how many of them worked. */
static int attempts(int fd)
{
	char path[40];
	int again, worked = 0;
	void *map;

	worked += mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED;
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	worked += map == MAP_FAILED || mprotect(map, 4096, PROT_READ | PROT_WRITE) == 0;
	worked += madvise(map, 4096, MADV_REMOVE) == 0;
	worked += write(fd, "x", 1) > 0;
	worked += pwrite(fd, "x", 1, 64) > 0;
	worked += ftruncate(fd, 0) == 0;
	worked += ftruncate(fd, 1 << 20) == 0;
	worked += fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
	worked += fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC); /* root may open it, and has nothing of it */
	if (again >= 0) {
		worked += write(again, "x", 1) > 0;
		worked += pwrite(again, "x", 1, 64) > 0;
		worked += ftruncate(again, 0) == 0;
		worked += fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
		worked += mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED;
		close(again);
	}
	return worked;
}

static void who_holds_the_descriptor_can_only_read(void **state)
{
	const unsigned char *bytes;
	struct page *page;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(page_new(42, &page), 0);
	assert_int_equal(fcntl(page_fd(page), F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(page_fd(page), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(page_fd(page), F_GET_SEALS) & (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW),
			 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW);
	child = fork();
	if (child == 0)
		_exit(attempts(page_fd(page)));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	bytes = look(page);
	assert_int_equal(u64_at(bytes, 8), 42);
	assert_int_equal(page_slot(page, "still the agent's"), 0);
	assert_int_equal(u32_at(bytes, 24), 1);
	munmap((void *)bytes, PAGE_SIZE_BYTES);
	page_free(page);
}

struct reader {
	const unsigned char *bytes;
	bool stop;
	uint64_t reads, torn;
};

static void *read_on(void *context)
{
	struct reader *reader = context;

	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
		uint64_t word = u64_at(reader->bytes, 64);

		/* the writer writes 0, or an end whose halves are alike */
		reader->torn += word != 0 && (uint32_t)(word >> 32) != ((uint32_t)word & ~3u);
		__atomic_add_fetch(&reader->reads, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void no_reader_sees_half_a_word(void **state)
{
	struct reader reader = {0};
	struct page *page;
	pthread_t thread;

	(void)state;
	assert_int_equal(page_new(1, &page), 0);
	page_slot(page, "t");
	reader.bytes = look(page);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
	for (uint32_t i = 0; i < 1000000 || __atomic_load_n(&reader.reads, __ATOMIC_RELAXED) < 1000; i++) {
		uint64_t half = (uint64_t)i * 4 % 0x7ffffff0;

		page_set(page, 0, BREAKER_CONNECT, i % 3 ? BREAKER_OPEN : BREAKER_CLOSED, half << 32 | half,
			 i);
	}
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(reader.torn, 0);
	munmap((void *)reader.bytes, PAGE_SIZE_BYTES);
	page_free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_layout_is_the_promised_one),
		cmocka_unit_test(slots_run_out_and_names_are_checked),
		cmocka_unit_test(who_holds_the_descriptor_can_only_read),
		cmocka_unit_test(no_reader_sees_half_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
