// SPDX-License-Identifier: Apache-2.0
/* The files of a root, asked what they are: of the cache first, in batches of the inspector then. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/digest.h"
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/check.h"

enum { LINK_CONF_MAX = 64 << 10 };

static void own(struct check *check, void *answer)
{
	void **moved = realloc(check->owned, (check->owned_count + 1) * sizeof(*moved));

	if (!moved)
		return; /* it is lost to free(), and to nobody else */
	check->owned = moved;
	check->owned[check->owned_count++] = answer;
}

const char *check_keep(struct check *check, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return "";
	own(check, copy);
	return copy;
}

void check_problem(struct check *check, const char *path, const char *kind, const char *says)
{
	cJSON *one = cJSON_CreateObject();
	char clean[CHECK_PATH];

	text_copy(clean, sizeof(clean), path);
	text_clean(clean);
	json_add_text(one, "path", clean);
	json_add_text(one, "kind", kind);
	json_add_text(one, "problem", says);
	cJSON_AddItemToArray(check->problems_json, one);
}

static void set_file(struct check *check, struct check_file *file, const struct answer_key *key,
		     struct inspection *answer)
{
	file->result = answer->result;
	file->why = answer->result ? check_keep(check, answer->why) : "";
	file->answer = answer->answer;
	if (!answer_cache_put(check->cache, key, answer) && answer->answer)
		own(check, answer->answer);
}

struct batch {
	size_t count;
	size_t at[TREE_OPEN_MAX];
	const char *paths[TREE_OPEN_MAX];
};

static void ask_batch(struct check *check, enum inspection_kind kind, struct batch *batch)
{
	struct inspection list[TREE_OPEN_MAX];
	struct answer_key keys[TREE_OPEN_MAX];
	size_t asked[TREE_OPEN_MAX], count = 0;
	struct stat stats[TREE_OPEN_MAX];
	int fds[TREE_OPEN_MAX];

	gem_tree_open(check->tree, batch->paths, batch->count, fds, stats);
	for (size_t i = 0; i < batch->count; i++) {
		struct check_file *file = &check->files[batch->at[i]];

		file->result = fds[i] < 0 ? fds[i] : 0;
		if (file->result) {
			file->why = strerror(-file->result);
			continue;
		}
		answer_key_fill(&keys[count], kind, &stats[i]);
		asked[count] = batch->at[i];
		list[count++] = (struct inspection){.kind = kind, .fd = fds[i]};
	}
	inspector_run(check->inspector, list, count);
	for (size_t i = 0; i < count; i++) {
		close(list[i].fd);
		set_file(check, &check->files[asked[i]], &keys[i], &list[i]);
	}
	batch->count = 0;
}

static bool answer_of_cache(struct check *check, enum inspection_kind kind, const struct tree_entry *entry,
			    struct check_file *file)
{
	const struct answer_key key = {.device = entry->device,
				       .inode = entry->inode,
				       .size = entry->size,
				       .mtime_ns = entry->mtime_ns,
				       .ctime_ns = entry->ctime_ns,
				       .kind = kind};
	struct inspection known;

	if (!answer_cache_get(check->cache, &key, &known))
		return false;
	file->result = known.result;
	file->why = known.result ? check_keep(check, known.why) : "";
	file->answer = known.answer;
	return true;
}

void check_ask(struct check *check, enum inspection_kind kind,
	       bool (*wants)(const struct check *check, const struct tree_entry *entry))
{
	struct batch batch = {0};

	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);

		if (check->files[i].result != 1 || !wants(check, entry) ||
		    answer_of_cache(check, kind, entry, &check->files[i]))
			continue;
		batch.at[batch.count] = i;
		batch.paths[batch.count++] = entry->path;
		if (batch.count == TREE_OPEN_MAX)
			ask_batch(check, kind, &batch);
	}
	if (batch.count)
		ask_batch(check, kind, &batch);
}

long check_find(const struct check *check, const char *path, enum tree_kind kind)
{
	size_t low = 0, high = check->file_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct tree_entry *entry = gem_tree_entry(check->tree, middle);
		int order = strcmp(entry->path, path);

		if (order == 0)
			order = (int)entry->kind - (int)kind;
		if (order == 0)
			return (long)middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

static struct check_opened *opened_slot(const struct check *check, const char *path)
{
	size_t at = digest_mix(digest_text(DIGEST_START, path));

	while (check->opened[at & (check->opened_size - 1)].path &&
	       strcmp(check->opened[at & (check->opened_size - 1)].path, path) != 0)
		at++;
	return &check->opened[at & (check->opened_size - 1)];
}

static bool opened_room(struct check *check)
{
	struct check_opened *old = check->opened;
	size_t old_size = check->opened_size;

	if ((check->opened_count + 1) * 2 <= old_size)
		return true;
	check->opened = calloc(old_size ? old_size * 2 : 1024, sizeof(*old));
	if (!check->opened) {
		check->opened = old;
		return false;
	}
	check->opened_size = old_size ? old_size * 2 : 1024;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].path)
			*opened_slot(check, old[i].path) = old[i];
	free(old);
	return true;
}

