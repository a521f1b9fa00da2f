/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a line must be before a recursive parser gets it: UTF-8, no NUL and no other control characters, an
 * object at the outside, nested and filled only so far. One pass, no memory. Whether it is JSON the parser
 * says.
 */
#ifndef LAPIDARY_PROTOCOL_SOUND_H
#define LAPIDARY_PROTOCOL_SOUND_H

#include <stdbool.h>
#include <stddef.h>

/* False: `code` and `what` get static text, `place` the byte's offset. */
bool protocol_sound(const char *line, size_t size, const char **code, const char **what, size_t *place);

#endif
