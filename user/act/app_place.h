/* SPDX-License-Identifier: Apache-2.0 */
/* Where the app socket lies: a path that apps know, and that never has a moment without a socket. */
#ifndef LAPIDARY_APP_PLACE_H
#define LAPIDARY_APP_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

/* Binds and listens for everybody, replacing what is there; `inode` gets the socket's. 0 or -errno. */
int app_place_bind(const char *path, int fd, ino_t *inode);
/* Whether nothing at all is there, its directory included. */
bool app_place_is_empty(const char *path);

#endif
