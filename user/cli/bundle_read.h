/* SPDX-License-Identifier: Apache-2.0 */
/* Where a bundle comes from: a crash of the store, a bundle's folder elsewhere, or an exported file. */
#ifndef LAPIDARY_BUNDLE_READ_H
#define LAPIDARY_BUNDLE_READ_H

#include "user/cli/listing.h"
#include "user/crash/bundle_files.h"

enum { BUNDLE_ARCHIVE_MAX = 24 << 20 };

/*
 * Each returns -1 with `out` filled (bundle_files_done is due), else the exit code after one line on stderr.
 * bundle_read_id opens the store of the settings anew; `id` may be the first letters.
 */
int bundle_read_id(const struct listing *listing, const char *id, struct bundle_files *out);
int bundle_read_place(const char *path, struct bundle_files *out);
/* A word that is a path: it has a '/' or a '.', which no id has. */
bool bundle_is_place(const char *word);
/* The one or the other. */
int bundle_read_any(const struct listing *listing, const char *word, struct bundle_files *out);

/* An exported file's bytes, already in memory: 0 or -errno with `why`. `out->place` is set by the caller. */
int bundle_unpack(const uint8_t *bytes, size_t size, struct bundle_files *out, char *why, size_t why_size);

#endif
