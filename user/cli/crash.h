/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `lapidary crash`, and what several of them do. argv[0] is "crash NAME". */
#ifndef LAPIDARY_CLI_CRASH_H
#define LAPIDARY_CLI_CRASH_H

#include "user/cli/bundle_read.h"
#include "user/crash/core.h"
#include "user/elf/file.h"

int crash_show(int argc, char **argv);
int crash_core(int argc, char **argv);
int crash_open(int argc, char **argv);
int crash_diff(int argc, char **argv);
int crash_export(int argc, char **argv);

/* The file at a path and its build-id ("" when there is none); *out is NULL when it is no ELF file. Returns
 * its descriptor, which the caller closes after elf_file_free, or negative. crash_modules.c */
int crash_file_open(const char *path, struct elf_file **out, char build_id[2 * ELF_FILE_BUILD_ID_MAX + 1]);
/* Gives the report a list of modules where it has none, from files that are still what ran. 0 or -ENOMEM. */
int crash_find_modules(struct bundle_files *bundle);

/* An ELF core of the bundle: -1 with *out (the caller frees), else the exit code, after one line on stderr.
 */
int crash_core_make(struct bundle_files *bundle, const char *command, uint8_t **out, size_t *size,
		    struct core_gaps *gaps);
/* What such a core lacks, one line each on stderr. */
void crash_core_tell(const struct core_gaps *gaps, const char *command);

/*
 * Writes a file of mode 0600 that was not there before, or replaces one when `force`; "-" is stdout, which
 * must be no terminal. Says where and how much on stdout. Returns the exit code.
 */
int crash_output(const char *command, const char *path, bool force, const void *bytes, size_t size);

/*
 * The report as it may leave with a redacted export, and the flight recorder's lines without statements (the
 * caller frees). NULL: out of memory. crash_redact.c
 */
cJSON *crash_redact(const struct bundle_files *bundle);
char *crash_redact_events(const char *events);

#endif
