/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No restart storm: a crowd of scopes asks for restarts for hours of simulated time. The oracle keeps every
 * one that was let through, for ever, and looks at each sliding minute by brute force; and it knows how many
 * workers of a scope are healthy, of which one always stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/act/gate.h"
#include "user/base/json.h"

enum { CASES = 150, STEPS = 500, SCOPES = 5, PASSES = STEPS };

#define SECOND 1000000000ull

struct passed {
	uint64_t time_ns;
	unsigned scope;
	char id[20];
	bool restart, under_way;
};

static struct passed passed[PASSES];
static struct ev_scope scopes[SCOPES];
static unsigned count, workers[SCOPES]; /* healthy, so none of those under way */
static uint64_t seed_of_case;

#define HOLDS(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			fail_msg("seed %llu: %s", (unsigned long long)seed_of_case, #condition);             \
	} while (0)

static unsigned passed_since(uint64_t since_ns, bool restart, int scope)
{
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++)
		found += passed[i].time_ns > since_ns && passed[i].restart == restart &&
			 (scope < 0 || passed[i].scope == (unsigned)scope);
	return found;
}

static unsigned going(unsigned scope)
{
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++)
		found += passed[i].under_way && passed[i].restart && passed[i].scope == scope;
	return found;
}

static void end_one(struct gate *gate, uint64_t now)
{
	struct passed *one = &passed[draw(count)];
	cJSON *audit;

	if (!one->under_way)
		return;
	audit = gate_outcome(gate, one->id, draw(2) ? ACTION_DONE : ACTION_FAILED, "ended", 1, now);
	HOLDS(audit != NULL);
	cJSON_Delete(audit);
	one->under_way = false;
}

static void ask(struct gate *gate, const struct gate_settings *settings, uint64_t now)
{
	unsigned scope = (unsigned)draw(SCOPES);
	bool restart = draw(4) != 0, paused = gate_paused(gate, now, NULL);
	struct gate_request request = {
		.decision = "d",
		.incident = "i",
		.action = restart ? "worker.restart" : "breaker.open",
		.target = "",
		.reason = "drawn",
		.scope = scopes[scope],
		.pid = 1 + (uint32_t)draw(1000),
		.live_workers = workers[scope] + (uint32_t)draw(3),
		.healthy_workers = workers[scope],
		.is_worker = draw(5) != 0, /* else a master, that rolls */
		.is_healthy = workers[scope] && draw(4) != 0,
		.accepted = draw(3) != 0,
		.configured = draw(3) == 0,
		.by_operator = draw(10) == 0,
		.wall_ns = 1,
	};
	bool consent = request.accepted || request.configured || request.by_operator;
	uint64_t since = now > 60 * SECOND ? now - 60 * SECOND : 0;
	bool room = restart ? passed_since(since, true, (int)scope) < settings->restarts_per_minute &&
				      passed_since(since, true, -1) < settings->host_restarts_per_minute &&
				      going(scope) < settings->restarting_max &&
				      (!request.is_worker || workers[scope] >= 1u + request.is_healthy)
			    : passed_since(since, false, (int)scope) < settings->breakers_per_minute;
	struct gate_pass pass;

	gate_decide(gate, &request, now, &pass);
	HOLDS(pass.outcome == (paused     ? ACTION_REFUSED
			       : !consent ? ACTION_OBSERVED
			       : room     ? ACTION_SENT
					  : ACTION_REFUSED));
	HOLDS(strcmp(json_text(pass.audit, "outcome"), gate_outcome_name(pass.outcome)) == 0);
	HOLDS(json_text(pass.audit, "outcome_reason")[0] != '\0');
	cJSON_Delete(pass.audit);
	if (pass.outcome != ACTION_SENT)
		return;
	for (unsigned i = 0; i < count; i++)
		HOLDS(strcmp(passed[i].id, pass.id) != 0);
	passed[count] =
		(struct passed){.time_ns = now, .scope = scope, .restart = restart, .under_way = true};
	memcpy(passed[count++].id, pass.id, sizeof(pass.id));
	for (unsigned i = 0; i < SCOPES; i++)
		HOLDS(gate_restarting(gate, &scopes[i]) == going(i));
}

static void test_storm(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	unsigned total = 0;

	for (unsigned i = 0; i < SCOPES; i++)
		scope_set(&scopes[i], 1000 + i / 2, 4026531840 + i, 1 + i, "shop");
	for (uint64_t i = 0; i < CASES; i++) {
		uint64_t now = 1 + draw(100) * SECOND;
		struct gate_settings settings;
		struct gate *gate;

		seed_of_case = first + i;
		draw_seed(seed_of_case);
		settings = (struct gate_settings){1 + (uint32_t)draw(8), 1 + (uint32_t)draw(20),
						  1 + (uint32_t)draw(3), 1 + (uint32_t)draw(10)};
		gate = gate_new(&settings, seed_of_case + 1);
		count = 0;
		for (unsigned k = 0; k < SCOPES; k++)
			workers[k] = (unsigned)draw(9);
		for (unsigned step = 0; step < STEPS; step++) {
			now += draw(10) ? draw(2 * SECOND) : draw(90 * SECOND);
			workers[draw(SCOPES)] = (unsigned)draw(9);
			if (draw(60) == 0)
				gate_pause(gate, now, draw(2) ? 1 + draw(20000) : 0);
			if (draw(30) == 0)
				gate_resume(gate);
			if (count && draw(2))
				end_one(gate, now);
			ask(gate, &settings, now);
		}
		total += count;
		gate_free(gate);
	}
	assert_true(total > CASES * 10);
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 12: no minute holds more than the budget, and the last healthy worker stays",
		 test_storm, NULL, NULL, &seed},
	};

	return cmocka_run_group_tests_name("act: the gate", tests, NULL, NULL);
}
