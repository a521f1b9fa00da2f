/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closes descriptors beside the loop. The last close of a uprobe link waits until no CPU can be in its
 * programs any more, tens of milliseconds each; a file has a dozen links, and a host that ends a deploy lets
 * go of many files at once.
 */
#ifndef LAPIDARY_CLOSER_H
#define LAPIDARY_CLOSER_H

struct closer;

/* Its thread starts with the first descriptor, so that it has the capabilities of who closes. */
struct closer *closer_new(void);
/* Takes fd over. Closes it on the spot when the thread cannot take it. closer may be NULL. */
void closer_close(struct closer *closer, int fd);
/* Waits for what is left; NULL-safe. */
void closer_free(struct closer *closer);

#endif
