/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short identifiers from content. FNV-1a with 64 bits (public domain, isthe.com/chongo/tech/comp/fnv): for
 * names and hash tables, not against an adversary who may choose both sides of a collision.
 */
#ifndef LAPIDARY_DIGEST_H
#define LAPIDARY_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_START 0xcbf29ce484222325ull

/* Continues `seed` (DIGEST_START at first) over the bytes. */
uint64_t digest_fnv(uint64_t seed, const void *bytes, size_t size);
/* The same over a string and its terminating NUL, so that ("a","bc") differs from ("ab","c"). */
uint64_t digest_text(uint64_t seed, const char *text);
/* 16 lower-case hex digits. */
void digest_hex(uint64_t digest, char out[17]);
/* Spreads the bits (splitmix64's finaliser), for tables and for seeding. */
uint64_t digest_mix(uint64_t value);

#endif
