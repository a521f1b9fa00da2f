/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of any size lives through an outage: however many of its connections are found dead after the
 * recovery, however late, the shipped rules ask for no breaker; and when the database then goes away again,
 * they ask at their threshold, by the connections that have been made or used since.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/rules_watcher.h"

enum { CASES = 300, POOL_MAX = 60, PID = 1000, THRESHOLD = 5, LATEST_MS = 120000 };

struct pool {
	struct rules_watcher w;
	unsigned size, dead; /* those below `dead` have been found dead and opened anew */
	uint64_t ms, seed;
};

static struct pool pool;

static void advance(uint64_t ms)
{
	for (uint64_t end = pool.ms + ms; pool.ms < end;) {
		uint64_t step = end - pool.ms < 1000 ? end - pool.ms : 1000;
		history_tick(&pool.w.history, pool.ms += step);
	}
}

/* It is used, and is no more: either libpq or the server's last word says so. */
static void lose(unsigned index)
{
	if (draw(2)) {
		history_conn(&pool.w.history, PID, 1 + index, CONN_BROKEN, REASON_CLOSED, pool.ms);
	} else {
		history_query(&pool.w.history, PID, 1 + index, "select $1", pool.ms);
		history_query_end(&pool.w.history, PID, 1 + index, "57P01", pool.ms, pool.ms + 1);
		pool.ms++;
	}
}

static void reopen(unsigned index)
{
	history_conn(&pool.w.history, PID, 1 + index, CONN_OPEN, 0, ++pool.ms);
}

/* Loses connections from `first` on until a query breaker is asked for; returns how many it took. */
static unsigned fail_until_asked(unsigned first)
{
	unsigned asked = pool.w.decisions, lost = 0;

	for (unsigned i = first; i < pool.size && pool.w.decisions == asked; i++, lost++) {
		advance(1 + draw(500));
		lose(i);
	}
	return lost;
}

static void breaker_is(enum breaker_state state)
{
	struct ev_scope scope = history_scope("shop");

	history_breaker(&pool.w.history, &scope, BREAKER_QUERY, state, ++pool.ms);
}

/* Either the prober gets through again, or somebody's new connection does, and the breaker closes. */
static void recover(void)
{
	struct ev_scope scope = history_scope("shop");

	advance(1 + draw(3000));
	if (draw(2))
		history_probe(&pool.w.history, &scope, PROBE_OK, 1, "", ++pool.ms);
	else
		history_conn(&pool.w.history, PID, 1000, CONN_OPEN, 0, ++pool.ms);
	breaker_is(BREAKER_CLOSED);
}

static void fill(uint64_t seed)
{
	draw_seed(seed);
	assert_int_equal(rules_watcher_init(&pool.w, "rules"), 0);
	pool.ms = 5000;
	pool.seed = seed;
	pool.size = 2 * THRESHOLD + (unsigned)draw(POOL_MAX - 2 * THRESHOLD);
	history_watch(&pool.w.history, PID, 1, "ruby", 2000);
	history_info(&pool.w.history, PID, "shop", 2001);
	for (unsigned i = 0; i < pool.size; i++)
		reopen(i);
	advance(draw(30000));
}

static void test_what_is_left_over_opens_nothing(void **state)
{
	uint64_t first = *(uint64_t *)*state;

	for (uint64_t i = 0; i < CASES; i++) {
		fill(first + i);
		unsigned lost = fail_until_asked(0), asked = pool.w.decisions;
		assert_int_equal(lost, THRESHOLD);
		breaker_is(BREAKER_OPEN);
		advance(1 + draw(20000));
		recover();
		unsigned latest = (unsigned)draw(LATEST_MS / pool.size);
		for (unsigned k = lost; k < pool.size; k++) {
			advance(draw(1 + latest));
			lose(k);
			if (draw(2))
				reopen(k);
		}
		if (pool.w.decisions != asked)
			fail_msg("seed %llu: %u orders after the recovery, the last: %s",
				 (unsigned long long)(first + i), pool.w.decisions - asked,
				 pool.w.decision.reason);
		rules_watcher_done(&pool.w);
	}
}

static void test_the_next_outage_is_seen(void **state)
{
	uint64_t first = *(uint64_t *)*state;

	for (uint64_t i = 0; i < CASES; i++) {
		fill(first + i);
		fail_until_asked(0);
		breaker_is(BREAKER_OPEN);
		advance(1 + draw(20000));
		recover();
		for (unsigned k = 0; k < pool.size; k++) {
			if (k < THRESHOLD || draw(2)) {
				reopen(k);
			} else { /* it survived, as after a frozen server */
				history_query(&pool.w.history, PID, 1 + k, "select $1", ++pool.ms);
				history_query_end(&pool.w.history, PID, 1 + k, "", pool.ms, pool.ms + 1);
				pool.ms++;
			}
		}
		advance(1 + draw(60000));
		assert_int_equal(fail_until_asked(0), THRESHOLD);
		rules_watcher_done(&pool.w);
	}
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 9: what is left over from an outage does not open the breaker again",
		 test_what_is_left_over_opens_nothing, NULL, NULL, &seed},
		{"Property 9: the next outage opens it at its threshold", test_the_next_outage_is_seen, NULL,
		 NULL, &seed},
	};
	return cmocka_run_group_tests_name("rules: outages", tests, NULL, NULL);
}
