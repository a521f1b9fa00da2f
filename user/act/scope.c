// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include "user/act/scope.h"
#include "user/base/text.h"

void scope_set(struct ev_scope *scope, uint32_t uid, uint32_t netns, uint64_t cgroup_id, const char *app)
{
	char name[sizeof(scope->app)];

	text_copy(name, sizeof(name), app); /* it may lie in the scope itself */
	memset(scope, 0, sizeof(*scope));
	scope->cgroup_id = cgroup_id;
	scope->uid = uid;
	scope->netns = netns;
	text_copy(scope->app, sizeof(scope->app), name);
}

bool scope_known(const struct ev_scope *scope)
{
	return scope->cgroup_id != 0;
}

bool scope_equal(const struct ev_scope *a, const struct ev_scope *b)
{
	return a->cgroup_id == b->cgroup_id && a->uid == b->uid && a->netns == b->netns &&
	       strncmp(a->app, b->app, sizeof(a->app)) == 0;
}
