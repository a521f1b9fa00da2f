// SPDX-License-Identifier: Apache-2.0
/*
 * Separate debug files as compilers, objcopy and strip make them: what a stripped library says of its own,
 * what is copied of it, that another's is not, and whose names an unwound stack then has; then such files
 * damaged.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/dying.h"
#include "user/elf/distil.h"
#include "user/elf/library.h"

enum { DAMAGED = 400, FILE_MAX = 256 * 1024 };

static char folder[64];

/* Only entry() is exported; the two below it have no name but in the debug file. */
static const char library_c[] =
	"volatile int sink;\n"
	"__attribute__((noipa)) static int innermost(int *p) { return *p + 1; }\n"
	"__attribute__((noipa)) static int middle(int n) { sink = innermost((int *)8) + n; return "
	"sink + 1; }\n"
	"void entry(int n) { sink = middle(n) + 1; sink++; }\n";

static void make(const char *commands)
{
	char command[2048];

	snprintf(command, sizeof(command), "cd %s && { %s; } >/dev/null", folder, commands);
	assert_int_equal(system(command), 0);
}

/* NAME.so, stripped, and NAME.debug. */
static void make_library(const char *name, const char *options)
{
	char commands[512];

	snprintf(commands, sizeof(commands),
		 "cc -w -g -O2 -fPIC -shared %s -o %s.so library.c && objcopy --only-keep-debug %s.so "
		 "%s.debug && strip %s.so && objcopy --add-gnu-debuglink=%s.debug %s.so",
		 options, name, name, name, name, name, name);
	make(commands);
}

static int group_setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/lapidary-debug.XXXXXX");
	assert_non_null(mkdtemp(folder));
	dying_write(folder, "library.c", library_c);
	make_library("named", "-Wl,--build-id");
	make_library("other", "-DOTHER -O1 -Wl,--build-id");
	make_library("linked", "-Wl,--build-id=none");
	make("cc -w -g -O2 -fPIC -shared -o full.so library.c");
	return 0;
}

