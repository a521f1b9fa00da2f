// SPDX-License-Identifier: Apache-2.0
/* Breakers, case by case: what opens, renews, tries and closes one, and what does not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "tests/breaker_watcher.h"

#define TARGET "postgres://127.0.0.1:5432/shop"

static const struct breaker_settings usual = {
	.lease_ms = 3000,
	.max_open_ms = 60000,
	.wait_ms = 2000,
	.wait_max_ms = 20000,
	.trial_ms = 2000,
	.successes = 2,
	.calm_ms = 60000,
	.breakers_max = 8,
};

static struct breaker_watcher w;
static struct ev_scope scope, other;

static int before(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.settings = usual;
	breaker_watcher_init(&w, 7);
	scope_set(&scope, 1000, 4026531840, 1, "shop");
	scope_set(&other, 1000, 4026531841, 1, "shop");
	return w.breakers ? 0 : -1;
}

static int after(void **state)
{
	(void)state;
	breakers_free(w.breakers);
	return 0;
}

static void open_it(enum breaker_kind kind)
{
	assert_int_equal(breakers_open(w.breakers, &scope, TARGET, kind, "5 failures in 10 s", "incident",
				       false, 0, w.now_ns),
			 0);
}

static const struct breaker *breaker_of(enum breaker_kind kind)
{
	return breakers_find(w.breakers, &scope, TARGET, kind);
}

static enum breaker_state state_of(enum breaker_kind kind)
{
	const struct breaker *breaker = breaker_of(kind);

	return breaker ? breaker->state : BREAKER_CLOSED;
}

static void probe(enum probe_result result, const char *sqlstate, bool reached)
{
	breakers_probe(w.breakers, &scope, TARGET, result, sqlstate, reached, w.now_ns);
}

static void opens_with_a_lease(void **state)
{
	const struct breaker *breaker;

	(void)state;
	open_it(BREAKER_QUERY);
	breaker = breaker_of(BREAKER_QUERY);
	assert_int_equal(breaker->state, BREAKER_OPEN);
	assert_true(breaker->lease_end_ns == w.now_ns + 3000 * MS_NS);
	assert_int_equal(strlen(breaker->id), 16);
	assert_string_equal(breaker->incident, "incident");
	assert_string_equal(breaker->reason, "5 failures in 10 s");
	assert_int_equal(breakers_open_count(w.breakers), 1);
	assert_int_equal(w.changes, 1);
	assert_int_equal(w.was, BREAKER_CLOSED);
	assert_null(breaker_of(BREAKER_CONNECT));
	assert_null(breakers_find(w.breakers, &other, TARGET, BREAKER_QUERY));
	open_it(BREAKER_QUERY); /* evidence, not another opening */
	assert_int_equal(w.changes, 1);
}

static void without_anybody_it_closes_after_its_wait(void **state)
{
	uint64_t wait_ns;

	(void)state;
	open_it(BREAKER_CONNECT);
	wait_ns = breaker_of(BREAKER_CONNECT)->next_trial_ns - w.now_ns;
	assert_in_range(wait_ns / MS_NS, 1500, 2500);
	breaker_watcher_pass(&w, wait_ns / MS_NS - 100);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_OPEN);
	breaker_watcher_pass(&w, 200);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_HALF_OPEN); /* on offer; nobody there */
	breaker_watcher_pass(&w, 3200);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_CLOSED);
	assert_true(w.last.lease_end_ns == 0);
	assert_non_null(strstr(w.last.reason, "lease"));
}

static void the_prober_keeps_open_and_closes(void **state)
{
	(void)state;
	open_it(BREAKER_CONNECT);
	for (int i = 0; i < 20; i++) {
		breaker_watcher_pass(&w, 500);
		probe(PROBE_TIMEOUT, "", true);
	}
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_OPEN);
	probe(PROBE_OK, "", true);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_OPEN);
	probe(PROBE_TIMEOUT, "", true); /* not in a row */
	probe(PROBE_OK, "", true);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_OPEN);
	probe(PROBE_NOT_RUN, "", true); /* says nothing, also not that it failed */
	probe(PROBE_OK, "", true);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_CLOSED);
	assert_int_equal(w.trials, 0);
}

