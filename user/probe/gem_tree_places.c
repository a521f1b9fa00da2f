// SPDX-License-Identifier: Apache-2.0
/*
 * Where Rubies and gems lie: distributions, containers of the official images, and the version managers. A
 * place that is not there costs one look; a home that may not be entered is nobody's finding.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/probe/gem_tree_private.h"

/* '*' stands for any name. */
static const char *const system_prefixes[] = {
	"/usr/local",
	"/usr",
	"/opt/rubies/*",
	"/opt/*",
	"/opt/*/embedded", /* omnibus packages: GitLab, Chef */
	"/opt/rbenv/versions/*",
	"/usr/local/rbenv/versions/*",
	"/usr/local/rvm/rubies/*",
};
static const char *const home_prefixes[] = {
	"/.rbenv/versions/*",
	"/.asdf/installs/ruby/*",
	"/.rubies/*",
	"/.rvm/rubies/*",
	"/.local/share/mise/installs/ruby/*",
};
static const char *const system_gems[] = {
	"/var/lib/gems", "/usr/local/bundle" /* GEM_HOME of the official images */, "/usr/local/rvm/gems"};
static const char *const home_gems[] = {"/.gem/ruby", "/.local/share/gem/ruby", "/.rvm/gems"};
static const char *const homes[] = {"/root", "/home/*"};

typedef void (*place_fn)(struct tree_walk *walk, const char *path);

struct expansion {
	place_fn fn;
	const char *rest; /* of the pattern, behind the '*' */
};

static void expand(struct tree_walk *walk, const char *pattern, place_fn fn);

static bool is_readable_name(const char *name)
{
	return name[0] != '.' && strchr(name, '*') == NULL;
}

static bool expand_name(struct tree_walk *walk, void *context, int folder, const char *path, const char *name,
			unsigned char type)
{
	const struct expansion *expansion = context;
	char next[TREE_PATH_MAX];
	int n;

	(void)folder;
	if ((type != DT_DIR && type != DT_LNK && type != DT_UNKNOWN) || !is_readable_name(name))
		return true;
	n = snprintf(next, sizeof(next), "%s/%s%s", path, name, expansion->rest);
	if (n > 0 && (size_t)n < sizeof(next))
		expand(walk, next, expansion->fn);
	return true;
}

static void expand(struct tree_walk *walk, const char *pattern, place_fn fn)
{
	const char *star = strchr(pattern, '*');
	struct expansion expansion = {fn, star ? star + 1 : ""};
	char path[TREE_PATH_MAX];

	if (!star) {
		fn(walk, pattern);
		return;
	}
	snprintf(path, sizeof(path), "%.*s", (int)(star - pattern - 1), pattern);
	tree_each_name(walk, path, expand_name, &expansion);
}

/* "ruby", "ruby3.1", "ruby2.7", "ruby-mri". */
static bool is_program_name(const char *name)
{
	return strncmp(name, "ruby", 4) == 0 &&
	       (name[4] == '\0' || name[4 + strspn(name + 4, "0123456789.")] == '\0' ||
		strcmp(name + 4, "-mri") == 0);
}

struct files {
	bool libraries;
};

static bool add_if_ruby(struct tree_walk *walk, void *context, int folder, const char *path, const char *name,
			unsigned char type)
{
	const struct files *files = context;
	char file[TREE_PATH_MAX];
	int n;

	(void)folder;
	(void)type;
	if (files->libraries ? strncmp(name, "libruby", 7) != 0 || !strstr(name, ".so")
			     : !is_program_name(name))
		return true;
	n = snprintf(file, sizeof(file), "%s/%s", path, name);
	if (n > 0 && (size_t)n < sizeof(file))
		tree_add_file(walk, files->libraries ? TREE_LIBRUBY : TREE_PROGRAM, file);
	return true;
}

