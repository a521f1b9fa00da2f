/* SPDX-License-Identifier: Apache-2.0 */
/* What every command says the same way: its help page, and what was wrong with its words. */
#ifndef LAPIDARY_HELP_H
#define LAPIDARY_HELP_H

/* Exit codes of docs/design.md 8. */
enum exit_code {
	EXIT_FINE = 0,
	EXIT_PROBLEMS = 1,
	EXIT_USAGE = 2,
	EXIT_HOST = 3,
	EXIT_NO_ANSWER = 4,
	EXIT_INTERNAL = 70,
};

struct help {
	const char *synopsis; /* "crashes [--json] [--app APP] …" */
	const char *text;     /* one paragraph; lines end in \n */
	const char *options;  /* lines "  --json   …", "" for none */
	const char *examples; /* lines "  lapidary crashes --since 1h" */
};

/* Prints the page on stdout and returns EXIT_FINE. */
int help_print(const struct help *help);
/* "lapidary: WHAT" on stderr; returns EXIT_USAGE. */
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the code to leave with. */
int command_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