static void a_prober_that_never_reached_it_says_nothing(void **state)
{
	uint64_t wait_end_ns;

	(void)state;
	open_it(BREAKER_CONNECT);
	wait_end_ns = breaker_of(BREAKER_CONNECT)->next_trial_ns;
	while (state_of(BREAKER_CONNECT) != BREAKER_CLOSED) {
		probe(w.now_ns % 3 ? PROBE_TIMEOUT : PROBE_REFUSED, "", false);
		assert_true(breaker_of(BREAKER_CONNECT)->lease_end_ns <= wait_end_ns + 3000 * MS_NS);
		breaker_watcher_pass(&w, 100);
		assert_true(w.now_ns <= wait_end_ns + 3100 * MS_NS);
	}
}

static void each_kind_is_judged_by_its_own_answers(void **state)
{
	static const struct {
		enum probe_result result;
		const char *sqlstate;
		bool connect, query; /* it renews that one */
	} cases[] = {
		{PROBE_REFUSED, "", true, true},         {PROBE_REJECTED, "53300", true, false},
		{PROBE_REJECTED, "57P03", true, true},   {PROBE_TIMEOUT, "", true, true},
		{PROBE_NO_HOST, "", true, true},         {PROBE_BROKEN, "", true, true},
		{PROBE_REJECTED, "28P01", false, false}, {PROBE_NOT_RUN, "", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		print_message("# %d %s\n", cases[i].result, cases[i].sqlstate);
		open_it(BREAKER_CONNECT);
		open_it(BREAKER_QUERY);
		w.now_ns += 2000 * MS_NS;
		probe(cases[i].result, cases[i].sqlstate, true);
		assert_int_equal(breaker_of(BREAKER_CONNECT)->lease_end_ns == w.now_ns + 3000 * MS_NS,
				 cases[i].connect);
		assert_int_equal(breaker_of(BREAKER_QUERY)->lease_end_ns == w.now_ns + 3000 * MS_NS,
				 cases[i].query);
		breakers_release(w.breakers, "next case", w.now_ns);
	}
	open_it(BREAKER_QUERY);
	probe(PROBE_OK, "", true);
	probe(PROBE_REJECTED, "53300", true); /* no word on queries, so the two that succeeded are in a row */
	probe(PROBE_OK, "", true);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_OPEN); /* it opened again soon: its wait counts */
	for (int i = 0; i < 30 && state_of(BREAKER_QUERY) != BREAKER_CLOSED; i++) {
		breaker_watcher_pass(&w, 1000);
		probe(PROBE_OK, "", true);
	}
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_CLOSED);
	assert_non_null(strstr(w.last.reason, "prober"));
}

