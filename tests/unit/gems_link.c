// SPDX-License-Identifier: Apache-2.0
/*
 * link_resolve over files that gcc makes in a root of their own, and over this host's own Ruby with all the
 * extensions that Debian ships: there nothing is missing, and what is taken away is what is missed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/gems/link.h"

enum { OBJECTS = 1024 };

static struct world {
	char root[64];
	const char *hidden; /* a path that is not there */
	int hidden_result;
	size_t count;
	struct object *objects[OBJECTS];
	struct link_directories directories;
	struct link *link;
	const struct object *program;
} world;

static struct object *read_file(const char *path, int *result)
{
	char full[1200], why[128];
	struct object *object = NULL;
	int fd;

	snprintf(full, sizeof(full), "%s%s", world.root, path);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		*result = -errno;
		return NULL;
	}
	*result = object_read(fd, &object, why);
	close(fd);
	if (*result)
		return NULL;
	assert_true(world.count < OBJECTS);
	return world.objects[world.count++] = object;
}

static const struct object *open_file(void *context, const char *path, int *result)
{
	(void)context;
	if (world.hidden && strstr(path, world.hidden)) {
		*result = world.hidden_result;
		return NULL;
	}
	return read_file(path, result);
}

static const struct object *read_good(const char *path)
{
	int result;
	struct object *object = read_file(path, &result);

	if (!object)
		fail_msg("%s: %d", path, result);
	return object;
}

static void begin(const char *program, const char *configured)
{
	struct link_options options = {.open = open_file};
	struct link_result result;

	link_free(world.link);
	world.program = read_good(program);
	link_directories_make(&world.directories, world.program, configured);
	options.directories = world.directories.list;
	options.directory_count = world.directories.count;
	world.link = link_new(&options);
	assert_non_null(world.link);
	assert_int_equal(link_program(world.link, program, world.program, &result), 0);
	assert_string_equal(result.missing_library, "");
	assert_false(result.uncertain);
}

static struct link_result resolve(const char *path)
{
	static struct link_result result;

	assert_int_equal(link_resolve(world.link, path, read_good(path), &result), 0);
	return result;
}

static void run(const char *command)
{
	char all[4096];

	snprintf(all, sizeof(all), "cd %s && %s", world.root, command);
	assert_int_equal(system(all), 0);
}

/* A small Ruby with its library, and a C library that gives two versions of one name. */
static int make_root(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	strcpy(world.root, "/tmp/lapidary-link-XXXXXX");
	assert_non_null(mkdtemp(world.root));
	run("mkdir -p lib lib64 usr/lib usr/bin opt/pq app/lib app/vendor && "
	    "echo 'OLD { global: work; }; NEW { global: work_new; } OLD;' > c.map && "
	    "echo 'void work(void) {} void work_new(void) {} void plain(void) {}' > c.c && "
	    "cc -w -shared -fPIC -nostdlib -Wl,-soname,libc.so.6 -Wl,--version-script,c.map -o lib/libc.so.6 "
	    "c.c && "
	    "echo 'void ld(void) {}' > ld.c && "
	    "cc -w -shared -fPIC -nostdlib -Wl,-soname,ld-linux-x86-64.so.2 -o lib64/ld-linux-x86-64.so.2 "
	    "ld.c && "
	    "echo 'const char ruby_version[] = \"3.1.7\"; void rb_define_method(void) {} void rb_gc(void) "
	    "{}' > r.c && "
	    "cc -w -shared -fPIC -nostdlib -Wl,-soname,libruby-3.1.so.3.1 -o usr/lib/libruby-3.1.so.3.1 r.c "
	    "&& "
	    "echo 'void rb_gc(void); void work(void); void _start(void) { rb_gc(); work(); }' > m.c && "
	    "cc -w -nostdlib -o usr/bin/ruby m.c usr/lib/libruby-3.1.so.3.1 lib/libc.so.6");
	return 0;
}

