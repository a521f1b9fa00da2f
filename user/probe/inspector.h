/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examiner of `lapidary check`: parses objects, lock files, gemspecs and build logs of a root that may be
 * hostile, in a child confined like the examiner of files (user/probe/examiner.h), from descriptors that it
 * is handed in batches. A child that dies or hangs on one file costs that file, and the next child goes on.
 *
 * Synchronous, for commands. Nothing of a file is believed: each answer is checked, texts are printable.
 */
#ifndef LAPIDARY_INSPECTOR_H
#define LAPIDARY_INSPECTOR_H

#include <stddef.h>
#include <stdint.h>

enum inspection_kind {
	INSPECT_OBJECT,        /* struct object */
	INSPECT_LOCKFILE,      /* struct lockfile */
	INSPECT_GEMSPEC,       /* struct gemspec */
	INSPECT_BUILD_LOG,     /* struct build_log */
	INSPECT_BUNDLE_CONFIG, /* struct bundle_config */
	INSPECT_TEXT,          /* its bytes and a NUL, printable but for line ends */
	INSPECT_KINDS
};

struct inspection {
	enum inspection_kind kind;
	int fd;        /* asked: the caller's */
	int result;    /* answered: 0, or -errno. -EIO: the examiner died on it, -ETIMEDOUT: it hung on it */
	char why[160]; /* one line, "" when result is 0 */
	void *answer;  /* malloc'd, the caller's; NULL unless result is 0 */
	size_t size;
};

struct inspector;

/* `uid` is the child's where the caller is root. The child starts with the first question. NULL: no memory.
 */
struct inspector *inspector_new(uint32_t uid);
void inspector_free(struct inspector *inspector);

/* Fills in all answers. Beyond INSPECTOR_DEATHS children that died or hung the rest gets -ECANCELED. */
enum inspector_limit {
	INSPECTOR_BATCH = 32,
	INSPECTOR_TEXT_MAX = 32 << 10,
	INSPECTOR_DEATHS = 64,
	INSPECTOR_CPU_SECONDS = 2, /* a file */
	INSPECTOR_WAIT_MS = 10000, /* a file, by the clock */
};
void inspector_run(struct inspector *inspector, struct inspection *list, size_t count);
/* By the clock, instead of INSPECTOR_WAIT_MS: for tests. */
void inspector_set_wait(struct inspector *inspector, unsigned int ms);

/* Runs in the child on a SOCK_SEQPACKET socket until it closes; confines itself first. Does not return. */
void inspector_main(int socket_fd, uint32_t uid) __attribute__((noreturn));

#endif
