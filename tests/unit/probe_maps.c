// SPDX-License-Identifier: Apache-2.0
/* Mappings: kept, shared, replaced, read from /proc, and told by the kernel as they are made. */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/file.h"
#include "user/base/when.h"
#include "user/probe/maps.h"
#include "user/probe/maps_text.h"
#include "user/probe/mmap_records.h"

static const char TEXT[] = "00400000-00500000 r--p 00000000 08:01 77   /usr/bin/ruby\n"
			   "00500000-00600000 r-xp 00100000 08:01 77   /usr/bin/ruby\n"
			   "00700000-00701000 r-xp 00002000 fe:10 4294967297   /a b/x\\012y.so (deleted)\n"
			   "not a mapping\n"
			   "00800000-00801000 r-xp zz 00:00 0\n"
			   "00900000-00900000 r-xp 00000000 00:00 0\n"
			   "00a00000-00a10000 rwxp 00000000 00:00 0 \n"
			   "7ff000000000-7ff000021000 rw-p 00000000 00:00 0      [stack]\n"
			   "7ff000030000-7ff000032000 r-xp 00000000 00:00 0      [vdso]";

static struct maps_region file_region(uint64_t start, uint64_t end, const char *path)
{
	return (struct maps_region){.start = start,
				    .end = end,
				    .offset = 0x1000,
				    .inode = 5,
				    .device_major = 8,
				    .protection = PROT_READ | PROT_EXEC,
				    .path = path};
}

static struct ev_location locate(const struct maps *maps, uint32_t tgid, uint64_t address)
{
	struct ev_location location = {0};

	maps_locate(maps, tgid, 1, address, &location);
	return location;
}

static void text_is_read_strictly(void **state)
{
	struct maps *maps = maps_new();
	const struct maps_region *regions;
	struct ev_location at;
	size_t count;

	(void)state;
	assert_int_equal(maps_load(maps, 9, 1, TEXT, sizeof(TEXT) - 1), 5);
	assert_int_equal(maps_source(maps, 9, 1), MAPS_PROC);
	assert_int_equal(maps_source(maps, 9, 2), MAPS_NONE);
	regions = maps_regions(maps, 9, 1, &count);
	assert_int_equal(count, 5);
	assert_int_equal(regions[1].device_major, 0xfe);
	assert_int_equal(regions[1].device_minor, 0x10);
	assert_int_equal(regions[1].inode, 4294967297);
	assert_string_equal(regions[1].path, "/a b/x\ny.so");

	at = locate(maps, 9, 0x500010);
	assert_int_equal(at.what, LOCATION_FILE);
	assert_int_equal(at.source, MAPS_PROC);
	assert_int_equal(at.offset, 0x100010);
	assert_int_equal(at.map_start, 0x500000);
	assert_int_equal(at.protection, PROT_READ | PROT_EXEC);
	assert_string_equal(at.module, "/usr/bin/ruby");
	assert_int_equal(locate(maps, 9, 0x4fffff).what, LOCATION_NONE);
	assert_int_equal(locate(maps, 9, 0x600000).what, LOCATION_NONE);
	assert_int_equal(locate(maps, 9, 0xa00000).what, LOCATION_ANON);
	assert_int_equal(locate(maps, 9, 0x7ff000000000).what, LOCATION_STACK);
	assert_int_equal(locate(maps, 9, 0x7ff000031fff).what, LOCATION_VDSO);
	assert_int_equal(locate(maps, 8, 0x500010).what, LOCATION_NONE);
	assert_int_equal(locate(maps, 8, 0x500010).source, MAPS_NONE);
	maps_free(maps);
}

