/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of bounded arrays: copied whole or cut, always terminated, never trusted to be printable. */
#ifndef LAPIDARY_TEXT_H
#define LAPIDARY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies in (NULL counts as "") into out[size], cut and terminated; size > 0. Returns the length written. */
size_t text_copy(char *out, size_t size, const char *in);
/* The same from bytes that need not be terminated. Stops at a NUL. */
size_t text_copy_bytes(char *out, size_t size, const void *in, size_t in_size);
/* Replaces control characters and bytes that are no valid UTF-8 by '?', in place. Returns how many. */
size_t text_clean(char *text);
/* printf that appends at *used in out[size]; *used never passes size - 1. */
void text_add(char *out, size_t size, size_t *used, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Lower-case hex of bytes; out needs 2 * size + 1. */
void text_hex(const uint8_t *bytes, size_t size, char *out);
/* The part after the last '/', borrowed. */
const char *text_base(const char *path);

#endif
