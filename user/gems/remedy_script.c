/* SPDX-License-Identifier: Apache-2.0 */
/* Commands as a script that a person reads before it runs: why each is there, what is left to do by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/gems/remedy.h"

static void add_comment(FILE *file, const char *text)
{
	char line[512];

	if (!text || !text[0])
		return;
	text_copy(line, sizeof(line), text);
	text_clean(line); /* no line of its own may begin in it */
	fprintf(file, "# %s\n", line);
}

static bool is_first(const struct remedy *remedies, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (!strcmp(remedies[i].command, remedies[index].command))
			return false;
	return true;
}

static void add_all_why(FILE *file, const struct remedy *remedies, const char *const *why, size_t count,
			size_t index)
{
	for (size_t i = index; i < count; i++)
		if (!strcmp(remedies[i].command, remedies[index].command))
			add_comment(file, why[i]);
}

char *remedy_script(const struct remedy *remedies, const char *const *why, size_t count)
{
	char *text = NULL;
	size_t size, told = 0;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return NULL;
	fputs("#!/bin/sh\n# Made by lapidary check --fix-script. Read it before you run it.\nset -eu\n",
	      file);
	for (size_t i = 0; i < count; i++) {
		if (!remedies[i].command[0]) {
			fputc('\n', file);
			add_comment(file, why[i]);
			add_comment(file, remedies[i].refused);
			continue;
		}
		if (!is_first(remedies, i))
			continue;
		fputc('\n', file);
		add_all_why(file, remedies, why, count, i);
		add_comment(file, remedies[i].note);
		/* the parentheses keep its cd to itself */
		fprintf(file, "(%s)\n", remedies[i].command);
		add_comment(file, remedies[i].restart);
		add_comment(file, remedies[i].image);
		told++;
	}
	if (!told)
		fputs("\n# Nothing here can be mended by a command.\n", file);
	if (fclose(file) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