static void an_error_concerns_what_it_stops(void **state)
{
	static const struct {
		enum conn_reason reason;
		const char *sqlstate;
		bool connect, query;
	} cases[] = {
		{REASON_REFUSED, "", true, false},  {REASON_NO_SOCKET, "", true, false},
		{REASON_TOO_MANY, "", true, false}, {0, "53300", true, false},
		{REASON_TIMEOUT, "", true, true},   {REASON_NO_HOST, "", true, true},
		{REASON_STARTING, "", true, true},  {0, "57P01", false, true},
		{0, "08006", false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(breakers_concerns(BREAKER_CONNECT, cases[i].reason, cases[i].sqlstate),
				 cases[i].connect);
		assert_int_equal(breakers_concerns(BREAKER_QUERY, cases[i].reason, cases[i].sqlstate),
				 cases[i].query);
	}
}

static void what_a_statement_opened_no_probe_closes(void **state)
{
	(void)state;
	assert_int_equal(breakers_open(w.breakers, &scope, TARGET, BREAKER_QUERY, "3 crashes", "incident",
				       BREAKER_BY_STATEMENT, 0, w.now_ns),
			 0);
	for (int i = 0; i < 14; i++) { /* 75 % of wait_max_ms at least */
		breaker_watcher_pass(&w, 1000);
		probe(PROBE_OK, "", true);
		assert_int_equal(state_of(BREAKER_QUERY), BREAKER_OPEN);
	}
	for (int i = 0; i < 120 && state_of(BREAKER_QUERY) == BREAKER_OPEN; i++) {
		breaker_watcher_pass(&w, 100);
		probe(PROBE_OK, "", true);
	} /* then a client may try, though the prober goes on */
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_HALF_OPEN);
	breakers_release(w.breakers, "next", w.now_ns);
	w.now_ns += 3600000ull * MS_NS;
	open_it(BREAKER_QUERY); /* one that errors opened, and crashes as well */
	assert_int_equal(breakers_open(w.breakers, &scope, TARGET, BREAKER_QUERY, "3 crashes", "incident",
				       BREAKER_BY_STATEMENT, 0, w.now_ns),
			 0);
	for (int i = 0; i < 5; i++)
		probe(PROBE_OK, "", true);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_OPEN);
	open_it(BREAKER_CONNECT); /* others close as ever */
	for (int i = 0; i < 2; i++)
		probe(PROBE_OK, "", true);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_CLOSED);
}

static void pass_wait(enum breaker_kind kind)
{
	breaker_watcher_pass(&w, (breaker_of(kind)->next_trial_ns - w.now_ns) / MS_NS + 100);
}

static void one_client_tries(void **state)
{
	char id[40];

	(void)state;
	w.peers[0] = 11;
	w.peers[1] = 12;
	open_it(BREAKER_QUERY);
	pass_wait(BREAKER_QUERY);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_HALF_OPEN);
	assert_int_equal(w.trials, 1);
	assert_int_equal(w.trial_peer, 11);
	memcpy(id, w.trial_id, sizeof(id));
	assert_int_equal(strlen(id), 16);
	breaker_watcher_pass(&w, 500);
	assert_int_equal(w.trials, 1);
	assert_false(breakers_outcome(w.breakers, 12, id, true, w.now_ns)); /* another's */
	assert_false(breakers_outcome(w.breakers, 11, "0123456789abcdef", true, w.now_ns));
	assert_false(breakers_outcome(w.breakers, 11, "", true, w.now_ns));
	assert_false(breakers_outcome(w.breakers, 0, id, true, w.now_ns));
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_HALF_OPEN);
	assert_true(breakers_outcome(w.breakers, 11, id, false, w.now_ns));
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_OPEN);
	assert_int_equal(breaker_of(BREAKER_QUERY)->openings, 1);
	assert_false(breakers_outcome(w.breakers, 11, id, true, w.now_ns)); /* again */
	assert_in_range((breaker_of(BREAKER_QUERY)->next_trial_ns - w.now_ns) / MS_NS, 3000, 5000);
	pass_wait(BREAKER_QUERY);
	assert_int_equal(w.trial_but, 11);
	assert_int_equal(w.trial_peer, 12);
	assert_string_not_equal(w.trial_id, id);
	assert_true(breakers_outcome(w.breakers, 12, w.trial_id, true, w.now_ns));
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_CLOSED);
}

