/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells are kept as text and measured in characters rather than bytes, so that a name with umlauts does not
 * shift the columns behind it. What a watched process may have chosen (names, paths) is cleaned of control
 * characters here, in the one place where all of it passes on its way to a terminal.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/cli/grid.h"

enum { CELL = 256 };

struct cell {
	enum tint tint;
	char *text;
};

struct grid {
	char heads[GRID_COLUMNS][32];
	bool right[GRID_COLUMNS];
	size_t columns, count, room; /* cells */
	struct cell *cells;
};

struct grid *grid_new(const char *heads)
{
	struct grid *grid = calloc(1, sizeof(*grid));

	while (grid && *heads && grid->columns < GRID_COLUMNS) {
		size_t size = strcspn(heads, "|"), shown = size;

		if (size && heads[size - 1] == '>')
			grid->right[grid->columns] = shown--;
		text_copy_bytes(grid->heads[grid->columns++], sizeof(grid->heads[0]), heads, shown);
		heads += size;
		heads += *heads == '|';
	}
	return grid;
}

void grid_free(struct grid *grid)
{
	if (!grid)
		return;
	for (size_t i = 0; i < grid->count; i++)
		free(grid->cells[i].text);
	free(grid->cells);
	free(grid);
}

void grid_cell(struct grid *grid, enum tint tint, const char *format, ...)
{
	char text[CELL];
	va_list args;

	if (grid->count == grid->room) {
		size_t room = grid->room ? grid->room * 2 : 64;
		struct cell *cells = realloc(grid->cells, room * sizeof(*cells));

		if (!cells)
			return;
		grid->cells = cells;
		grid->room = room;
	}
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_clean(text);
	grid->cells[grid->count++] = (struct cell){tint, strdup(text[0] ? text : "-")};
}

size_t grid_rows(const struct grid *grid)
{
	return grid->columns ? grid->count / grid->columns : 0;
}

/* Characters of UTF-8 text: bytes that do not continue one. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static const char *const tints[] = {
	[TINT_NONE] = "",         [TINT_BOLD] = "\033[1m",    [TINT_DIM] = "\033[2m",
	[TINT_RED] = "\033[31m",  [TINT_YELLOW] = "\033[33m", [TINT_GREEN] = "\033[32m",
	[TINT_CYAN] = "\033[36m",
};

void tint_print(FILE *out, bool colour, enum tint tint, const char *text)
{
	if (colour && tint != TINT_NONE)
		fprintf(out, "%s%s\033[0m", tints[tint], text);
	else
		fputs(text, out);
}

static void print_cell(const struct grid *grid, FILE *out, bool colour, size_t column, size_t width,
		       const struct cell *cell)
{
	const char *text = cell->text ? cell->text : "?";
	int gap = (int)(width - text_width(text));

	if (grid->right[column])
		fprintf(out, "%*s", gap, "");
	tint_print(out, colour, cell->tint, text);
	if (column + 1 == grid->columns)
		fputc('\n', out);
	else
		fprintf(out, "%*s", grid->right[column] ? 2 : gap + 2, "");
}

void grid_print(const struct grid *grid, FILE *out, bool colour)
{
	size_t width[GRID_COLUMNS] = {0}, rows = grid_rows(grid);

	for (size_t column = 0; column < grid->columns; column++) {
		width[column] = text_width(grid->heads[column]);
		for (size_t row = 0; row < rows; row++) {
			const char *text = grid->cells[row * grid->columns + column].text;
			size_t size = text ? text_width(text) : 1;

			if (size > width[column])
				width[column] = size;
		}
	}
	for (size_t column = 0; column < grid->columns; column++) {
		struct cell head = {TINT_BOLD, (char *)grid->heads[column]};

		print_cell(grid, out, colour, column, width[column], &head);
	}
	for (size_t i = 0; i < rows * grid->columns; i++)
		print_cell(grid, out, colour, i % grid->columns, width[i % grid->columns], &grid->cells[i]);
}

bool colour_wanted(const char *setting, FILE *out)
{
	const char *off = getenv("NO_COLOR"), *term = getenv("TERM");

	if (!strcmp(setting, "always"))
		return true;
	if (!strcmp(setting, "never") || (off && *off) || !isatty(fileno(out)))
		return false;
	return term && strcmp(term, "dumb");
}
