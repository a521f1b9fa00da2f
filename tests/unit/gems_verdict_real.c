/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 1 on real files: every extension of this host's Ruby before that Ruby and before another, and one
 * whose libruby was taken out of it, wherever it lies.
 */
#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/object_make.h"
#include "user/base/file.h"
#include "user/gems/verdict.h"

static struct object *libruby, *other_libruby;
static struct ruby_runtime host, other;
static char host_abi[16];

static struct object *read_object(const char *path)
{
	struct object *object = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char why[128] = "";

	assert_true(fd >= 0);
	if (object_read(fd, &object, why))
		fail_msg("%s: %s", path, why);
	close(fd);
	return object;
}

static int set_up(void **state)
{
	glob_t found;

	(void)state;
	if (glob("/usr/lib/*/libruby*.so.*.*", 0, NULL, &found) || !found.gl_pathc)
		return -1;
	libruby = read_object(found.gl_pathv[found.gl_pathc - 1]);
	globfree(&found);
	snprintf(host_abi, sizeof(host_abi), "%u.%u.0", libruby->ruby_api[0], libruby->ruby_api[1]);
	host = (struct ruby_runtime){.path = "/usr/bin/ruby",
				     .version = libruby->ruby_version,
				     .abi = host_abi,
				     .engine = "ruby",
				     .object = libruby,
				     .libc = OBJECT_LIBC_GLIBC,
				     .libc_version = "2.99"};
	other_libruby = object_make(&(struct object_made){.soname = "libruby-9.9.so.9.9",
							  .libc = OBJECT_LIBC_GLIBC,
							  .flags = OBJECT_IS_RUBY,
							  .machine = libruby->machine});
	other = host;
	other.version = "9.9.1";
	other.abi = "9.9.0";
	other.object = other_libruby;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(libruby);
	free(other_libruby);
	return 0;
}

static void judge(const char *path, const struct object *object, const struct ruby_runtime *ruby,
		  struct extension_verdict *out)
{
	struct extension_found found = {.path = path, .object = object};

	gem_path_parse(path, &found.gem);
	extension_judge(&found, ruby, "", "", out);
}

static void every_extension_of_this_host(void **state)
{
	FILE *list = popen("find /usr/lib -path '*/ruby/*' -name '*.so' -type f", "r");
	unsigned count = 0;
	char path[1024];

	(void)state;
	assert_non_null(list);
	while (fgets(path, sizeof(path), list)) {
		struct extension_verdict verdict;
		struct object *object;

		path[strcspn(path, "\n")] = '\0';
		object = read_object(path);
		if (object->flags & OBJECT_GIVES_INIT) {
			judge(path, object, &host, &verdict);
			if (verdict.verdict != VERDICT_COMPATIBLE || verdict.confidence != CONFIDENCE_HIGH)
				fail_msg("%s: %s before its own Ruby", path, verdict_name(verdict.verdict));
			judge(path, object, &other, &verdict);
			if (verdict.verdict != VERDICT_INCOMPATIBLE ||
			    strcmp(verdict.built_for, host_abi) != 0)
				fail_msg("%s: %s for %s before another Ruby", path,
					 verdict_name(verdict.verdict), verdict.built_for);
			count++;
		}
		free(object);
	}
	pclose(list);
	print_message("%u extensions\n", count);
	assert_true(count >= 50);
}

/* The dynamic section's libruby becomes an entry that no loader knows. */
static void take_libruby_out(unsigned char *bytes)
{
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)bytes;
	const Elf64_Phdr *parts = (const Elf64_Phdr *)(bytes + head->e_phoff);
	const char *strings = NULL;
	Elf64_Dyn *dynamic = NULL;

	for (int i = 0; i < head->e_phnum; i++)
		if (parts[i].p_type == PT_DYNAMIC)
			dynamic = (Elf64_Dyn *)(bytes + parts[i].p_offset);
	assert_non_null(dynamic);
	for (Elf64_Dyn *entry = dynamic; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_STRTAB)
			for (int i = 0; i < head->e_phnum; i++)
				if (parts[i].p_type == PT_LOAD && entry->d_un.d_ptr >= parts[i].p_vaddr &&
				    entry->d_un.d_ptr < parts[i].p_vaddr + parts[i].p_filesz)
					strings = (const char *)bytes + parts[i].p_offset +
						  (entry->d_un.d_ptr - parts[i].p_vaddr);
	assert_non_null(strings);
	for (Elf64_Dyn *entry = dynamic; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_NEEDED && !strncmp(strings + entry->d_un.d_val, "libruby", 7))
			entry->d_tag = 0x60000001;
}

static void without_its_libruby(void **state)
{
	char edited[] = "/tmp/lapidary-verdict-XXXXXX", path[256], *bytes;
	struct extension_verdict verdict;
	struct object *object;
	glob_t found;
	size_t size;
	int fd = mkstemp(edited);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(glob("/usr/lib/*/ruby/vendor_ruby/*/pg_ext.so", 0, NULL, &found), 0);
	assert_int_equal(file_read(found.gl_pathv[0], 64 << 20, &bytes, &size), 0);
	take_libruby_out((unsigned char *)bytes);
	assert_int_equal(file_write_all(fd, bytes, size), 0);
	close(fd);
	object = read_object(edited);
	/* where the path still tells, the version is right */
	judge(found.gl_pathv[0], object, &other, &verdict);
	assert_int_equal(verdict.verdict, VERDICT_INCOMPATIBLE);
	assert_string_equal(verdict.built_for, host_abi);
	snprintf(path, sizeof(path), "/srv/shop/vendor/bundle/ruby/%s/gems/pg-1.4.5/lib/pg_ext.so", host_abi);
	judge(path, object, &other, &verdict);
	assert_int_equal(verdict.verdict, VERDICT_INCOMPATIBLE);
	assert_string_equal(verdict.built_for, host_abi);
	/* put where the other Ruby looks, or where nothing tells: never compatible, and no version */
	judge("/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/9.9.0/pg_ext.so", object, &other, &verdict);
	assert_int_equal(verdict.verdict, VERDICT_SUSPECT);
	assert_string_equal(verdict.built_for, "");
	judge("/srv/gems/pg-1.4.5/lib/pg_ext.so", object, &other, &verdict);
	assert_int_equal(verdict.verdict, VERDICT_SUSPECT);
	judge("/srv/gems/pg-1.4.5/lib/pg_ext.so", object, &host, &verdict);
	assert_int_equal(verdict.verdict, VERDICT_SUSPECT);
	assert_string_equal(verdict.built_for, "");
	free(object);
	free(bytes);
	globfree(&found);
	unlink(edited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 1: every extension of this host is compatible with its own Ruby, and with no "
		 "other",
		 every_extension_of_this_host, NULL, NULL, NULL},
		{"Property 1: an extension whose libruby was taken out is never compatible",
		 without_its_libruby, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
