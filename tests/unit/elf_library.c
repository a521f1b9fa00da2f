// SPDX-License-Identifier: Apache-2.0
/*
 * library_examine on the real libraries of this host, on programs compiled here, and on damaged copies. What
 * is read from libpq's code is compared with what libpq itself says about a connection.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/elf/library.h"

static int examine(const char *path, struct library *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	assert_true(fd >= 0);
	err = library_examine(fd, out);
	close(fd);
	return err;
}

/* First file that matches one of the patterns; the test cannot do without it. */
static void find(char *out, size_t size, const char *pattern)
{
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		fail_msg("no %s on this host", pattern);
	snprintf(out, size, "%s", found.gl_pathv[0]);
	globfree(&found);
}

static const struct library_site *site_of(const struct library *library, enum site site)
{
	for (uint32_t i = 0; i < library->site_count; i++)
		if (library->sites[i].site == site)
			return &library->sites[i];
	return NULL;
}

static const void *libpq_symbol(void *libpq, const char *name)
{
	const void *symbol = dlsym(libpq, name);

	assert_non_null(symbol);
	return symbol;
}

static void libpq_path(void *libpq, char *out, size_t size)
{
	Dl_info info;

	assert_int_not_equal(dladdr(libpq_symbol(libpq, "PQconnectStart"), &info), 0);
	snprintf(out, size, "%s", info.dli_fname);
}

static void libpq_has_every_site(void **state)
{
	static const enum site hot[] = {SITE_PQ_SEND_QUERY, SITE_PQ_SEND_PARAMS, SITE_PQ_SEND_PREPARE,
					SITE_PQ_SEND_PREPARED, SITE_PQ_RESULT_STATUS};
	void *libpq = dlopen("libpq.so.5", RTLD_NOW);
	struct library library;
	char path[4096];

	(void)state;
	assert_non_null(libpq);
	libpq_path(libpq, path, sizeof(path));
	assert_int_equal(examine(path, &library), 0);
	assert_int_equal(library.kind, LIBRARY_LIBPQ);
	assert_string_equal(library.problem, "");
	assert_true(library.build_id_len > 0);
	for (enum site site = SITE_PQ_SEND_QUERY; site < SITE_COUNT; site++)
		assert_non_null(site_of(&library, site));
	for (size_t i = 0; i < sizeof(hot) / sizeof(*hot); i++)
		assert_int_equal(site_of(&library, hot[i])->emulated, 1);
	assert_string_equal(site_of(&library, SITE_PQ_CONNECT_POLL_RETURN)->instruction, "ret");
	assert_true(library_check(&library, 1u << 30));
	dlclose(libpq);
}

static const char *string_at(const void *base, uint32_t offset)
{
	return *(const char *const *)((const char *)base + offset);
}

static uint32_t integer_at(const void *base, uint32_t offset)
{
	return *(const uint32_t *)((const char *)base + offset);
}

