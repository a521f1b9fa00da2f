// SPDX-License-Identifier: Apache-2.0
/*
 * The inspector as it runs: a real confined child asked about real and damaged files, killed and stopped; and
 * answers that no honest child gives.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/elf/object.h"
#include "user/probe/build_log.h"
#include "user/probe/bundle_config.h"
#include "user/probe/gemspec.h"
#include "user/probe/inspector_wire.h"
#include "user/probe/lockfile.h"

enum { TEST_UID = 64323 };

static int open_first(const char *pattern)
{
	glob_t found;
	int fd;

	if (glob(pattern, 0, NULL, &found) != 0)
		fail_msg("no %s on this host", pattern);
	fd = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	globfree(&found);
	assert_true(fd >= 0);
	return fd;
}

static int text_file(const char *text)
{
	int fd = memfd_create("text", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void forget(struct inspection *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].answer);
		close(list[i].fd);
	}
}

static void every_kind_of_file(void **state)
{
	struct inspector *inspector = inspector_new(TEST_UID);
	struct inspection list[] = {
		{INSPECT_OBJECT, open_first("/usr/lib/*/ruby/vendor_ruby/*/pg_ext.so")},
		{INSPECT_OBJECT, open_first("/etc/passwd")},
		{INSPECT_LOCKFILE,
		 text_file("GEM\n  remote: https://gems.example/\n  specs:\n    pg (1.5.4)\n\n"
			   "PLATFORMS\n  ruby\n\nDEPENDENCIES\n  pg\n")},
		{INSPECT_GEMSPEC,
		 open_first("/usr/share/rubygems-integration/3*/specifications/pg-*.gemspec")},
		{INSPECT_BUILD_LOG,
		 text_file("current directory: /gems/pg/ext\n/usr/bin/ruby3.1 -I . extconf.rb\n")},
		{INSPECT_BUNDLE_CONFIG, text_file("---\nBUNDLE_PATH: \"vendor/bundle\"\n")},
		{INSPECT_KINDS, open_first("/etc/passwd")},
		{INSPECT_TEXT, text_file("/opt/lib\n\033[2J\n")},
	};

	(void)state;
	inspector_run(inspector, list, 8);
	assert_string_equal(list[7].answer, "/opt/lib\n?[2J\n");
	for (size_t i = 0; i < 6; i++)
		if (i != 1 && list[i].result)
			fail_msg("%zu: %d %s", i, list[i].result, list[i].why);
	assert_true(((struct object *)list[0].answer)->flags & OBJECT_GIVES_INIT);
	assert_int_equal(list[1].result, -ENOEXEC);
	assert_string_equal(list[1].why, "no ELF file");
	assert_null(list[1].answer);
	assert_string_equal(((struct lockfile *)list[2].answer)->gems[0].version, "1.5.4");
	assert_string_equal(((struct gemspec *)list[3].answer)->name, "pg");
	assert_string_equal(((struct build_log *)list[4].answer)->ruby, "/usr/bin/ruby3.1");
	assert_string_equal(((struct bundle_config *)list[5].answer)->path, "vendor/bundle");
	assert_int_equal(list[6].result, -EINVAL);
	forget(list, 8);
	inspector_free(inspector);
}

static void larger_than_may_be(void **state)
{
	struct inspector *inspector = inspector_new(TEST_UID);
	struct inspection list[] = {{INSPECT_GEMSPEC, text_file("x")},
				    {INSPECT_BUNDLE_CONFIG, text_file("x")}};

	(void)state;
	assert_int_equal(ftruncate(list[0].fd, GEMSPEC_BYTES_MAX + 1), 0);
	assert_int_equal(ftruncate(list[1].fd, (off_t)1 << 40), 0);
	inspector_run(inspector, list, 2);
	assert_int_equal(list[0].result, -E2BIG);
	assert_int_equal(list[1].result, -E2BIG);
	assert_non_null(strstr(list[1].why, "larger than"));
	forget(list, 2);
	inspector_free(inspector);
}

