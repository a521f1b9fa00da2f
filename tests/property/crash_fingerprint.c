/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated crashes: whatever a process looked like when it died, the report is made, is one JSON document
 * of its schema; and a fingerprint is the same for the same bug wherever it happens.
 * LAPIDARY_SEED repeats a run. Run from the top of the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/crash_make.h"
#include "user/base/digest.h"
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/base/schema.h"
#include "user/base/when.h"

enum { CASES = 400 };

static uint64_t seed;
static cJSON *schema;

static uint64_t draw(uint64_t below)
{
	return digest_mix(seed += 0x9e3779b97f4a7c15ull) % below;
}

static void draw_bytes(void *out, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)out)[i] = (uint8_t)draw(256);
}

/* Addresses that matter: NULL, small, mapped, near the stack, no address at all. */
static uint64_t draw_address(void)
{
	static const uint64_t bases[] = {0,          0x1000,  MADE_LIBC,          MADE_RUBY, MADE_PG,
					 MADE_LIBPQ, MADE_SP, 0x4141414141414141, ~0ull};

	return bases[draw(9)] + draw(3) * draw(0x40000);
}

static void draw_fault(struct made *made)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
	static const int codes[] = {1, 2, 3, 4, 128, 0, -1, -6, 77};
	struct ev_fault *fault = &made->crash.fault;

	for (int i = 0; i < REG_COUNT; i++)
		fault->regs[i] = draw_address();
	fault->signal = (uint32_t)signals[draw(6)];
	fault->code = codes[draw(9)];
	fault->address = draw(3) ? draw_address() : fault->regs[REG_IP_];
	fault->error_code = draw(32);
	fault->trap_nr = draw(20);
	fault->flags = (uint32_t)draw(64);
	fault->handler = draw(4) ? draw_address() : draw(2);
	fault->sender_tgid = draw(2) ? made->crash.process.tgid : (uint32_t)draw(100000);
	draw_bytes(fault->missing, sizeof(fault->missing));
	draw_bytes(fault->comm, sizeof(fault->comm) - 1);
}

static void draw_crash(struct made *made)
{
	struct crash *crash = &made->crash;

	crash_make(made, "a1");
	draw_fault(made);
	made_locate(made, draw(3) ? made->regions[draw(4)].path : "", draw_address(), draw(0x30000));
	crash->location.what = (uint32_t)draw(7);
	crash->location.build_id_len = (uint8_t)draw(24);
	crash->location.source = (uint32_t)draw(6);
	for (size_t at = 0; at + 8 <= sizeof(made->stack); at += 8)
		if (!draw(8))
			made_push(made, at, draw_address());
	crash->fatal.kind = (uint32_t)(draw(4) ? 0 : draw(7));
	draw_bytes(crash->fatal.message, draw(sizeof(crash->fatal.message)));
	crash->oom = !draw(8);
	crash->has_fault = draw(8) != 0;
	crash->status = draw(2) ? -1 : (int32_t)draw(65536);
	crash->confirmed_by = (enum confirmation)draw(5);
	crash->role = (enum role)draw(4);
	draw_bytes(crash->app, draw(sizeof(crash->app)));
	draw_bytes(crash->sql, draw(sizeof(crash->sql)));
	draw_bytes(crash->comm, sizeof(crash->comm) - 1);
	if (!draw(4))
		made->input.stack = NULL, made->input.stack_size = 0;
	if (!draw(4))
		made->input.regions = NULL, made->input.region_count = 0;
	if (!draw(4))
		made->input.flight = NULL;
}

static void test_reports(void **state)
{
	static struct made made;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		struct crash_report *report;
		char why[512];
		cJSON *json;

		draw_crash(&made);
		assert_int_equal(crash_report_new(&made.input, &report), 0);
		json = cJSON_Parse(report->report_json);
		assert_non_null(json);
		if (schema_check(schema, json, why, sizeof(why)))
			fail_msg("case %d: %s\n%s", i, why, report->report_json);
		/* one confidence, and a gem only with a module */
		assert_true(report->blame.confidence[0]);
		assert_true(report->blame.module[0]);
		if (!strcmp(report->blame.confidence, "none"))
			assert_string_equal(report->blame.gem, "");
		cJSON_Delete(json);
		crash_report_free(report);
	}
}

