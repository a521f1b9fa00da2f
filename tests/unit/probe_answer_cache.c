// SPDX-License-Identifier: Apache-2.0
/* The cache over two lives: what is kept, what is not believed, what a changed file does. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/probe/answer_cache.h"
#include "user/probe/build_log.h"

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/lapidary-cache-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int forget_folder(void **state)
{
	char command[200];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static const struct answer_key key = {1, 2, 3, 4, 5, INSPECT_BUILD_LOG, 0};

static struct inspection answer_of(const char *abi)
{
	struct build_log *log = calloc(1, sizeof(*log));

	strcpy(log->abi, abi);
	return (struct inspection){.kind = INSPECT_BUILD_LOG, .answer = log, .size = sizeof(*log)};
}

static void save_one(void)
{
	struct answer_cache *cache = answer_cache_new(folder);
	struct inspection answer = answer_of("3.1.0");

	assert_true(answer_cache_put(cache, &key, &answer));
	assert_int_equal(answer_cache_save(cache), 0);
	answer_cache_free(cache);
}

static bool is_known(const struct answer_key *asked)
{
	struct answer_cache *cache = answer_cache_new(folder);
	struct inspection out;
	bool known = answer_cache_get(cache, asked, &out);

	if (known) {
		assert_int_equal(out.result, 0);
		assert_string_equal(((const struct build_log *)out.answer)->abi, "3.1.0");
	}
	answer_cache_free(cache);
	return known;
}

static int open_cache(int flags)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s/answers.cache", folder);
	fd = open(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void what_was_said_is_kept(void **state)
{
	struct answer_cache *cache;
	struct stat st;
	int fd;

	(void)state;
	save_one();
	assert_true(is_known(&key));
	fd = open_cache(O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* what nobody asks for any more goes with the next that is written */
	cache = answer_cache_new(folder);
	{
		struct answer_key other = key;
		struct inspection answer = answer_of("2.7.0");

		other.inode++;
		assert_true(answer_cache_put(cache, &other, &answer));
		assert_int_equal(answer_cache_save(cache), 0);
	}
	answer_cache_free(cache);
	assert_false(is_known(&key));
}

static void a_file_that_changed_is_another(void **state)
{
	struct answer_key changed;

	(void)state;
	save_one();
	changed = key, changed.size++;
	assert_false(is_known(&changed));
	changed = key, changed.mtime_ns++;
	assert_false(is_known(&changed));
	changed = key, changed.ctime_ns++;
	assert_false(is_known(&changed));
	changed = key, changed.device++;
	assert_false(is_known(&changed));
	changed = key, changed.kind = INSPECT_GEMSPEC;
	assert_false(is_known(&changed));
	assert_true(is_known(&key));
}

static void what_may_be_otherwise_soon_is_not_kept(void **state)
{
	struct answer_cache *cache = answer_cache_new(folder);
	struct inspection answer = {.kind = INSPECT_BUILD_LOG, .result = -EIO};
	struct answer_key fresh = key;
	struct timespec now;

	(void)state;
	assert_false(answer_cache_put(cache, &key, &answer));
	/* just written: it may be written again without its times showing it */
	clock_gettime(CLOCK_REALTIME, &now);
	fresh.ctime_ns = now.tv_sec * 1000000000 + now.tv_nsec;
	answer = answer_of("3.1.0");
	assert_true(answer_cache_put(cache, &fresh, &answer));
	assert_int_equal(answer_cache_save(cache), 0);
	answer_cache_free(cache);
	assert_false(is_known(&fresh));
}

static void only_a_file_of_our_own_is_read(void **state)
{
	char command[300];
	int fd;

	(void)state;
	save_one();
	fd = open_cache(O_RDONLY);
	assert_int_equal(fchmod(fd, 0660), 0);
	assert_false(is_known(&key));
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_true(is_known(&key));
	if (geteuid() == 0) {
		assert_int_equal(fchown(fd, 64325, 0), 0);
		assert_false(is_known(&key));
		assert_int_equal(fchown(fd, 0, 0), 0);
	}
	close(fd);
	snprintf(command, sizeof(command), "cd %s && mv answers.cache real && ln -s real answers.cache",
		 folder);
	assert_int_equal(system(command), 0);
	assert_false(is_known(&key));
	snprintf(command, sizeof(command), "cd %s && rm answers.cache && mkfifo answers.cache", folder);
	assert_int_equal(system(command), 0);
	assert_false(is_known(&key));
}

/* Any single bit: it is not known, or it is what was said, or the same text with another letter. */
static void damage_does_no_harm(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	save_one();
	fd = open_cache(O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		unsigned char old, new;
		struct answer_cache *cache;
		struct inspection out;

		assert_int_equal(pread(fd, &old, 1, at), 1);
		new = old ^ (1u << (at % 8));
		assert_int_equal(pwrite(fd, &new, 1, at), 1);
		cache = answer_cache_new(folder);
		if (answer_cache_get(cache, &key, &out) && out.result == 0)
			assert_non_null(memchr(((const struct build_log *)out.answer)->abi, '\0', 16));
		answer_cache_free(cache);
		assert_int_equal(pwrite(fd, &old, 1, at), 1);
	}
	assert_true(is_known(&key));
	for (off_t size = st.st_size - 1; size >= 0; size -= 7) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_false(is_known(&key));
	}
	close(fd);
}

static void without_a_folder(void **state)
{
	struct answer_cache *cache = answer_cache_new("");
	struct inspection answer = answer_of("3.1.0"), out;

	(void)state;
	assert_true(answer_cache_put(cache, &key, &answer));
	assert_true(answer_cache_get(cache, &key, &out));
	assert_int_equal(answer_cache_save(cache), 0);
	answer_cache_free(cache);
	cache = answer_cache_new("/nonexistent/folder");
	answer = answer_of("3.1.0");
	assert_true(answer_cache_put(cache, &key, &answer));
	assert_int_equal(answer_cache_save(cache), -ENOENT);
	answer_cache_free(cache);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, forget_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_said_is_kept),
		TEST(a_file_that_changed_is_another),
		TEST(what_may_be_otherwise_soon_is_not_kept),
		TEST(only_a_file_of_our_own_is_read),
		TEST(damage_does_no_harm),
		TEST(without_a_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