static int forget_root(void **state)
{
	char command[100];

	(void)state;
	link_free(world.link);
	for (size_t i = 0; i < world.count; i++)
		free(world.objects[i]);
	if (!world.root[0])
		return 0;
	snprintf(command, sizeof(command), "rm -r %s", world.root);
	return system(command);
}

static void what_the_ruby_gives_is_there(void **state)
{
	struct link_result result;

	(void)state;
	run("echo 'void rb_gc(void); void work_new(void); void gone(void) __attribute__((weak)); "
	    "void Init_shop(void) { rb_gc(); work_new(); if (gone) gone(); }' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c lib/libc.so.6");
	begin("/usr/bin/ruby", NULL);
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_library, "");
	assert_string_equal(result.missing_symbol, "");
	assert_int_equal(result.missing_symbol_count, 0);
	assert_false(result.uncertain);
	assert_int_equal(result.library_count, 3);
	assert_string_equal(result.libraries[1], "libruby-3.1.so.3.1");
}

static void what_nobody_gives_is_missed(void **state)
{
	struct link_result result;

	(void)state;
	run("echo 'void helper(void); void rb_newer(void); void rb_gc(void); void work(void);"
	    "void Init_shop(void) { helper(); rb_gc(); rb_newer(); work(); }' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c lib/libc.so.6");
	begin("/usr/bin/ruby", NULL);
	result = resolve("/app/lib/shop.so");
	assert_int_equal(result.missing_symbol_count, 2);
	assert_int_equal(result.missing_ruby_count, 1);
	assert_string_equal(result.missing_symbol, "rb_newer"); /* told before others */
	assert_true(result.is_ruby_symbol);
	run("echo 'void helper(void); void Init_shop(void) { helper(); }' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c");
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_symbol, "helper");
	assert_false(result.is_ruby_symbol);
	assert_int_equal(result.missing_ruby_count, 0);
}

/* narray's names in mpi.so, glib2's in pango.so: whoever loads them has loaded those before. */
static void what_another_extension_gives_is_there(void **state)
{
	struct link_result result;

	(void)state;
	run("echo 'void na_make(void); void rb_gi_raw(void); void Init_mpi(void) { na_make(); rb_gi_raw(); "
	    "}' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/mpi.so e.c && "
	    "echo 'void na_make(void) {} void Init_narray(void) {}' > n.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/narray.so n.c && "
	    "echo 'void rb_gi_raw(void) {} void Init_gi(void) {}' > g.c && "
	    "cc -w -m32 -shared -fPIC -nostdlib -o app/lib/gi32.so g.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/gi.so g.c");
	begin("/usr/bin/ruby", NULL);
	assert_int_equal(resolve("/app/lib/mpi.so").missing_symbol_count, 2);
	for (int i = 0; i < 8; i++) /* the table grows by none: the names are the same */
		assert_int_equal(link_add_extension(world.link, read_good("/app/lib/narray.so")), 0);
	assert_int_equal(link_add_extension(world.link, read_good("/app/lib/gi32.so")), 0);
	result = resolve("/app/lib/mpi.so");
	assert_int_equal(result.missing_symbol_count, 1); /* another processor's gives nothing */
	assert_string_equal(result.missing_symbol, "rb_gi_raw");
	assert_int_equal(link_add_extension(world.link, read_good("/app/lib/gi.so")), 0);
	assert_int_equal(resolve("/app/lib/mpi.so").missing_symbol_count, 0);
}

