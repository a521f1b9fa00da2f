/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of names and texts for a person, wrapped to the width of what it is read on. All text passes
 * through here on its way to the terminal and is cleaned: much of it was chosen by a watched process.
 */
#ifndef LAPIDARY_PAGE_H
#define LAPIDARY_PAGE_H

#include <stdbool.h>
#include <stdio.h>
#include "user/cli/grid.h"

struct page {
	FILE *out;
	bool colour;
	int width; /* columns */
};

/* The terminal's width within 60 and 200, 100 where there is none. */
int page_width(FILE *out);

void page_head(const struct page *page, const char *text);
/* "  name          text": nothing at all when the text is empty, cut with "…" beyond `lines` lines. */
void page_text(const struct page *page, const char *name, int lines, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The same with three lines. */
void page_line(const struct page *page, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* One line as it is, cleaned and cut at the width. */
void page_raw(const struct page *page, enum tint tint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