static void offsets_are_those_of_a_live_connection(void **state)
{
	void *libpq = dlopen("libpq.so.5", RTLD_NOW);
	void *(*start)(const char *), (*finish)(void *), *(*make)(void *, int), (*clear)(void *);
	char *(*text)(const void *);
	int (*number)(const void *);
	const struct libpq_layout *layout;
	struct library library;
	const char *element;
	char path[4096];
	void *conn, *result;

	(void)state;
	assert_non_null(libpq);
	libpq_path(libpq, path, sizeof(path));
	assert_int_equal(examine(path, &library), 0);
	layout = &library.layout;
	*(const void **)&start = libpq_symbol(libpq, "PQconnectStart");
	*(const void **)&finish = libpq_symbol(libpq, "PQfinish");
	*(const void **)&make = libpq_symbol(libpq, "PQmakeEmptyPGresult");
	*(const void **)&clear = libpq_symbol(libpq, "PQclear");
	conn = start("host=/nonexistent/a,/nonexistent/b port=6001,6002 dbname=shop connect_timeout=1");
	assert_non_null(conn);

	*(const void **)&number = libpq_symbol(libpq, "PQstatus");
	assert_int_equal((int)integer_at(conn, layout->conn_status), number(conn));
	*(const void **)&number = libpq_symbol(libpq, "PQsocket");
	assert_int_equal((int)integer_at(conn, layout->conn_socket), number(conn));
	*(const void **)&text = libpq_symbol(libpq, "PQdb");
	assert_ptr_equal(string_at(conn, layout->conn_database), text(conn));
	assert_string_equal(string_at(conn, layout->conn_database), "shop");
	*(const void **)&text = libpq_symbol(libpq, "PQerrorMessage");
	assert_ptr_equal(string_at(conn, layout->conn_message), text(conn));

	element = string_at(conn, layout->conn_hosts) +
		  (size_t)integer_at(conn, layout->conn_which) * layout->host_stride;
	*(const void **)&text = libpq_symbol(libpq, "PQhost");
	assert_ptr_equal(string_at(element, layout->host_name), text(conn));
	assert_non_null(strstr(text(conn), "/nonexistent/"));
	*(const void **)&text = libpq_symbol(libpq, "PQport");
	assert_ptr_equal(string_at(element, layout->host_port), text(conn));
	assert_null(string_at(element, layout->host_address));
	finish(conn);

	result = make(NULL, 3);
	assert_int_equal(integer_at(result, layout->result_status), 3);
	assert_null(string_at(result, layout->result_errors));
	clear(result);
	dlclose(libpq);
}

static void libruby_is_a_ruby(void **state)
{
	struct library library;
	char path[4096], version[16];

	(void)state;
	find(path, sizeof(path), "/usr/lib/*/libruby-*.so.*.*.*");
	assert_int_equal(examine(path, &library), 0);
	assert_int_equal(library.kind, LIBRARY_RUBY);
	snprintf(version, sizeof(version), "%s", strstr(path, ".so.") + 4);
	assert_string_equal(library.version, version);
	assert_non_null(site_of(&library, SITE_RUBY_START));
	assert_string_equal(site_of(&library, SITE_RUBY_BUG)->function, "rb_bug");
	assert_null(site_of(&library, SITE_PQ_FINISH));
	assert_int_equal(library.layout.conn_status, LAYOUT_UNKNOWN);
	for (uint32_t i = 0; i < library.site_count; i++)
		assert_int_equal(library.sites[i].offset, library.sites[i].entry);
}

/* They refer to what a libpq or a Ruby defines; that makes them neither. */
static void users_of_the_libraries_are_neither(void **state)
{
	struct library library;
	char path[4096];

	(void)state;
	find(path, sizeof(path), "/usr/bin/ruby[23].[0-9]*");
	assert_int_equal(examine(path, &library), 0);
	assert_int_equal(library.kind, LIBRARY_NEITHER);
	find(path, sizeof(path), "/usr/lib/*/ruby/vendor_ruby/*/pg_ext.so");
	assert_int_equal(examine(path, &library), 0);
	assert_int_equal(library.kind, LIBRARY_NEITHER);
	assert_int_equal(examine("/bin/ls", &library), 0);
	assert_int_equal(library.kind, LIBRARY_NEITHER);
	assert_true(library.build_id_len > 0);
	assert_int_equal(library.site_count, 0);
}

static void what_is_no_program_is_refused(void **state)
{
	struct library library = {.kind = 77};
	int null;

	(void)state;
	assert_int_equal(examine("/etc/passwd", &library), -ENOEXEC);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(library_examine(null, &library), -ENOEXEC);
	close(null);
	assert_int_equal(library.kind, 77); /* untouched on failure */
}

/* Compiles `source` into a file of the folder with the options. */
static void compile(const char *folder, const char *name, const char *options, const char *source)
{
	char path[300], command[1024];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.c", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(source, file);
	fclose(file);
	snprintf(command, sizeof(command), "cc -w %s -o %s/%s %s", options, folder, name, path);
	assert_int_equal(system(command), 0);
}

