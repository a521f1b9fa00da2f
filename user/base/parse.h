/* SPDX-License-Identifier: Apache-2.0 */
/* Strict readers: the whole text must fit, or the answer is false and *out is untouched. */
#ifndef LAPIDARY_PARSE_H
#define LAPIDARY_PARSE_H

#include <stdbool.h>
#include <stdint.h>

bool parse_u64(const char *text, uint64_t *out);    /* decimal or 0x…; no sign, no blanks */
bool parse_size(const char *text, uint64_t *bytes); /* "4096", "512K", "16M", "2G" (powers of 1024) */
bool parse_duration_ms(const char *text,
		       uint64_t *ms);         /* "250ms", "30s", "5m", "2h", "7d"; a bare number is seconds */
bool parse_bool(const char *text, bool *out); /* true/false, yes/no, on/off, 1/0 */

#endif
