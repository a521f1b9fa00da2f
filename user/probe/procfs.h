/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc says of one process, each call one subject, all of it bounded and cleaned. A process may block
 * its readers (its maps are locked while it faults on a dead file system), so the agent calls these beside
 * its loop. The environment is never read.
 *
 * Each call names the identity and checks, after reading, that the pid still is that process: -ESRCH
 * otherwise. /proc gives the start in ticks of 10 ms, so that is the grain of the check.
 */
#ifndef LAPIDARY_PROCFS_H
#define LAPIDARY_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROCFS_MAPS_MAX = 1 << 20 };

struct procfs_facts {
	uint32_t uid, gid, parent_tgid;
	uint64_t exe_inode;
	uint32_t exe_dev;
	uint32_t netns; /* inode of its network namespace, 0 where it may not be known */
	char comm[16];
	char exe[160];
	char cgroup[160]; /* path in the cgroup v2 tree, else of v1's memory or first controller */
	char title[128];  /* the process title, or the first two words of the command; see procfs_title */
};

struct procfs_usage {
	uint64_t rss_bytes, minor_faults, major_faults, cpu_ns;
};

/* start_ns 0 is not checked. *ticks may be NULL. */
int procfs_check(uint32_t tgid, uint64_t start_ns);
/* True when it has ended, also when nobody has waited for it yet. */
bool procfs_ended(uint32_t tgid, uint64_t start_ns);
int procfs_facts(uint32_t tgid, uint64_t start_ns, struct procfs_facts *out);
/* Those that take no lock of the process's memory, so no process can block their reader: uid, gid, parent,
 * netns and cgroup; the others are left empty. */
int procfs_scope(uint32_t tgid, uint64_t start_ns, struct procfs_facts *out);
/* The same path as in the facts, alone and without a check of the identity: this one never blocks. */
int procfs_cgroup(uint32_t tgid, char *out, size_t size);
int procfs_usage(uint32_t tgid, uint64_t start_ns, struct procfs_usage *out);
/* Proportional set size: shared pages divided by their users. Takes 12 ms per GiB. */
int procfs_pss(uint32_t tgid, uint64_t start_ns, uint64_t *bytes);
/* Text of /proc/PID/maps, paths as the process has them, NUL-terminated; the caller frees. -EFBIG beyond
 * PROCFS_MAPS_MAX. */
int procfs_maps(uint32_t tgid, uint64_t start_ns, char **text, size_t *size);

/*
 * A title fit to be kept, from the bytes of /proc/PID/cmdline. A program that wrote its own title has one
 * word with blanks: it is kept. Else the program and its first argument (of a Ruby: its script, behind the
 * options), which is left out when it may carry a secret (an option, an assignment, a URL).
 */
void procfs_title(const char *cmdline, size_t size, char *out, size_t out_size);
/* "puma", "unicorn", "pitchfork", "iodine", or "". A static string. */
const char *procfs_server(const char *title);

#endif
