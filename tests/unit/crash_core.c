// SPDX-License-Identifier: Apache-2.0
/* The core as libelf reads it: notes, stack without its missing page, vdso, and the list of loaded files. */
#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <cmocka.h>
#include "user/base/json.h"
#include "user/crash/core.h"

#define SP      0x7ffc00001f00ull /* 256 bytes below the next page */
#define PROGRAM 0x560000000000ull
#define LIBRARY 0x7f0000000000ull
#define VDSO    0x7ffc00100000ull

enum { STACK = 256 + 4096 + 4096 + 100 };

static struct bundle_files bundle;
static struct core_gaps gaps;
static uint8_t *core;
static size_t core_size;
static Elf *elf;

static const char report_text[] =
	"{\"format\":2,\"id\":\"a1\",\"pid\":4711,\"uid\":1000,\"comm\":\"puma: "
	"worker\",\"parent\":{\"pid\":4700},"
	"\"fault_address\":\"0x18\",\"fault\":{\"signal_number\":11,\"code_number\":1,\"thread\":4713,"
	"\"sender\":null},"
	"\"registers\":{\"r15\":\"0x1\",\"r14\":\"0x2\",\"r13\":\"0x3\",\"r12\":\"0x4\",\"rbp\":\"0x5\","
	"\"rbx\":\"0x6\","
	"\"r11\":\"0x7\",\"r10\":\"0x8\",\"r9\":\"0x9\",\"r8\":\"0xa\",\"rax\":\"0xb\",\"rcx\":\"0xc\","
	"\"rdx\":\"0xd\","
	"\"rsi\":\"0xe\",\"rdi\":\"0xf\",\"orig_rax\":\"0xffffffffffffffff\",\"rip\":\"0x7f0000001234\","
	"\"cs\":\"0x33\","
	"\"eflags\":\"0x10206\",\"rsp\":\"0x7ffc00001f00\",\"ss\":\"0x2b\",\"fs_base\":\"0x7f0000f00000\","
	"\"gs_base\":\"0x0\",\"ds\":\"0x0\",\"es\":\"0x0\",\"fs\":\"0x0\",\"gs\":\"0x0\"},"
	"\"memory\":{\"stack\":{\"address\":\"0x7ffc00001f00\",\"size\":8548,\"missing\":[2]}},"
	"\"auxv\":[[33,\"0x7ffc00100000\"],[9,\"0x560000001130\"],[3,\"0x560000000040\"]],"
	"\"modules\":[{\"path\":\"/lib/x.so\",\"start\":\"0x7f0000000000\",\"end\":\"0x7f0000005000\","
	"\"bias\":\"0x7f0000000000\",\"dynamic\":\"0x7f0000003d00\"},"
	"{\"path\":\"/usr/bin/ruby3.1\",\"start\":\"0x560000000000\",\"end\":\"0x560000005000\","
	"\"bias\":\"0x560000000000\",\"dynamic\":\"0x560000003d48\"},"
	"{\"path\":\"/lib/gone.so\",\"start\":\"0x7f0000100000\",\"end\":\"0x7f0000105000\",\"bias\":\"0x0\","
	"\"dynamic\":null}]}";

static const char maps_text[] =
	"560000001000-560000002000 r-xp 00001000 08:01 1 /usr/bin/ruby3.1 build-id:0102\n"
	"7f0000001000-7f0000002000 r-xp 00001000 08:01 2 /lib/a name.so build-id:03\n"
	"7f0000200000-7f0000201000 r-xp 00000000 00:00 0 \n";

static void fill(int file, const void *bytes, size_t size)
{
	free(bundle.files[file].bytes);
	bundle.files[file].bytes = calloc(1, size + 1);
	memcpy(bundle.files[file].bytes, bytes, size);
	bundle.files[file].size = size;
}

static int before(void **state)
{
	uint8_t stack[STACK];

	(void)state;
	for (size_t i = 0; i < STACK; i++)
		stack[i] = (uint8_t)(i / 7);
	memset(&bundle, 0, sizeof(bundle));
	fill(BUNDLE_STACK, stack, sizeof(stack));
	fill(BUNDLE_MAPS, maps_text, sizeof(maps_text) - 1);
	bundle.report = cJSON_Parse(report_text);
	return bundle.report ? 0 : -1;
}

