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

struct claim {
	struct targets *targets;
	const struct file *file;
	bool found;
};

static bool maps_group(struct targets *targets, const struct user *user, uint16_t group)
{
	for (uint32_t i = 0; i < user->count; i++) {
		const struct file *file = table_peek(targets->files, &user->files[i]);

		if (file && file->state == FILE_ATTACHED && file->group == group)
			return true;
	}
	return false;
}

static void find_claim(void *context, const void *key, void *value)
{
	const struct user_key *who = key;
	struct claim *claim = context;
	struct mark mark;

	if (claim->found || !maps_group(claim->targets, value, claim->file->group) ||
	    probe_read_mark(claim->targets->options.probe, who->tgid, who->start_ns, &mark) != 0)
		return;
	for (int i = 0; i < MARK_LIBS; i++)
		claim->found |= mark.libs[i].group == claim->file->group &&
				mark.libs[i].attachment == claim->file->attachment;
}

/*
 * Which attachment of a group fires first in a process is the kernel's choice (the youngest), not that of
 * the mount it maps. Were the one that it claimed let go, all its later hits would be ignored.
 */
bool users_claim(struct targets *targets, const struct file *file)
{
	struct claim claim = {.targets = targets, .file = file};

	table_each(targets->users, find_claim, &claim);
	return claim.found;
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

struct gone {
	uint32_t tgid;
	uint64_t start_ns;
};

static void forget(const struct gone *gone, struct asker *asker)
{
	if (asker->tgid == gone->tgid && asker->start_ns == gone->start_ns)
		asker->tgid = 0;
}

static void forget_in_question(void *context, const void *key, void *value)
{
	(void)key;
	forget(context, &((struct question *)value)->asker);
}

static void forget_in_file(void *context, const void *key, void *value)
{
	struct file *file = value;

	(void)key;
	for (uint32_t i = 0; i < file->waiting_count; i++)
		forget(context, &file->waiting[i]);
}

/* An answer that is still to come must not make it a user again: nobody would take it out any more. */
void targets_gone(struct targets *targets, uint32_t tgid, uint64_t start_ns)
{
	struct user_key key = {.start_ns = start_ns, .tgid = tgid};
	struct gone gone = {tgid, start_ns};

	table_each(targets->questions, forget_in_question, &gone);
	table_each(targets->files, forget_in_file, &gone);
	table_delete(targets->users, &key);
}
