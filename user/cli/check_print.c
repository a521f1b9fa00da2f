// SPDX-License-Identifier: Apache-2.0
/* The findings for a person: the Rubies, every gem once, then what is wrong and what mends it. */
#include <stdio.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/check.h"
#include "user/cli/grid.h"
#include "user/cli/page.h"

static enum tint verdict_tint(const char *verdict)
{
	if (strcmp(verdict, "compatible") == 0)
		return TINT_GREEN;
	return strcmp(verdict, "suspect") == 0 || strcmp(verdict, "unknown") == 0 ? TINT_YELLOW : TINT_RED;
}

static void print_rubies(const cJSON *rubies, bool colour)
{
	struct grid *grid = grid_new("Ruby|ABI|platform|C library|program|library");
	const cJSON *ruby;

	if (!grid)
		return;
	cJSON_ArrayForEach(ruby, rubies)
	{
		const char *libc = json_text(ruby, "libc_version");

		grid_cell(grid, TINT_BOLD, "%s", json_text(ruby, "version"));
		grid_cell(grid, TINT_NONE, "%s", json_text(ruby, "abi"));
		grid_cell(grid, TINT_NONE, "%s", json_text(ruby, "platform"));
		grid_cell(grid, TINT_NONE, "%s%s%s", json_text(ruby, "libc"), *libc ? " " : "", libc);
		grid_cell(grid, TINT_NONE, "%s", json_text(ruby, "path"));
		grid_cell(grid, TINT_DIM, "%s",
			  json_true(ruby, "static") ? "in the program" : json_text(ruby, "library"));
	}
	if (grid_rows(grid))
		grid_print(grid, stdout, colour);
	else
		puts("no Ruby was found");
	grid_free(grid);
}

static bool is_same(const cJSON *a, const cJSON *b)
{
	static const char *const keys[] = {"gem_name", "installed_version", "ruby_version_compiled_for",
					   "current_ruby_version", "compatibility_status"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (strcmp(json_text(a, keys[i]), json_text(b, keys[i])) != 0)
			return false;
	return true;
}

static bool is_repeated(const cJSON *gem)
{
	/* a gem's files stand together, and few are many: no more than a screen is looked back */
	const cJSON *before = gem;

	for (int i = 0; i < 32 && before->prev && before->prev->next; i++) {
		before = before->prev;
		if (is_same(before, gem))
			return true;
	}
	return false;
}

static void add_row(struct grid *grid, const cJSON *gem)
{
	const char *verdict = json_text(gem, "compatibility_status"),
		   *built = json_text(gem, "ruby_version_compiled_for");

	grid_cell(grid, TINT_BOLD, "%s",
		  *json_text(gem, "gem_name") ? json_text(gem, "gem_name")
					      : text_base(json_text(gem, "path")));
	grid_cell(grid, TINT_NONE, "%s", json_text(gem, "installed_version"));
	grid_cell(grid, TINT_NONE, "%s", *built ? built : "not known");
	grid_cell(grid, TINT_NONE, "%s", json_text(gem, "current_ruby_version"));
	grid_cell(grid, verdict_tint(verdict), "%s", verdict);
	grid_cell(grid, TINT_DIM, "%s", json_text(gem, "path"));
}

static void print_gems(const cJSON *gems, bool colour)
{
	struct grid *grid = grid_new("gem|version|built for|Ruby|verdict|first file");
	size_t library = 0;
	const cJSON *gem;

	if (!grid)
		return;
	cJSON_ArrayForEach(gem, gems)
	{
		bool fine = strcmp(json_text(gem, "compatibility_status"), "compatible") == 0;

		if (fine && !*json_text(gem, "gem_name"))
			library++;
		else if (!is_repeated(gem))
			add_row(grid, gem);
	}
	if (grid_rows(grid)) {
		putchar('\n');
		grid_print(grid, stdout, colour);
	}
	grid_free(grid);
	if (library)
		printf("\n%zu extensions of Ruby's own library are compatible\n", library);
}

static void print_problems(const cJSON *problems, bool colour)
{
	const struct page page = {stdout, colour, page_width(stdout)};
	const cJSON *problem;

	if (!cJSON_GetArraySize(problems)) {
		puts("\nno problem was found");
		return;
	}
	cJSON_ArrayForEach(problem, problems)
	{
		putchar('\n');
		page_raw(&page, TINT_RED, "%s", json_text(problem, "problem"));
		page_line(&page, "where", "%s", json_text(problem, "path"));
		page_line(&page, "what to do", "%s", json_text(problem, "command"));
	}
}

void check_print(const cJSON *document, bool colour)
{
	print_rubies(cJSON_GetObjectItem(document, "rubies"), colour);
	print_gems(cJSON_GetObjectItem(document, "gems"), colour);
	print_problems(cJSON_GetObjectItem(document, "problems"), colour);
}
