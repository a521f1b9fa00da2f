// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include "user/act/dice.h"
#include "user/act/hold.h"
#include "user/base/table.h"
#include "user/base/text.h"

enum { HOLDS_MAX = 1024, MS = 1000000 };

struct holds {
	struct hold_settings settings;
	struct dice dice;
	struct table *table; /* by scope; the scope least lately in trouble makes room */
};

struct holds *holds_new(const struct hold_settings *settings, uint64_t seed)
{
	struct holds *holds = calloc(1, sizeof(*holds));

	if (!holds)
		return NULL;
	holds->settings = *settings;
	if (holds->settings.max_ms > HOLD_MAX_MS)
		holds->settings.max_ms = HOLD_MAX_MS;
	holds->dice.seed = seed;
	holds->table = table_new(sizeof(struct ev_scope), sizeof(struct hold), HOLDS_MAX, NULL, NULL);
	if (!holds->table) {
		free(holds);
		return NULL;
	}
	return holds;
}

void holds_free(struct holds *holds)
{
	if (!holds)
		return;
	table_free(holds->table);
	free(holds);
}

static bool is_calm(const struct holds *holds, const struct hold *hold, uint64_t now_ns)
{
	return now_ns >= hold->last_crash_ns + (uint64_t)holds->settings.calm_ms * MS;
}

/* The scope's hold, unless it is over though no tick has said so yet. */
static struct hold *lasting(struct holds *holds, const struct ev_scope *scope, uint64_t now_ns)
{
	struct hold *hold = table_get(holds->table, scope);

	if (hold && is_calm(holds, hold, now_ns)) {
		table_delete(holds->table, scope);
		return NULL;
	}
	return hold;
}

static uint32_t wait_of(const struct hold_settings *settings, uint32_t crashes)
{
	uint64_t wait = settings->first_ms;

	for (uint32_t i = 0; i < crashes && wait < settings->max_ms; i++)
		wait *= 2;
	return wait < settings->max_ms ? (uint32_t)wait : settings->max_ms;
}

static void note_crash(struct hold *hold, uint64_t now_ns)
{
	if (now_ns > hold->last_crash_ns)
		hold->last_crash_ns = now_ns;
}

int holds_begin(struct holds *holds, const struct ev_scope *scope, const char *reason, const char *incident,
		uint64_t now_ns)
{
	struct hold *hold = lasting(holds, scope, now_ns);
	bool fresh = hold == NULL;

	if (fresh)
		hold = table_put(holds->table, scope, NULL);
	if (!hold)
		return -ENOMEM;
	if (fresh) {
		hold->scope = *scope;
		hold->since_ns = now_ns;
		hold->wait_ms = wait_of(&holds->settings, 0);
		text_copy(hold->incident, sizeof(hold->incident), incident);
		text_copy(hold->reason, sizeof(hold->reason), reason);
	}
	note_crash(hold, now_ns);
	return 0;
}

void holds_crash(struct holds *holds, const struct ev_scope *scope, uint64_t now_ns)
{
	struct hold *hold = lasting(holds, scope, now_ns);

	if (!hold)
		return;
	note_crash(hold, now_ns);
	if (hold->crashes < UINT32_MAX)
		hold->crashes++;
	hold->wait_ms = wait_of(&holds->settings, hold->crashes);
}

uint32_t holds_boot(struct holds *holds, const struct ev_scope *scope, uint64_t now_ns)
{
	struct hold *hold = lasting(holds, scope, now_ns);

	if (!hold)
		return 0;
	hold->boots++;
	return dice_jitter(&holds->dice, hold->wait_ms, 25, 25);
}

bool holds_end(struct holds *holds, const struct ev_scope *scope)
{
	return table_delete(holds->table, scope);
}

static void end_one(void *context, const void *key, void *value)
{
	struct holds *holds = context;

	(void)value;
	table_delete(holds->table, key);
}

void holds_release(struct holds *holds)
{
	table_each(holds->table, end_one, holds);
}

struct visit {
	struct holds *holds;
	uint64_t now_ns;
	void (*fn)(void *context, const struct hold *hold);
	void *context;
};

static void end_calm(void *context, const void *key, void *value)
{
	struct visit *visit = context;

	if (is_calm(visit->holds, value, visit->now_ns))
		table_delete(visit->holds->table, key);
}

void holds_tick(struct holds *holds, uint64_t now_ns)
{
	struct visit visit = {.holds = holds, .now_ns = now_ns};

	table_each(holds->table, end_calm, &visit);
}

const struct hold *holds_find(const struct holds *holds, const struct ev_scope *scope)
{
	return table_peek(holds->table, scope);
}

static void show(void *context, const void *key, void *value)
{
	const struct visit *visit = context;

	(void)key;
	visit->fn(visit->context, value);
}

void holds_each(const struct holds *holds, void (*fn)(void *context, const struct hold *hold), void *context)
{
	struct visit visit = {.fn = fn, .context = context};

	table_each(holds->table, show, &visit);
}
