// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include "user/act/uses.h"
#include "user/base/table.h"
#include "user/base/text.h"

struct use_key {
	struct ev_scope scope;
	char target[SCOPE_TARGET_SIZE];
};

struct holder {
	uint64_t start_ns;
	uint32_t tgid, pad;
};

/* Of a scope, of a uid's cgroup, of a uid: the wider the share, the less of the scope is set. */
enum width { OF_SCOPE, OF_CGROUP, OF_UID, WIDTHS };

struct share_key {
	struct ev_scope scope;
	uint64_t width;
};

struct share {
	uint32_t count, lacking; /* lacking: those without a holder; of a scope alone */
};

struct uses {
	struct uses_settings settings;
	struct table *entries; /* struct use_key → struct holder; the least recently used first */
	struct table *shares;  /* struct share_key → struct share */
	struct table *holders; /* struct holder → uint32_t: the entries it holds */
	uint64_t walked;
	bool lack;
};

static struct use_key use_key(const struct ev_scope *scope, const char *target)
{
	struct use_key key;

	memset(&key, 0, sizeof(key));
	key.scope = *scope;
	text_copy(key.target, sizeof(key.target), target);
	return key;
}

static struct share_key share_key(const struct ev_scope *scope, enum width width)
{
	struct share_key key;

	memset(&key, 0, sizeof(key));
	key.width = width;
	key.scope.uid = scope->uid;
	if (width <= OF_CGROUP)
		key.scope.cgroup_id = scope->cgroup_id;
	if (width == OF_SCOPE)
		key.scope = *scope;
	return key;
}

static struct share *share_of(const struct uses *uses, const struct ev_scope *scope, enum width width)
{
	struct share_key key = share_key(scope, width);

	return table_peek(uses->shares, &key);
}

static uint32_t count_of(const struct uses *uses, const struct ev_scope *scope, enum width width)
{
	const struct share *share = share_of(uses, scope, width);

	return share ? share->count : 0;
}

static bool is_lacking(const struct holder *holder)
{
	return holder->tgid == 0;
}

/* holder {0}: nobody. */
static void hold(struct uses *uses, const struct ev_scope *scope, struct holder *at, struct holder by)
{
	struct share *share = share_of(uses, scope, OF_SCOPE);
	uint32_t *count = is_lacking(at) ? NULL : table_peek(uses->holders, at);

	if (count && --*count == 0)
		table_delete(uses->holders, at);
	if (share)
		share->lacking += (uint32_t)is_lacking(&by) - (uint32_t)is_lacking(at);
	*at = by;
	count = is_lacking(&by) ? NULL : table_put(uses->holders, &by, NULL);
	if (count)
		++*count;
}

static void entry_gone(void *context, const void *key, void *value)
{
	struct uses *uses = context;
	const struct use_key *use = key;

	/* as one that lacks nothing, or its scope would be searched for it */
	hold(uses, &use->scope, value, (struct holder){0});
	for (enum width width = 0; width < WIDTHS; width++) {
		struct share_key of = share_key(&use->scope, width);
		struct share *share = table_peek(uses->shares, &of);

		if (!share)
			continue;
		share->lacking -= width == OF_SCOPE;
		if (--share->count == 0)
			table_delete(uses->shares, &of);
	}
}

struct uses *uses_new(const struct uses_settings *settings)
{
	struct uses *uses = calloc(1, sizeof(*uses));
	size_t limit = (size_t)settings->all + 1;

	if (!uses)
		return NULL;
	uses->settings = *settings;
	/* their own limits are never reached: room is made before */
	uses->shares = table_new(sizeof(struct share_key), sizeof(struct share), limit * WIDTHS, NULL, NULL);
	uses->holders = table_new(sizeof(struct holder), sizeof(uint32_t), limit, NULL, NULL);
	uses->entries = table_new(sizeof(struct use_key), sizeof(struct holder), limit, entry_gone, uses);
	if (!uses->shares || !uses->holders || !uses->entries) {
		uses_free(uses);
		return NULL;
	}
	return uses;
}

void uses_free(struct uses *uses)
{
	if (!uses)
		return;
	if (uses->shares && uses->holders)
		table_free(uses->entries); /* first: its entries let go of the others */
	table_free(uses->shares);
	table_free(uses->holders);
	free(uses);
}

/* --- room ------------------------------------------------------------------------------------------- */

struct search {
	enum width width;
	const struct ev_scope *in; /* NULL: anywhere; else a share as wide as the next one up */
	struct share_key key;
	uint32_t most;
	bool found;
	struct use_key entry;
};

static void find_greediest(void *context, const void *key, void *value)
{
	struct search *search = context;
	const struct share_key *share = key;
	uint32_t count = ((const struct share *)value)->count;

	if (share->width != (uint64_t)search->width || count <= search->most ||
	    (search->in && share->scope.uid != search->in->uid))
		return;
	search->most = count;
	search->key = *share;
}

static void find_oldest(void *context, const void *key, void *value)
{
	struct search *search = context;
	const struct use_key *use = key;

	(void)value;
	if (search->found || use->scope.uid != search->key.scope.uid ||
	    use->scope.cgroup_id != search->key.scope.cgroup_id)
		return;
	search->found = true;
	search->entry = *use;
}

