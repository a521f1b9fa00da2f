// SPDX-License-Identifier: Apache-2.0
/*
 * object_read on real files of this host, on objects built here of other classes, byte orders and libcs, and
 * on damaged copies. What it says of a real extension is compared with readelf's.
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/elf/object.h"

static char folder[] = "/tmp/lapidary-object-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int forget_folder(void **state)
{
	char command[300];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static int try_read(const char *path, struct object **out, char why[128])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	assert_true(fd >= 0);
	err = object_read(fd, out, why);
	close(fd);
	return err;
}

static struct object *read_good(const char *path)
{
	struct object *object;
	char why[128];
	int err = try_read(path, &object, why);

	if (err)
		fail_msg("%s: %s (%d)", path, why, err);
	assert_string_equal(why, "");
	assert_true(object_check(object, object->size));
	return object;
}

/* Builds `source` as NAME in the folder and reads it. */
static struct object *build(const char *name, const char *options, const char *source)
{
	char path[300], command[1024];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.c", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(source, file);
	fclose(file);
	snprintf(command, sizeof(command), "cd %s && cc -w -o %s %s.c %s", folder, name, name, options);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return read_good(path);
}

static struct object *find_and_read(const char *pattern)
{
	struct object *object;
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		fail_msg("no %s on this host", pattern);
	object = read_good(found.gl_pathv[0]);
	globfree(&found);
	return object;
}

static const struct object_symbol *find_symbol(const struct object *object, bool asked, const char *name)
{
	for (size_t i = 0; i < (asked ? object->asked_count : object->given_count); i++) {
		const struct object_symbol *symbol =
			asked ? object_asked(object, i) : object_given(object, i);

		if (strcmp(object_text(object, symbol->name), name) == 0)
			return symbol;
	}
	return NULL;
}

static bool needs(const struct object *object, const char *start)
{
	for (size_t i = 0; i < object->needed_count; i++)
		if (strncmp(object_needed(object, i), start, strlen(start)) == 0)
			return true;
	return false;
}

static void a_real_extension(void **state)
{
	struct object *object = find_and_read("/usr/lib/*/ruby/vendor_ruby/*/pg_ext.so");
	const struct object_symbol *symbol;

	(void)state;
	assert_int_equal(object->machine, EM_X86_64);
	assert_int_equal(object->bits, 64);
	assert_int_equal(object->big_endian, 0);
	assert_int_equal(object->flags, OBJECT_GIVES_INIT);
	assert_int_equal(object->libc, OBJECT_LIBC_GLIBC);
	assert_int_equal(object->build_id_len, 20);
	assert_int_not_equal(object->text_digest, 0);
	assert_true(needs(object, "libruby-") && needs(object, "libpq.so.5") && needs(object, "libc.so.6"));
	assert_int_equal(strncmp(object_text(object, object->libc_version), "2.", 2), 0);
	assert_non_null(find_symbol(object, false, "Init_pg_ext"));
	symbol = find_symbol(object, true, "rb_define_class_under");
	assert_true(symbol && symbol->weak == 0 && symbol->version == 0);
	/* ruby.h asks for it by a weak name, to check the number of arguments */
	assert_int_equal(find_symbol(object, true, "rb_define_method")->weak, 1);
	symbol = find_symbol(object, true, "memcpy");
	assert_true(symbol && !strncmp(object_text(object, symbol->version), "GLIBC_2.", 8));
	assert_true(find_symbol(object, true, "__gmon_start__")->weak);
	free(object);
}

/* Another reader of the same file: as many symbols asked for and given, versions and all. */
static void counts_are_those_of_readelf(void **state)
{
	static const char *const patterns[] = {"/usr/lib/*/ruby/vendor_ruby/*/pg_ext.so",
					       "/usr/lib/*/libc.so.6",
					       "/usr/lib/*/libpq.so.5",
					       "/usr/lib/*/libruby-*.so.*.*.*",
					       "/usr/lib/*/libstdc++.so.6",
					       "/usr/bin/bash"};

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct object *object = find_and_read(patterns[i]);
		size_t asked, given, versioned, found = 0;
		char command[512];
		FILE *readelf;

		snprintf(command, sizeof(command),
			 "readelf -W --dyn-syms $(ls %s | head -n 1) | awk '$8 && $7 == \"UND\" && $5 != "
			 "\"LOCAL\" {a++; "
			 "if ($8 ~ /@/) v++} "
			 "$8 && $7 != \"UND\" && $7 != \"Ndx\" && $5 ~ /GLOBAL|WEAK|UNIQUE/ && $6 ~ "
			 "/DEFAULT|PROTECTED/ {g++} END {print a+0, g+0, v+0}'",
			 patterns[i]);
		readelf = popen(command, "r");
		assert_int_equal(fscanf(readelf, "%zu %zu %zu", &asked, &given, &versioned), 3);
		pclose(readelf);
		assert_int_equal(object->asked_count, asked);
		assert_int_equal(object->given_count, given);
		for (size_t k = 0; k < object->asked_count; k++)
			found += object_asked(object, k)->version != 0;
		assert_int_equal(found, versioned);
		assert_false(object->flags & OBJECT_CUT);
		free(object);
	}
}

