// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "user/cli/commands.h"
#include "user/cli/help.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{"agent", cmd_agent, "watch this host's Ruby processes (the daemon)"},
	{"check", cmd_check,
	 "Rubies and native extensions: what was built for another one, and what mends it"},
	{"crashes", cmd_crashes, "the crashes that were recorded"},
	{"crash", cmd_crash, "look into one: crash show|core|open|diff|export ID"},
	{"incidents", cmd_incidents, "what a person should know of, open and past"},
	{"decisions", cmd_decisions, "what the rules asked for, with the counts it rests on"},
	{"actions", cmd_actions, "what was done about it, or would have been; actions pause|resume"},
	{"breakers", cmd_breakers, "the databases in use, and whether the way to them is open, now"},
	{"breaker", cmd_breaker, "open or close one by hand: breaker open|close TARGET"},
	{"workers", cmd_workers, "the watched processes, now"},
	{"worker", cmd_worker, "have one replaced: worker restart PID"},
	{"health", cmd_health, "the state of this host's Ruby services, now"},
	{"gaps", cmd_gaps, "when nobody watched"},
	{"features", cmd_features, "what this kernel offers, and what Lapidary does with it"},
	{"doctor", cmd_doctor, "why is a process watched, or not"},
	{"config", cmd_config, "config show, config check FILE"},
	{"replay", cmd_replay, "run a recording through model and rules"},
};

static void print_commands(FILE *out)
{
	fprintf(out, "lapidary " LAPIDARY_VERSION
		     ": sees Ruby processes die, says why, and keeps the others at work\n\n"
		     "usage: lapidary COMMAND [OPTION…]     (each has --help)\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].what);
}

/* A full disk behind stdout shows only when the last of it is written, and then nobody else would say so. */
static int written(int code)
{
	if (code != EXIT_FINE || (fflush(stdout) == 0 && !ferror(stdout)))
		return code;
	return command_error(EXIT_PROBLEMS, "output: %s", errno ? strerror(errno) : "could not be written");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	char *help[] = {argv[0], argc > 2 ? argv[2] : NULL, "--help", NULL};

	if (strcmp(name, "help") == 0 && argc == 3) { /* lapidary help COMMAND */
		name = argv[2];
		argv = help;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		print_commands(stdout);
		return written(EXIT_FINE);
	}
	if (strcmp(name, "--version") == 0) {
		puts("lapidary " LAPIDARY_VERSION);
		return written(EXIT_FINE);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].name) == 0)
			return written(commands[i].run(argc - 1, argv + 1));
	if (*name)
		return usage_error("%s: no such command; lapidary --help lists them", name);
	print_commands(stderr);
	return EXIT_USAGE;
}