static void versions_count(void **state)
{
	struct link_result result;

	(void)state;
	run("mkdir -p later && echo 'LATEST { global: work; };' > l.map && "
	    "cc -w -shared -fPIC -nostdlib -Wl,-soname,libc.so.6 -Wl,--version-script,l.map -o "
	    "later/libc.so.6 c.c && "
	    "echo 'void work(void); void Init_shop(void) { work(); }' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c later/libc.so.6");
	begin("/usr/bin/ruby", NULL);
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_symbol, "work");
	assert_string_equal(result.missing_version, "LATEST");
	/* without a version anybody's will do */
	run("cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c");
	result = resolve("/app/lib/shop.so");
	assert_int_equal(result.missing_symbol_count, 0);
	/* and who gives it without one gives it to all */
	run("cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c later/libc.so.6 && "
	    "cc -w -shared -fPIC -nostdlib -Wl,-soname,libc.so.6 -o lib/libc.so.6 c.c");
	begin("/usr/bin/ruby", NULL);
	result = resolve("/app/lib/shop.so");
	assert_int_equal(result.missing_symbol_count, 0);
	run("cc -w -shared -fPIC -nostdlib -Wl,-soname,libc.so.6 -Wl,--version-script,c.map -o lib/libc.so.6 "
	    "c.c");
}

static const char pq[] =
	"echo 'void deep(void); void pq(void) { deep(); }' > p.c && "
	"echo 'void deep(void) {}' > d.c && "
	"cc -w -shared -fPIC -nostdlib -Wl,-soname,libdeep.so -o opt/pq/libdeep.so d.c && "
	"cc -w -shared -fPIC -nostdlib -Wl,-soname,libpq.so.5 -o opt/pq/libpq.so.5 p.c opt/pq/libdeep.so && "
	"echo 'void pq(void); void Init_shop(void) { pq(); }' > e.c";

static void a_missing_library_is_named_with_who_asks(void **state)
{
	struct link_result result;

	(void)state;
	run(pq);
	run("cc -w -shared -fPIC -nostdlib -Wl,--allow-shlib-undefined -o app/lib/shop.so e.c "
	    "opt/pq/libpq.so.5");
	begin("/usr/bin/ruby", NULL);
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_library, "libpq.so.5");
	assert_string_equal(result.asked_by, "shop.so");
	assert_int_equal(result.missing_symbol_count, 0); /* libpq would have given it */
	/* ld.so.conf leads there, comments, blanks, repeated and relative directories and all */
	begin("/usr/bin/ruby", "# libraries\n\n  /usr/lib /opt/pq # here\nrelative\n/opt/pq\n");
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_library, "");
	assert_int_equal(result.missing_symbol_count, 0);
	/* one of another class is passed over, as ld.so does */
	run("echo 'void pq(void) {}' > p32.c && "
	    "cc -w -m32 -shared -fPIC -nostdlib -Wl,-soname,libpq.so.5 -o app/vendor/libpq.so.5 p32.c");
	begin("/usr/bin/ruby", "/app/vendor:/opt/pq");
	assert_string_equal(resolve("/app/lib/shop.so").missing_library, "");
	begin("/usr/bin/ruby", "/app/vendor");
	assert_string_equal(resolve("/app/lib/shop.so").missing_library, "libpq.so.5");
}

static void runpath_is_its_owners_alone_and_rpath_is_inherited(void **state)
{
	struct link_result result;

	(void)state;
	run(pq);
	/* bundled, as precompiled gems have it */
	run("cc -w -shared -fPIC -nostdlib -Wl,--allow-shlib-undefined -Wl,--enable-new-dtags "
	    "'-Wl,-rpath,$ORIGIN/../../opt/pq' -o app/lib/shop.so e.c opt/pq/libpq.so.5");
	begin("/usr/bin/ruby", NULL);
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_library, "libdeep.so");
	assert_string_equal(result.asked_by, "libpq.so.5");
	run("cc -w -shared -fPIC -nostdlib -Wl,--allow-shlib-undefined -Wl,--disable-new-dtags "
	    "'-Wl,-rpath,${ORIGIN}/../../opt/pq' -o app/lib/shop.so e.c opt/pq/libpq.so.5");
	begin("/usr/bin/ruby", NULL);
	assert_string_equal(resolve("/app/lib/shop.so").missing_library, "");
	/* an element that cannot be known is no directory */
	run("cc -w -shared -fPIC -nostdlib -Wl,--allow-shlib-undefined -Wl,--disable-new-dtags "
	    "'-Wl,-rpath,$LIB/x' -o app/lib/shop.so e.c opt/pq/libpq.so.5");
	assert_string_equal(resolve("/app/lib/shop.so").missing_library, "libpq.so.5");
}

