/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include "user/base/text.h"
#include "user/cli/help.h"

int help_print(const struct help *help)
{
	printf("usage: lapidary %s\n\n%s", help->synopsis, help->text);
	if (help->options[0])
		printf("\nOptions:\n%s", help->options);
	printf("\nEvery setting of 'lapidary config show' works as a flag here too.\n\nExamples:\n%s",
	       help->examples);
	return EXIT_FINE;
}

/* What is quoted may come from a file or a process: no control character reaches the terminal. */
static void print_error(const char *format, va_list args)
{
	char line[1024];

	vsnprintf(line, sizeof(line), format, args);
	text_clean(line);
	fprintf(stderr, "lapidary: %s\n", line);
}

int usage_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(format, args);
	va_end(args);
	return EXIT_USAGE;
}

int command_error(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(format, args);
	va_end(args);
	return code;
}
