/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over the processes of one container or app: the same Ruby, gems and libraries everywhere (Property 26). A
 * process that has not loaded something yet differs in nothing; one that has another version of it does.
 * Pure.
 */
#ifndef LAPIDARY_CONSISTENCY_H
#define LAPIDARY_CONSISTENCY_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

enum part_kind { PART_RUBY, PART_GEM, PART_EXTENSION, PART_LIBRARY };

/* One thing that a process has. Texts are borrowed. */
struct process_part {
	enum part_kind kind;
	const char *name;  /* "ruby", "pg", "pg_ext.so", "libssl.so.3" */
	const char *value; /* "3.1.7", "1.5.4", a build-id in hex */
};

struct process_parts {
	uint32_t pid;
	const struct process_part *parts;
	size_t count;
};

/*
 * An array of {"kind","name","values":[{"value","pids":[…]}…]}: what differs, Ruby first, then by name; of
 * each the value that most have stands first. Empty: all have the same. NULL when out of memory.
 */
cJSON *consistency_check(const struct process_parts *processes, size_t count);

#endif
