/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to wait until the step that asked for it is over. In order, and one after the other: what one does
 * may be a step of its own that puts off more, and that waits for its turn in the same row, so that a long
 * row (every breaker closes at once) takes no more stack than one.
 */
#ifndef LAPIDARY_LATER_H
#define LAPIDARY_LATER_H

#include <stdbool.h>
#include <stddef.h>

struct later;
struct later_row {
	struct later *first, **end;
	bool running;
};

void later_init(struct later_row *row);
/* Room for `size` bytes, which run gets and which are freed after it; NULL: no memory. */
void *later_add(struct later_row *row, size_t size, void (*run)(void *context, void *payload));
/* Runs all, also those that come meanwhile; nothing inside itself. */
void later_run(struct later_row *row, void *context);

#endif
