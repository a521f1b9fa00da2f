// SPDX-License-Identifier: Apache-2.0
/*
 * The list of (scope, target) that are tested, and who has room in it. When it is full, the scope with the
 * most targets gives up the one it used longest ago, but only for a scope that has fewer: so whoever comes
 * late gets its share, and nobody pushes out the same entry that pushed out his.
 */
#include <string.h>
#include "user/act/probes_private.h"
#include "user/base/text.h"

struct key {
	struct ev_scope scope;
	char target[SCOPE_TARGET_SIZE];
};

void probes_list_hold(struct probes *probes, struct place *place, uint32_t tgid, uint64_t start_ns)
{
	struct holder before = {.start_ns = place->start_ns, .tgid = place->tgid},
		      now = {.start_ns = start_ns, .tgid = tgid};
	uint32_t *count = before.tgid ? table_peek(probes->holders, &before) : NULL;

	if (count && --*count == 0)
		table_delete(probes->holders, &before);
	count = tgid ? table_put(probes->holders, &now, NULL) : NULL;
	if (count)
		++*count;
	place->tgid = tgid;
	place->start_ns = start_ns;
}

static void drop_place(struct probes *probes, struct place *place)
{
	probes_list_hold(probes, place, 0, 0);
	table_delete(probes->places, &place->scope);
}

static void entry_gone(void *context, const void *key, void *value)
{
	struct probes *probes = context;
	struct entry *entry = value;

	(void)key;
	if (entry->place && --entry->place->targets == 0)
		drop_place(probes, entry->place);
}

/* The tables' own limits are never reached: room is made, or refused, before. */
bool probes_list_init(struct probes *probes)
{
	size_t limit = (size_t)probes->settings.targets_max + 1;

	probes->entries = table_new(sizeof(struct key), sizeof(struct entry), limit, entry_gone, probes);
	probes->places = table_new(sizeof(struct ev_scope), sizeof(struct place), limit + 1, NULL, NULL);
	probes->holders = table_new(sizeof(struct holder), sizeof(uint32_t), limit + 1, NULL, NULL);
	return probes->entries && probes->places && probes->holders;
}

void probes_list_done(struct probes *probes)
{
	table_free(probes->entries); /* its entries let go of their places */
	table_free(probes->places);
	table_free(probes->holders);
}

static void set_key(struct key *key, const struct ev_scope *scope, const char *target)
{
	memset(key, 0, sizeof(*key));
	key->scope = *scope;
	text_copy(key->target, sizeof(key->target), target);
}

struct entry *probes_list_find(const struct probes *probes, const struct ev_scope *scope, const char *target)
{
	struct key key;

	set_key(&key, scope, target);
	return table_peek(probes->entries, &key);
}

struct search {
	const struct place *place; /* the largest; or whose entries are looked at */
	struct entry *found;
	struct key key;
};

static void find_largest(void *context, const void *key, void *value)
{
	struct search *search = context;
	const struct place *place = value;

	(void)key;
	if (!search->place || place->targets > search->place->targets)
		search->place = place;
}

static void find_oldest(void *context, const void *key, void *value)
{
	struct search *search = context;
	struct entry *entry = value;

	if (entry->place != search->place || entry->urgent || entry->token ||
	    (search->found && search->found->used_ns <= entry->used_ns))
		return;
	search->found = entry;
	search->key = *(const struct key *)key;
}

static bool give_up_one(struct probes *probes, const struct place *of)
{
	struct search search = {.place = of};

	table_each(probes->entries, find_oldest, &search);
	return search.found && table_delete(probes->entries, &search.key);
}

/* For one more of `mine`, counted already; an urgent one may also come instead of another of its scope. */
static bool make_room(struct probes *probes, const struct place *mine, bool urgent)
{
	struct search search = {0};

	if (table_count(probes->entries) < probes->settings.targets_max)
		return true;
	table_each(probes->places, find_largest, &search);
	if (search.place->targets > mine->targets && give_up_one(probes, search.place))
		return true;
	return urgent && give_up_one(probes, mine);
}

struct entry *probes_list_need(struct probes *probes, const struct ev_scope *scope, const char *target,
			       bool urgent, bool *fresh)
{
	struct entry *entry = probes_list_find(probes, scope, target);
	struct place *place;
	struct key key;

	*fresh = false;
	if (entry)
		return entry;
	set_key(&key, scope, target);
	place = table_put(probes->places, scope, fresh);
	if (!place)
		return NULL;
	place->scope = *scope;
	place->targets++; /* it stays while room is made */
	if (make_room(probes, place, urgent))
		entry = table_put(probes->entries, &key, fresh);
	if (!entry) {
		if (--place->targets == 0)
			drop_place(probes, place);
		return NULL;
	}
	entry->place = place;
	entry->latest.scope = *scope;
	text_copy(entry->latest.target, sizeof(entry->latest.target), target);
	return entry;
}
