/* SPDX-License-Identifier: Apache-2.0 */
/* One instruction as text, whatever the bytes are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "user/elf/instruction.h"

/* nop; mov eax, [rdi + 8]; ud2; and the first byte of a call that is cut off */
static const uint8_t bytes[] = {0x90, 0x8b, 0x47, 0x08, 0x0f, 0x0b, 0xe8};

static const char *at(uint64_t address)
{
	static char text[96];

	memset(text, 'x', sizeof(text) - 1);
	if (!instruction_text(bytes, sizeof(bytes), 0x1000, address, text, sizeof(text)))
		assert_string_equal(text, "");
	return text;
}

static void test_texts(void **state)
{
	char text[8];

	(void)state;
	assert_string_equal(at(0x1000), "nop");
	assert_string_equal(at(0x1001), "mov eax, dword ptr [rdi + 8]");
	assert_string_equal(at(0x1004), "ud2");
	assert_true(instruction_text(bytes, sizeof(bytes), 0x1000, 0x1001, text, sizeof(text)));
	assert_string_equal(text, "mov eax");
}

static void test_none(void **state)
{
	char text[96];

	(void)state;
	assert_string_equal(at(0x1006), "");
	assert_string_equal(at(0x1007), "");
	assert_string_equal(at(0xfff), "");
	assert_string_equal(at(~0ull), "");
	assert_false(instruction_text(bytes, sizeof(bytes), 0, 0, text, sizeof(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