static pid_t only_child(void)
{
	char name[64], text[64] = "";
	FILE *file;

	snprintf(name, sizeof(name), "/proc/self/task/%d/children", getpid());
	file = fopen(name, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	return (pid_t)atoi(text);
}

/* The child is gone before it answers the first: that one is lost, every other has its answer. */
static void a_child_that_ends_costs_one_file(void **state)
{
	struct inspector *inspector = inspector_new(TEST_UID);
	struct inspection list[100];

	(void)state;
	for (int how = 0; how < 2; how++) {
		size_t lost = 0;

		for (size_t i = 0; i < 100; i++)
			list[i] = (struct inspection){INSPECT_OBJECT, open_first("/bin/ls")};
		inspector_run(inspector, list, 1);
		assert_int_equal(list[0].result, 0);
		free(list[0].answer);
		inspector_set_wait(inspector, how ? 300 : INSPECTOR_WAIT_MS);
		assert_int_equal(kill(only_child(), SIGSTOP), 0);
		if (how == 0)
			assert_int_equal(kill(only_child(), SIGKILL), 0);
		inspector_run(inspector, list, 100);
		for (size_t i = 0; i < 100; i++)
			lost += list[i].result != 0;
		assert_int_equal(lost, 1);
		assert_int_equal(list[0].result, how ? -ETIMEDOUT : -EIO);
		assert_string_equal(list[0].why,
				    how ? "the examiner took too long over it" : "the examiner died on it");
		forget(list, 100);
	}
	inspector_free(inspector);
}

static void damaged_objects(void **state)
{
	struct inspector *inspector = inspector_new(TEST_UID);
	struct inspection list[200];
	int from = open_first("/usr/lib/*/ruby/vendor_ruby/*/pg_ext.so");
	unsigned int random = 88172645u;
	struct stat st;
	char *bytes;

	(void)state;
	assert_int_equal(fstat(from, &st), 0);
	bytes = malloc(st.st_size);
	assert_int_equal(pread(from, bytes, st.st_size, 0), st.st_size);
	for (size_t i = 0; i < 200; i++) {
		random ^= random << 13, random ^= random >> 17, random ^= random << 5;
		bytes[i % 2 ? random % 1024 : st.st_size - 1 - random % 2000] ^= 1 << random % 8;
		list[i] = (struct inspection){INSPECT_OBJECT, memfd_create("damaged", MFD_CLOEXEC)};
		assert_int_equal(write(list[i].fd, bytes, st.st_size), st.st_size);
		assert_int_equal(ftruncate(list[i].fd, random % 5 ? st.st_size : random % st.st_size), 0);
	}
	inspector_run(inspector, list, 200);
	for (size_t i = 0; i < 200; i++)
		assert_true(list[i].result == 0 || list[i].result == -ENOEXEC);
	forget(list, 200);
	free(bytes);
	close(from);
	inspector_free(inspector);
}

static void answers_are_not_believed(void **state)
{
	struct gemspec spec = {.name = "pg"}, bad;
	struct build_log log = {.abi = "3.1.0"};

	(void)state;
	assert_true(inspector_check(INSPECT_GEMSPEC, &spec, sizeof(spec)));
	assert_false(inspector_check(INSPECT_GEMSPEC, &spec, sizeof(spec) - 1));
	bad = spec;
	memset(bad.name, 'x', sizeof(bad.name));
	assert_false(inspector_check(INSPECT_GEMSPEC, &bad, sizeof(bad)));
	bad = spec;
	bad.extension_count = GEMSPEC_EXTENSIONS + 1;
	assert_false(inspector_check(INSPECT_GEMSPEC, &bad, sizeof(bad)));
	bad = spec;
	bad.require_path_count = GEMSPEC_PATHS + 1;
	assert_false(inspector_check(INSPECT_GEMSPEC, &bad, sizeof(bad)));
	bad = spec;
	strcpy(bad.platform, "\033[2J");
	assert_true(inspector_check(INSPECT_GEMSPEC, &bad, sizeof(bad)));
	assert_string_equal(bad.platform, "?[2J");
	assert_true(inspector_check(INSPECT_BUILD_LOG, &log, sizeof(log)));
	log.conflicting = 2;
	assert_false(inspector_check(INSPECT_BUILD_LOG, &log, sizeof(log)));
	assert_false(inspector_check(INSPECT_OBJECT, &spec, 8));
	assert_false(inspector_check(INSPECT_KINDS, &spec, sizeof(spec)));
}

/* As whoever is not root runs it. */
static void without_root(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		struct inspection one = {INSPECT_OBJECT, open_first("/bin/ls")};

		if (setuid(TEST_UID) != 0)
			_exit(9);
		inspector_run(inspector_new(0), &one, 1);
		_exit(one.result == 0 ? 7 : 8);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void a_thousand_objects(void **state)
{
	struct inspector *inspector = inspector_new(TEST_UID);
	static struct inspection list[1000];
	struct timespec begin, end;
	glob_t found;

	(void)state;
	assert_int_equal(glob("/usr/lib/x86_64-linux-gnu/ruby/*/*.so", 0, NULL, &found), 0);
	for (size_t i = 0; i < 1000; i++)
		list[i] = (struct inspection){INSPECT_OBJECT,
					      open(found.gl_pathv[i % found.gl_pathc], O_RDONLY | O_CLOEXEC)};
	globfree(&found);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	inspector_run(inspector, list, 1000);
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_message("1,000 objects in %.1f ms\n", (double)(end.tv_sec - begin.tv_sec) * 1e3 +
							    (double)(end.tv_nsec - begin.tv_nsec) / 1e6);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(list[i].result, 0);
	forget(list, 1000);
	inspector_free(inspector);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_file),
		cmocka_unit_test(larger_than_may_be),
		cmocka_unit_test(a_child_that_ends_costs_one_file),
		cmocka_unit_test(damaged_objects),
		cmocka_unit_test(answers_are_not_believed),
		cmocka_unit_test(without_root),
		cmocka_unit_test(a_thousand_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
