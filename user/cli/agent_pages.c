// SPDX-License-Identifier: Apache-2.0
/*
 * State pages: one for each scope that has a peer. A page comes with the first welcome and goes when the last
 * peer has left; what is open then is written anew into the next one.
 */
#include <errno.h>
#include "user/cli/acting.h"

enum { PAGES = 1024 };

static void page_gone(void *context, const void *key, void *value)
{
	(void)context;
	(void)key;
	page_free(*(struct page **)value);
}

static void fill_slot(void *context, const struct ev_scope *scope, const char *target)
{
	(void)scope;
	page_slot(context, target);
}

static void fill_breaker(void *context, const struct breaker *breaker)
{
	struct page *page = ((void **)context)[0];
	const struct ev_scope *scope = ((void **)context)[1];
	int slot;

	if (breaker->state == BREAKER_CLOSED || !scope_equal(&breaker->scope, scope))
		return;
	slot = page_slot(page, breaker->target);
	if (slot >= 0)
		page_set(page, slot, breaker->kind, breaker->state, breaker->lease_end_ns, breaker->seq);
}

static void drop_unused(void *context, const void *key, void *value)
{
	struct agent *agent = context;

	(void)value;
	if (peers_of(agent, key, 0) == 0)
		table_delete(agent->acting->pages, key);
}

struct page *pages_of(struct agent *agent, const struct ev_scope *scope, bool make)
{
	struct acting *acting = agent->acting;
	struct page **known = table_get(acting->pages, scope), *page = NULL;
	void *context[2];

	if (known || !make)
		return known ? *known : NULL;
	if (page_new(acting->epoch, &page) != 0)
		return NULL;
	if (table_count(acting->pages) == PAGES) /* no more scopes than peers, but some may have gone */
		table_each(acting->pages, drop_unused, agent);
	known = table_put(acting->pages, scope, NULL);
	if (!known) {
		page_free(page);
		return NULL;
	}
	*known = page;
	context[0] = page;
	context[1] = (void *)scope;
	tests_each(agent, scope, fill_slot, page);
	breakers_each(acting->breakers, fill_breaker, context);
	return page;
}

void pages_set(struct agent *agent, const struct breaker *breaker)
{
	struct page *page = pages_of(agent, &breaker->scope, false);
	int slot = page ? page_slot(page, breaker->target) : -ENOENT;

	if (slot >= 0)
		page_set(page, slot, breaker->kind, breaker->state, breaker->lease_end_ns, breaker->seq);
}

int pages_new(struct agent *agent)
{
	agent->acting->pages =
		table_new(sizeof(struct ev_scope), sizeof(struct page *), PAGES, page_gone, NULL);
	return agent->acting->pages ? 0 : -ENOMEM;
}

void pages_tick(struct agent *agent)
{
	table_each(agent->acting->pages, drop_unused, agent);
}
