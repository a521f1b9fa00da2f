/* SPDX-License-Identifier: Apache-2.0 */
/* Files read whole with a limit, and files replaced so that a reader sees the old or the new one, never half.
 */
#ifndef LAPIDARY_FILE_H
#define LAPIDARY_FILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Reads at most `limit` bytes of a file into a new, NUL-terminated buffer (the caller frees). -EFBIG when
 * there is more. *size may be NULL. file_read_at is relative to a directory and follows no symlink.
 */
int file_read(const char *path, size_t limit, char **out, size_t *size);
int file_read_at(int dir_fd, const char *name, size_t limit, char **out, size_t *size);
int file_read_fd(int fd, size_t limit, char **out, size_t *size);

int file_write_all(int fd, const void *data, size_t size);

/*
 * Writes name.tmp in the directory, fsyncs it, renames it over name and fsyncs the directory. The old
 * content stays when anything fails.
 */
int file_replace_at(int dir_fd, const char *name, const void *data, size_t size, mode_t mode);

/* mkdir -p for one path; existing directories are fine. */
int file_make_dirs(const char *path, mode_t mode);

#endif