static void a_trial_is_answered_in_time_or_lost(void **state)
{
	char id[40];

	(void)state;
	w.peers[0] = 11;
	open_it(BREAKER_QUERY);
	pass_wait(BREAKER_QUERY);
	memcpy(id, w.trial_id, sizeof(id));
	breaker_watcher_pass(&w, 2000);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_OPEN);
	assert_false(breakers_outcome(w.breakers, 11, id, true, w.now_ns));
	pass_wait(BREAKER_QUERY);
	assert_int_equal(w.trials, 2);
	/* too late, though no tick has said so yet */
	assert_false(breakers_outcome(w.breakers, 11, w.trial_id, true, w.now_ns + 2000 * MS_NS));
	breakers_tick(w.breakers, w.now_ns);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_OPEN);
	w.now_ns += 2000 * MS_NS;
	pass_wait(BREAKER_QUERY);
	assert_int_equal(w.trials, 3);
	/* it leaves: the next one tries, at once */
	memcpy(id, w.trial_id, sizeof(id));
	w.peers[0] = 0;
	w.peers[1] = 12;
	breakers_peer_left(w.breakers, 11, w.now_ns);
	assert_int_equal(w.trials, 4);
	assert_int_equal(w.trial_peer, 12);
	assert_false(breakers_outcome(w.breakers, 11, id, true, w.now_ns));
	w.peers[1] = 0;
	breakers_peer_left(w.breakers, 12, w.now_ns);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_HALF_OPEN);
	assert_int_equal(breaker_of(BREAKER_QUERY)->trial_peer, 0);
	w.peers[2] = 13; /* one comes back while it is on offer */
	breaker_watcher_pass(&w, 100);
	assert_int_equal(w.trial_peer, 13);
	assert_true(breakers_outcome(w.breakers, 13, w.trial_id, true, w.now_ns));
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_CLOSED);
}

static void the_cap_is_hard(void **state)
{
	uint64_t opened_ns;

	(void)state;
	open_it(BREAKER_CONNECT);
	opened_ns = w.now_ns;
	while (state_of(BREAKER_CONNECT) != BREAKER_CLOSED && w.now_ns < opened_ns + 70000 * MS_NS) {
		breaker_watcher_pass(&w, 100);
		probe(PROBE_REFUSED, "", true);
		breakers_evidence(w.breakers, &scope, TARGET, BREAKER_CONNECT, w.now_ns);
	}
	assert_true(w.now_ns == opened_ns + 60000 * MS_NS);
	assert_string_equal(w.last.reason, "it was open as long as it may be");
}

static void what_ran_out_is_not_revived(void **state)
{
	(void)state;
	open_it(BREAKER_CONNECT);
	w.now_ns += 3000 * MS_NS; /* the agent stood still meanwhile */
	breakers_evidence(w.breakers, &scope, TARGET, BREAKER_CONNECT, w.now_ns);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_CLOSED);
	assert_int_equal(breakers_close(w.breakers, &scope, TARGET, BREAKER_CONNECT, "late", w.now_ns),
			 -ENOENT);
}

static void operators_breakers_are_closed_by_hand_or_time(void **state)
{
	(void)state;
	assert_int_equal(breakers_open(w.breakers, &scope, TARGET, BREAKER_QUERY, "by hand", "", true, 10000,
				       w.now_ns),
			 0);
	w.peers[0] = 11;
	for (int i = 0; i < 99; i++) {
		breaker_watcher_pass(&w, 100);
		probe(PROBE_OK, "", true);
	}
	assert_int_equal(w.trials, 0);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_OPEN);
	breaker_watcher_pass(&w, 100);
	assert_int_equal(state_of(BREAKER_QUERY), BREAKER_CLOSED);
	/* one of the rules is taken over */
	open_it(BREAKER_CONNECT);
	assert_int_equal(
		breakers_open(w.breakers, &scope, TARGET, BREAKER_CONNECT, "by hand", "", true, 0, w.now_ns),
		0);
	assert_true(breaker_of(BREAKER_CONNECT)->by_operator);
	breaker_watcher_pass(&w, 59900);
	assert_int_equal(state_of(BREAKER_CONNECT), BREAKER_OPEN);
	assert_int_equal(breakers_close(w.breakers, &scope, TARGET, BREAKER_CONNECT, "mended", w.now_ns), 0);
	assert_string_equal(w.last.reason, "mended");
	assert_int_equal(breakers_open_count(w.breakers), 0);
}