static void a_real_ruby(void **state)
{
	struct object *object = find_and_read("/usr/lib/*/libruby-*.so.*.*.*");
	char api[16];

	(void)state;
	assert_int_equal(object->flags & ~(uint32_t)OBJECT_GIVES_INIT, OBJECT_IS_RUBY);
	snprintf(api, sizeof(api), "%u.%u.", object->ruby_api[0], object->ruby_api[1]);
	assert_int_equal(strncmp(object->ruby_version, api, strlen(api)), 0);
	assert_string_equal(object_text(object, object->ruby_platform), "x86_64-linux-gnu");
	assert_int_equal(strncmp(object_text(object, object->soname), "libruby-", 8), 0);
	free(object);
	object = find_and_read("/usr/bin/ruby[23].[0-9]*");
	assert_int_equal(object->flags, OBJECT_IS_PROGRAM);
	assert_non_null(strstr(object_text(object, object->interpreter), "ld-linux"));
	assert_string_equal(object->ruby_version, "");
	free(object);
}

static const char static_ruby[] = "const char ruby_version[] = \"3.4.1\";\n"
				  "const int ruby_api_version[3] = {3, 4, 0};\n"
				  "const char ruby_platform[] = \"x86_64-linux\";\n"
				  "void rb_define_method(void) {}\n"
				  "int main(void) { return 0; }\n";

static void a_ruby_in_its_program(void **state)
{
	struct object *object = build("ruby", "-rdynamic", static_ruby);

	(void)state;
	assert_int_equal(object->flags, OBJECT_IS_RUBY | OBJECT_IS_PROGRAM);
	assert_string_equal(object->ruby_version, "3.4.1");
	assert_int_equal(object->ruby_api[0] * 100 + object->ruby_api[1] * 10 + object->ruby_api[2], 340);
	assert_string_equal(object_text(object, object->ruby_platform), "x86_64-linux");
	free(object);
	/* hidden: nobody can bind to it */
	object = build("ruby", "", static_ruby);
	assert_int_equal(object->flags, OBJECT_IS_PROGRAM);
	free(object);
	object = build("static", "-static -nostdlib -no-pie -Wl,-e,main", static_ruby);
	assert_int_equal(object->flags, OBJECT_IS_PROGRAM | OBJECT_STATIC);
	assert_int_equal(object->needed_count + object->asked_count, 0);
	free(object);
}

static const char extension[] = "extern void rb_define_module(const char *);\n"
				"extern void helper(void) __attribute__((weak));\n"
				"void Init_shop(void) { rb_define_module(\"Shop\"); if (helper) helper(); }\n"
				"unsigned long long ruby_abi_version(void) { return 3; }\n";

static void check_extension(const struct object *object)
{
	assert_int_equal(object->flags, OBJECT_GIVES_INIT | OBJECT_GIVES_ABI_VERSION);
	assert_int_equal(find_symbol(object, true, "rb_define_module")->weak, 0);
	assert_int_equal(find_symbol(object, true, "helper")->weak, 1);
	assert_non_null(find_symbol(object, false, "Init_shop"));
	assert_string_equal(object_text(object, object->soname), "shop.so");
	assert_string_equal(object_text(object, object->runpath), "$ORIGIN/../lib:/opt/lib");
}

#define SHOP "-shared -fPIC -nostdlib -Wl,-soname,shop.so '-Wl,-rpath,$ORIGIN/../lib:/opt/lib' "

