/* SPDX-License-Identifier: Apache-2.0 */
/* Versions as RubyGems orders them, and requirements as gems write them. Pure; any text will do. */
#ifndef LAPIDARY_GEMS_VERSION_H
#define LAPIDARY_GEMS_VERSION_H

#include <stdbool.h>

/*
 * <0, 0, >0. Segments of digits by number, of letters as text; letters come before digits, so a prerelease
 * comes before its release: 1.0.rc1 < 1.0 = 1.0.0 < 1.0.1.
 */
int version_compare(const char *a, const char *b);

/* Digits first, then dotted or dashed segments of letters and digits. */
bool version_is(const char *text);

/* ">= 2.7, < 3.4.dev", "~> 3.1", "!= 3.2": 1: it does, 0: it does not, -1: that is no requirement. */
int version_satisfies(const char *version, const char *requirement);

#endif
