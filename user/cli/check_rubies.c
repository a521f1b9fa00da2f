// SPDX-License-Identifier: Apache-2.0
/*
 * Which Rubies are here, and which of them loads what. A program counts when it gives Ruby's names itself, or
 * gets them from a libruby; names of files say nothing.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/check.h"

static bool is_program(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_PROGRAM;
}

static bool asks_libruby(const struct object *object)
{
	if (object->flags & OBJECT_IS_RUBY)
		return true;
	for (size_t i = 0; i < object->needed_count; i++)
		if (strncmp(object_needed(object, i), "libruby", 7) == 0)
			return true;
	return false;
}

/* "/usr" of "/usr/bin/ruby3.1". */
static void set_prefix(struct check_ruby *ruby)
{
	char *slash;

	text_copy(ruby->prefix, sizeof(ruby->prefix), ruby->entry->path);
	for (int i = 0; i < 2; i++) {
		slash = strrchr(ruby->prefix, '/');
		if (slash)
			*slash = '\0';
	}
}

static struct check_ruby *ruby_of_inode(struct check *check, const struct tree_entry *entry)
{
	for (size_t i = 0; i < check->ruby_count; i++)
		if (check->rubies[i].entry->device == entry->device &&
		    check->rubies[i].entry->inode == entry->inode)
			return &check->rubies[i];
	return NULL;
}

static bool start_link(struct check *check, struct check_ruby *ruby)
{
	struct link_options options = {
		.library_path = check->scene->library_path, .open = check_open_object, .context = check};

	link_directories_make(&ruby->directories, ruby->program,
			      ruby->program->libc == OBJECT_LIBC_MUSL ? NULL : check->link_conf);
	options.directories = ruby->directories.list;
	options.directory_count = ruby->directories.count;
	ruby->link = link_new(&options);
	return ruby->link && link_program(ruby->link, ruby->entry->path, ruby->program, &ruby->missing) == 0;
}

static void set_runtime(struct check *check, struct check_ruby *ruby, const struct object *gives,
			const char *path)
{
	struct ruby_runtime *runtime = &ruby->runtime;

	snprintf(ruby->abi, sizeof(ruby->abi), "%u.%u.0", gives->ruby_api[0] % 100, gives->ruby_api[1] % 100);
	runtime->path = ruby->entry->path;
	runtime->version = check_keep(check, gives->ruby_version);
	runtime->abi = ruby->abi;
	runtime->engine = "ruby";
	runtime->platform = object_text(gives, gives->ruby_platform);
	runtime->is_static = gives == ruby->program;
	runtime->object = gives;
	runtime->libc = ruby->program->libc;
	runtime->libc_version = link_libc_version(ruby->link);
	ruby->library = gives == ruby->program ? "" : path;
	set_prefix(ruby);
}

static void tell_ruby(struct check *check, const struct check_ruby *ruby)
{
	static const char *const libcs[] = {"", "glibc", "musl"};
	cJSON *one = cJSON_CreateObject();
	char hex[41] = "";

	text_hex(ruby->runtime.object->build_id, ruby->runtime.object->build_id_len, hex);
	json_add_text(one, "path", ruby->runtime.path);
	json_add_text(one, "version", ruby->runtime.version);
	json_add_text(one, "abi", ruby->abi);
	json_add_text(one, "engine", ruby->runtime.engine);
	json_add_text(one, "platform", ruby->runtime.platform);
	json_add_text(one, "library", ruby->library);
	cJSON_AddBoolToObject(one, "static", ruby->runtime.is_static);
	json_add_text(one, "libc", libcs[ruby->runtime.libc]);
	json_add_text(one, "libc_version", ruby->runtime.libc_version);
	json_add_text(one, "build_id", hex);
	json_add_text(one, "root", strcmp(check->scene->root, "/") ? check->scene->root : "");
	cJSON_AddItemToArray(check->rubies_json, one);
}

static void add_ruby(struct check *check, size_t at)
{
	const struct tree_entry *entry = gem_tree_entry(check->tree, at);
	const struct object *program = check->files[at].answer, *gives;
	struct check_ruby *ruby = ruby_of_inode(check, entry);
	const char *path = "";
	char says[300];

	if (ruby) {
		/* /usr/bin/ruby leads to ruby3.1: the name that says more */
		if (strlen(entry->path) > strlen(ruby->entry->path))
			ruby->runtime.path = entry->path;
		return;
	}
	if (check->ruby_count == CHECK_RUBIES) {
		check_problem(check, entry->path, "limit", "more Rubies than are looked at");
		return;
	}
	ruby = &check->rubies[check->ruby_count];
	*ruby = (struct check_ruby){.entry = entry, .program = program};
	if (!start_link(check, ruby)) {
		link_free(ruby->link);
		return;
	}
	gives = link_ruby(ruby->link, &path);
	if (!gives) {
		snprintf(says, sizeof(says), "does not start: %s is missing",
			 *ruby->missing.missing_library ? ruby->missing.missing_library : "its libruby");
		check_problem(check, entry->path, "ruby", says);
		link_free(ruby->link);
		return;
	}
	set_runtime(check, ruby, gives, path);
	check->ruby_count++;
}

