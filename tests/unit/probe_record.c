// SPDX-License-Identifier: Apache-2.0
/* Recordings: what goes in comes out, and damage is named with its place. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>
#include "user/probe/record.h"

static char folder[] = "/tmp/lapidary-record.XXXXXX";
static char path[64];
static union {
	_Alignas(8) unsigned char bytes[EV_RECORD_MAX];
	struct ev_head head;
} out;

static int before(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/r", folder);
	return 0;
}

static int after(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void write_begin(struct recorder *recorder)
{
	struct ev_begin begin = {
		.head = {.size = sizeof(begin), .type = EV_BEGIN, .lane = LANE_USER},
		.format = EV_FORMAT,
		.seed = 7,
		.host = "here",
	};

	assert_int_equal(recorder_write(recorder, &begin.head), 0);
}

static struct ev_head tick(uint64_t time)
{
	return (struct ev_head){
		.size = sizeof(struct ev_head), .type = EV_TICK, .lane = LANE_USER, .time_ns = time};
}

static void record_ticks(unsigned count)
{
	struct recorder *recorder;

	assert_int_equal(recorder_open(path, 0, &recorder), 0);
	write_begin(recorder);
	for (unsigned i = 1; i <= count; i++) {
		struct ev_head ev = tick(i);

		assert_int_equal(recorder_write(recorder, &ev), 0);
	}
	assert_int_equal(recorder_close(recorder), 0);
}

/* Reads to the end or the damage: how many ticks there were, and what ended it. */
static unsigned read_ticks(int *end, const char **why, uint64_t *where)
{
	struct recording *recording;
	unsigned count = 0;

	assert_int_equal(recording_open(path, &recording, why), 0);
	while ((*end = recording_next(recording, &out.head, why, where)) == 1) {
		if (out.head.type != EV_TICK)
			continue;
		count++;
		assert_int_equal(out.head.time_ns, count);
	}
	recording_close(recording);
	return count;
}

static void records_come_back(void **state)
{
	const char *why = NULL;
	struct stat stat_of;
	uint64_t where;
	int end;

	(void)state;
	record_ticks(5000); /* some buffers full */
	assert_int_equal(read_ticks(&end, &why, &where), 5000);
	assert_int_equal(end, 0);
	assert_int_equal(stat(path, &stat_of), 0);
	assert_int_equal(stat_of.st_mode & 0777, 0600);
	assert_int_equal(stat_of.st_size, 32 + 8 + sizeof(struct ev_begin) + 5000 * (8 + 40));
}

static void other_formats_are_named(void **state)
{
	struct recording *recording;
	const char *why = NULL;
	uint32_t head[8];

	(void)state;
	for (uint32_t format = EV_FORMAT - 1; format <= EV_FORMAT + 1; format += 2) {
		FILE *file;

		memcpy(head, "LAPIDREC", 8);
		memset(head + 2, 0, sizeof(head) - 8);
		head[2] = format;
		head[3] = sizeof(head);
		head[7] = (uint32_t)crc32(0, (const unsigned char *)head, 28);
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(head, sizeof(head), 1, file), 1);
		fclose(file);
		assert_int_equal(recording_open(path, &recording, &why), -EPROTO);
		assert_non_null(
			strstr(why, format < EV_FORMAT ? "by an older version" : "by a newer version"));
		unlink(path);
	}
}

static void stacks_are_left_out(void **state)
{
	static union {
		_Alignas(8) unsigned char bytes[EV_RECORD_MAX];
		struct ev_fault fault;
	} in;
	struct ev_fault *fault = &in.fault, *back = (struct ev_fault *)out.bytes;
	struct recording *recording;
	struct recorder *recorder;
	const char *why = NULL;
	uint64_t where;

	(void)state;
	fault->head = (struct ev_head){
		.size = sizeof(*fault) + 100, .type = EV_FAULT, .lane = LANE_CAPTURE, .tgid = 5};
	fault->signal = 11;
	fault->stack_len = 100;
	fault->flags = FAULT_CLIPPED;
	fault->missing[0] = 1;
	memset(fault->stack, 'S', 100);
	assert_int_equal(recorder_open(path, 0, &recorder), 0);
	write_begin(recorder);
	assert_int_equal(recorder_write(recorder, &fault->head), 0);
	assert_int_equal(fault->stack_len, 100); /* the caller's record is its own */
	assert_int_equal(recorder_close(recorder), 0);

	assert_int_equal(recording_open(path, &recording, &why), 0);
	assert_int_equal(recording_next(recording, &out.head, &why, &where), 1);
	assert_int_equal(recording_next(recording, &out.head, &why, &where), 1);
	assert_int_equal(back->head.size, sizeof(*back));
	assert_int_equal(back->signal, 11);
	assert_int_equal(back->stack_len, 0);
	assert_int_equal(back->missing[0], 0);
	assert_int_equal(back->flags, FAULT_CLIPPED | FAULT_STRIPPED);
	assert_int_equal(recording_next(recording, &out.head, &why, &where), 0);
	recording_close(recording);
}

