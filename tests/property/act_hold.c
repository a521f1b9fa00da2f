/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crash loops, simulated: masters that respawn at once, workers that crash after a drawn time, each boot
 * waiting as it is told. The delay grows from crash to crash, jitter stays inside its bounds, nobody waits
 * longer than 20 s, another scope never waits, calm ends it, and the loop cannot storm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/act/hold.h"

enum { CASES = 200, CRASHES = 60 };

#define MS 1000000ull

static uint64_t seed_of_case;

#define HOLDS(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			fail_msg("seed %llu: %s", (unsigned long long)seed_of_case, #condition);             \
	} while (0)

static uint32_t expected(const struct hold_settings *settings, uint32_t crashes)
{
	uint64_t wait = (uint64_t)settings->first_ms << (crashes < 20 ? crashes : 20);
	uint32_t most = settings->max_ms < HOLD_MAX_MS ? settings->max_ms : HOLD_MAX_MS;

	return wait < most ? (uint32_t)wait : most;
}

static void crash_on(struct holds *holds, const struct hold_settings *settings, const struct ev_scope *scope,
		     const struct ev_scope *bystander, uint64_t *now)
{
	uint64_t began = *now, last = 0;
	uint32_t spread = 0;

	holds_begin(holds, scope, "loop", "incident", *now);
	for (uint32_t i = 0; i < CRASHES; i++) {
		uint32_t wait = holds_boot(holds, scope, *now), whole = expected(settings, i);

		HOLDS(wait <= HOLD_MAX_MS);
		HOLDS(wait >= whole - whole / 4 && wait <= whole);
		HOLDS(holds_find(holds, scope)->wait_ms >= last);
		last = holds_find(holds, scope)->wait_ms;
		spread += wait != whole;
		HOLDS(holds_boot(holds, bystander, *now) == 0);
		*now += (wait + draw(settings->calm_ms - HOLD_MAX_MS)) * MS; /* it boots, and crashes */
		holds_tick(holds, *now);
		HOLDS(holds_find(holds, scope) != NULL);
		holds_crash(holds, scope, *now);
	}
	HOLDS(spread > CRASHES / 4); /* jitter is there at all */
	/* no storm: once the delay is whole, so many boots take at least so long */
	HOLDS(*now - began >= (uint64_t)(CRASHES - 20) * expected(settings, 20) * 3 / 4 * MS);
}

static void test_loops(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	struct ev_scope scope, bystander;

	scope_set(&scope, 1000, 4026531840, 7, "shop");
	scope_set(&bystander, 1000, 4026531840, 8, "shop");
	for (uint64_t i = 0; i < CASES; i++) {
		struct hold_settings settings;
		struct holds *holds;
		uint64_t now;

		seed_of_case = first + i;
		draw_seed(seed_of_case);
		settings.first_ms = 100 + (uint32_t)draw(5000);
		settings.max_ms = 1000 + (uint32_t)draw(40000);
		settings.calm_ms = HOLD_MAX_MS + 1 + (uint32_t)draw(100000);
		now = draw(1000000) * MS;
		holds = holds_new(&settings, seed_of_case + 1);
		for (int loop = 0; loop < 2; loop++) { /* the second begins from the start again */
			crash_on(holds, &settings, &scope, &bystander, &now);
			now += settings.calm_ms * MS - 1;
			holds_tick(holds, now);
			HOLDS(holds_find(holds, &scope) != NULL);
			holds_tick(holds, ++now);
			HOLDS(holds_find(holds, &scope) == NULL);
			HOLDS(holds_boot(holds, &scope, now) == 0);
		}
		holds_free(holds);
	}
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 12: in a crash loop boots wait longer and longer, 20 s at most, until it is calm",
		 test_loops, NULL, NULL, &seed},
	};

	return cmocka_run_group_tests_name("act: holds", tests, NULL, NULL);
}
