// SPDX-License-Identifier: Apache-2.0
/* Which process maps which probed file, forks included. */
#include <string.h>
#include "user/base/when.h"
#include "user/probe/targets_private.h"

void users_gone(void *context, const void *key, void *value)
{
	struct targets *targets = context;
	struct user *user = value;

	(void)key;
	for (uint32_t i = 0; i < user->count; i++) {
		struct file *file = table_peek(targets->files, &user->files[i]);

		if (file && file->users > 0 && --file->users == 0)
			file->idle_since_ns = when_boot_now();
	}
}

void users_note(struct targets *targets, struct file *file, const struct file_key *key, uint32_t tgid,
		uint64_t start_ns)
{
	struct user_key user_key = {.start_ns = start_ns, .tgid = tgid};
	struct user *user = start_ns ? table_put(targets->users, &user_key, NULL) : NULL;

	if (!user || user->count == USER_FILES)
		return;
	for (uint32_t i = 0; i < user->count; i++)
		if (memcmp(&user->files[i], key, sizeof(*key)) == 0)
			return;
	user->files[user->count++] = *key;
	file->users++;
}

void targets_fork(struct targets *targets, uint32_t parent, uint64_t parent_start_ns, uint32_t child,
		  uint64_t child_start_ns)
{
	struct user_key key = {.start_ns = parent_start_ns, .tgid = parent};
	struct user *user = table_get(targets->users, &key), copy;

	if (!user)
		return;
	copy = *user; /* noting the child may move the parent out of a full table */
	for (uint32_t i = 0; i < copy.count; i++) {
		struct file *file = table_peek(targets->files, &copy.files[i]);

		if (file)
			users_note(targets, file, &copy.files[i], child, child_start_ns);
	}
}

void targets_gone(struct targets *targets, uint32_t tgid, uint64_t start_ns)
{
	struct user_key key = {.start_ns = start_ns, .tgid = tgid};

	table_delete(targets->users, &key);
}