static void nothing_is_called_missing_when_something_is_unknown(void **state)
{
	struct link_result result;
	struct object *cut;
	int error;

	(void)state;
	run(pq);
	run("echo 'void pq(void); void gone(void); void Init_shop(void) { pq(); gone(); }' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -Wl,--allow-shlib-undefined -o app/lib/shop.so e.c "
	    "opt/pq/libpq.so.5");
	world.hidden = "libdeep";
	world.hidden_result = -EACCES;
	begin("/usr/bin/ruby", "/opt/pq");
	result = resolve("/app/lib/shop.so");
	assert_true(result.uncertain);
	assert_string_equal(result.missing_library, "");
	assert_int_equal(result.missing_symbol_count, 0);
	world.hidden = NULL;
	begin("/usr/bin/ruby", "/opt/pq");
	assert_string_equal(resolve("/app/lib/shop.so").missing_symbol, "gone");
	cut = read_file("/app/lib/shop.so", &error);
	cut->flags |= OBJECT_CUT;
	assert_int_equal(link_resolve(world.link, "/app/lib/shop.so", cut, &result), 0);
	assert_true(result.uncertain);
	assert_int_equal(result.missing_symbol_count, 0);
	cut->flags = 0;
	cut->machine = EM_AARCH64;
	assert_int_equal(link_resolve(world.link, "/app/lib/shop.so", cut, &result), 0);
	assert_true(result.uncertain);
}

static void musl_before_glibc(void **state)
{
	struct link_result result;

	(void)state;
	run("echo 'void work(void) {} void work_new(void) {}' > mc.c && "
	    "cc -w -shared -fPIC -nostdlib -Wl,-soname,libc.musl-x86_64.so.1 -o lib/ld-musl-x86_64.so.1 mc.c "
	    "&& "
	    "echo 'void work(void); void Init_shop(void) { work(); }' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c lib/ld-musl-x86_64.so.1");
	begin("/usr/bin/ruby", NULL);
	assert_string_equal(resolve("/app/lib/shop.so").missing_library, "libc.musl-x86_64.so.1");
	/* a musl Ruby has it: it is the loader itself, under any of its names */
	run("cc -w -nostdlib -Wl,--dynamic-linker,/lib/ld-musl-x86_64.so.1 -o usr/bin/ruby-musl m.c "
	    "usr/lib/libruby-3.1.so.3.1 lib/ld-musl-x86_64.so.1");
	begin("/usr/bin/ruby-musl", "/lib:/usr/lib\n");
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_library, "");
	assert_int_equal(result.missing_symbol_count, 0);
	/* glibc's versions mean nothing to it */
	run("echo 'void work_new(void); void Init_shop(void) { work_new(); }' > e.c && "
	    "cc -w -shared -fPIC -nostdlib -o app/lib/shop.so e.c lib/libc.so.6");
	result = resolve("/app/lib/shop.so");
	assert_string_equal(result.missing_library, "");
	assert_string_equal(result.missing_symbol, "");
}

