/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a root (this host's, a container's, an image's) holds of Rubies and gems: programs, libraries,
 * installed gems, native extensions. The root may be hostile: nothing is followed out of it, no FIFO or
 * device is opened, loops and depths are bounded, and all looking is done by a child that may hang on a dead
 * file system without its caller: it is killed, the place becomes a problem, and the next child goes on.
 *
 * Synchronous, for commands; the agent has threads for it.
 */
#ifndef LAPIDARY_GEM_TREE_H
#define LAPIDARY_GEM_TREE_H

#include <stddef.h>
#include <stdint.h>

enum tree_kind {
	TREE_PROGRAM,       /* named like a Ruby: ruby, ruby3.1; may be anything yet */
	TREE_LIBRUBY,       /* libruby*.so* */
	TREE_EXTENSION,     /* *.so below a folder of gems or of a Ruby's library */
	TREE_SPECIFICATION, /* specifications/NAME-VERSION.gemspec */
	TREE_GEM,           /* the folder gems/NAME-VERSION */
	TREE_BUILT,         /* extensions/…/gem.build_complete */
	TREE_BUILD_LOG,     /* gem_make.out, mkmf.log */
	TREE_LOCKFILE,      /* Gemfile.lock, gems.locked */
	TREE_BUNDLE_CONFIG, /* .bundle/config */
	TREE_LINK_CONF,     /* ld.so.conf.d/…, ld-musl-….path */
	TREE_PACKAGE_LIST,  /* what a Debian package of Ruby's brought: /var/lib/dpkg/info/ruby-svn.list */
	TREE_PROBLEM,       /* could not be looked at: `result` says why */
	TREE_KINDS
};

enum tree_limit {
	TREE_ENTRIES = 200000, /* found */
	TREE_FOLDERS = 200000, /* looked into */
	TREE_NAMES = 4000000,  /* looked at */
	TREE_DEPTH = 24,       /* below a place */
	TREE_OPEN_MAX = 64,    /* files opened with one call */
	TREE_STALL_MS = 2000,  /* nothing moved for so long: it hangs */
	TREE_WALK_MS = 60000,  /* all in all */
	TREE_HANGS = 8,        /* places given up before the root is */
};

struct tree_entry {
	enum tree_kind kind;
	int result; /* of TREE_PROBLEM: -ETIMEDOUT it hangs, -ELOOP, -EACCES, -EINVAL no regular file, -E2BIG
		       a limit … */
	uint64_t device, inode, size;
	int64_t mtime_ns, ctime_ns;
	uint32_t uid, mode;
	const char *path; /* inside the root, as it was found: links are not taken out of it */
};

enum tree_place_kind {
	PLACE_SYSTEM,   /* wherever distributions and version managers put Rubies; path is not used */
	PLACE_HOME,     /* the same below one home */
	PLACE_PREFIX,   /* bin/, lib/, lib/ruby/ of one Ruby */
	PLACE_GEMS,     /* a folder of gems: GEM_HOME, an element of GEM_PATH, BUNDLE_PATH */
	PLACE_APP,      /* an app's folder: Gemfile.lock, .bundle/config, vendor/bundle */
	PLACE_LOCKFILE, /* one that BUNDLE_GEMFILE names */
};

struct tree_place {
	enum tree_place_kind kind;
	const char *path; /* absolute inside the root */
};

struct gem_tree;

/* `root` is a folder as the caller sees it: "/", "/proc/PID/root". 0, or -errno when it cannot be opened. */
int gem_tree_new(const char *root, struct gem_tree **out);
void gem_tree_free(struct gem_tree *tree); /* NULL-safe */

/* Looks at places; what they hold is added, each folder once. 0 or -errno (-ENOMEM, -EAGAIN: no child). */
int gem_tree_walk(struct gem_tree *tree, const struct tree_place *places, size_t count);

/* What was found so far, by path. Borrowed until the next walk. */
size_t gem_tree_count(const struct gem_tree *tree);
const struct tree_entry *gem_tree_entry(const struct gem_tree *tree, size_t i);

/*
 * Opens regular files of the root to be read: fds[i] is the caller's, or -errno. paths are absolute inside
 * the root; at most TREE_OPEN_MAX. stats[i] is what the child saw of it (NULL: not wanted): asking the
 * descriptor oneself, or reading from it, may hang.
 */
struct stat;
void gem_tree_open(struct gem_tree *tree, const char *const *paths, size_t count, int *fds,
		   struct stat *stats);

#endif
