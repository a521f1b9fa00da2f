/* SPDX-License-Identifier: Apache-2.0 */
/* A human table: columns as wide as their widest cell, colours only where they are wanted. */
#ifndef LAPIDARY_GRID_H
#define LAPIDARY_GRID_H

#include <stdbool.h>
#include <stdio.h>

enum tint { TINT_NONE, TINT_BOLD, TINT_DIM, TINT_RED, TINT_YELLOW, TINT_GREEN, TINT_CYAN };

enum { GRID_COLUMNS = 16 };

struct grid;

/* Column heads separated by '|': "time|app|cause"; a head that ends in '>' is aligned to the right. */
struct grid *grid_new(const char *heads);
void grid_free(struct grid *grid);
/* Adds a cell to the current row; a row is full when every column has one. NULL counts as "-". */
void grid_cell(struct grid *grid, enum tint tint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void grid_print(const struct grid *grid, FILE *out, bool colour);
size_t grid_rows(const struct grid *grid);

/* "auto", "always", "never"; auto: a terminal, NO_COLOR not set and TERM not "dumb". */
bool colour_wanted(const char *setting, FILE *out);
/* The text in its tint, or plain. */
void tint_print(FILE *out, bool colour, enum tint tint, const char *text);

#endif