static const struct object *open_object(struct check *check, const char *path, int *result)
{
	struct inspection one = {.kind = INSPECT_OBJECT};
	struct answer_key key;
	struct stat st;

	gem_tree_open(check->tree, &path, 1, &one.fd, &st);
	if (one.fd < 0) {
		/* a folder of that name is no library */
		*result = one.fd == -ENOTDIR || one.fd == -EISDIR ? -ENOENT : one.fd;
		return NULL;
	}
	answer_key_fill(&key, INSPECT_OBJECT, &st);
	if (!answer_cache_get(check->cache, &key, &one)) {
		inspector_run(check->inspector, &one, 1);
		if (!answer_cache_put(check->cache, &key, &one) && one.answer)
			own(check, one.answer);
	}
	close(one.fd);
	*result = one.result;
	return one.result ? NULL : one.answer;
}

/* Each Ruby of a root asks for the same libraries, at the same paths. */
const struct object *check_open_object(void *context, const char *path, int *result)
{
	struct check *check = context;
	struct check_opened *slot = opened_room(check) ? opened_slot(check, path) : NULL;
	const struct object *object;

	if (slot && slot->path) {
		*result = slot->result;
		return slot->object;
	}
	object = open_object(check, path, result);
	if (slot) {
		*slot = (struct check_opened){check_keep(check, path), object, *result};
		check->opened_count++;
	}
	return object;
}

static bool is_link_conf(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_LINK_CONF && !strstr(entry->path, "/ld-musl-");
}

/* ld.so.conf and what it includes, one behind the other. */
static void read_link_conf(struct check *check)
{
	size_t used = 0;

	check->link_conf = calloc(1, LINK_CONF_MAX);
	check_ask(check, INSPECT_TEXT, is_link_conf);
	for (size_t i = 0; check->link_conf && i < check->file_count; i++)
		if (is_link_conf(check, gem_tree_entry(check->tree, i)) && check->files[i].result == 0)
			text_add(check->link_conf, LINK_CONF_MAX, &used, "%s\n",
				 (const char *)check->files[i].answer);
}

static const char *reason(int result)
{
	switch (result) {
	case -ETIMEDOUT:
		return "its file system does not answer";
	case -EINVAL:
		return "no regular file";
	case -E2BIG:
		return "too much there: not all was looked at";
	case -ENOENT:
		return "a link to a file that is not there";
	case -ELOOP:
		return "a link that leads nowhere";
	default:
		return strerror(-result);
	}
}

static void tell_problems(struct check *check)
{
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);

		if (entry->kind == TREE_PROBLEM)
			check_problem(check, entry->path, "unreadable", reason(entry->result));
	}
}

static size_t add_list(struct check *check, struct tree_place *places, size_t count, const char *list)
{
	char all[4096], *save = NULL;

	text_copy(all, sizeof(all), list);
	for (char *one = strtok_r(all, ":", &save); one && count < CHECK_PLACES;
	     one = strtok_r(NULL, ":", &save))
		if (one[0] == '/')
			places[count++] = (struct tree_place){PLACE_GEMS, check_keep(check, one)};
	return count;
}

static size_t make_places(struct check *check, struct tree_place *places)
{
	const struct check_scene *scene = check->scene;
	char path[CHECK_PATH + 16];
	size_t count = 0, used = 0;

	places[count++] = (struct tree_place){PLACE_SYSTEM, NULL};
	if (scene->home[0] == '/')
		places[count++] = (struct tree_place){PLACE_HOME, scene->home};
	if (scene->app_dir[0] == '/')
		places[count++] = (struct tree_place){PLACE_APP, scene->app_dir};
	if (scene->bundle_gemfile[0] == '/') {
		text_add(path, sizeof(path), &used, "%s.lock", scene->bundle_gemfile);
		places[count++] = (struct tree_place){PLACE_LOCKFILE, check_keep(check, path)};
	}
	count = add_list(check, places, count, scene->gem_home);
	count = add_list(check, places, count, scene->gem_path);
	if (scene->bundle_path[0] == '/')
		count = add_list(check, places, count, scene->bundle_path);
	else if (scene->bundle_path[0] && scene->app_dir[0] == '/' && count < CHECK_PLACES) {
		used = 0;
		text_add(path, sizeof(path), &used, "%s/%s", scene->app_dir, scene->bundle_path);
		places[count++] = (struct tree_place){PLACE_GEMS, check_keep(check, path)};
	}
	return count;
}

int check_look(struct check *check)
{
	struct tree_place places[CHECK_PLACES];
	int err = gem_tree_new(check->scene->root, &check->tree);

	if (!err)
		err = gem_tree_walk(check->tree, places, make_places(check, places));
	if (err)
		return err;
	check->file_count = gem_tree_count(check->tree);
	check->files = calloc(check->file_count + 1, sizeof(*check->files));
	if (!check->files)
		return -ENOMEM;
	for (size_t i = 0; i < check->file_count; i++)
		check->files[i] = (struct check_file){1, "", NULL};
	read_link_conf(check);
	tell_problems(check);
	return 0;
}

void check_done(struct check *check)
{
	for (size_t i = 0; i < check->ruby_count; i++)
		link_free(check->rubies[i].link);
	gem_tree_free(check->tree);
	for (size_t i = 0; i < check->owned_count; i++)
		free(check->owned[i]);
	free(check->owned);
	free(check->files);
	free(check->link_conf);
	free(check->opened);
	check->tree = NULL;
	check->owned = NULL;
	check->files = NULL;
	check->link_conf = NULL;
	check->opened = NULL;
	check->opened_count = check->opened_size = 0;
	check->owned_count = check->ruby_count = check->file_count = 0;
}
