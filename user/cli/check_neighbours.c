// SPDX-License-Identifier: Apache-2.0
/*
 * What an extension's surroundings say of it: the other extensions of its Ruby, which may give what it asks
 * for, the Debian package that brought it, and the folder of a Ruby that is not there.
 *
 * dpkg's lists name paths, not contents. A package's file is older than its installation, which the list's
 * time tells: what was written over it later is nobody's but the writer's.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/cli/check.h"

bool check_says_its_ruby(const struct object *object)
{
	for (size_t i = 0; i < object->needed_count; i++)
		if (strncmp(object_needed(object, i), "libruby", 7) == 0)
			return true;
	return false;
}

void check_tell_links(struct check *check)
{
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);
		const struct check_ruby *ruby;

		if (entry->kind != TREE_EXTENSION || check->files[i].result != 0)
			continue;
		ruby = check_ruby_for(check, entry->path);
		if (ruby && link_add_extension(ruby->link, check->files[i].answer) != 0)
			return; /* no memory: then their symbols count as missing */
	}
}

static bool is_package_list(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_PACKAGE_LIST;
}

/* Packages put nothing elsewhere. */
static bool may_be_packaged(const struct tree_entry *entry)
{
	return entry->kind == TREE_EXTENSION && strncmp(entry->path, "/usr/lib/", 9) == 0;
}

void check_ask_packages(struct check *check)
{
	for (size_t i = 0; i < check->file_count; i++)
		if (may_be_packaged(gem_tree_entry(check->tree, i)) && check->files[i].result == 0 &&
		    !check_says_its_ruby(check->files[i].answer)) {
			check_ask(check, INSPECT_TEXT, is_package_list);
			return;
		}
}

static bool has_line(const char *text, const char *line)
{
	size_t length = strlen(line);

	for (const char *at = text; (at = strstr(at, line)) != NULL; at += length)
		if ((at == text || at[-1] == '\n') && (at[length] == '\n' || at[length] == '\0'))
			return true;
	return false;
}

bool check_package_abi(const struct check *check, const struct tree_entry *entry, char abi[16])
{
	if (!may_be_packaged(entry) || !check_install_abi(entry->path, abi))
		return false;
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *list = gem_tree_entry(check->tree, i);

		if (list->kind == TREE_PACKAGE_LIST && check->files[i].result == 0 &&
		    entry->mtime_ns <= list->mtime_ns && has_line(check->files[i].answer, entry->path))
			return true;
	}
	return false;
}

enum { ORPHANED_ABIS = 16 };

struct orphans {
	char abi[16];
	size_t count;
	const char *first;
};

/* The one of that ABI; beyond the last all are the last's. */
static struct orphans *orphans_of(struct orphans *list, size_t *count, const char *abi, const char *path)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(list[i].abi, abi) == 0)
			return &list[i];
	if (*count == ORPHANED_ABIS)
		return &list[ORPHANED_ABIS - 1];
	text_copy(list[*count].abi, sizeof(list->abi), abi);
	list[*count].first = path;
	return &list[(*count)++];
}

void check_tell_orphans(struct check *check)
{
	struct orphans list[ORPHANED_ABIS] = {0};
	size_t count = 0;

	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);
		struct gem_path gem;
		char abi[16] = "";

		if (entry->kind != TREE_EXTENSION || check_ruby_for(check, entry->path))
			continue;
		if (!gem_path_parse(entry->path, &gem))
			gem.name[0] = '\0';
		if (check_is_wanted(check, &gem)) {
			check_install_abi(entry->path, abi);
			orphans_of(list, &count, abi, entry->path)->count++;
		}
	}
	for (size_t i = 0; i < count; i++) {
		char says[160];
		size_t used = 0;

		text_add(says, sizeof(says), &used, "%zu extension%s for %s%s, which is not here",
			 list[i].count, list[i].count == 1 ? " is" : "s are",
			 *list[i].abi ? "Ruby " : "a Ruby", list[i].abi);
		check_problem(check, list[i].first, "no_ruby", says);
	}
}