static void stripped_and_without_section_headers(void **state)
{
	struct object *object = build("shop", SHOP "-s -Wl,--enable-new-dtags", extension);
	char path[300];
	Elf64_Ehdr header;
	int fd;

	(void)state;
	check_extension(object);
	assert_int_equal(object->libc, OBJECT_LIBC_UNKNOWN);
	assert_string_equal(object_text(object, object->libc_version), "");
	free(object);
	for (int hash = 0; hash < 2; hash++) {
		free(build("shop", hash ? SHOP "-s -Wl,--hash-style=sysv" : SHOP "-s -Wl,--hash-style=gnu",
			   extension));
		snprintf(path, sizeof(path), "%s/shop", folder);
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
		header.e_shoff = header.e_shnum = header.e_shstrndx = 0;
		assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
		close(fd);
		object = read_good(path);
		check_extension(object);
		free(object);
	}
	/* it gives nothing: its gnu hash says nothing of what it asks for, so nothing may be concluded */
	free(build("mute", "-shared -fPIC -nostdlib -s -Wl,--hash-style=gnu",
		   "extern void rb_gc(void);\n static void f(void) { rb_gc(); }\n"
		   "static void (*const g)(void) __attribute__((used, section(\".init_array\"))) = f;\n"));
	snprintf(path, sizeof(path), "%s/mute", folder);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &header, 0, 0), 0);
	assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
	header.e_shoff = header.e_shnum = header.e_shstrndx = 0;
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);
	object = read_good(path);
	assert_true(object->flags & OBJECT_CUT);
	free(object);
}

static void rpath_is_told_from_runpath(void **state)
{
	struct object *object = build("shop", SHOP "-Wl,--disable-new-dtags", extension);

	(void)state;
	assert_true(object->flags & OBJECT_RPATH);
	assert_string_equal(object_text(object, object->runpath), "$ORIGIN/../lib:/opt/lib");
	free(object);
}

static void another_class_is_an_answer(void **state)
{
	struct object *object = build("shop", SHOP "-m32 -Wl,--enable-new-dtags", extension);

	(void)state;
	assert_int_equal(object->machine, EM_386);
	assert_int_equal(object->bits, 32);
	check_extension(object);
	free(object);
}

static void another_machine_is_an_answer(void **state)
{
	const uint16_t machine = EM_AARCH64;
	struct object *object;
	char path[300];
	int fd;

	(void)state;
	free(build("shop", SHOP "-Wl,--enable-new-dtags", extension));
	snprintf(path, sizeof(path), "%s/shop", folder);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &machine, 2, offsetof(Elf64_Ehdr, e_machine)), 2);
	close(fd);
	object = read_good(path);
	assert_int_equal(object->machine, EM_AARCH64);
	check_extension(object);
	free(object);
}

/* Written by hand, all numbers turned round: an s390x library with one symbol that it asks for. */
static void the_other_byte_order_is_an_answer(void **state)
{
	static const char names[] = "\0libfoo.so.1\0rb_gc\0VERS_1\0";
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segments[2];
		Elf64_Dyn dynamic[8];
		Elf64_Sym symbols[2];
		Elf64_Half versions[4];
		unsigned char need[32];
		uint32_t hash[4];
		char names[64];
	} file = {0};
	int fd = memfd_create("s390x", MFD_CLOEXEC);
	struct object *object;
	char why[128];