/* What differs from host to host and from one instance to the next. */
static void move_elsewhere(struct made *made)
{
	uint64_t slide = (draw(1 << 20) + 1) << 12;

	for (size_t i = 0; i < 4; i++) {
		made->regions[i].start += slide;
		made->regions[i].end += slide;
		made->regions[i].inode += draw(1000);
	}
	for (size_t at = 0; at + 8 <= sizeof(made->stack); at += 8) {
		uint64_t word;

		memcpy(&word, made->stack + at, sizeof(word));
		if (word >= MADE_LIBC && word < MADE_LIBPQ + 0x40000)
			made_push(made, at, word + slide);
	}
	made->crash.location.map_start += slide;
	made->crash.fault.regs[REG_IP_] += slide;
	made->crash.process.tgid = (uint32_t)draw(4000000);
	made->crash.process.start_ns = draw(1ull << 40);
	made->crash.time_ns = draw(1ull << 40) + (1ull << 41);
	made->crash.uid = (uint32_t)draw(70000);
	made->crash.live_workers = (uint32_t)draw(64);
	made->crash.status = (int32_t)draw(65536);
	made->input.host = "another";
	snprintf(made->crash.sql, sizeof(made->crash.sql), "select %d", (int)draw(1000));
}

/* A crash of one of the shapes that real ones have. */
static void draw_bug(struct made *made)
{
	static const uint64_t bases[] = {MADE_LIBC, MADE_RUBY, MADE_PG, MADE_LIBPQ};
	size_t where = draw(4);

	crash_make(made, "a1");
	made_locate(made, made->regions[where].path, bases[where], 0x1000 + draw(0x20000));
	made->crash.fault.address = draw(0x1000);
	for (int i = 0; i < 4; i++)
		made_push(made, draw(512) * 8, bases[draw(4)] + draw(0x20000));
}

static void fingerprint(const struct made *made, char out[20])
{
	struct crash_report *report;

	assert_int_equal(crash_report_new(&made->input, &report), 0);
	memcpy(out, report->fingerprint, 20);
	crash_report_free(report);
}

static void test_stable(void **state)
{
	static struct made here;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		char first[20], second[20];

		draw_bug(&here);
		fingerprint(&here, first);
		move_elsewhere(&here);
		fingerprint(&here, second);
		if (strcmp(first, second))
			fail_msg("case %d: %s became %s", i, first, second);
	}
}

static void test_different(void **state)
{
	static struct made made;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		uint64_t offset = 0x1000 + draw(0x10000), other = 0x12000 + draw(0x10000);
		char first[20], second[20];

		/* two places of one extension, and two causes at one place */
		crash_make(&made, "a1");
		made_locate(&made, PG_PATH, MADE_PG, offset);
		fingerprint(&made, first);
		made_locate(&made, PG_PATH, MADE_PG, other);
		fingerprint(&made, second);
		assert_string_not_equal(first, second);
		made_locate(&made, PG_PATH, MADE_PG, offset);
		made.crash.fault.address = MADE_PG + draw(0x1000);
		fingerprint(&made, second);
		assert_string_not_equal(first, second);
	}
}

static int start(void **state)
{
	const char *text = getenv("LAPIDARY_SEED");
	char why[256];

	(void)state;
	if (!text || !parse_u64(text, &seed))
		seed = when_wall_now();
	print_message("LAPIDARY_SEED=%llu\n", (unsigned long long)seed);
	if (json_read("rules/schema/report.schema.json", 1 << 20, &schema, why, sizeof(why)))
		fail_msg("%s", why);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	cJSON_Delete(schema);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 17: every crash gives a whole report, parts that are not there included",
		 test_reports, NULL, NULL, NULL},
		{"Property 18: one bug has one fingerprint, over addresses, hosts and instances", test_stable,
		 NULL, NULL, NULL},
		{"Property 18: other places and causes have other fingerprints", test_different, NULL, NULL,
		 NULL},
	};

	return cmocka_run_group_tests(tests, start, finish);
}
