// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "user/base/digest.h"
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/base/when.h"

static void copies_are_cut_and_terminated(void **state)
{
	char out[5];

	(void)state;
	assert_int_equal(text_copy(out, sizeof(out), "abcdefg"), 4);
	assert_string_equal(out, "abcd");
	assert_int_equal(text_copy_bytes(out, sizeof(out), "xy\0z", 4), 2);
	assert_string_equal(out, "xy");
	assert_int_equal(text_copy(out, sizeof(out), NULL), 0);
	assert_string_equal(out, "");
}

static void dirty_bytes_become_question_marks(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain", "plain"},
		{"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\x8e", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\x8e"},
		{"a\nb\x1b[31m", "a?b?[31m"},
		{"\xc0\xaf", "??"},           /* overlong */
		{"\xed\xa0\x80", "???"},      /* surrogate */
		{"\xf4\x90\x80\x80", "????"}, /* beyond U+10FFFF */
		{"end\xe2\x82", "end??"},     /* cut */
		{"\xc2\x9b"
		 "5m",
		 "??"
		 "5m"}, /* C1 control: CSI */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[32];

		text_copy(text, sizeof(text), cases[i].in);
		text_clean(text);
		assert_string_equal(text, cases[i].out);
	}
}

static void appending_stops_at_the_end(void **state)
{
	char out[8];
	size_t used = 0;

	(void)state;
	text_add(out, sizeof(out), &used, "%s", "1234");
	text_add(out, sizeof(out), &used, "%s", "56789");
	assert_string_equal(out, "1234567");
	assert_int_equal(used, 7);
	text_add(out, sizeof(out), &used, "%s", "x");
	assert_string_equal(out, "1234567");
}

static void times_round_trip(void **state)
{
	char text[WHEN_SIZE];
	uint64_t ns = 0;

	(void)state;
	when_rfc3339(1795378469123456789ull, text);
	assert_string_equal(text, "2026-11-22T20:14:29.123456789Z");
	assert_true(when_parse(text, &ns));
	assert_int_equal(ns, 1795378469123456789ull);
	assert_true(when_parse("2026-11-22T21:14:29.5+01:00", &ns));
	assert_int_equal(ns, 1795378469500000000ull);
	assert_false(when_parse("2026-11-22", &ns));
	assert_false(when_parse("2026-11-22T20:14:29.", &ns));
	assert_false(when_parse("2026-11-22T20:14:29Zx", &ns));
	assert_int_equal(ns, 1795378469500000000ull);
}

static void numbers_are_read_strictly(void **state)
{
	uint64_t value = 7;
	bool yes = false;

	(void)state;
	assert_true(parse_u64("0x10", &value));
	assert_int_equal(value, 16);
	assert_false(parse_u64("-1", &value));
	assert_false(parse_u64(" 1", &value));
	assert_false(parse_u64("1 ", &value));
	assert_false(parse_u64("", &value));
	assert_false(parse_u64("18446744073709551616", &value));
	assert_int_equal(value, 16);
	assert_true(parse_size("16M", &value));
	assert_int_equal(value, 16u << 20);
	assert_false(parse_size("16MB", &value));
	assert_false(parse_size("99999999999G", &value));
	assert_true(parse_duration_ms("90s", &value));
	assert_int_equal(value, 90000);
	assert_true(parse_duration_ms("250ms", &value));
	assert_int_equal(value, 250);
	assert_true(parse_bool("on", &yes));
	assert_true(yes);
	assert_false(parse_bool("maybe", &yes));
}

static void digests_tell_boundaries_apart(void **state)
{
	char hex[17];

	(void)state;
	assert_true(digest_text(digest_text(DIGEST_START, "a"), "bc") !=
		    digest_text(digest_text(DIGEST_START, "ab"), "c"));
	/* published test vector of FNV-1a 64: "foobar" */
	digest_hex(digest_fnv(DIGEST_START, "foobar", 6), hex);
	assert_string_equal(hex, "85944171f73967e8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_are_cut_and_terminated),
		cmocka_unit_test(dirty_bytes_become_question_marks),
		cmocka_unit_test(appending_stops_at_the_end),
		cmocka_unit_test(times_round_trip),
		cmocka_unit_test(numbers_are_read_strictly),
		cmocka_unit_test(digests_tell_boundaries_apart),
	};

	return cmocka_run_group_tests_name("base: text", tests, NULL, NULL);
}