#define AT(part) __builtin_bswap64(offsetof(typeof(file), part))
#define DYN(i, tag, value)                                                                                   \
	(file.dynamic[i].d_tag = (Elf64_Sxword)__builtin_bswap64(tag), file.dynamic[i].d_un.d_val = (value))
	(void)state;
	memcpy(file.header.e_ident, (unsigned char[]){0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2MSB, 1}, 7);
	file.header.e_type = __builtin_bswap16(ET_DYN);
	file.header.e_machine = __builtin_bswap16(EM_S390);
	file.header.e_version = __builtin_bswap32(1);
	file.header.e_phoff = AT(segments);
	file.header.e_ehsize = __builtin_bswap16(sizeof(file.header));
	file.header.e_phentsize = __builtin_bswap16(sizeof(Elf64_Phdr));
	file.header.e_phnum = __builtin_bswap16(2);
	file.segments[0].p_type = __builtin_bswap32(PT_LOAD);
	file.segments[0].p_filesz = file.segments[0].p_memsz = __builtin_bswap64(sizeof(file));
	file.segments[1].p_type = __builtin_bswap32(PT_DYNAMIC);
	file.segments[1].p_offset = file.segments[1].p_vaddr = AT(dynamic);
	file.segments[1].p_filesz = __builtin_bswap64(sizeof(file.dynamic));
	DYN(0, DT_NEEDED, __builtin_bswap64(1));
	DYN(1, DT_STRTAB, AT(names));
	DYN(2, DT_STRSZ, __builtin_bswap64(sizeof(names)));
	DYN(3, DT_SYMTAB, AT(symbols));
	DYN(4, DT_HASH, AT(hash));
	DYN(5, DT_VERSYM, AT(versions));
	DYN(6, DT_VERNEED, AT(need));
	file.symbols[1].st_name = __builtin_bswap32(13);
	file.symbols[1].st_info = STB_GLOBAL << 4;
	file.versions[1] = __builtin_bswap16(2);
	memcpy(file.need, (unsigned char[]){0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 16}, 12);
	memcpy(file.need + 16, (unsigned char[]){0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 19}, 12);
	file.hash[1] = __builtin_bswap32(2);
	memcpy(file.names, names, sizeof(names));
	assert_int_equal(write(fd, &file, sizeof(file)), sizeof(file));
	assert_int_equal(object_read(fd, &object, why), 0);
	close(fd);
	assert_int_equal(object->machine, EM_S390);
	assert_int_equal(object->big_endian, 1);
	assert_string_equal(object_needed(object, 0), "libfoo.so.1");
	assert_int_equal(object->asked_count, 1);
	assert_string_equal(object_text(object, object_asked(object, 0)->name), "rb_gc");
	assert_string_equal(object_text(object, object_asked(object, 0)->version), "VERS_1");
	free(object);
#undef DYN
#undef AT
}

static void musl_by_its_names(void **state)
{
	static const char *const names[] = {"libc.musl-x86_64.so.1", "libc.so"};
	struct object *object;
	char command[512];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		snprintf(command, sizeof(command),
			 "cd %s && echo 'int puts(const char *s) { return 0; }' > c.c && "
			 "cc -w -shared -fPIC -nostdlib -Wl,-soname,%s -o libmusl.so c.c",
			 folder, names[i]);
		assert_int_equal(system(command), 0);
		object = build("shop", SHOP "libmusl.so",
			       "int puts(const char *);\nvoid Init_shop(void) { puts(\"\"); }");
		assert_int_equal(object->libc, OBJECT_LIBC_MUSL);
		free(object);
	}
	object = build("program",
		       "-nostdlib -Wl,-e,main -Wl,--dynamic-linker,/lib/ld-musl-x86_64.so.1 libmusl.so",
		       "int puts(const char *);\nint main(void) { return puts(\"\"); }");
	assert_int_equal(object->libc, OBJECT_LIBC_MUSL);
	assert_string_equal(object_text(object, object->interpreter), "/lib/ld-musl-x86_64.so.1");
	free(object);
}

static void what_is_no_object_is_refused_with_a_reason(void **state)
{
	static const char *const sources[][3] = {
		{"text", "echo text > text", "no ELF file"},
		{"empty", ": > empty", "empty"},
		{"head", "head -c 40 /bin/sh > head", "its ELF header is damaged"},
		{"half", "head -c 30000 /bin/sh > half", "truncated: a segment lies outside of the file"},
		{"part.o", "echo 'int x;' > p.c && cc -c -o part.o p.c",
		 "neither a shared object nor a program"},
	};
	struct object *object = NULL;
	char why[128], path[300];

	(void)state;
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		char command[400];

		snprintf(command, sizeof(command), "cd %s && %s", folder, sources[i][1]);
		assert_int_equal(system(command), 0);
		snprintf(path, sizeof(path), "%s/%s", folder, sources[i][0]);
		assert_int_equal(try_read(path, &object, why), -ENOEXEC);
		assert_string_equal(why, sources[i][2]);
	}
	assert_int_equal(try_read("/dev/null", &object, why), -ENOEXEC);
	assert_string_equal(why, "no regular file");
	assert_null(object);
}

static void check_damaged(int fd)
{
	struct object *object;
	char why[128];
	int err = object_read(fd, &object, why);

	if (err) {
		assert_int_equal(err, -ENOEXEC);
		assert_true(why[0] != '\0');
		return;
	}
	assert_true(object_check(object, object->size));
	free(object);
}

