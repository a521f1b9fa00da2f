// SPDX-License-Identifier: Apache-2.0
/*
 * Below a folder of gems everything may lie anywhere, so it is walked whole, but for what no Ruby loads from:
 * documentation, caches, tests. Links are followed, inside the root, and each folder is entered once by its
 * device and inode, so that a loop ends.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/probe/gem_tree_private.h"

struct pending_folder {
	struct pending_folder *next;
	unsigned int depth;
	char path[];
};

struct gems_walk {
	struct pending_folder *first;
	unsigned int depth;               /* of the folder in work */
	const char *parent, *grandparent; /* names of the folder in work and of the one above */
	size_t parent_size, grandparent_size;
};

static bool ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), size = strlen(end);

	return length > size && strcmp(name + length - size, end) == 0;
}

static bool is_one_of(const char *name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}

static bool piece_is(const char *piece, size_t size, const char *name)
{
	return size == strlen(name) && memcmp(piece, name, size) == 0;
}

/* The last two names of the path. */
static void set_parents(struct gems_walk *gems, const char *path)
{
	const char *end = path + strlen(path), *slash = strrchr(path, '/'), *above;

	gems->parent = slash ? slash + 1 : path;
	gems->parent_size = (size_t)(end - gems->parent);
	gems->grandparent = path;
	gems->grandparent_size = 0;
	if (!slash || slash == path)
		return;
	for (above = slash; above > path && above[-1] != '/'; above--)
		;
	gems->grandparent = above;
	gems->grandparent_size = (size_t)(slash - above);
}

static bool folder_is_of_no_use(const struct gems_walk *gems, const char *name)
{
	static const char *const anywhere[] = {"node_modules", "doc", "cache", "build_info", "ri", "rdoc"};
	static const char *const in_a_gem[] = {"test",     "tests",  "spec",    "docs",      "example",
					       "examples", "sample", "samples", "benchmark", "benchmarks",
					       "features", "man",    "bin",     "exe",       "sig",
					       "certs",    "ext",    "ports"};

	if (name[0] == '.' || is_one_of(name, anywhere, sizeof(anywhere) / sizeof(*anywhere)))
		return true;
	/* gems/NAME-VERSION/…: what was built is in lib/ and extensions/ */
	return piece_is(gems->grandparent, gems->grandparent_size, "gems") &&
	       is_one_of(name, in_a_gem, sizeof(in_a_gem) / sizeof(*in_a_gem));
}

/* What a file is by its name and folder; TREE_KINDS: nothing. */
static enum tree_kind file_kind(const struct gems_walk *gems, const char *name)
{
	if (ends_with(name, ".so"))
		return TREE_EXTENSION;
	if (ends_with(name, ".gemspec"))
		return piece_is(gems->parent, gems->parent_size, "specifications") ? TREE_SPECIFICATION
										   : TREE_KINDS;
	if (strcmp(name, "gem.build_complete") == 0)
		return TREE_BUILT;
	if (strcmp(name, "gem_make.out") == 0 || strcmp(name, "mkmf.log") == 0)
		return TREE_BUILD_LOG;
	return TREE_KINDS;
}

static void add_folder(struct tree_walk *walk, struct gems_walk *gems, const char *path, const char *name,
		       const struct stat *st)
{
	struct pending_folder *folder;

	if (piece_is(gems->parent, gems->parent_size, "gems") && strchr(name, '-'))
		tree_found(walk, TREE_GEM, path, st);
	if (gems->depth + 1 > TREE_DEPTH) {
		tree_problem(walk, path, -E2BIG);
		return;
	}
	folder = malloc(sizeof(*folder) + strlen(path) + 1);
	if (!folder) {
		tree_problem(walk, path, -ENOMEM);
		return;
	}
	strcpy(folder->path, path);
	folder->depth = gems->depth + 1;
	folder->next = gems->first;
	gems->first = folder;
}

/* A link: to a file that counts by its own name, or to a folder. */
static void add_link(struct tree_walk *walk, struct gems_walk *gems, const char *path, const char *name,
		     enum tree_kind kind)
{
	int fd = tree_open_below(walk->root, path, O_PATH);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		/* a dead link matters where a file was to be */
		if (kind != TREE_KINDS)
			tree_problem(walk, path, fd < 0 ? fd : -errno);
	} else if (S_ISDIR(st.st_mode)) {
		if (!folder_is_of_no_use(gems, name))
			add_folder(walk, gems, path, name, &st);
	} else if (kind != TREE_KINDS && S_ISREG(st.st_mode)) {
		tree_found(walk, kind, path, &st);
	} else if (kind != TREE_KINDS) {
		tree_problem(walk, path, -EINVAL);
	}
	if (fd >= 0)
		close(fd);
}

static bool look_at(struct tree_walk *walk, void *context, int folder, const char *parent, const char *name,
		    unsigned char type)
{
	struct gems_walk *gems = context;
	enum tree_kind kind = file_kind(gems, name);
	char path[TREE_PATH_MAX];
	struct stat st;
	int n;

	if (walk->full)
		return false;
	if (type == DT_REG && kind == TREE_KINDS)
		return true;
	n = snprintf(path, sizeof(path), "%s/%s", strcmp(parent, "/") ? parent : "", name);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		tree_problem(walk, parent, -ENAMETOOLONG);
		return true;
	}
	if (type == DT_LNK) {
		add_link(walk, gems, path, name, kind);
		return true;
	}
	if (type == DT_DIR && folder_is_of_no_use(gems, name))
		return true;
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
		if (kind != TREE_KINDS || type == DT_DIR)
			tree_problem(walk, path, -errno);
	} else if (S_ISLNK(st.st_mode)) {
		add_link(walk, gems, path, name, kind);
	} else if (S_ISDIR(st.st_mode)) {
		if (!folder_is_of_no_use(gems, name))
			add_folder(walk, gems, path, name, &st);
	} else if (kind != TREE_KINDS) {
		if (S_ISREG(st.st_mode))
			tree_found(walk, kind, path, &st);
		else
			tree_problem(walk, path, -EINVAL);
	}
	return true;
}

static bool is_new(struct tree_walk *walk, const char *path, int *result)
{
	struct stat st;
	bool fresh;
	int fd;

	tree_step(walk, path);
	*result = 0;
	fd = tree_open_below(walk->root, path, O_PATH | O_DIRECTORY);
	if (fd < 0) {
		*result = fd;
		return false;
	}
	fresh = fstat(fd, &st) == 0 && tree_visit(walk, &st);
	close(fd);
	return fresh;
}

void tree_walk_gems(struct tree_walk *walk, const char *path)
{
	struct gems_walk gems = {0};
	struct pending_folder *folder = malloc(sizeof(*folder) + strlen(path) + 1);

	if (!folder)
		return;
	strcpy(folder->path, path);
	folder->depth = 0;
	folder->next = NULL;
	gems.first = folder;
	while (gems.first) {
		int result = 0;

		folder = gems.first;
		gems.first = folder->next;
		gems.depth = folder->depth;
		set_parents(&gems, folder->path);
		if (!walk->full && !tree_skipped(walk, folder->path) && is_new(walk, folder->path, &result))
			result = tree_each_name(walk, folder->path, look_at, &gems);
		/* where a place begins nothing need be */
		if (result && !(folder->depth == 0 && (result == -ENOENT || result == -ENOTDIR)))
			tree_problem(walk, folder->path, result);
		free(folder);
	}
}
