/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counting window. Lanes are drained one after the other, so notices come slightly out of order; entries
 * are kept sorted and the window always ends at the latest one. Both ends belong to it: 3 in 60 s holds for
 * crashes at 0, 30 and 60 s. At its size limit the oldest goes, and the count stays there.
 */
#include "user/rules/rule.h"
#include <stdlib.h>
#include <string.h>

static bool window_room(struct window *window)
{
	if (window->count < window->size)
		return true;
	if (window->size == WINDOW_MAX) {
		memmove(window->entries, window->entries + 1, --window->count * sizeof(*window->entries));
		return true;
	}
	uint32_t size = window->size ? window->size * 2 : 4;
	void *grown = realloc(window->entries, size * sizeof(*window->entries));
	if (!grown)
		return false;
	window->entries = grown;
	window->size = size;
	return true;
}

uint64_t window_latest(const struct window *window)
{
	return window->count ? window->entries[window->count - 1].time_ns : 0;
}

void window_add(struct window *window, const struct window_entry *entry, uint64_t length_ns)
{
	uint32_t at, old = 0;
	if (!window_room(window))
		return;
	for (at = window->count; at > 0 && window->entries[at - 1].time_ns > entry->time_ns; at--)
		window->entries[at] = window->entries[at - 1];
	window->entries[at] = *entry;
	window->count++;
	while (window->entries[old].time_ns + length_ns < window_latest(window))
		old++;
	window->count -= old;
	memmove(window->entries, window->entries + old, window->count * sizeof(*window->entries));
}

uint32_t window_marked(const struct window *window, unsigned bit)
{
	uint32_t marked = 0;
	for (uint32_t i = 0; i < window->count; i++)
		marked += window->entries[i].marks >> bit & 1;
	return marked;
}

uint32_t window_same(const struct window *window, uint64_t same)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < window->count; i++)
		found += window->entries[i].same == same;
	return found;
}

uint32_t window_fresh(const struct window *window)
{
	uint32_t fresh = 0;
	for (uint32_t i = 0; i < window->count; i++)
		fresh += !window->entries[i].spent;
	return fresh;
}

void window_spend(struct window *window)
{
	for (uint32_t i = 0; i < window->count; i++)
		window->entries[i].spent = true;
}

void window_empty(struct window *window)
{
	window->count = 0;
}

void window_done(struct window *window)
{
	free(window->entries);
	memset(window, 0, sizeof(*window));
}
