/* SPDX-License-Identifier: Apache-2.0 */
/* Time as the outside sees it: RFC 3339, UTC, nanoseconds. */
#ifndef LAPIDARY_WHEN_H
#define LAPIDARY_WHEN_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEN_SIZE = 36 }; /* "2026-11-22T20:14:29.123456789Z" and room */

/* wall_ns: nanoseconds since 1970. */
void when_rfc3339(uint64_t wall_ns, char out[WHEN_SIZE]);
/* Reads what when_rfc3339 writes, with 0 to 9 fraction digits, 'Z' or an offset. *wall_ns untouched on
 * failure. */
bool when_parse(const char *text, uint64_t *wall_ns);

uint64_t when_wall_now(void); /* CLOCK_REALTIME */
uint64_t when_boot_now(void); /* CLOCK_BOOTTIME, the clock of every event */

#endif