static int group_teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static int open_file(const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static struct library library_of(const char *name)
{
	struct library library;
	int fd = open_file(name);
	struct stat st;

	assert_int_equal(library_examine(fd, &library), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(library_check(&library, (uint64_t)st.st_size));
	close(fd);
	return library;
}

static struct distil_debug wanted_by(const char *name)
{
	struct library library = library_of(name);
	struct distil_debug wanted = {.build_id_len = library.build_id_len, .crc = library.debug_crc};

	memcpy(wanted.build_id, library.build_id, sizeof(wanted.build_id));
	return wanted;
}

/* Distils the open file into a new one, whose descriptor is *out. */
static int64_t distil_open(int fd, const struct distil_debug *wanted, int *out)
{
	struct stat st;

	*out = memfd_create("copy", MFD_CLOEXEC);
	assert_true(*out >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(*out, st.st_size), 0);
	return distil_debug(fd, *out, wanted);
}

static int64_t distil_for(const char *library, const char *debug, int *out)
{
	struct distil_debug wanted = wanted_by(library);
	int fd = open_file(debug);
	int64_t copied = distil_open(fd, &wanted, out);

	close(fd);
	return copied;
}

static void expect(const char *library, const char *debug, int result)
{
	int out;
	int64_t copied = distil_for(library, debug, &out);

	if (copied != result)
		fail_msg("%s for %s: %lld", debug, library, (long long)copied);
	close(out);
}

static void what_a_file_says_of_its_symbols(void **state)
{
	struct library named = library_of("named.so"), linked = library_of("linked.so"),
		       full = library_of("full.so");

	(void)state;
	assert_int_equal(named.symbol_table, 0);
	assert_int_equal(named.build_id_len, 20);
	assert_string_equal(named.debug_link, "named.debug");
	assert_int_equal(linked.symbol_table, 0);
	assert_int_equal(linked.build_id_len, 0);
	assert_string_equal(linked.debug_link, "linked.debug");
	assert_true(linked.debug_crc != 0);
	assert_int_equal(full.symbol_table, 1);
	assert_string_equal(full.debug_link, "");
}

/* Dies in innermost(); the frames that lie in the library are the first three. */
static void expect_names(const char *name, const char *debug, const char *const names[3],
			 const enum unwind_symbols from[3])
{
	static struct unwind_result result;
	struct unwind_question question;
	char file[64], path[PATH_MAX];
	struct dying *dying;
	bool found = false;

	snprintf(file, sizeof(file), "%s.so", name);
	snprintf(path, sizeof(path), "%s/%s", folder, file);
	dying = dying_start(path, 5);
	for (size_t i = 0; i < dying->source_count; i++)
		if (debug && strcmp(dying->paths[i], path) == 0) {
			assert_true(distil_for(file, debug, &dying->sources[i].debug_fd) > 0);
			found = true;
		}
	assert_true(found == (debug != NULL));
	dying_question(dying, &question);
	assert_int_equal(unwind(&question, &result), 0);
	assert_true(unwind_check(&result, question.source_count));
	assert_true(result.count > 3);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(result.frames[i].symbol, names[i]);
		assert_int_equal(result.frames[i].symbol_from, from[i]);
	}
	assert_int_equal(result.modules[result.frames[0].module].symbols,
			 debug ? UNWIND_DEBUG_SYMBOLS : UNWIND_DYNAMIC_SYMBOLS);
	dying_end(dying);
}

static void static_functions_get_their_names(void **state)
{
	static const char *const all[] = {"innermost", "middle", "entry"};
	static const char *const exported[] = {"", "", "entry"};
	static const enum unwind_symbols by_debug[] = {UNWIND_DEBUG_SYMBOLS, UNWIND_DEBUG_SYMBOLS,
						       UNWIND_DYNAMIC_SYMBOLS};
	static const enum unwind_symbols by_file[] = {UNWIND_NO_SYMBOLS, UNWIND_NO_SYMBOLS,
						      UNWIND_DYNAMIC_SYMBOLS};

	(void)state;
	expect_names("named", NULL, exported, by_file);
	expect_names("named", "named.debug", all, by_debug);
	expect_names("linked", "linked.debug", all, by_debug);
}

static void anothers_symbols_are_not_taken(void **state)
{
	(void)state;
	expect("named.so", "other.debug", -ESTALE);
	expect("named.so", "linked.debug", -ESTALE);
	expect("linked.so", "named.debug", -ESTALE);
	expect("linked.so", "named.so", -ESTALE);
	expect("named.so", "library.c", -ENOEXEC);
	expect("named.so", "named.so", -ENODATA); /* right, but stripped */
}

static void no_more_is_copied_than_symbols(void **state)
{
	int fd = open_file("named.debug"), out;
	struct stat from, to;
	int64_t copied = distil_for("named.so", "named.debug", &out);

	(void)state;
	assert_int_equal(fstat(fd, &from), 0);
	assert_int_equal(fstat(out, &to), 0);
	assert_true(from.st_size == to.st_size);
	assert_true(copied > 0 && copied < from.st_size * 3 / 4);
	close(fd);
	close(out);
}

/* As it is read while somebody writes it: each length that cuts the symbols or what leads to them is refused.
 */
static void truncated_ones_are_refused(void **state)
{
	static uint8_t bytes[FILE_MAX];
	struct distil_debug wanted = wanted_by("named.so");
	int fd = open_file("named.debug"), damaged = memfd_create("damaged", MFD_CLOEXEC), out;
	ssize_t size = read(fd, bytes, sizeof(bytes));

	(void)state;
	assert_true(size > 0 && size < FILE_MAX);
	assert_int_equal(write(damaged, bytes, (size_t)size), size);
	for (off_t length = size - 1; length > 0; length -= 37) {
		assert_int_equal(ftruncate(damaged, length), 0);
		assert_true(distil_open(damaged, &wanted, &out) < 0);
		close(out);
	}
	close(damaged);
	close(fd);
}

static void damaged_ones_do_no_harm(void **state)
{
	static uint8_t bytes[FILE_MAX];
	static struct unwind_result result;
	struct distil_debug wanted = wanted_by("named.so");
	int fd = open_file("named.debug"), damaged = memfd_create("damaged", MFD_CLOEXEC), taken = 0;
	ssize_t size = read(fd, bytes, sizeof(bytes));
	struct unwind_question question;
	char path[PATH_MAX];
	struct dying *dying;

	(void)state;
	assert_true(size > 0 && size < FILE_MAX);
	snprintf(path, sizeof(path), "%s/named.so", folder);
	dying = dying_start(path, 5);
	draw_start();
	for (int i = 0; i < DAMAGED; i++) {
		size_t at = draw(2) ? draw(64) : (size_t)size - 1 - draw(3000);
		uint8_t byte = bytes[at];
		int out;

		bytes[at] ^= (uint8_t)(1u << draw(8));
		assert_int_equal(pwrite(damaged, bytes, (size_t)size, 0), size);
		bytes[at] = byte;
		if (distil_open(damaged, &wanted, &out) > 0) {
			taken++;
			for (size_t source = 0; source < dying->source_count; source++)
				if (strcmp(dying->paths[source], path) == 0)
					dying->sources[source].debug_fd = out;
			dying_question(dying, &question);
			assert_int_equal(unwind(&question, &result), 0);
			assert_true(unwind_check(&result, question.source_count));
			assert_true(result.count > 3); /* names are all that it can cost */
			for (size_t source = 0; source < dying->source_count; source++)
				dying->sources[source].debug_fd = -1;
		}
		close(out);
	}
	assert_true(taken > 0 && taken < DAMAGED);
	dying_end(dying);
	close(damaged);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_file_says_of_its_symbols),
		cmocka_unit_test(static_functions_get_their_names),
		cmocka_unit_test(anothers_symbols_are_not_taken),
		cmocka_unit_test(no_more_is_copied_than_symbols),
		cmocka_unit_test(truncated_ones_are_refused),
		cmocka_unit_test(damaged_ones_do_no_harm),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
