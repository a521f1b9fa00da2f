/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the tree's two sides. What the child finds goes into memory that both share, so that what was found
 * before it hung is not lost; questions and opened files go over a socket.
 */
#ifndef LAPIDARY_GEM_TREE_PRIVATE_H
#define LAPIDARY_GEM_TREE_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include "user/probe/gem_tree.h"

enum {
	TREE_PATH_MAX = 4096,
	TREE_SHARED_BYTES = 48 << 20,
	TREE_QUESTION_TEXT = 60000,
	TREE_SKIPS = TREE_HANGS,
};

/* Written by the child alone, but for the question. */
struct tree_shared {
	char question[TREE_QUESTION_TEXT]; /* strings; of TREE_WALK each begins with 'A' + tree_place_kind */
	_Atomic uint64_t used;             /* bytes of records that are whole */
	_Atomic uint64_t steps;            /* moves while it does not hang */
	char now[TREE_PATH_MAX];           /* what it looks at; may be torn, its last byte is always 0 */
	unsigned char records[TREE_SHARED_BYTES];
};

struct tree_record {
	uint32_t size;            /* of all, a multiple of 8 */
	uint16_t kind, path_size; /* path_size counts its NUL */
	int32_t result;
	uint32_t uid, mode, pad;
	uint64_t device, inode, bytes;
	int64_t mtime_ns, ctime_ns;
	char path[];
};

enum tree_verb { TREE_WALK, TREE_OPEN };

/* Its text lies in the shared memory. */
struct tree_question {
	uint32_t verb, count;
};

/* The files that are open come along in order. */
struct tree_answer {
	uint32_t count;
	int32_t result[TREE_OPEN_MAX];
	struct stat stats[TREE_OPEN_MAX];
};

/* The child: serves the socket until it closes. `skip`: folders not to be looked into. Does not return. */
void tree_child(const char *root, int socket_fd, struct tree_shared *shared, const char *const *skip,
		size_t skip_count) __attribute__((noreturn));

struct tree_walk {
	int root;
	struct tree_shared *shared;
	const char *const *skip;
	size_t skip_count;
	uint64_t *visited; /* pairs of device and inode, open addressing */
	size_t visited_count, visited_size;
	uint32_t found, folders, names;
	bool full; /* a limit was met, and told */
};

/* Opens below the root, links followed inside it alone. -errno. */
int tree_open_below(int root, const char *path, int flags);
/* A regular file, to be read; looked at before it is opened. -errno, -EINVAL: no regular file. */
int tree_open_file(int root, const char *path);

void tree_walk_place(struct tree_walk *walk, enum tree_place_kind kind, const char *path);
/* Everything below, as a folder of gems; `must`: say so when it is not there. */
void tree_walk_gems(struct tree_walk *walk, const char *path);

void tree_found(struct tree_walk *walk, enum tree_kind kind, const char *path, const struct stat *st);
void tree_problem(struct tree_walk *walk, const char *path, int result);
void tree_step(struct tree_walk *walk, const char *path);
/* Marks a folder and says whether it is new. */
bool tree_visit(struct tree_walk *walk, const struct stat *st);
bool tree_skipped(const struct tree_walk *walk, const char *path);
/* Looks at the file, through links too, and adds it or its problem. False: it is not there. */
bool tree_add_file(struct tree_walk *walk, enum tree_kind kind, const char *path);

/* Calls fn for each name of a folder, "." and ".." left out, until it says false. -errno when it cannot be
 * opened; `type` is d_type. */
typedef bool (*tree_name_fn)(struct tree_walk *walk, void *context, int folder, const char *path,
			     const char *name, unsigned char type);
int tree_each_name(struct tree_walk *walk, const char *path, tree_name_fn fn, void *context);

#endif
