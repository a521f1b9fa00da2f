/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What files said of themselves, kept between two runs, so that a file that has not changed is not read
 * again. Known by device, inode, size, times of change and kind of question.
 *
 * The cache is one file of the caller's own (0600, not followed through a link). What it holds is checked
 * when it is asked for, as if the examiner had just said it: a damaged or forged cache costs a fresh look.
 */
#ifndef LAPIDARY_ANSWER_CACHE_H
#define LAPIDARY_ANSWER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include "user/probe/inspector.h"

struct answer_key {
	uint64_t device, inode, size;
	int64_t mtime_ns, ctime_ns;
	uint32_t kind, pad; /* enum inspection_kind; pad is 0 */
};

struct answer_cache;

/* `folder` "": nothing is kept. A folder that is not there, or a cache that is not ours: it begins empty. */
struct answer_cache *answer_cache_new(const char *folder);
void answer_cache_free(struct answer_cache *cache); /* NULL-safe; writes nothing */

/*
 * True when it is known: result and why are filled in, and answer is borrowed until answer_cache_free (NULL
 * unless the result is 0).
 */
bool answer_cache_get(struct answer_cache *cache, const struct answer_key *key, struct inspection *out);

/* Takes the answer over (it is borrowed from the cache from now on). False: no memory, it stays the caller's.
 */
bool answer_cache_put(struct answer_cache *cache, const struct answer_key *key, struct inspection *answer);

/* Writes what was asked for or put in, when something new was. 0 or -errno. */
int answer_cache_save(struct answer_cache *cache);

void answer_key_fill(struct answer_key *key, enum inspection_kind kind, const struct stat *st);

#endif
