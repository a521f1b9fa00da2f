/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes secrets out of text that a process wrote: Ruby's crash report, or what else it says as it dies.
 *
 * Nobody can know each secret by its looks. What goes is what is marked as one: the user part of an address
 * ("postgres://[removed]@db"), the value of a key that ends in password, token, secret and the like, the
 * value of an environment variable ("NAME=…"), and the literals of SQL. Ruby's own report has none of these
 * and comes through unchanged. A second time finds no secret that the first has left in.
 */
#ifndef LAPIDARY_SCRUB_H
#define LAPIDARY_SCRUB_H

#include <stddef.h>

/* A new buffer, NUL-terminated, the caller frees; *out_size may differ from size. NULL: no memory. */
char *scrub_text(const char *text, size_t size, size_t *out_size);

#endif