static void look_for_files(struct tree_walk *walk, const char *prefix, const char *name, bool libraries)
{
	struct files files = {libraries};
	char path[TREE_PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", prefix, name);

	if (n > 0 && (size_t)n < sizeof(path))
		tree_each_name(walk, path, add_if_ruby, &files);
}

static void look_for_gems(struct tree_walk *walk, const char *prefix, const char *name)
{
	char path[TREE_PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", prefix, name);

	if (n > 0 && (size_t)n < sizeof(path))
		tree_walk_gems(walk, path);
}

/* lib/x86_64-linux-gnu: a multiarch folder. */
static bool add_multiarch(struct tree_walk *walk, void *context, int folder, const char *path,
			  const char *name, unsigned char type)
{
	char multiarch[TREE_PATH_MAX];
	int n;

	(void)context;
	(void)folder;
	if ((type != DT_DIR && type != DT_LNK && type != DT_UNKNOWN) || !strstr(name, "-linux-"))
		return true;
	n = snprintf(multiarch, sizeof(multiarch), "%s/%s", path, name);
	if (n <= 0 || (size_t)n >= sizeof(multiarch))
		return true;
	look_for_files(walk, path, name, true);
	look_for_gems(walk, multiarch, "ruby");
	look_for_gems(walk, multiarch, "rubygems-integration");
	return true;
}

static void walk_prefix(struct tree_walk *walk, const char *prefix)
{
	static const char *const gems[] = {"lib/ruby",   "lib64/ruby",
					   "lib64/gems", "share/rubygems-integration",
					   "share/gems", "share/ruby"};
	char lib[TREE_PATH_MAX];
	int n = snprintf(lib, sizeof(lib), "%s/lib", prefix);

	look_for_files(walk, prefix, "bin", false);
	look_for_files(walk, prefix, "lib", true);
	look_for_files(walk, prefix, "lib64", true);
	for (size_t i = 0; i < sizeof(gems) / sizeof(*gems); i++)
		look_for_gems(walk, prefix, gems[i]);
	if (n > 0 && (size_t)n < sizeof(lib))
		tree_each_name(walk, lib, add_multiarch, NULL);
}

static void walk_home(struct tree_walk *walk, const char *home)
{
	char path[TREE_PATH_MAX];

	for (size_t i = 0; i < sizeof(home_prefixes) / sizeof(*home_prefixes); i++)
		if (snprintf(path, sizeof(path), "%s%s", home, home_prefixes[i]) < (int)sizeof(path))
			expand(walk, path, walk_prefix);
	for (size_t i = 0; i < sizeof(home_gems) / sizeof(*home_gems); i++) {
		int looked;

		if (snprintf(path, sizeof(path), "%s%s", home, home_gems[i]) >= (int)sizeof(path))
			continue;
		looked = tree_open_below(walk->root, path, O_PATH | O_DIRECTORY);
		if (looked < 0)
			continue; /* another user's home, as often as not */
		close(looked);
		tree_walk_gems(walk, path);
	}
}

static bool add_link_conf(struct tree_walk *walk, void *context, int folder, const char *path,
			  const char *name, unsigned char type)
{
	const char *const *ends = context;
	char file[TREE_PATH_MAX];
	size_t length = strlen(name), end = strlen(ends[1]);
	int n = snprintf(file, sizeof(file), "%s/%s", path, name);

	(void)folder;
	(void)type;
	if (n > 0 && (size_t)n < sizeof(file) && strncmp(name, ends[0], strlen(ends[0])) == 0 &&
	    length > end && strcmp(name + length - end, ends[1]) == 0)
		tree_add_file(walk, TREE_LINK_CONF, file);
	return true;
}

/* Those alone that may hold extensions: thousands more lie there. */
static bool add_package_list(struct tree_walk *walk, void *context, int folder, const char *path,
			     const char *name, unsigned char type)
{
	char file[TREE_PATH_MAX];
	size_t length = strlen(name);
	int n = snprintf(file, sizeof(file), "%s/%s", path, name);

	(void)context;
	(void)folder;
	(void)type;
	if (n > 0 && (size_t)n < sizeof(file) && strstr(name, "ruby") && length > 5 &&
	    strcmp(name + length - 5, ".list") == 0)
		tree_add_file(walk, TREE_PACKAGE_LIST, file);
	return true;
}

static void walk_system(struct tree_walk *walk)
{
	static const char *const conf[] = {"", ".conf"}, *const musl[] = {"ld-musl-", ".path"};

	for (size_t i = 0; i < sizeof(system_prefixes) / sizeof(*system_prefixes); i++)
		expand(walk, system_prefixes[i], walk_prefix);
	for (size_t i = 0; i < sizeof(system_gems) / sizeof(*system_gems); i++)
		tree_walk_gems(walk, system_gems[i]);
	for (size_t i = 0; i < sizeof(homes) / sizeof(*homes); i++)
		expand(walk, homes[i], walk_home);
	tree_add_file(walk, TREE_LINK_CONF, "/etc/ld.so.conf");
	tree_each_name(walk, "/etc/ld.so.conf.d", add_link_conf, (void *)conf);
	tree_each_name(walk, "/etc", add_link_conf, (void *)musl);
	tree_each_name(walk, "/var/lib/dpkg/info", add_package_list, NULL);
}

static void walk_app(struct tree_walk *walk, const char *app)
{
	static const struct {
		const char *name;
		enum tree_kind kind;
	} files[] = {{"Gemfile.lock", TREE_LOCKFILE},
		     {"gems.locked", TREE_LOCKFILE},
		     {".bundle/config", TREE_BUNDLE_CONFIG}};
	char path[TREE_PATH_MAX];

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (snprintf(path, sizeof(path), "%s/%s", app, files[i].name) < (int)sizeof(path))
			tree_add_file(walk, files[i].kind, path);
	look_for_gems(walk, app, "vendor/bundle");
}

void tree_walk_place(struct tree_walk *walk, enum tree_place_kind kind, const char *path)
{
	tree_step(walk, path);
	switch (kind) {
	case PLACE_SYSTEM:
		walk_system(walk);
		break;
	case PLACE_HOME:
		walk_home(walk, path);
		break;
	case PLACE_PREFIX:
		walk_prefix(walk, path);
		break;
	case PLACE_GEMS:
		tree_walk_gems(walk, path);
		break;
	case PLACE_APP:
		walk_app(walk, path);
		break;
	case PLACE_LOCKFILE:
		tree_add_file(walk, TREE_LOCKFILE, path);
		break;
	}
}