static void many_libraries_and_loops_end(void **state)
{
	struct link_result result;

	(void)state;
	run("mkdir -p many && echo 'void loop_a(void) {}' > a.c && "
	    "cc -w -shared -fPIC -nostdlib -Wl,-soname,libb.so -o many/libb.so a.c && "
	    "cc -w -shared -fPIC -nostdlib -Wl,--no-as-needed -Wl,-soname,liba.so -o many/liba.so a.c "
	    "many/libb.so && "
	    "cc -w -shared -fPIC -nostdlib -Wl,--no-as-needed -Wl,-soname,libb.so -o many/libb.so a.c "
	    "many/liba.so && "
	    "cc -w -shared -fPIC -nostdlib -Wl,--no-as-needed -o app/lib/shop.so a.c many/liba.so");
	begin("/usr/bin/ruby", "/many");
	result = resolve("/app/lib/shop.so");
	assert_int_equal(result.missing_library_count + result.missing_symbol_count, 0);
	run("for i in $(seq 300); do cc -w -shared -fPIC -nostdlib -Wl,-soname,lib$i.so -o many/lib$i.so "
	    "a.c; done; "
	    "cc -w -shared -fPIC -nostdlib -Wl,--no-as-needed -o app/lib/shop.so a.c $(seq -f many/lib%g.so "
	    "250) && "
	    "cc -w -shared -fPIC -nostdlib -Wl,--no-as-needed -Wl,-soname,lib1.so -o many/lib1.so a.c "
	    "$(seq -f many/lib%g.so 251 300)");
	begin("/usr/bin/ruby", "/many");
	result = resolve("/app/lib/shop.so");
	assert_true(result.uncertain);
	assert_int_equal(result.library_count, LINK_LIBRARIES);
}

/* All that Debian ships for this host's Ruby loads, and this says so; without libpq, pg does not. */
static void extensions_of_this_host(void **state)
{
	struct link_result result;
	glob_t found;
	size_t checked = 0;

	(void)state;
	memset(&world, 0, sizeof(world));
	assert_int_equal(glob("/usr/bin/ruby[23].[0-9]*", 0, NULL, &found), 0);
	begin(found.gl_pathv[0], NULL);
	globfree(&found);
	glob("/usr/lib/x86_64-linux-gnu/ruby/3*/*.so", 0, NULL, &found);
	glob("/usr/lib/x86_64-linux-gnu/ruby/3*/*/*.so", GLOB_APPEND, NULL, &found);
	glob("/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3*/*.so", GLOB_APPEND, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		result = resolve(found.gl_pathv[i]);
		if (result.missing_library_count || result.missing_symbol_count || result.uncertain)
			fail_msg("%s: %s %s", found.gl_pathv[i], result.missing_library,
				 result.missing_symbol);
		checked++;
	}
	globfree(&found);
	assert_true(checked >= 50);
	world.hidden = "libpq.so.5";
	world.hidden_result = -ENOENT;
	assert_int_equal(glob("/usr/bin/ruby[23].[0-9]*", 0, NULL, &found), 0);
	begin(found.gl_pathv[0], NULL);
	globfree(&found);
	assert_int_equal(glob("/usr/lib/*/ruby/vendor_ruby/3*/pg_ext.so", 0, NULL, &found), 0);
	result = resolve(found.gl_pathv[0]);
	assert_string_equal(result.missing_library, "libpq.so.5");
	globfree(&found);
	assert_int_equal(glob("/usr/lib/*/libc.so.6", 0, NULL, &found), 0);
	assert_int_equal(strncmp(link_glibc_version(read_good(found.gl_pathv[0])), "2.", 2), 0);
	globfree(&found);
	world.hidden = NULL;
	assert_string_equal(link_glibc_version(world.program), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, forget_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_the_ruby_gives_is_there),
		TEST(what_nobody_gives_is_missed),
		TEST(what_another_extension_gives_is_there),
		TEST(versions_count),
		TEST(a_missing_library_is_named_with_who_asks),
		TEST(runpath_is_its_owners_alone_and_rpath_is_inherited),
		TEST(nothing_is_called_missing_when_something_is_unknown),
		TEST(musl_before_glibc),
		TEST(many_libraries_and_loops_end),
		cmocka_unit_test_teardown(extensions_of_this_host, forget_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