static void a_new_region_replaces_what_lies_under_it(void **state)
{
	struct maps_region whole = file_region(0x1000, 0x9000, "/old"),
			   part = file_region(0x3000, 0x5000, "/new"),
			   over = file_region(0x4000, 0x20000, "/last");
	struct maps *maps = maps_new();
	const struct maps_region *regions;
	size_t count;

	(void)state;
	maps_load(maps, 9, 1, "", 0);
	maps_add(maps, 9, 1, &whole);
	assert_int_equal(maps_source(maps, 9, 1), MAPS_RECORDS);
	maps_add(maps, 9, 1, &whole); /* nothing new */
	assert_int_equal(maps_source(maps, 9, 1), MAPS_RECORDS);
	maps_add(maps, 9, 1, &part);
	assert_int_equal(maps_source(maps, 9, 1), MAPS_NONE); /* asks to be read anew, and still answers */
	regions = maps_regions(maps, 9, 1, &count);
	assert_int_equal(count, 3);
	assert_int_equal(regions[0].end, 0x3000);
	assert_int_equal(regions[2].start, 0x5000);
	assert_int_equal(regions[2].offset, 0x1000 + 0x4000);
	assert_string_equal(locate(maps, 9, 0x3000).module, "/new");
	assert_string_equal(locate(maps, 9, 0x5000).module, "/old");
	maps_add(maps, 9, 1, &over);
	regions = maps_regions(maps, 9, 1, &count);
	assert_int_equal(count, 3);
	assert_int_equal(regions[1].end, 0x4000);
	assert_string_equal(regions[2].path, "/last");
	maps_load(maps, 9, 1, TEXT, sizeof(TEXT) - 1);
	assert_int_equal(maps_source(maps, 9, 1), MAPS_PROC);
	over.end = over.start;
	maps_add(maps, 9, 1, &over); /* an empty one is nothing */
	assert_int_equal(locate(maps, 9, 0x4000).what, LOCATION_NONE);
	maps_free(maps);
}

static void two_sources_complete_each_other(void **state)
{
	struct maps_region told = file_region(0x500000, 0x600000, "/usr/bin/ruby");
	struct maps *maps = maps_new();
	struct ev_location at;

	(void)state;
	maps_load(maps, 9, 1, TEXT, sizeof(TEXT) - 1);
	told.offset = 0x100000;
	told.inode = 0;
	told.build_id_len = 20;
	memset(told.build_id, 0xab, 20);
	maps_add(maps, 9, 1, &told);
	assert_int_equal(maps_source(maps, 9, 1), MAPS_RECORDS);
	at = locate(maps, 9, 0x500000);
	assert_int_equal(at.inode_low, 77);
	assert_int_equal(at.build_id_len, 20);
	assert_int_equal(at.build_id[19], 0xab);
	maps_load(maps, 9, 1, TEXT, sizeof(TEXT) - 1); /* /proc does not know it, and does not take it away */
	assert_int_equal(locate(maps, 9, 0x500000).build_id_len, 20);
	maps_free(maps);
}

static void forks_share_until_one_changes(void **state)
{
	struct maps_region late = file_region(0x10000, 0x11000, "/late.so");
	struct maps *maps = maps_new();

	(void)state;
	maps_load(maps, 1, 1, TEXT, sizeof(TEXT) - 1);
	maps_fork(maps, 1, 1, 2, 1);
	maps_fork(maps, 1, 1, 3, 1);
	maps_fork(maps, 7, 1, 8, 1); /* nothing is known of the parent */
	assert_int_equal(maps_source(maps, 8, 1), MAPS_NONE);
	assert_int_equal(maps_source(maps, 2, 1), MAPS_INHERITED);
	maps_add(maps, 2, 1, &late);
	assert_int_equal(maps_source(maps, 2, 1), MAPS_RECORDS);
	assert_string_equal(locate(maps, 2, 0x10000).module, "/late.so");
	assert_string_equal(locate(maps, 2, 0x500000).module, "/usr/bin/ruby");
	assert_int_equal(locate(maps, 1, 0x10000).what, LOCATION_NONE);
	assert_int_equal(locate(maps, 3, 0x10000).what, LOCATION_NONE);
	maps_drop(maps, 1, 1);
	assert_int_equal(maps_source(maps, 1, 1), MAPS_NONE);
	assert_string_equal(locate(maps, 3, 0x500000).module, "/usr/bin/ruby");

	/* the child's mapping was told before its fork */
	maps_add(maps, 5, 1, &late);
	assert_int_equal(maps_source(maps, 5, 1), MAPS_NONE);
	maps_fork(maps, 3, 1, 5, 1);
	assert_string_equal(locate(maps, 5, 0x10000).module, "/late.so");
	assert_string_equal(locate(maps, 5, 0x500000).module, "/usr/bin/ruby");

	maps_stale(maps, 3, 1);
	assert_int_equal(maps_source(maps, 3, 1), MAPS_NONE);
	assert_int_equal(locate(maps, 3, 0x500000).what, LOCATION_FILE);
	assert_int_equal(maps_source(maps, 5, 1), MAPS_RECORDS);
	maps_stale(maps, 0, 0);
	assert_int_equal(maps_source(maps, 5, 1), MAPS_NONE);
	maps_free(maps);
}