/* The Ruby of the process, of the shell, else the one that a login would find first. */
static size_t choose_main(const struct check *check)
{
	static const char *const order[] = {"/usr/local/bin/", "/usr/bin/", "/opt/", "/"};
	const struct check_scene *scene = check->scene;

	for (size_t i = 0; i < check->ruby_count; i++) {
		const struct check_ruby *ruby = &check->rubies[i];
		long at = *scene->program ? check_find(check, scene->program, TREE_PROGRAM) : -1;

		if ((scene->program_inode && ruby->entry->inode == scene->program_inode) ||
		    (at >= 0 && gem_tree_entry(check->tree, (size_t)at)->inode == ruby->entry->inode &&
		     gem_tree_entry(check->tree, (size_t)at)->device == ruby->entry->device))
			return i;
	}
	for (size_t k = 0; k < sizeof(order) / sizeof(*order); k++)
		for (size_t i = 0; i < check->ruby_count; i++)
			if (strncmp(check->rubies[i].entry->path, order[k], strlen(order[k])) == 0)
				return i;
	return CHECK_RUBIES;
}

void check_find_rubies(struct check *check)
{
	check->main_ruby = CHECK_RUBIES;
	check_ask(check, INSPECT_OBJECT, is_program);
	for (size_t i = 0; i < check->file_count; i++) {
		const struct check_file *file = &check->files[i];

		if (gem_tree_entry(check->tree, i)->kind != TREE_PROGRAM)
			continue;
		if (file->result == 0 && asks_libruby(file->answer))
			add_ruby(check, i);
		else if (file->result == -EIO || file->result == -ETIMEDOUT)
			check_problem(check, gem_tree_entry(check->tree, i)->path, "unreadable", file->why);
	}
	check->main_ruby = choose_main(check);
	for (size_t i = 0; i < check->ruby_count; i++)
		tell_ruby(check, &check->rubies[i]);
}

/* "3.1.0", "3.1.0-static", "3.4.0+1": digits, two dots, and no third number but 0. */
static bool is_abi(const char *piece, size_t size, char abi[16])
{
	size_t digits = 0, dots = 0;

	while (digits < size && (isdigit((unsigned char)piece[digits]) || piece[digits] == '.'))
		dots += piece[digits++] == '.';
	if (dots != 2 || digits < 5 || digits > 8 || memcmp(piece + digits - 2, ".0", 2) != 0 ||
	    (digits < size && piece[digits] != '-' && piece[digits] != '+'))
		return false;
	memcpy(abi, piece, digits);
	abi[digits] = '\0';
	return true;
}

static bool piece_is(const char *piece, size_t size, const char *name)
{
	return size == strlen(name) && memcmp(piece, name, size) == 0;
}

bool check_install_abi(const char *path, char abi[16])
{
	static const char *const before[] = {"ruby", "vendor_ruby", "site_ruby", "gems",
					     "rubygems-integration"};
	const char *last[2] = {"", ""};
	size_t last_size[2] = {0, 0};
	bool found = false;

	for (const char *at = path; *at;) {
		size_t size = strcspn(at, "/");
		bool after = piece_is(last[1], last_size[1], "extensions");

		for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
			after |= piece_is(last[0], last_size[0], before[i]);
		/* the innermost: extensions/<platform>/<abi>/ below bundle/ruby/<abi>/ */
		if (size && after && is_abi(at, size, abi))
			found = true;
		if (size) {
			last[1] = last[0];
			last_size[1] = last_size[0];
			last[0] = at;
			last_size[0] = size;
		}
		at += size + (at[size] == '/');
	}
	return found;
}

static bool is_below(const char *path, const char *prefix)
{
	size_t size = strlen(prefix);

	return size > 0 && strncmp(path, prefix, size) == 0 && path[size] == '/';
}

const struct check_ruby *check_ruby_for(const struct check *check, const char *path)
{
	const struct check_ruby *best = NULL;
	char abi[16] = "";
	bool named = check_install_abi(path, abi);
	size_t best_size = 0;

	for (size_t i = 0; i < check->ruby_count; i++) {
		const struct check_ruby *ruby = &check->rubies[i];
		/* a Ruby of its own prefix loads what is below it, and nothing of another one's */
		size_t size = is_below(path, ruby->prefix) ? strlen(ruby->prefix) + 1 : 0;

		if (named && strcmp(ruby->abi, abi) != 0)
			continue;
		if (!named && i != check->main_ruby && size <= strlen("/usr") + 1)
			continue;
		if (!best || size > best_size || (size == best_size && i == check->main_ruby)) {
			best = ruby;
			best_size = size;
		}
	}
	return best;
}