static int after(void **state)
{
	(void)state;
	elf_end(elf);
	elf = NULL;
	free(core);
	core = NULL;
	bundle_files_done(&bundle);
	return 0;
}

static void make(const void *vdso, size_t vdso_size)
{
	char why[160] = "";

	if (core_new(&bundle, vdso, vdso_size, &core, &core_size, &gaps, why, sizeof(why)))
		fail_msg("%s", why);
	elf_version(EV_CURRENT);
	elf = elf_memory((char *)core, core_size);
	assert_int_equal(elf_kind(elf), ELF_K_ELF);
}

/* The bytes of a note, until the next call, where its structure may lie; NULL when there is none. */
static const void *note_of(uint32_t type, size_t *size)
{
	static _Alignas(16) char note[64 * 1024];
	size_t count;

	assert_int_equal(elf_getphdrnum(elf, &count), 0);
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr segment;
		GElf_Nhdr head;
		Elf_Data *data;
		size_t at = 0, next, name, descriptor;

		gelf_getphdr(elf, (int)i, &segment);
		if (segment.p_type != PT_NOTE)
			continue;
		data = elf_getdata_rawchunk(elf, (int64_t)segment.p_offset, segment.p_filesz, ELF_T_NHDR);
		while ((next = gelf_getnote(data, at, &head, &name, &descriptor)) > 0) {
			assert_string_equal((char *)data->d_buf + name, "CORE");
			if (head.n_type == type) {
				*size = head.n_descsz;
				assert_true(*size <= sizeof(note));
				memcpy(note, (char *)data->d_buf + descriptor, *size);
				return note;
			}
			at = next;
		}
	}
	return NULL;
}

/* What a debugger reads at an address: false where the core has nothing. */
static bool peek(uint64_t address, void *out, size_t size)
{
	size_t count;

	elf_getphdrnum(elf, &count);
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr segment;

		gelf_getphdr(elf, (int)i, &segment);
		if (segment.p_type != PT_LOAD || address < segment.p_vaddr ||
		    address + size > segment.p_vaddr + segment.p_filesz)
			continue;
		assert_true(segment.p_offset + segment.p_filesz <= core_size);
		memcpy(out, core + segment.p_offset + (address - segment.p_vaddr), size);
		return true;
	}
	return false;
}

static uint64_t word(uint64_t address)
{
	uint64_t value;

	assert_true(peek(address, &value, sizeof(value)));
	return value;
}

static void test_process(void **state)
{
	const struct elf_prstatus *status;
	const struct elf_prpsinfo *info;
	const uint8_t *siginfo;
	uint64_t address;
	GElf_Ehdr head;
	size_t size;

	(void)state;
	make(NULL, 0);
	gelf_getehdr(elf, &head);
	assert_int_equal(head.e_type, ET_CORE);
	assert_int_equal(head.e_machine, EM_X86_64);
	status = note_of(NT_PRSTATUS, &size);
	assert_int_equal(size, sizeof(*status));
	assert_int_equal(status->pr_pid, 4713); /* the thread */
	assert_int_equal(status->pr_cursig, 11);
	for (int i = 0; i < 15; i++)
		assert_int_equal(status->pr_reg[i], i + 1);
	assert_int_equal(status->pr_reg[16], 0x7f0000001234);
	assert_int_equal(status->pr_reg[19], SP);
	info = note_of(NT_PRPSINFO, &size);
	assert_int_equal(info->pr_pid, 4711);
	assert_int_equal(info->pr_uid, 1000);
	assert_string_equal(info->pr_fname,
			    "ruby3.1"); /* what debuggers compare, not what the process chose */
	assert_string_equal(info->pr_psargs, "puma: worker");
	siginfo = note_of(NT_SIGINFO, &size);
	assert_int_equal(size, 128);
	memcpy(&address, siginfo + 16, 8);
	assert_int_equal(siginfo[0], 11);
	assert_int_equal(siginfo[8], 1);
	assert_int_equal(address, 0x18);
}

