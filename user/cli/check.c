// SPDX-License-Identifier: Apache-2.0
/* `lapidary check`: does every native extension belong to the Ruby that would load it? Nothing is run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/cli/check.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"
#include "user/cli/listing.h"
#include "user/probe/bundle_config.h"

enum { CHECK_APPS = 64 };

static const struct help check_help = {
	"check [--pid PID | --root DIR] [DIR] [--static] [--json]",
	"Finds each Ruby and each native extension, and tells which of these were built for another Ruby, C\n"
	"library or processor, miss a library or a symbol, or were never built; with the command that mends\n"
	"them. DIR is an app's folder: its Gemfile.lock says which gems count. Without arguments: all "
	"watched\n"
	"apps, or with no agent running what this shell's ruby would load. Exit status 1: problems were "
	"found.\n",
	"  --pid PID    what this process has loaded, and all that its Ruby would load\n"
	"  --root DIR   a container's or an image's root folder\n"
	"  --static     loads nothing, only looks\n"
	"  --json       one JSON object: "
	"{\"rubies\":[…],\"gems\":[GemCompatibilityReport…],\"problems\":[…]}\n",
	"  lapidary check /srv/shop\n"
	"  sudo lapidary check --pid 4711\n"
	"  lapidary check --root build/image --json | jq '.problems[]'\n",
};

static bool is_app_file(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_LOCKFILE;
}

static bool is_bundle_config(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_BUNDLE_CONFIG;
}

static void read_lockfile(struct check *check)
{
	check_ask(check, INSPECT_LOCKFILE, is_app_file);
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);

		if (entry->kind != TREE_LOCKFILE)
			continue;
		if (check->files[i].result)
			check_problem(check, entry->path, "lockfile", check->files[i].why);
		else if (!check->lockfile)
			check->lockfile = check->files[i].answer;
	}
}

/* BUNDLE_PATH of .bundle/config, where the environment has none. True: look again, there is more. */
static bool read_bundle_config(struct check *check, struct check_scene *scene)
{
	check_ask(check, INSPECT_BUNDLE_CONFIG, is_bundle_config);
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);
		const struct bundle_config *config = check->files[i].answer;

		if (entry->kind != TREE_BUNDLE_CONFIG)
			continue;
		if (check->files[i].result)
			check_problem(check, entry->path, "bundle_config", check->files[i].why);
		else if (*config->path && !*scene->bundle_path &&
			 strlen(config->path) < sizeof(scene->bundle_path)) {
			text_copy(scene->bundle_path, sizeof(scene->bundle_path), config->path);
			return strcmp(config->path, "vendor/bundle") != 0;
		}
	}
	return false;
}

static int look_all(struct check *check, struct check_scene *scene)
{
	int err = check_look(check);

	if (!err && *scene->app_dir && read_bundle_config(check, scene)) {
		cJSON *problems = cJSON_CreateArray();

		check_done(check);
		cJSON_Delete(check->problems_json);
		check->problems_json = problems;
		err = check_look(check);
		if (!err)
			read_bundle_config(check, scene);
	}
	if (!err && *scene->app_dir)
		read_lockfile(check);
	return err;
}

static int check_one(struct check *check, struct check_scene *scene)
{
	int err;

	check->scene = scene;
	check->lockfile = NULL;
	err = look_all(check, scene);
	if (!err) {
		check_find_rubies(check);
		check_judge_all(check);
		check_tell_orphans(check);
	}
	check_done(check);
	return err;
}

/* One process of each watched app. Returns how many were checked; -1: no agent answers. */
static int check_watched(struct check *check, const char *run_dir, char *why, size_t why_size)
{
	const char *apps[CHECK_APPS];
	cJSON *answer = NULL;
	const cJSON *worker;
	size_t app_count = 0;
	int count = 0;

	if (control_ask(run_dir, "workers", &answer, why, why_size) != 0)
		return -1;
	cJSON_ArrayForEach(worker, cJSON_GetObjectItem(answer, "workers"))
	{
		const char *app = json_text(worker, "app");
		struct check_scene scene;
		bool seen = false;

		for (size_t i = 0; i < app_count; i++)
			seen |= strcmp(apps[i], app) == 0;
		if (seen || app_count == CHECK_APPS)
			continue;
		if (check_scene_pid(&scene, (uint32_t)json_number(worker, "process_id", 0), why, why_size) !=
		    0)
			continue; /* it ended just now; another of its app may be there */
		apps[app_count++] = app;
		if (check_one(check, &scene) == 0)
			count++;
		check_scene_done(&scene);
	}
	cJSON_Delete(answer);
	return count;
}

struct wanted {
	const char *pid, *root, *app;
};

