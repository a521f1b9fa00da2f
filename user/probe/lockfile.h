/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Gemfile.lock: which gems an app boots with, in which versions, for which platforms. Pure on bytes that
 * may be hostile; runs in the examiner. The result is one flat piece of memory that travels as it is;
 * lockfile_check believes none of it.
 */
#ifndef LAPIDARY_LOCKFILE_H
#define LAPIDARY_LOCKFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lockfile_limit {
	LOCKFILE_BYTES_MAX = 4 << 20,
	LOCKFILE_GEMS_MAX = 4096, /* an app of 500 is a large one */
	LOCKFILE_PLATFORMS_MAX = 32,
	LOCKFILE_LINE_MAX = 4096,
};

enum lockfile_source { LOCKFILE_GEM, LOCKFILE_GIT, LOCKFILE_PATH, LOCKFILE_PLUGIN };

struct locked_gem {
	char name[128];
	char version[64];
	char platform[48]; /* "x86_64-linux-gnu"; "" for what is built from source */
	uint8_t source;    /* enum lockfile_source */
	uint8_t direct;    /* 1: stands in DEPENDENCIES, else another gem asked for it */
	uint8_t pad[2];
	char revision[44]; /* of LOCKFILE_GIT, in hex; else "" */
};

struct lockfile {
	uint32_t size; /* of all, this head included */
	uint32_t gem_count;
	uint32_t platform_count;
	char ruby[32];    /* "3.1.7p123" of RUBY VERSION, "" when it has none */
	char bundler[32]; /* of BUNDLED WITH */
	char platforms[LOCKFILE_PLATFORMS_MAX][48];
	struct locked_gem gems[];
};

/*
 * 0: *out is malloc'd, the caller's to free. -EBADMSG: `why` names the line; -E2BIG: a limit; -ENOMEM.
 * Sections that this reader does not know are passed over (CHECKSUMS is one).
 */
int lockfile_parse(const char *bytes, size_t size, struct lockfile **out, char why[160]);

/* Could lockfile_parse have made this? */
bool lockfile_check(const struct lockfile *lockfile, size_t size);

#endif
