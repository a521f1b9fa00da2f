// SPDX-License-Identifier: Apache-2.0
/* Archives as they are written and read back, by us and by tar(1), and archives that mean harm. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>
#include "user/base/tar.h"

enum { LIMIT = 1 << 20, BLOCK = 512 };

static char names[256];
static size_t total;

static int note(void *context, const char *name, const uint8_t *bytes, size_t size, char *why,
		size_t why_size)
{
	(void)context;
	(void)bytes;
	(void)why;
	(void)why_size;
	snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s:%zu ", name, size);
	total += size;
	return 0;
}

static int read_back(const void *bytes, size_t size, char why[160])
{
	names[0] = why[0] = '\0';
	total = 0;
	return tar_read(bytes, size, LIMIT, note, NULL, why, 160);
}

static uint8_t *pack(size_t *size)
{
	struct tar *tar = tar_new();
	char big[1000];
	uint8_t *out = NULL;

	memset(big, 'x', sizeof(big));
	tar_add(tar, "one.json", "{}", 2, 1700000000);
	tar_add(tar, "empty", "", 0, 0);
	tar_add(tar, "big", big, sizeof(big), 0);
	assert_int_equal(tar_finish(tar, &out, size), 0);
	tar_free(tar);
	return out;
}

/* The same, unpacked. */
static uint8_t *plain(size_t *size)
{
	size_t packed_size;
	uint8_t *packed = pack(&packed_size), *out = malloc(LIMIT);
	z_stream stream = {
		.next_in = packed, .avail_in = (uInt)packed_size, .next_out = out, .avail_out = LIMIT};

	assert_int_equal(inflateInit2(&stream, 31), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	*size = LIMIT - stream.avail_out;
	inflateEnd(&stream);
	free(packed);
	return out;
}

static void test_there_and_back(void **state)
{
	size_t size;
	uint8_t *packed = pack(&size);
	char why[160];

	(void)state;
	assert_true(tar_is(packed, size));
	assert_int_equal(read_back(packed, size, why), 0);
	assert_string_equal(names, "one.json:2 empty:0 big:1000 ");
	free(packed);
	packed = plain(&size);
	assert_int_equal(size, 512 + 512 + 512 + 512 + 1024 + 1024);
	assert_int_equal(read_back(packed, size, why), 0);
	assert_int_equal(total, 1002);
	free(packed);
}

static void test_tar_reads_ours(void **state)
{
	char path[] = "/tmp/lapidary-tar.XXXXXX", command[128], line[128];
	size_t size;
	uint8_t *packed = pack(&size);
	int fd = mkstemp(path);
	FILE *file = fdopen(fd, "w"), *listing;

	(void)state;
	assert_int_equal(fwrite(packed, 1, size, file), size);
	fclose(file);
	snprintf(command, sizeof(command), "tar -tvzf %s 2>&1", path);
	listing = popen(command, "r");
	assert_non_null(fgets(line, sizeof(line), listing));
	assert_non_null(strstr(line, "-rw-------"));
	assert_non_null(strstr(line, "one.json"));
	while (fgets(line, sizeof(line), listing))
		;
	assert_int_equal(pclose(listing), 0);
	remove(path);
	free(packed);
}

static void test_every_cut(void **state)
{
	size_t size, packed_size;
	uint8_t *bytes = plain(&size), *packed = pack(&packed_size);
	char why[160];

	(void)state;
	for (size_t cut = 0; cut < size - BLOCK; cut++) { /* one empty block is an end as well */
		assert_int_equal(read_back(bytes, cut, why), -EBADMSG);
		assert_true(why[0]);
	}
	for (size_t cut = 0; cut < packed_size; cut++)
		assert_int_equal(read_back(packed, cut, why), -EBADMSG);
	free(bytes);
	free(packed);
}

/* Writes the checksum anew, so that what is wrong is the field that was bent. */
static void bend(uint8_t *header, size_t at, const char *text, size_t size)
{
	unsigned sum = 0;

	memcpy(header + at, text, size);
	memset(header + 148, ' ', 8);
	for (int i = 0; i < BLOCK; i++)
		sum += header[i];
	snprintf((char *)header + 148, 7, "%06o", sum);
	header[155] = ' ';
}

static void test_what_is_refused(void **state)
{
	static const struct {
		size_t at;
		const char *text;
		size_t size;
		const char *why;
	} bad[] = {
		{156, "2", 1, "not a regular file"},
		{156, "5", 1, "not a regular file"},
		{156, "x", 1, "not a regular file"},
		{0, "../../x", 8, "a name with a slash"},
		{0, "/etc/x", 7, "a name with a slash"},
		{0, "", 1, "a name that is too long, or none"},
		{345, "p", 1, "a name that is too long, or none"},
		{124, "77777777777", 12, "the file is longer than the archive"},
		{124, "-0000000001", 12, "the size is no number"},
		{124, "\200\0\0\0\0\0\0\0\0\0\377", 12, "the size is no number"},
		{257, "xstar", 5, NULL},
	};
	char why[160];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		size_t size;
		uint8_t *bytes = plain(&size);

		bend(bytes, bad[i].at, bad[i].text, bad[i].size);
		assert_int_equal(read_back(bytes, size, why), -EBADMSG);
		if (bad[i].why)
			assert_non_null(strstr(why, bad[i].why));
		assert_non_null(strstr(why, "byte 0"));
		free(bytes);
	}
}

static void test_checksum_and_bombs(void **state)
{
	size_t size;
	uint8_t *bytes = plain(&size), *packed = calloc(1, 1 << 16);
	uint8_t *zeroes = calloc(1, 4 << 20);
	z_stream stream = {.next_in = zeroes, .avail_in = 4 << 20, .next_out = packed, .avail_out = 1 << 16};
	char why[160];

	(void)state;
	bytes[0] ^= 1;
	assert_int_equal(read_back(bytes, size, why), -EBADMSG);
	assert_non_null(strstr(why, "checksum"));
	/* 4 MiB of zeroes in 4 KiB, against a limit of one */
	assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, 0), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(read_back(packed, stream.total_out, why), -EFBIG);
	deflateEnd(&stream);
	assert_int_equal(read_back("neither", 7, why), -EBADMSG);
	free(bytes);
	free(packed);
	free(zeroes);
}

static void test_names_that_do_not_fit(void **state)
{
	struct tar *tar = tar_new();
	char name[101];
	uint8_t *out = NULL;
	size_t size;

	(void)state;
	memset(name, 'n', 100);
	name[100] = '\0';
	tar_add(tar, name, "", 0, 0);
	tar_add(tar, "good", "", 0, 0);
	assert_int_equal(tar_finish(tar, &out, &size), -EINVAL);
	assert_null(out);
	tar_free(tar);
	tar_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),     cmocka_unit_test(test_tar_reads_ours),
		cmocka_unit_test(test_every_cut),          cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_checksum_and_bombs), cmocka_unit_test(test_names_that_do_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
