/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of /proc/PID/maps, read strictly. */
#ifndef LAPIDARY_MAPS_TEXT_H
#define LAPIDARY_MAPS_TEXT_H

#include <stddef.h>
#include "user/probe/maps.h"

enum { MAPS_PATH = 4096 };

struct maps_text {
	const char *at, *end;
	size_t bad; /* lines that did not parse, and were passed over */
	char path[MAPS_PATH];
};

/* Borrows the text. */
void maps_text_init(struct maps_text *text, const char *bytes, size_t size);
/* The next mapping, whatever its protection; path is valid until the next call. 0 at the end. */
int maps_text_next(struct maps_text *text, struct maps_region *out);

/*
 * In place, the text NUL-terminated: paths below `root` become what they are to a process whose root that is.
 * Others stay: files that it has from elsewhere.
 */
void maps_text_inside(char *text, size_t *size, const char *root);

#endif
