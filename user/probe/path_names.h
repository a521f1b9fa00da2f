/* SPDX-License-Identifier: Apache-2.0 */
/* Paths kept once, however many regions name them, and forgotten with the last. */
#ifndef LAPIDARY_PATH_NAMES_H
#define LAPIDARY_PATH_NAMES_H

#include <stddef.h>

struct path_names;
struct path_names *path_names_new(void);
void path_names_free(struct path_names *names); /* and every path in it */

/* The kept copy, with one more reference; NULL: no memory. */
const char *path_names_keep(struct path_names *names, const char *path);
/* One more, or one less, reference to a kept copy. */
const char *path_names_again(const char *kept);
void path_names_drop(struct path_names *names, const char *kept);

size_t path_names_memory(const struct path_names *names);

#endif