static void test_sender(void **state)
{
	const int32_t *siginfo;
	cJSON *fault, *sender;
	size_t size;

	(void)state;
	fault = cJSON_GetObjectItem(bundle.report, "fault");
	cJSON_SetNumberValue(cJSON_GetObjectItem(fault, "code_number"), 0);
	sender = cJSON_CreateObject();
	cJSON_AddNumberToObject(sender, "pid", 99);
	cJSON_AddNumberToObject(sender, "uid", 33);
	cJSON_ReplaceItemInObject(fault, "sender", sender);
	make(NULL, 0);
	siginfo = note_of(NT_SIGINFO, &size);
	assert_int_equal(siginfo[4], 99);
	assert_int_equal(siginfo[5], 33);
}

static void test_stack(void **state)
{
	uint8_t byte, bytes[256];

	(void)state;
	make(NULL, 0);
	assert_int_equal(gaps.pages, 1);
	assert_true(peek(SP, bytes, 256));
	assert_memory_equal(bytes, bundle.files[BUNDLE_STACK].bytes, 256);
	assert_true(peek(SP + 256 + 4095, &byte, 1));
	assert_false(peek(SP + 256 + 4096, &byte, 1)); /* the missing page: left out, not zeroed */
	assert_false(peek(SP + 256 + 8191, &byte, 1));
	assert_true(peek(SP + STACK - 1, &byte, 1));
	assert_int_equal(byte, (uint8_t)((STACK - 1) / 7));
	assert_false(peek(SP + STACK, &byte, 1));
	assert_false(peek(SP - 1, &byte, 1));
}

/* Behind the first, one after the other; none of them is whole. */
static void test_windows(void **state)
{
	const uint64_t inner = SP + 0x100000, outer = SP + 0x200080;
	uint8_t bytes[STACK + 5000 + 300], byte;
	char why[160];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 / 5);
	fill(BUNDLE_STACK, bytes, sizeof(bytes));
	cJSON_AddItemToObject(cJSON_GetObjectItem(cJSON_GetObjectItem(bundle.report, "memory"), "stack"),
			      "windows",
			      cJSON_Parse("[{\"address\":\"0x7ffc00101f00\",\"size\":5000,\"missing\":[1]},"
					  "{\"address\":\"0x7ffc00201f80\",\"size\":300,\"missing\":[]}]"));
	make(NULL, 0);
	assert_int_equal(gaps.pages, 2);
	assert_true(peek(SP + STACK - 1, &byte, 1));
	assert_true(peek(inner + 255, &byte, 1));
	assert_int_equal(byte, bytes[STACK + 255]);
	assert_false(peek(inner + 256, &byte, 1)); /* its first whole page */
	assert_true(peek(inner + 4999, &byte, 1));
	assert_int_equal(byte, bytes[STACK + 4999]);
	assert_false(peek(inner + 5000, &byte, 1));
	assert_true(peek(outer + 299, &byte, 1));
	assert_int_equal(byte, bytes[STACK + 5299]);
	assert_false(peek(outer - 1, &byte, 1));
	bundle.files[BUNDLE_STACK].size--;
	free(core);
	core = NULL;
	assert_int_equal(core_new(&bundle, NULL, 0, &core, &core_size, &gaps, why, sizeof(why)), -ENODATA);
	assert_string_equal(why, "stack.bin does not have the size that report.json says");
}

static void test_loaded_files(void **state)
{
	uint64_t debug, link, library;
	char name[32];

	(void)state;
	make(NULL, 0);
	assert_false(gaps.modules);
	assert_int_equal(gaps.modules_without_place, 1);
	/* wherever in the dynamic section a debugger looks for DT_DEBUG */
	assert_int_equal(word(PROGRAM + 0x3d48), DT_DEBUG);
	debug = word(PROGRAM + 0x3d48 + 8);
	assert_int_equal(word(PROGRAM + 0x3d48 + 16 * 20 + 8), debug);
	assert_int_equal(word(debug), 1);
	link = word(debug + 8);
	assert_int_equal(word(link), PROGRAM);
	assert_int_equal(word(link + 16), PROGRAM + 0x3d48);
	assert_int_equal(word(link + 32), 0); /* nothing before it */
	assert_true(peek(word(link + 8), name, 1));
	assert_int_equal(name[0], 0); /* the program has no name there */
	library = word(link + 24);
	assert_int_equal(word(library), LIBRARY);
	assert_int_equal(word(library + 32), link);
	assert_int_equal(word(library + 24), 0);
	assert_true(peek(word(library + 8), name, 10));
	assert_string_equal(name, "/lib/x.so");
	assert_string_equal(core_program(bundle.report), "/usr/bin/ruby3.1");
}

