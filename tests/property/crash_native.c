/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated installations of gems, one of which is at fault, in each way that an extension can stand to the
 * instruction that failed; another one is everywhere around and never named. LAPIDARY_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/report_check.h"

enum { CASES = 400 };

/* A gem as some installation has it. */
struct gem {
	char path[256], name[32], version[16], abi[8];
};

static void draw_gem(struct gem *gem, unsigned number)
{
	static const char *const abis[] = {"2.7.0", "3.1.0", "3.3.0"};
	const char *abi = abis[draw(3)];
	size_t layout = draw(4);

	snprintf(gem->name, sizeof(gem->name), "gem%c%u", 'a' + (char)draw(26), number);
	snprintf(gem->version, sizeof(gem->version), "%u.%u.%u", (unsigned)draw(20), (unsigned)draw(20),
		 (unsigned)draw(20));
	snprintf(gem->abi, sizeof(gem->abi), "%s", abi);
	if (layout == 0)
		snprintf(gem->path, sizeof(gem->path), "/var/lib/gems/%s/gems/%s-%s/lib/%s.so", abi,
			 gem->name, gem->version, gem->name);
	else if (layout == 1)
		snprintf(gem->path, sizeof(gem->path), "/srv/a/vendor/bundle/ruby/%s/gems/%s-%s/lib/%s.so",
			 abi, gem->name, gem->version, gem->name);
	else if (layout == 2)
		snprintf(gem->path, sizeof(gem->path), "/usr/lib/ruby/extensions/x86_64-linux/%s/%s-%s/%s.so",
			 abi, gem->name, gem->version, gem->name);
	else
		snprintf(gem->path, sizeof(gem->path),
			 "/usr/lib/ruby/gems/%s/gems/%s-%s-x86_64-linux/lib/%.3s/%s.so", abi, gem->name,
			 gem->version, abi, gem->name);
}

/* How the guilty extension stands to the failing instruction. */
enum shape { ITSELF, IN_LIBC, IN_RUBY, IN_LIBRARY, BY_METHOD, BEYOND_BYTECODE, NOWHERE, SHAPES };

static const char *shape_confidence(enum shape shape)
{
	static const char *const words[] = {"high", "high", "medium", "medium", "medium", "none", "none"};

	return words[shape];
}

/* regions[2] is the guilty one, regions[3] a library; decoys are mapped, on the stack and beyond bytecode. */
static void draw_shape(struct made *made, enum shape shape, uint64_t decoy_at)
{
	static const uint64_t rips[] = {MADE_PG,   MADE_LIBC, MADE_LIBC, MADE_LIBPQ,
					MADE_RUBY, MADE_RUBY, MADE_RUBY};

	made_frame(made, rips[shape] + 0x2010, rips[shape] + 0x2000, "");
	if (shape == IN_RUBY)
		made_frame(made, MADE_RUBY + 0x3010, MADE_RUBY + 0x3000, "rb_str_new");
	if (shape != ITSELF && shape <= IN_LIBRARY)
		made_frame(made, MADE_PG + 0x4010, MADE_PG + 0x4000, "");
	if (shape <= BY_METHOD)
		made_ruby(made, MADE_PG + (shape == ITSELF ? 0x2000 : 0x4000), "work");
	made_ruby(made, 0, "report");
	made_frame(made, MADE_RUBY + 0x50010, MADE_RUBY + 0x50000, "");
	if (shape == BEYOND_BYTECODE) {
		made_frame(made, MADE_PG + 0x4010, MADE_PG + 0x4000, "");
		made_ruby(made, MADE_PG + 0x4000, "each");
	}
	made_frame(made, decoy_at + 0x4010, decoy_at + 0x4000, "");
	made_ruby(made, decoy_at + 0x4000, "serve");
	made_frame(made, MADE_RUBY + 0x60010, MADE_RUBY + 0x60000, "");
	made_ruby(made, 0, "<main>");
	for (size_t i = 0; i < 20; i++)
		made_push(made, draw(512) * 8, decoy_at + draw(0x8000));
	made->crash.location.what = LOCATION_NONE;
	made->crash.fault.regs[REG_IP_] = rips[shape] + 0x2010;
}

static void check_gem(const cJSON *json, const struct gem *guilty, const char *confidence, bool wrong_abi)
{
	const cJSON *blame = cJSON_GetObjectItem(json, "blame"), *one;
	bool listed = false;

	if (confidence[0] == 'n' && !wrong_abi) {
		assert_string_equal(json_text(blame, "module"), "unknown");
		assert_string_equal(json_text(blame, "gem"), "");
	} else {
		assert_string_equal(json_text(blame, "gem"), guilty->name);
		assert_string_equal(json_text(blame, "version"), guilty->version);
		assert_true(*json_text(blame, "how"));
	}
	if (wrong_abi) {
		assert_string_equal(json_text(json, "cause"), "abi_mismatch");
		assert_non_null(strstr(json_text(json, "cause_evidence"), guilty->abi));
	} else {
		assert_string_equal(json_text(json, "cause"), "null");
		assert_string_equal(json_text(blame, "confidence"), confidence);
	}
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(json, "gems"))
	{
		if (!strcmp(json_text(one, "name"), guilty->name)) {
			listed = true;
			assert_string_equal(json_text(one, "version"), guilty->version);
			assert_string_equal(json_text(one, "abi"), guilty->abi);
			assert_string_equal(json_text(one, "path"), guilty->path);
		}
	}
	assert_true(listed);
}

static void test_native(void **state)
{
	static struct made made;
	static struct maps_region regions[6];

	(void)state;
	for (int i = 0; i < CASES; i++) {
		enum shape shape = (enum shape)draw(SHAPES);
		struct gem guilty, decoy;
		struct crash_report *report;
		char running[8];
		bool wrong_abi;
		cJSON *json;

		crash_make(&made, "a1");
		draw_gem(&guilty, 1);
		do
			draw_gem(&decoy, 2);
		while (!strcmp(guilty.name, decoy.name));
		memcpy(regions, made.regions, sizeof(made.regions));
		regions[2].path = guilty.path;
		regions[3].path = "/usr/lib/x86_64-linux-gnu/libgmp.so.10";
		regions[4] = (struct maps_region){.start = 0x7f0050000000,
						  .end = 0x7f0050010000,
						  .protection = PROT_READ | PROT_EXEC,
						  .path = decoy.path};
		made.input.regions = regions;
		made.input.region_count = 5;
		/* the decoy is always of the Ruby that runs */
		snprintf(running, sizeof(running), "%.3s.%u", decoy.abi, (unsigned)draw(9));
		made.input.ruby = running;
		draw_shape(&made, shape, 0x7f0050000000);
		/* on the stack or not, its ABI explains a fault of memory unless another's code fails */
		wrong_abi = strncmp(guilty.abi, decoy.abi, 3) != 0;
		assert_int_equal(crash_report_new(&made.input, &report), 0);
		json = check_document(report, i);
		check_gem(json, &guilty, shape_confidence(shape), wrong_abi);
		cJSON_Delete(json);
		crash_report_free(report);
	}
}

static int start(void **state)
{
	(void)state;
	draw_start();
	return check_start();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 18: the gem, its version and what it was built for; never another's name",
		 test_native, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, start, check_finish);
}