static void fork_sets_are_small(void **state)
{
	struct maps *maps = maps_new();
	size_t empty = maps_memory(maps), shared;
	char path[64];

	(void)state;
	maps_load(maps, 1, 1, "", 0);
	for (unsigned i = 0; i < 60; i++) {
		struct maps_region region = file_region(0x10000 + i * 0x10000, 0x18000 + i * 0x10000, path);

		snprintf(path, sizeof(path), "/usr/lib/ruby/vendor_ruby/3.1.0/extension-%u.so", i);
		maps_add(maps, 1, 1, &region);
	}
	for (uint32_t worker = 2; worker <= 200; worker++)
		maps_fork(maps, 1, 1, worker, 1);
	shared = maps_memory(maps);
	assert_true(shared < 64 * 1024);
	/* even when every one maps something of its own */
	for (uint32_t worker = 1; worker <= 200; worker++) {
		struct maps_region region = file_region(0x10000000, 0x10001000, "/late.so");

		maps_add(maps, worker, 1, &region);
	}
	print_message("200 processes of 60 regions: %zu bytes shared, %zu when all differ\n", shared,
		      maps_memory(maps));
	assert_true(maps_memory(maps) < 1280 * 1024);
	for (uint32_t worker = 1; worker <= 200; worker++)
		maps_drop(maps, worker, 1);
	assert_true(maps_memory(maps) <= empty + 4096);
	maps_free(maps);
}

static void regions_are_bounded(void **state)
{
	struct maps *maps = maps_new();
	size_t count;

	(void)state;
	for (uint64_t i = 0; i < MAPS_REGIONS + 100; i++) {
		struct maps_region region = file_region(0x10000 + i * 0x2000, 0x11000 + i * 0x2000, "/x");

		maps_add(maps, 1, 1, &region);
	}
	maps_regions(maps, 1, 1, &count);
	assert_true(count <= MAPS_REGIONS && count > MAPS_REGIONS - 4);
	maps_free(maps);
}

static void own_maps_hold_own_code(void **state)
{
	struct maps *maps = maps_new();
	struct ev_location at;
	size_t size;
	char *text;

	(void)state;
	assert_int_equal(file_read("/proc/self/maps", 1 << 20, &text, &size), 0);
	assert_true(maps_load(maps, 1, 1, text, size) > 3);
	at = locate(maps, 1, (uint64_t)own_maps_hold_own_code);
	assert_int_equal(at.what, LOCATION_FILE);
	assert_non_null(strstr(at.module, "probe_maps"));
	assert_int_equal(locate(maps, 1, (uint64_t)&size & ~15ull).what, LOCATION_STACK);
	free(text);
	maps_free(maps);
}

/* --- the kernel's records --------------------------------------------------------------------------- */

enum { STEPS = 40, PER_STEP = 100 };

struct witness {
	uint32_t child;
	char path[64];
	unsigned seen, with_build_id, with_inode;
	uint64_t lost, begun_ns;
	uint8_t build_id[20];
	bool early;
};

static void witness(void *context, uint32_t tgid, uint64_t time_ns, const struct maps_region *region,
		    uint64_t lost)
{
	struct witness *w = context;

	w->lost += lost;
	if (!region || tgid != w->child || strcmp(region->path, w->path) != 0)
		return;
	w->seen++;
	w->with_inode += region->inode > 0;
	w->early |= time_ns < w->begun_ns || time_ns > when_boot_now();
	if (region->build_id_len == 20) {
		w->with_build_id++;
		memcpy(w->build_id, region->build_id, 20);
	}
	assert_int_equal(region->protection, PROT_READ | PROT_EXEC);
	assert_int_equal(region->offset, 4096);
	assert_int_equal(region->end - region->start, 4096);
}

/* The build-id of this program, a copy of which is mapped. */
static int own_build_id(struct dl_phdr_info *info, size_t size, void *out)
{
	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const char *at = (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		const char *end = at + info->dlpi_phdr[i].p_memsz;

		while (info->dlpi_phdr[i].p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) < end) {
			const ElfW(Nhdr) *note = (const void *)at;

			if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz == 20) {
				memcpy(out, at + sizeof(*note) + ((note->n_namesz + 3) & ~3u), 20);
				return 1;
			}
			at += sizeof(*note) + ((note->n_namesz + 3) & ~3u) + ((note->n_descsz + 3) & ~3u);
		}
	}
	return -1; /* the program itself comes first */
}

