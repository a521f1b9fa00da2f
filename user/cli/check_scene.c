// SPDX-License-Identifier: Apache-2.0
/*
 * Where to look, from a process or from the caller's own shell. Of an environment the few variables are taken
 * that say where gems are; their values are used as paths and shown in commands, nothing else is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/text.h"
#include "user/cli/check.h"
#include "user/probe/maps_text.h"
#include "user/probe/procfs.h"

enum { ENVIRON_MAX = 1 << 20, LOADED_MAX = 4096 };

struct variable {
	const char *name;
	char *out;
	size_t size;
};

#define VARIABLES(scene)                                                                                     \
	{                                                                                                    \
		{"GEM_HOME", (scene)->gem_home, sizeof((scene)->gem_home)},                                  \
			{"GEM_PATH", (scene)->gem_path, sizeof((scene)->gem_path)},                          \
			{"BUNDLE_PATH", (scene)->bundle_path, sizeof((scene)->bundle_path)},                 \
			{"BUNDLE_GEMFILE", (scene)->bundle_gemfile, sizeof((scene)->bundle_gemfile)},        \
			{"BUNDLE_APP_CONFIG", (scene)->bundle_app_config,                                    \
			 sizeof((scene)->bundle_app_config)},                                                \
			{"LD_LIBRARY_PATH", (scene)->library_path, sizeof((scene)->library_path)},           \
			{"HOME", (scene)->home, sizeof((scene)->home)},                                      \
			{"RBENV_ROOT", (scene)->rbenv_root, sizeof((scene)->rbenv_root)},                    \
		{                                                                                            \
			"ASDF_DATA_DIR", (scene)->asdf_data_dir, sizeof((scene)->asdf_data_dir)              \
		}                                                                                            \
	}

static void take_variable(struct check_scene *scene, const char *assignment)
{
	const struct variable variables[] = VARIABLES(scene);

	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		size_t length = strlen(variables[i].name);

		/* what does not fit is left out rather than cut: half a path is another path */
		if (strncmp(assignment, variables[i].name, length) == 0 && assignment[length] == '=' &&
		    strlen(assignment + length + 1) < variables[i].size)
			text_copy(variables[i].out, variables[i].size, assignment + length + 1);
	}
}

static int read_environment(struct check_scene *scene)
{
	char name[40], *bytes;
	size_t size;
	int fd, err;

	snprintf(name, sizeof(name), "/proc/%u/environ", scene->pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = file_read_fd(fd, ENVIRON_MAX, &bytes, &size);
	close(fd);
	if (err)
		return err;
	for (size_t at = 0; at < size; at += strlen(bytes + at) + 1)
		take_variable(scene, bytes + at);
	explicit_bzero(bytes, size);
	free(bytes);
	return 0;
}

/* Where a link of /proc leads, inside the root. */
static void read_place(uint32_t pid, const char *link, char *out, size_t size)
{
	char name[48], to[CHECK_PATH], root[CHECK_PATH];
	ssize_t n;

	out[0] = '\0';
	snprintf(name, sizeof(name), "/proc/%u/%s", pid, link);
	n = readlink(name, to, sizeof(to) - 1);
	if (n <= 0)
		return;
	to[n] = '\0';
	snprintf(name, sizeof(name), "/proc/%u/root", pid);
	n = readlink(name, root, sizeof(root) - 1);
	root[n > 0 ? n : 0] = '\0';
	n = strcmp(root, "/") ? (ssize_t)strlen(root) : 0;
	if (n && strncmp(to, root, (size_t)n) == 0 && (to[n] == '/' || to[n] == '\0'))
		text_copy(out, size, to[n] ? to + n : "/");
	else
		text_copy(out, size, to);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_loaded(struct check_scene *scene)
{
	struct maps_region region;
	struct maps_text lines;
	size_t size;
	char *text;
	int err = procfs_maps(scene->pid, 0, &text, &size);

	if (err)
		return err;
	scene->loaded = calloc(LOADED_MAX, sizeof(*scene->loaded));
	maps_text_init(&lines, text, size);
	while (scene->loaded && scene->loaded_count < LOADED_MAX && maps_text_next(&lines, &region)) {
		if (!(region.protection & PROT_EXEC) || !strstr(region.path, ".so"))
			continue;
		scene->loaded[scene->loaded_count] = strdup(region.path);
		scene->loaded_count += scene->loaded[scene->loaded_count] != NULL;
	}
	free(text);
	if (scene->loaded)
		qsort(scene->loaded, scene->loaded_count, sizeof(*scene->loaded), by_text);
	return 0;
}

bool check_scene_loaded(const struct check_scene *scene, const char *path)
{
	return scene->loaded &&
	       bsearch(&path, scene->loaded, scene->loaded_count, sizeof(*scene->loaded), by_text);
}

int check_scene_pid(struct check_scene *scene, uint32_t pid, char *why, size_t why_size)
{
	struct procfs_facts facts;
	const struct passwd *user;
	int err = procfs_facts(pid, 0, &facts);

	*scene = (struct check_scene){.pid = pid};
	if (!err) {
		scene->program_inode = facts.exe_inode;
		text_copy(scene->server, sizeof(scene->server), procfs_server(facts.title));
		err = read_environment(scene);
	}
	if (!err)
		err = read_loaded(scene);
	if (err) {
		snprintf(why, why_size, "process %u: %s", pid,
			 err == -ESRCH || err == -ENOENT ? "there is none" : strerror(-err));
		check_scene_done(scene);
		return err;
	}
	snprintf(scene->root, sizeof(scene->root), "/proc/%u/root", pid);
	read_place(pid, "exe", scene->program, sizeof(scene->program));
	read_place(pid, "cwd", scene->app_dir, sizeof(scene->app_dir));
	user = getpwuid(facts.uid);
	text_copy(scene->user, sizeof(scene->user), user ? user->pw_name : "");
	return 0;
}

/* The first `ruby` of PATH, as the shell would find it. */
static void find_in_path(struct check_scene *scene)
{
	char path[4096], *save = NULL;

	text_copy(path, sizeof(path), getenv("PATH"));
	for (char *one = strtok_r(path, ":", &save); one; one = strtok_r(NULL, ":", &save)) {
		snprintf(scene->program, sizeof(scene->program), "%.4000s/ruby", one);
		if (access(scene->program, X_OK) == 0)
			return;
	}
	scene->program[0] = '\0';
}

void check_scene_shell(struct check_scene *scene, const char *root)
{
	const struct variable variables[] = VARIABLES(scene);
	bool own = strcmp(root, "/") == 0;

	*scene = (struct check_scene){0};
	text_copy(scene->root, sizeof(scene->root), root);
	if (!own)
		return; /* our environment says nothing of another root */
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		const char *value = getenv(variables[i].name);

		if (value && strlen(value) < variables[i].size)
			text_copy(variables[i].out, variables[i].size, value);
	}
	find_in_path(scene);
}

void check_scene_done(struct check_scene *scene)
{
	for (size_t i = 0; i < scene->loaded_count; i++)
		free(scene->loaded[i]);
	free(scene->loaded);
	scene->loaded = NULL;
	scene->loaded_count = 0;
}
