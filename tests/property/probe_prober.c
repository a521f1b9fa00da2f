/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 8: a database test answers truly. Here what a prober reads: targets come back as the parts they
 * were made of, and nothing else does; an SQLSTATE is found in what libpq writes, wherever a server's own
 * words stand. LAPIDARY_SEED repeats a run.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "bpf/event.h"
#include "tests/draw.h"
#include "user/base/text.h"
#include "user/probe/prober_private.h"

enum { CASES = 2000 };

/* As user/model/connection.c writes it. */
static void encode(char *out, size_t size, size_t *used, const char *in)
{
	for (; *in; in++)
		if (isalnum((unsigned char)*in) || strchr("-._~:[]", *in))
			text_add(out, size, used, "%c", *in);
		else
			text_add(out, size, used, "%%%02X", (unsigned char)*in);
}

static void draw_text(char *out, size_t length, const char *letters)
{
	size_t count = strlen(letters);

	for (size_t i = 0; i < length; i++)
		out[i] = letters[draw(count)];
	out[length] = '\0';
}

static void draw_host(char *out)
{
	switch (draw(4)) {
	case 0:
		strcpy(out, "fe80::1%eth0");
		break;
	case 1:
		out[0] = '/';
		draw_text(out + 1, 1 + draw(15), "abc/. @?=%#&");
		break;
	case 2:
		draw_text(out, 1 + draw(15), "0123456789.");
		break;
	default:
		draw_text(out, 1 + draw(15), "abcXYZ-._~0189");
	}
}

static void targets_come_back(void **state)
{
	(void)state;
	draw_start();
	for (int n = 0; n < CASES; n++) {
		char host[32], database[32], target[192], why[112];
		unsigned port = 1 + (unsigned)draw(65535);
		struct prober_target parts;
		size_t used = 0;
		bool ipv6;

		draw_host(host);
		draw_text(database, draw(30), "abcXYZ-_ =/?@'\"%:\\\n\xc3\xa4");
		ipv6 = strchr(host, ':') != NULL;
		text_add(target, sizeof(target), &used, "postgres://%s", ipv6 ? "[" : "");
		encode(target, sizeof(target), &used, host);
		text_add(target, sizeof(target), &used, "%s:%u/", ipv6 ? "]" : "", port);
		encode(target, sizeof(target), &used, database);
		if (prober_parse_target(target, &parts, why, sizeof(why)) != 0)
			fail_msg("%s: %s", target, why);
		assert_string_equal(parts.host, host);
		assert_int_equal(atoi(parts.port), port);
		assert_string_equal(parts.database, database);
	}
}

static void nothing_else_does(void **state)
{
	(void)state;
	for (int n = 0; n < CASES; n++) {
		char target[192] = "postgres://db.internal:5432/shop%20a", why[112];
		struct prober_target parts;

		for (uint64_t changes = 1 + draw(3); changes > 0; changes--)
			target[draw(36)] = (char)(1 + draw(255));
		if (prober_parse_target(target, &parts, why, sizeof(why)) != 0)
			continue;
		/* one that is accepted has no user, no parameter, and one host and port */
		assert_null(strpbrk(target, "@?#,& ="));
		assert_int_equal(strncmp(target, "postgres://", 11), 0);
		assert_int_equal(strspn(parts.port, "0123456789"), strlen(parts.port));
		assert_null(strchr(parts.host, ','));
	}
}

static void states_are_found(void **state)
{
	(void)state;
	for (int n = 0; n < CASES; n++) {
		char message[512] = "", expected[8] = "", found[8] = "";
		size_t used = 0;

		for (uint64_t tries = draw(4); tries > 0; tries--) {
			char noise[40], code[8];

			draw_text(noise, draw(30), "abc DEF:01 ()\".");
			draw_text(code, 5, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
			text_add(message, sizeof(message), &used,
				 "connection to server at \"%s\", port 5432 failed: ", noise);
			if (draw(2)) {
				text_add(message, sizeof(message), &used, "%s:  %s\n",
					 draw(2) ? "FATAL" : "SCHWERWIEGEND", code);
				strcpy(expected, code);
			} else {
				text_add(message, sizeof(message), &used, "Connection refused\n");
			}
		}
		assert_int_equal(prober_find_sqlstate(message, found), *expected != '\0');
		assert_string_equal(found, expected);
	}
}

static void states_are_judged(void **state)
{
	static const struct {
		const char *sqlstate;
		enum probe_result without, with;
	} cases[] = {
		{"28P01", PROBE_OK, PROBE_NOT_RUN},        {"28000", PROBE_OK, PROBE_NOT_RUN},
		{"3D000", PROBE_OK, PROBE_REJECTED},       {"42501", PROBE_OK, PROBE_NOT_RUN},
		{"53300", PROBE_REJECTED, PROBE_REJECTED}, {"57P01", PROBE_REJECTED, PROBE_REJECTED},
		{"57P02", PROBE_REJECTED, PROBE_REJECTED}, {"57P03", PROBE_REJECTED, PROBE_REJECTED},
		{"08006", PROBE_REJECTED, PROBE_REJECTED}, {"08P01", PROBE_NOT_RUN, PROBE_REJECTED},
		{"XX000", PROBE_REJECTED, PROBE_REJECTED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (int with = 0; with < 2; with++) {
			struct prober_answer answer = {0};
			enum probe_result expected = with ? cases[i].with : cases[i].without;

			prober_judge(cases[i].sqlstate, with, &answer);
			print_message("%s %d: %u\n", cases[i].sqlstate, with, answer.result);
			assert_int_equal(answer.result, expected);
			assert_string_equal(answer.sqlstate, cases[i].sqlstate);
			assert_int_equal(answer.detail[0] != '\0', expected == PROBE_NOT_RUN);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 8: a target is taken apart as it was put together", targets_come_back, NULL, NULL,
		 NULL},
		{"Property 8: nothing else is a target", nothing_else_does, NULL, NULL, NULL},
		{"Property 8: an SQLSTATE is found wherever it stands", states_are_found, NULL, NULL, NULL},
		{"Property 8: what each SQLSTATE means", states_are_judged, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