/* The oldest of that user's cgroup which has most. Where two have as many the newcomer's own pays. */
static void evict_of(struct uses *uses, uint32_t uid, const struct ev_scope *newcomer)
{
	struct ev_scope in = {.uid = uid};
	struct search search = {.width = OF_CGROUP, .in = &in};

	table_each(uses->shares, find_greediest, &search);
	if (uid == newcomer->uid && count_of(uses, newcomer, OF_CGROUP) >= search.most)
		search.key = share_key(newcomer, OF_CGROUP);
	table_each(uses->entries, find_oldest, &search);
	if (search.found)
		table_delete(uses->entries, &search.entry);
}

static void evict_own(struct uses *uses, const struct ev_scope *newcomer)
{
	struct search search = {.key = share_key(newcomer, OF_CGROUP)};

	table_each(uses->entries, find_oldest, &search);
	if (search.found)
		table_delete(uses->entries, &search.entry);
}

static bool make_room(struct uses *uses, const struct ev_scope *scope)
{
	const struct uses_settings *settings = &uses->settings;
	struct search search = {.width = OF_UID};

	if (count_of(uses, scope, OF_SCOPE) >= settings->of_scope)
		return false;
	if (count_of(uses, scope, OF_CGROUP) >= settings->of_cgroup) {
		evict_own(uses, scope);
	} else if (count_of(uses, scope, OF_UID) >= settings->of_uid) {
		evict_of(uses, scope->uid, scope);
	} else if (table_count(uses->entries) >= settings->all) {
		table_each(uses->shares, find_greediest, &search);
		if (count_of(uses, scope, OF_UID) >= search.most)
			search.key = share_key(scope, OF_UID);
		evict_of(uses, search.key.scope.uid, scope);
	}
	return true;
}

/* --- from outside ----------------------------------------------------------------------------------- */

bool uses_note(struct uses *uses, const struct ev_scope *scope, const char *target, uint32_t tgid,
	       uint64_t start_ns)
{
	struct use_key key = use_key(scope, target);
	struct holder *holder = table_get(uses->entries, &key);
	bool fresh = false;

	if (!holder && make_room(uses, scope))
		holder = table_put(uses->entries, &key, &fresh);
	if (!holder)
		return false;
	for (enum width width = 0; fresh && width < WIDTHS; width++) {
		struct share_key of = share_key(scope, width);
		struct share *share = table_put(uses->shares, &of, NULL);

		if (share) {
			share->count++;
			share->lacking += width == OF_SCOPE;
		}
	}
	hold(uses, scope, holder, (struct holder){.start_ns = start_ns, .tgid = tgid});
	return true;
}

bool uses_knows(const struct uses *uses, const struct ev_scope *scope, const char *target)
{
	struct use_key key = use_key(scope, target);

	return table_peek(uses->entries, &key) != NULL;
}

struct each {
	const struct ev_scope *scope;
	uses_fn fn;
	void *context;
};

static void visit(void *context, const void *key, void *value)
{
	const struct each *each = context;
	const struct use_key *use = key;
	const struct holder *holder = value;

	if (!each->scope || scope_equal(&use->scope, each->scope))
		each->fn(each->context, &use->scope, use->target, holder->tgid, holder->start_ns);
}

void uses_each(const struct uses *uses, const struct ev_scope *scope, uses_fn fn, void *context)
{
	table_each(uses->entries, visit, &(struct each){scope, fn, context});
}

struct change {
	struct uses *uses;
	const struct ev_scope *scope; /* NULL: of all that `from` holds */
	struct holder from, to;
};

static void change(void *context, const void *key, void *value)
{
	struct change *change = context;
	const struct use_key *use = key;
	struct holder *holder = value;

	change->uses->walked++;
	if (holder->tgid == change->from.tgid && holder->start_ns == change->from.start_ns &&
	    (!change->scope || scope_equal(change->scope, &use->scope)))
		hold(change->uses, &use->scope, holder, change->to);
}

void uses_gone(struct uses *uses, uint32_t tgid, uint64_t start_ns)
{
	struct change leaving = {.uses = uses, .from = {.start_ns = start_ns, .tgid = tgid}};

	if (!table_peek(uses->holders, &leaving.from))
		return;
	table_each(uses->entries, change, &leaving);
	uses->lack = true;
}

bool uses_lack_holder(const struct uses *uses)
{
	return uses->lack;
}

bool uses_offer(struct uses *uses, const struct ev_scope *scope, uint32_t tgid, uint64_t start_ns)
{
	struct change coming = {.uses = uses, .scope = scope, .to = {.start_ns = start_ns, .tgid = tgid}};
	const struct share *share = share_of(uses, scope, OF_SCOPE);

	if (!share || !share->lacking)
		return false;
	table_each(uses->entries, change, &coming);
	return true;
}

void uses_offered(struct uses *uses)
{
	uses->lack = false;
}

uint64_t uses_walked(const struct uses *uses)
{
	return uses->walked;
}
