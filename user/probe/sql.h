/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL normalisation: literals become $1, $2, ..., comments go, white space folds, so that a statement can
 * be shown and grouped and no value leaves the process. Works on text that was cut anywhere: what cannot
 * be known to lie outside a literal is left out. Idempotent.
 */
#ifndef LAPIDARY_SQL_H
#define LAPIDARY_SQL_H

#include <stddef.h>

/* Writes the NUL-terminated normal form, cut at out_size. Returns its length. in need not be terminated. */
size_t sql_normalise(const char *in, size_t in_size, char *out, size_t out_size);

#endif