static int copy_of(const char *pattern, off_t *size)
{
	int from, to = memfd_create("copy", MFD_CLOEXEC);
	struct stat st;
	glob_t found;
	char *bytes;

	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	from = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	globfree(&found);
	assert_int_equal(fstat(from, &st), 0);
	bytes = malloc(st.st_size);
	assert_int_equal(pread(from, bytes, st.st_size, 0), st.st_size);
	assert_int_equal(write(to, bytes, st.st_size), st.st_size);
	free(bytes);
	close(from);
	*size = st.st_size;
	return to;
}

static void damaged_copies_do_no_harm(void **state)
{
	unsigned int random = 2463534242u;
	off_t size;
	int fd = copy_of("/usr/lib/*/ruby/vendor_ruby/*/pg_ext.so", &size);

	(void)state;
	for (int i = 0; i < 1500; i++) {
		off_t at;
		unsigned char old, new;

		random ^= random << 13, random ^= random >> 17, random ^= random << 5;
		at = i % 3 == 0 ? size - 1 - random % 2000 : i % 3 == 1 ? random % 1024 : random % 40960;
		assert_int_equal(pread(fd, &old, 1, at), 1);
		new = old ^ (1u << (random >> 29));
		assert_int_equal(pwrite(fd, &new, 1, at), 1);
		check_damaged(fd);
		if (i % 8) /* some damage stays and adds up */
			assert_int_equal(pwrite(fd, &old, 1, at), 1);
	}
	for (off_t length = size; length > 0; length -= length > 4096 ? 2039 : 61) {
		assert_int_equal(ftruncate(fd, length), 0);
		check_damaged(fd);
	}
	close(fd);
}

static void an_answer_is_checked_like_hostile_input(void **state)
{
	struct object *good = build("shop", SHOP, extension), *bad = malloc(good->size);
	size_t size = good->size;

	(void)state;
#define REFUSED(change)                                                                                      \
	do {                                                                                                 \
		memcpy(bad, good, size);                                                                     \
		change;                                                                                      \
		assert_false(object_check(bad, size));                                                       \
	} while (0)
	assert_true(object_check(good, size));
	assert_false(object_check(good, size - 1));
	assert_false(object_check(good, sizeof(*good) - 1));
	REFUSED(bad->size++);
	REFUSED(bad->bits = 16);
	REFUSED(bad->libc = 3);
	REFUSED(bad->build_id_len = 21);
	REFUSED(bad->needed_count++);
	REFUSED(bad->needed_count = OBJECT_NEEDED_MAX + 1);
	REFUSED(bad->asked_count = UINT32_MAX);
	REFUSED(bad->given_count = OBJECT_SYMBOLS_MAX + 1);
	REFUSED(bad->text_size = 0);
	REFUSED(bad->text_size--);
	REFUSED(bad->soname = bad->text_size);
	REFUSED(bad->runpath = UINT32_MAX);
	REFUSED(((struct object_symbol *)object_asked(bad, 0))->name = bad->text_size);
	REFUSED(((struct object_symbol *)object_given(bad, 0))->version = bad->text_size);
	REFUSED(((struct object_symbol *)object_given(bad, 0))->weak = 2);
	REFUSED(*((char *)bad + size - 1) = 'x');
	REFUSED(*((char *)bad + size - 2) = '\033');
	REFUSED(memset(bad->ruby_version, '1', sizeof(bad->ruby_version)));
	REFUSED(strcpy(bad->ruby_version, "\033[2J"));
	free(bad);
	free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_real_extension),
		cmocka_unit_test(counts_are_those_of_readelf),
		cmocka_unit_test(a_real_ruby),
		cmocka_unit_test(a_ruby_in_its_program),
		cmocka_unit_test(stripped_and_without_section_headers),
		cmocka_unit_test(rpath_is_told_from_runpath),
		cmocka_unit_test(another_class_is_an_answer),
		cmocka_unit_test(another_machine_is_an_answer),
		cmocka_unit_test(the_other_byte_order_is_an_answer),
		cmocka_unit_test(musl_by_its_names),
		cmocka_unit_test(what_is_no_object_is_refused_with_a_reason),
		cmocka_unit_test(damaged_copies_do_no_harm),
		cmocka_unit_test(an_answer_is_checked_like_hostile_input),
	};

	return cmocka_run_group_tests(tests, make_folder, forget_folder);
}