static void test_mappings_and_auxv(void **state)
{
	const uint64_t *files, *auxv;
	const char *names;
	size_t size;

	(void)state;
	make("\177ELF-vdso", 9);
	files = note_of(NT_FILE, &size);
	assert_int_equal(files[0], 2); /* the anonymous one is no file */
	assert_int_equal(files[1], 4096);
	assert_int_equal(files[5], LIBRARY + 0x1000);
	assert_int_equal(files[7], 1);
	names = (const char *)&files[8];
	assert_string_equal(names, "/usr/bin/ruby3.1");
	assert_string_equal(names + 17, "/lib/a name.so");
	auxv = note_of(NT_AUXV, &size);
	assert_int_equal(size, 4 * 16);
	assert_int_equal(auxv[2], AT_ENTRY);
	assert_int_equal(auxv[3], PROGRAM + 0x1130);
	assert_int_equal(auxv[6], AT_NULL);
	assert_int_equal(word(VDSO) & 0xffffffff, 0x464c457f);
	assert_false(gaps.vdso);
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *key, *why;
	} lacking[] = {{"memory", "the report has none"}, {"registers", "the report has no registers"}};
	char why[160];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		after(NULL);
		before(NULL);
		cJSON_DeleteItemFromObject(bundle.report, lacking[i].key);
		assert_int_equal(core_new(&bundle, NULL, 0, &core, &core_size, &gaps, why, sizeof(why)),
				 -ENODATA);
		assert_string_equal(why, lacking[i].why);
		assert_null(core);
	}
	after(NULL);
	before(NULL);
	bundle.files[BUNDLE_STACK].size--;
	assert_int_equal(core_new(&bundle, NULL, 0, &core, &core_size, &gaps, why, sizeof(why)), -ENODATA);
	assert_string_equal(why, "stack.bin does not have the size that report.json says");
}

/* Made by an older version, or with the capture cut short: a core all the same, and what it lacks is said. */
static void test_without_modules(void **state)
{
	uint64_t value;
	size_t size;

	(void)state;
	cJSON_DeleteItemFromObject(bundle.report, "modules");
	cJSON_DeleteItemFromObject(bundle.report, "auxv");
	fill(BUNDLE_MAPS, "nonsense\n", 9);
	make(NULL, 0);
	assert_true(gaps.modules && gaps.auxv);
	assert_null(note_of(NT_AUXV, &size));
	assert_null(note_of(NT_FILE, &size));
	assert_non_null(note_of(NT_PRSTATUS, &size));
	assert_true(peek(SP, &value, 8));
	assert_null(core_program(bundle.report));
}

/* What is made up must not hide what was there. */
static void test_made_up_memory_is_free(void **state)
{
	static const char low[] = "00010000-00020000 r-xp 00000000 08:01 1 /low\n"
				  "00020000-02000000 r-xp 00000000 08:01 1 /more\n";
	uint64_t base;

	(void)state;
	fill(BUNDLE_MAPS, low, sizeof(low) - 1);
	make(NULL, 0);
	base = word(PROGRAM + 0x3d48 + 8);
	assert_true(base >= 0x2000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_process, before, after),
		cmocka_unit_test_setup_teardown(test_sender, before, after),
		cmocka_unit_test_setup_teardown(test_stack, before, after),
		cmocka_unit_test_setup_teardown(test_windows, before, after),
		cmocka_unit_test_setup_teardown(test_loaded_files, before, after),
		cmocka_unit_test_setup_teardown(test_mappings_and_auxv, before, after),
		cmocka_unit_test_setup_teardown(test_what_is_refused, before, after),
		cmocka_unit_test_setup_teardown(test_without_modules, before, after),
		cmocka_unit_test_setup_teardown(test_made_up_memory_is_free, before, after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