static void forget_folder(const char *folder)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

static const char ruby_source[] = "const char ruby_version[] = VERSION;\n"
				  "void rb_define_method(void) {}\n"
				  "void ruby_setup(void) {}\n"
				  "void rb_bug(const char *f, ...) {}\n"
				  "int PQsendQuery(void *c, const char *q) { return 0; }\n"
				  "#ifdef LIBPQ\n"
				  "void *PQconnectStart(const char *i) { return 0; }\n"
				  "#endif\n"
				  "int main(void) { return 0; }\n";

static void a_ruby_is_one_whatever_its_shape(void **state)
{
	char folder[] = "/tmp/lapidary-elf-XXXXXX", path[300];
	struct library library;

	(void)state;
	assert_non_null(mkdtemp(folder));
	compile(folder, "shop", "-rdynamic -DVERSION='\"3.4.1\"'", ruby_source);
	snprintf(path, sizeof(path), "%s/shop", folder);
	assert_int_equal(examine(path, &library), 0);
	assert_int_equal(library.kind, LIBRARY_RUBY);
	assert_string_equal(library.version, "3.4.1");
	assert_string_equal(site_of(&library, SITE_RUBY_START)->function, "ruby_setup");
	assert_null(site_of(&library, SITE_PQ_SEND_QUERY)); /* defined, but this is no libpq */
	assert_non_null(strstr(library.problem, "rb_fatal is not exported"));

	/* defined, not exported: nobody else can bind to it, so this is not the Ruby of a process */
	compile(folder, "shop", "-DVERSION='\"3.4.1\"'", ruby_source);
	assert_int_equal(examine(path, &library), 0);
	assert_int_equal(library.kind, LIBRARY_NEITHER);

	/* a version that is none does not reach a terminal */
	compile(folder, "shop", "-rdynamic -DVERSION='\"\\033[2J\"' -DLIBPQ", ruby_source);
	assert_int_equal(examine(path, &library), 0);
	assert_int_equal(library.kind, LIBRARY_RUBY);
	assert_string_equal(library.version, "");
	assert_non_null(site_of(&library, SITE_PQ_SEND_QUERY)); /* libpq linked in: probed as both */
	assert_int_equal(library.layout.conn_status, LAYOUT_UNKNOWN);
	forget_folder(folder);
}

static void another_class_is_not_supported(void **state)
{
	unsigned char header[64] = {0x7f, 'E', 'L', 'F', 1 /* 32 bits */, 1, 1};
	int fd = memfd_create("header", MFD_CLOEXEC);
	struct library library;

	(void)state;
	assert_int_equal(write(fd, header, sizeof(header)), sizeof(header));
	assert_int_equal(library_examine(fd, &library), -ENOTSUP);
	header[4] = 2;
	header[18] = 183; /* arm64 */
	assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
	assert_int_equal(library_examine(fd, &library), -ENOTSUP);
	close(fd);
}

/* A copy in memory that a test may damage. */
static int copy_of(const char *path, off_t *size)
{
	int from = open(path, O_RDONLY | O_CLOEXEC), to = memfd_create("copy", MFD_CLOEXEC);
	struct stat st;
	void *bytes;

	assert_true(from >= 0 && to >= 0);
	assert_int_equal(fstat(from, &st), 0);
	bytes = malloc(st.st_size);
	assert_int_equal(pread(from, bytes, st.st_size, 0), st.st_size);
	assert_int_equal(write(to, bytes, st.st_size), st.st_size);
	free(bytes);
	close(from);
	*size = st.st_size;
	return to;
}

static void check_damaged(int fd, off_t size)
{
	struct library library;
	int err = library_examine(fd, &library);

	assert_true(err == 0 || err == -ENOEXEC || err == -ENOTSUP);
	if (!err)
		assert_true(library_check(&library, size));
}

