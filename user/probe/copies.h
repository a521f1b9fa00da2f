/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Distilled copies (user/elf/distil.h) of the files that watched processes map, each an anonymous file of
 * memory that nobody can change any more. A process that has died can be unwound with them; no file of an
 * app's mount is held. Beside it, where there is one, the symbols of its separate debug file. Bounded: the
 * least recently used goes first, with its symbols.
 */
#ifndef LAPIDARY_COPIES_H
#define LAPIDARY_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "user/probe/targets_file.h"

enum { COPIES = 512 };
/* In all; a Puma app with Rails maps files of 30 to 60 MiB. */
#define COPIES_BYTES_MAX (UINT64_C(128) << 20)

struct copies;
struct copies *copies_new(void);
void copies_free(struct copies *copies);

/* An empty file for a copy of the open one: as large, and to stay so. The caller's to close; or -errno. */
int copies_make(int file_fd);
/* The copy is filled: nothing can change it from here on. fd becomes the cache's, also on failure. */
int copies_keep(struct copies *copies, const struct file_key *key, int fd);
/* Borrowed until the next change; -1: there is none. */
int copies_find(struct copies *copies, const struct file_key *key);
/* The same for the symbols; they are kept only with the file's own copy, once. */
int copies_keep_debug(struct copies *copies, const struct file_key *key, int fd);
int copies_find_debug(struct copies *copies, const struct file_key *key);
/* True when the file's copy has no symbols and nobody asked for them within every_ns: now somebody does. */
bool copies_ask_debug(struct copies *copies, const struct file_key *key, uint64_t now_ns, uint64_t every_ns);
size_t copies_count(const struct copies *copies);
uint64_t copies_bytes(const struct copies *copies); /* of memory that they take */

#endif
