/* SPDX-License-Identifier: Apache-2.0 */
/* The gate observes: nothing but an alert is done, and each decision leaves a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "user/act/gate.h"
#include "user/base/json.h"

static cJSON *audit;

static enum gate_outcome pass(struct gate *gate, const char *action, uint32_t live_workers)
{
	const struct gate_request request = {
		.decision = "d1",
		.incident = "i1",
		.action = action,
		.app = "shop",
		.target = "",
		.reason = "3 crashes in 60 s",
		.pid = 4711,
		.live_workers = live_workers,
		.wall_ns = 1700000000000000000ull,
	};

	cJSON_Delete(audit);
	audit = NULL;
	return gate_pass(gate, &request, &audit);
}

static void test_outcomes(void **state)
{
	static const struct {
		const char *action;
		uint32_t live;
		enum gate_outcome outcome;
		const char *word;
	} cases[] = {
		{"alert", 3, GATE_DONE, "done"},
		{"alert", 1, GATE_DONE, "done"},
		{"worker.restart", 3, GATE_OBSERVED, "observed"},
		{"worker.restart", 1, GATE_REFUSED, "refused"},
		{"worker.hold", 0, GATE_OBSERVED, "observed"}, /* a boot that waits takes no one away */
		{"breaker.open", 1, GATE_OBSERVED, "observed"},
		{"something new", 3, GATE_OBSERVED, "observed"},
	};
	struct gate *gate = gate_new();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		print_message("%s, %u workers\n", cases[i].action, cases[i].live);
		assert_int_equal(pass(gate, cases[i].action, cases[i].live), cases[i].outcome);
		assert_string_equal(json_text(audit, "outcome"), cases[i].word);
		assert_string_equal(json_text(audit, "action"), cases[i].action);
		assert_true(*json_text(audit, "outcome_reason"));
		assert_int_equal((int)json_number(audit, "number", 0), (int)i + 1);
	}
	gate_free(gate);
}

static void test_audit(void **state)
{
	struct gate *gate = gate_new();

	(void)state;
	pass(gate, "worker.restart", 3);
	assert_string_equal(json_text(audit, "time"), "2023-11-14T22:13:20.000000000Z");
	assert_string_equal(json_text(audit, "decision"), "d1");
	assert_string_equal(json_text(audit, "incident"), "i1");
	assert_string_equal(json_text(audit, "reason"), "3 crashes in 60 s");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(audit, "target")));
	assert_int_equal((int)json_number(audit, "pid", 0), 4711);
	gate_free(gate);
	gate_free(NULL);
}

static int finish(void **state)
{
	(void)state;
	cJSON_Delete(audit);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_audit),
	};

	return cmocka_run_group_tests(tests, NULL, finish);
}