static void truncated_copies_do_no_harm(void **state)
{
	char path[4096];
	off_t size;
	int fd;

	(void)state;
	find(path, sizeof(path), "/usr/lib/*/libpq.so.5");
	fd = copy_of(path, &size);
	for (off_t length = size; length > 0; length -= length > 4096 ? 2039 : 61) {
		assert_int_equal(ftruncate(fd, length), 0);
		check_damaged(fd, length);
	}
	close(fd);
}

static void flipped_bits_do_no_harm(void **state)
{
	char path[4096];
	unsigned int random = 2463534242u;
	off_t size;
	int fd;

	(void)state;
	find(path, sizeof(path), "/usr/lib/*/libpq.so.5");
	fd = copy_of(path, &size);
	for (int i = 0; i < 1500; i++) {
		/* headers, notes and symbols lie in the first 20 KiB; section headers at the end */
		off_t at;
		unsigned char old, new;

		random ^= random << 13, random ^= random >> 17, random ^= random << 5;
		at = i % 3 == 0 ? size - 1 - random % 2000 : i % 3 == 1 ? random % 1024 : random % 20480;
		assert_int_equal(pread(fd, &old, 1, at), 1);
		new = old ^ (1u << (random >> 29));
		assert_int_equal(pwrite(fd, &new, 1, at), 1);
		check_damaged(fd, size);
		if (i % 8) /* some damage stays and adds up */
			assert_int_equal(pwrite(fd, &old, 1, at), 1);
	}
	close(fd);
}

static void an_answer_is_checked_like_hostile_input(void **state)
{
	struct library good = {.kind = LIBRARY_LIBPQ, .site_count = 1}, bad;

	(void)state;
	memset(&good.layout, 0xff, sizeof(good.layout));
	good.sites[0].offset = 100;
	assert_true(library_check(&good, 101));
	assert_false(library_check(&good, 100));
#define REFUSED(change)                                                                                      \
	do {                                                                                                 \
		bad = good;                                                                                  \
		change;                                                                                      \
		assert_false(library_check(&bad, 101));                                                      \
	} while (0)
	REFUSED(bad.kind = LIBRARY_RUBY + 1);
	REFUSED(bad.kind = LIBRARY_NEITHER);
	REFUSED(bad.site_count = LIBRARY_SITES + 1);
	REFUSED(bad.build_id_len = 21);
	REFUSED(bad.sites[0].site = SITE_COUNT);
	REFUSED(bad.sites[0].emulated = 2);
	REFUSED(bad.sites[0].entry = 101);
	REFUSED(memset(bad.sites[0].function, 'x', sizeof(bad.sites[0].function)));
	REFUSED(memset(bad.problem, 'x', sizeof(bad.problem)));
	REFUSED(memset(bad.version, '1', sizeof(bad.version)));
	REFUSED(bad.layout.conn_which = 65536);
	REFUSED(bad.layout.host_stride = 5000);
	REFUSED((bad.layout.host_stride = 40, bad.layout.host_port = 40));
	bad = good;
	strcpy(bad.problem, "\033[2Jgone");
	assert_true(library_check(&bad, 101));
	assert_string_equal(bad.problem, "?[2Jgone");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libpq_has_every_site),
		cmocka_unit_test(offsets_are_those_of_a_live_connection),
		cmocka_unit_test(libruby_is_a_ruby),
		cmocka_unit_test(users_of_the_libraries_are_neither),
		cmocka_unit_test(what_is_no_program_is_refused),
		cmocka_unit_test(a_ruby_is_one_whatever_its_shape),
		cmocka_unit_test(another_class_is_not_supported),
		cmocka_unit_test(truncated_copies_do_no_harm),
		cmocka_unit_test(flipped_bits_do_no_harm),
		cmocka_unit_test(an_answer_is_checked_like_hostile_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