static int check_wanted(struct check *check, const struct wanted *wanted, const char *run_dir)
{
	char why[512] = "", app[CHECK_PATH];
	struct check_scene scene;
	uint64_t pid = 0;
	int err;

	if (wanted->pid) {
		if (!parse_u64(wanted->pid, &pid) || pid == 0 || pid > UINT32_MAX)
			return usage_error("check: --pid: '%s' is no process id", wanted->pid);
		if (check_scene_pid(&scene, (uint32_t)pid, why, sizeof(why)) != 0)
			return command_error(EXIT_PROBLEMS, "check: %s", why);
	} else if (!wanted->root && !wanted->app && check_watched(check, run_dir, why, sizeof(why)) > 0) {
		return EXIT_FINE;
	} else {
		if (wanted->root && strlen(wanted->root) >= sizeof(scene.root))
			return usage_error(
				"check: --root: the name is too long; change to its folder and use .");
		check_scene_shell(&scene, wanted->root ? wanted->root : "/");
		if (wanted->app && wanted->root)
			text_copy(scene.app_dir, sizeof(scene.app_dir), wanted->app);
		else if (wanted->app && realpath(wanted->app, app))
			text_copy(scene.app_dir, sizeof(scene.app_dir), app);
		else if (wanted->app)
			return command_error(EXIT_USAGE, "check: %s: %s", wanted->app, strerror(errno));
	}
	err = check_one(check, &scene);
	check_scene_done(&scene);
	return err ? command_error(EXIT_PROBLEMS, "check: %s: %s", scene.root, strerror(-err)) : EXIT_FINE;
}

/* Root's lies in the state folder, anybody else's among their own caches; "": none can be had. */
static void cache_folder(const struct config *config, char *out, size_t size)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		text_copy(out, size, config->state_dir);
	else if (cache && cache[0] == '/')
		snprintf(out, size, "%s/lapidary", cache);
	else if (home && home[0] == '/')
		snprintf(out, size, "%s/.cache/lapidary", home);
	else
		out[0] = '\0';
	if (*out && file_make_dirs(out, 0700) != 0)
		out[0] = '\0';
}

static int run_check(const struct listing *listing, const struct wanted *wanted)
{
	struct check *check = calloc(1, sizeof(*check));
	char folder[512], why[512];
	cJSON *document = cJSON_CreateObject();
	int code = EXIT_INTERNAL;

	if (!check || !document)
		goto out;
	cache_folder(listing->config, folder, sizeof(folder));
	check->cache = answer_cache_new(folder);
	check->inspector = inspector_new(listing->config->examiner_uid);
	check->rubies_json = cJSON_CreateArray();
	check->gems_json = cJSON_CreateArray();
	check->problems_json = cJSON_CreateArray();
	if (!check->cache || !check->inspector)
		goto out;
	if (matrix_load(listing->config->rules_dir, &check->matrix, why, sizeof(why)) != 0)
		check_problem(check, listing->config->rules_dir, "matrix", why);
	code = check_wanted(check, wanted, listing->config->run_dir);
	if (code != EXIT_FINE)
		goto out;
	answer_cache_save(check->cache);
	if (cJSON_GetArraySize(check->problems_json))
		code = EXIT_PROBLEMS;
	cJSON_AddItemToObject(document, "rubies", check->rubies_json);
	cJSON_AddItemToObject(document, "gems", check->gems_json);
	cJSON_AddItemToObject(document, "problems", check->problems_json);
	check->rubies_json = check->gems_json = check->problems_json = NULL;
	if (!listing->json)
		check_print(document, listing->colour);
	else if (print_json(document) != EXIT_FINE)
		code = EXIT_INTERNAL;
out:
	if (check) {
		cJSON_Delete(check->rubies_json);
		cJSON_Delete(check->gems_json);
		cJSON_Delete(check->problems_json);
		inspector_free(check->inspector);
		answer_cache_free(check->cache);
		matrix_free(check->matrix);
	}
	free(check);
	cJSON_Delete(document);
	return code;
}

int cmd_check(int argc, char **argv)
{
	struct wanted wanted = {0};
	struct listing listing;
	int code = option_value(&argc, argv, "--pid", "a process id", &wanted.pid);

	if (code < 0)
		code = option_value(&argc, argv, "--root", "a folder", &wanted.root);
	if (code >= 0)
		return code;
	option_take(&argc, argv, "--static"); /* nothing is loaded yet */
	code = listing_start(&listing, argc, argv, &check_help, 0, 1);
	if (code >= 0)
		return code;
	if (listing.count)
		wanted.app = listing.words[0];
	if (wanted.pid && (wanted.root || wanted.app))
		code = usage_error(
			"check: --pid says where to look: neither --root nor a folder goes with it");
	else
		code = run_check(&listing, &wanted);
	listing_done(&listing);
	return code;
}