static void one_that_opens_again_waits_longer(void **state)
{
	static const uint32_t least[] = {1500, 3000, 6000, 12000, 15000, 15000};

	(void)state;
	for (size_t i = 0; i < sizeof(least) / sizeof(*least); i++) {
		open_it(BREAKER_CONNECT);
		assert_int_equal(breaker_of(BREAKER_CONNECT)->openings, i);
		assert_in_range((breaker_of(BREAKER_CONNECT)->next_trial_ns - w.now_ns) / MS_NS, least[i],
				least[i] / 3 * 5);
		assert_int_equal(breakers_close(w.breakers, &scope, TARGET, BREAKER_CONNECT, "ok", w.now_ns),
				 0);
		breaker_watcher_pass(&w, 1000);
	}
	breaker_watcher_pass(&w, 60000);
	open_it(BREAKER_CONNECT);
	assert_int_equal(breaker_of(BREAKER_CONNECT)->openings, 0);
}

static void count_one(void *context, const struct breaker *breaker)
{
	(void)breaker;
	++*(unsigned *)context;
}

static int open_target(unsigned number)
{
	char target[64];

	snprintf(target, sizeof(target), "postgres://db%u:5432/shop", number);
	return breakers_open(w.breakers, &scope, target, BREAKER_QUERY, "r", "i", false, 0, w.now_ns);
}

static void there_are_only_so_many(void **state)
{
	char longest[SCOPE_TARGET_SIZE + 1];
	unsigned count = 0;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(open_target(i), 0);
	assert_int_equal(open_target(8), -ENOSPC); /* none is closed to make room */
	breakers_close(w.breakers, &scope, "postgres://db3:5432/shop", BREAKER_QUERY, "x", w.now_ns);
	assert_int_equal(open_target(8), 0);
	assert_null(breakers_find(w.breakers, &scope, "postgres://db3:5432/shop", BREAKER_QUERY));
	assert_int_equal(open_target(9), -ENOSPC);
	breakers_release(w.breakers, "stop", w.now_ns);
	assert_int_equal(breakers_open_count(w.breakers), 0);
	breakers_each(w.breakers, count_one, &count);
	assert_int_equal(count, 8);
	w.now_ns += 3600000 * MS_NS;
	breakers_tick(w.breakers, w.now_ns);
	count = 0;
	breakers_each(w.breakers, count_one, &count);
	assert_int_equal(count, 0);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[SCOPE_TARGET_SIZE] = '\0';
	assert_int_equal(
		breakers_open(w.breakers, &scope, longest, BREAKER_QUERY, "r", "i", false, 0, w.now_ns),
		-EINVAL);
	assert_int_equal(breakers_open(w.breakers, &scope, "", BREAKER_QUERY, "r", "i", false, 0, w.now_ns),
			 -EINVAL);
}

static void ids_without_a_seed_are_the_kernels(void **state)
{
	char first[20];

	(void)state;
	for (int i = 0; i < 2; i++) {
		breakers_free(w.breakers);
		breaker_watcher_init(&w, 0);
		open_it(BREAKER_QUERY);
		if (i == 0)
			memcpy(first, breaker_of(BREAKER_QUERY)->id, sizeof(first));
	}
	assert_string_not_equal(first, breaker_of(BREAKER_QUERY)->id);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(opens_with_a_lease),
		EACH(without_anybody_it_closes_after_its_wait),
		EACH(the_prober_keeps_open_and_closes),
		EACH(a_prober_that_never_reached_it_says_nothing),
		EACH(each_kind_is_judged_by_its_own_answers),
		EACH(an_error_concerns_what_it_stops),
		EACH(what_a_statement_opened_no_probe_closes),
		EACH(one_client_tries),
		EACH(a_trial_is_answered_in_time_or_lost),
		EACH(the_cap_is_hard),
		EACH(what_ran_out_is_not_revived),
		EACH(operators_breakers_are_closed_by_hand_or_time),
		EACH(one_that_opens_again_waits_longer),
		EACH(there_are_only_so_many),
		EACH(ids_without_a_seed_are_the_kernels),
	};

	return cmocka_run_group_tests_name("act: breakers", tests, NULL, NULL);
}