/* Maps the file again and again, a step for each byte that it is sent. */
static void map_in_steps(int fd, int orders, int reports)
{
	char byte;

	while (read(orders, &byte, 1) == 1) {
		for (int i = 0; i < PER_STEP; i++) {
			void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 4096);

			if (at == MAP_FAILED)
				_exit(1);
			munmap(at, 4096);
		}
		if (write(reports, &byte, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void drain(struct mmap_records *records, struct witness *w)
{
	int more = 1;

	while (more)
		mmap_records_drain(records, 16, witness, w, &more);
}

static void step(struct mmap_records *records, struct witness *w, int orders, int reports)
{
	struct pollfd poll_of = {.fd = mmap_records_fd(records), .events = POLLIN};
	char byte = 's';

	assert_int_equal(write(orders, &byte, 1), 1);
	assert_int_equal(poll(&poll_of, 1, 10000), 1); /* a wake-up comes with the first record */
	assert_int_equal(read(reports, &byte, 1), 1);
	drain(records, w);
}

static void kernel_tells_of_each_mapping(void **state)
{
	struct witness w = {.path = "/tmp/lapidary-maps.XXXXXX", .begun_ns = when_boot_now()};
	int fd = mkstemp(w.path), orders[2], reports[2], status, err;
	struct mmap_records *records;
	uint8_t expected[20];
	char *self;
	size_t size;

	(void)state;
	err = mmap_records_open(16, &records);
	if (err == -EPERM || err == -EACCES) {
		close(fd);
		unlink(w.path);
		skip();
	}
	assert_int_equal(err, 0);
	assert_int_equal(file_read("/proc/self/exe", 64 << 20, &self, &size), 0);
	assert_int_equal(file_write_all(fd, self, size), 0);
	free(self);
	assert_int_equal(dl_iterate_phdr(own_build_id, expected), 1);
	assert_int_equal(pipe(orders) | pipe(reports), 0);
	w.child = (uint32_t)fork();
	if (w.child == 0) {
		close(orders[1]);
		map_in_steps(fd, orders[0], reports[1]);
	}
	for (int i = 0; i < STEPS; i++)
		step(records, &w, orders[1], reports[0]);
	close(orders[1]);
	assert_int_equal(waitpid((pid_t)w.child, &status, 0), w.child);
	assert_int_equal(status, 0);

	/* the ring was filled many times over; records are lost only if the whole host was busy mapping */
	if (w.lost == 0)
		assert_int_equal(w.with_inode, STEPS * PER_STEP);
	assert_int_equal(w.with_build_id, w.seen);
	assert_memory_equal(w.build_id, expected, 20);
	assert_false(w.early);
	close(orders[0]);
	close(reports[0]);
	close(reports[1]);
	close(fd);
	unlink(w.path);
	mmap_records_close(records);
}

static void what_the_ring_could_not_hold_is_told(void **state)
{
	struct witness w = {.path = "/proc/self/exe"};
	struct mmap_records *records;
	int fd, orders[2], reports[2], err = mmap_records_open(1, &records);
	char byte = 's';

	(void)state;
	if (err == -EPERM || err == -EACCES)
		skip();
	assert_int_equal(err, 0);
	assert_int_equal(mmap_records_open(3, &records), -EINVAL);
	fd = fileno(fopen("/proc/self/exe", "re"));
	assert_int_equal(pipe(orders) | pipe(reports), 0);
	w.child = (uint32_t)fork();
	if (w.child == 0) {
		close(orders[1]);
		map_in_steps(fd, orders[0], reports[1]);
	}
	/* the loss is told by the first record that fits again */
	for (int i = 0; i < 10 && w.lost == 0; i++) {
		assert_int_equal(write(orders[1], &byte, 1), 1);
		assert_int_equal(read(reports[0], &byte, 1), 1);
		drain(records, &w);
	}
	assert_true(w.lost > 0);
	close(orders[1]);
	assert_int_equal(waitpid((pid_t)w.child, NULL, 0), w.child);
	mmap_records_close(records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_read_strictly),
		cmocka_unit_test(a_new_region_replaces_what_lies_under_it),
		cmocka_unit_test(two_sources_complete_each_other),
		cmocka_unit_test(forks_share_until_one_changes),
		cmocka_unit_test(fork_sets_are_small),
		cmocka_unit_test(regions_are_bounded),
		cmocka_unit_test(own_maps_hold_own_code),
		cmocka_unit_test(kernel_tells_of_each_mapping),
		cmocka_unit_test(what_the_ring_could_not_hold_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