static void poke(off_t at, unsigned char value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, &value, 1, at), 1);
	close(fd);
}

static void damage_is_named(void **state)
{
	off_t first = 32 + 8 + sizeof(struct ev_begin); /* the first tick's block */
	struct recording *recording;
	const char *why = NULL;
	uint64_t where;
	int end;

	(void)state;
	record_ticks(3);
	assert_int_equal(truncate(path, first + 2 * 48 + 20), 0);
	assert_int_equal(read_ticks(&end, &why, &where), 2);
	assert_int_equal(end, -EBADMSG);
	assert_string_equal(why, "ends inside a block");
	assert_int_equal(where, first + 2 * 48);

	poke(first + 48 + 8 + 16, 0xff); /* the second tick's time */
	assert_int_equal(read_ticks(&end, &why, &where), 1);
	assert_string_equal(why, "block sum");
	assert_int_equal(where, first + 48);

	poke(first + 2, 0xff); /* a length that no record has */
	assert_int_equal(read_ticks(&end, &why, &where), 0);
	assert_string_equal(why, "block length");

	poke(20, 1);
	assert_int_equal(recording_open(path, &recording, &why), -EBADMSG);
	assert_string_equal(why, "damaged header");
	poke(0, 'X');
	assert_int_equal(recording_open(path, &recording, &why), -EBADMSG);
	assert_string_equal(why, "not a recording");
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(recording_open(path, &recording, &why), -EBADMSG);
	unlink(path);
	assert_int_equal(recording_open(path, &recording, &why), -ENOENT);
}

static void the_limit_holds(void **state)
{
	uint64_t limit = 32 + 8 + sizeof(struct ev_begin) + 2 * 48 + 10, where;
	struct ev_head ev = tick(1), second = tick(2), third = tick(3);
	struct recorder *recorder;
	const char *why = NULL;
	struct stat stat_of;
	int end;

	(void)state;
	assert_int_equal(recorder_open(path, limit, &recorder), 0);
	write_begin(recorder);
	assert_int_equal(recorder_write(recorder, &ev), 0);
	assert_int_equal(recorder_write(recorder, &second), 0);
	assert_int_equal(recorder_write(recorder, &third), -EFBIG);
	assert_int_equal(recorder_write(recorder, &third), -EFBIG);
	assert_int_equal(recorder_close(recorder), -EFBIG);
	assert_int_equal(stat(path, &stat_of), 0);
	assert_true((uint64_t)stat_of.st_size <= limit);
	assert_int_equal(read_ticks(&end, &why, &where), 2);
	assert_int_equal(end, 0);
}

static void files_that_are_there_stay(void **state)
{
	struct recorder *recorder;
	struct ev_head ev = tick(1);

	(void)state;
	record_ticks(1);
	assert_int_equal(recorder_open(path, 0, &recorder), -EEXIST);
	unlink(path);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(recorder_open(path, 0, &recorder), -EEXIST);
	unlink(path);
	assert_int_equal(recorder_open(path, 0, &recorder), 0);
	assert_int_equal(recorder_write(recorder, &ev), -EINVAL); /* EV_BEGIN comes first */
	assert_int_equal(recorder_close(recorder), 0);
	assert_int_equal(recorder_close(NULL), 0);
}

static void a_full_disk_is_told(void **state)
{
	struct recorder *recorder;
	struct ev_head ev = tick(1);
	int err = 0;

	(void)state;
	assert_int_equal(symlink("/dev/full", path), 0);
	assert_int_equal(recorder_open(path, 0, &recorder), -EEXIST);
	unlink(path);
	/* the same device under the recorder's own descriptor */
	assert_int_equal(recorder_open(path, 0, &recorder), 0);
	write_begin(recorder);
	for (int fd = 3; fd < 64; fd++) {
		struct stat a, b;

		if (fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
		    a.st_dev == b.st_dev) {
			int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

			assert_int_equal(dup3(full, fd, O_CLOEXEC), fd);
			close(full);
		}
	}
	for (int i = 0; i < 5000 && !err; i++)
		err = recorder_write(recorder, &ev);
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(recorder_flush(recorder), -ENOSPC);
	assert_int_equal(recorder_close(recorder), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records_come_back, before, after),
		cmocka_unit_test_setup_teardown(other_formats_are_named, before, after),
		cmocka_unit_test_setup_teardown(stacks_are_left_out, before, after),
		cmocka_unit_test_setup_teardown(damage_is_named, before, after),
		cmocka_unit_test_setup_teardown(the_limit_holds, before, after),
		cmocka_unit_test_setup_teardown(files_that_are_there_stay, before, after),
		cmocka_unit_test_setup_teardown(a_full_disk_is_told, before, after),
	};
	int failed;

	if (!mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
