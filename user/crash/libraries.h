/* SPDX-License-Identifier: Apache-2.0 */
/* Shared libraries that one gem is known to bring into a Ruby process. */
#ifndef LAPIDARY_LIBRARIES_H
#define LAPIDARY_LIBRARIES_H

/* "pg" of ".../libpq.so.5"; NULL: no one gem uses it. */
const char *library_gem(const char *path);

#endif
