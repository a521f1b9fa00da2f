/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few small files as one: ustar (POSIX.1-2017, pax "ustar Interchange Format"), packed with gzip, so that
 * tar(1) reads and writes it as well. In memory, regular files alone: nothing is ever put on disk, so a name
 * is a name and no path. The usual libraries bring eight more libraries into a privileged daemon.
 */
#ifndef LAPIDARY_TAR_H
#define LAPIDARY_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tar; /* being written */

struct tar *tar_new(void); /* NULL: no memory */
void tar_free(struct tar *tar);
/* Adds a file of mode 0600; the name has at most 99 bytes. An error shows at tar_finish. */
void tar_add(struct tar *tar, const char *name, const void *bytes, size_t size, uint64_t modified_s);
/* Packed; the caller frees *out. 0, -ENOMEM, or -EINVAL for a name or size that does not fit. */
int tar_finish(struct tar *tar, uint8_t **out, size_t *size);

/*
 * Called with each file, in order; the bytes are borrowed during the call. Not 0 ends the reading, which
 * returns it.
 */
typedef int (*tar_file_fn)(void *context, const char *name, const uint8_t *bytes, size_t size, char *why,
			   size_t why_size);

/*
 * Reads an archive, packed or not, of at most `limit` bytes unpacked. 0, what the callback said, -ENOMEM,
 * -EFBIG, or -EBADMSG with one line in `why`: what is wrong, and at which byte of the archive.
 */
int tar_read(const uint8_t *bytes, size_t size, size_t limit, tar_file_fn fn, void *context, char *why,
	     size_t why_size);
/* Begins like an archive of ours: gzip, or a ustar header. */
bool tar_is(const uint8_t *bytes, size_t size);

#endif
