/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files to probe. Every executable mapping that is seen comes here; any ELF file that exports
 * PQconnectStart is a libpq, any that exports rb_define_method is a Ruby, whatever its name. A Ruby makes
 * its process a watched one; libpqs are of interest in watched processes alone.
 *
 * Two keys. A mapping says (device, inode, path): the first key, cheap and told by the kernel, remembers
 * what the file was, for at most a minute before its status is looked at again (an inode is used again,
 * a library is replaced in place). The opened file says (device, inode, change time): the second key, one
 * attachment each. Build-ids come from the examiner, not from the mapping, since a copy that was patched
 * keeps its build-id and moves its code: each file is examined before it is probed.
 *
 * Nothing here waits: opening is the spawner's work, parsing the examiner's; answers come through one
 * descriptor. An attachment pins its file's mount, so it goes when the last process that mapped it went.
 */
#ifndef LAPIDARY_TARGETS_H
#define LAPIDARY_TARGETS_H

#include <stdbool.h>
#include <stdint.h>
#include "user/elf/library.h"
#include "user/probe/maps.h"
#include "user/probe/probe.h"
#include "user/probe/spawner.h"

enum { TARGETS_FILES = 256, TARGETS_FILES_PER_UID = 16 };

struct targets_options {
	struct probe *probe;     /* borrowed */
	struct spawner *spawner; /* borrowed */
	uint32_t examiner_uid;
	bool uprobe_multi; /* false: perf uprobes, opened by the spawner */
	/* 0: as ever. How long a mapping is believed to show the same file (a minute), an attachment stays
	 * without users (10 s), spawner and examiner may take (5 s). */
	uint64_t fresh_ns, linger_ns, answer_ns;
};

/*
 * What the owner is told. start_ns is 0 when the mapping came from a process that is not watched yet: then
 * it is the one that had this id at seen_ns, not one that was born later. A Ruby is told of even when its
 * file cannot be probed.
 */
struct targets_events {
	void (*ruby)(void *context, uint32_t tgid, uint64_t start_ns, uint64_t seen_ns, const char *version);
	void (*attached)(void *context, const struct library *library, const char *path);
	void (*problem)(void *context, const char *path, const char *what);
	/* The spawner's answers to others' questions come through the same descriptor: the prober's, whose
	 * socket `fd` is the callee's (-1 when result is not 0). */
	void (*prober)(void *context, uint64_t token, int result, int fd);
	/* Answers to TARGETS_UNWINDER: a started examiner of crashes, whose socket `fd` is the callee's. */
	void (*unwinder)(void *context, int result, int fd);
	void *context;
};

/* The token of whoever asks the spawner for the examiner of crashes. */
#define TARGETS_UNWINDER UINT64_MAX

struct targets;
int targets_new(const struct targets_options *options, const struct targets_events *events,
		struct targets **out);
void targets_free(struct targets *targets);

/* No question is open: all that was mapped so far has been looked at. */
bool targets_idle(const struct targets *targets);

int targets_fd(const struct targets *targets); /* poll for reading, then call targets_ready */
void targets_ready(struct targets *targets);
void targets_tick(struct targets *targets, uint64_t now_ns); /* once a second */

/* An executable mapping of a process; start_ns 0: it is not watched (yet). */
void targets_mapping(struct targets *targets, uint32_t tgid, uint64_t start_ns,
		     const struct maps_region *region);
void targets_fork(struct targets *targets, uint32_t parent, uint64_t parent_start_ns, uint32_t child,
		  uint64_t child_start_ns);
void targets_gone(struct targets *targets, uint32_t tgid, uint64_t start_ns);

/* Build-id of a mapped file, when it was examined. Returns its length, 0 when it is not known (yet). */
uint8_t targets_build_id(struct targets *targets, const struct maps_region *region, uint8_t out[20]);

/*
 * The distilled copy (user/elf/distil.h) of a mapped file, borrowed until the next call of targets_ready or
 * targets_tick; -1 when there is none (yet).
 */
int targets_copy(struct targets *targets, const struct maps_region *region);
/* The same of the symbols in its separate debug file. */
int targets_copy_debug(struct targets *targets, const struct maps_region *region);

/* Attached files, for `features` and `doctor`. */
typedef void (*targets_file_fn)(void *context, const char *path, const struct library *library,
				uint32_t users);
void targets_each(const struct targets *targets, targets_file_fn fn, void *context);

struct targets_stats {
	uint32_t attached;   /* files */
	uint64_t examined;   /* questions answered */
	uint64_t overflowed; /* mappings not looked at: too many questions were open */
	uint64_t refused;    /* files not probed: a limit was reached */
	uint64_t failed;     /* files that could not be opened or examined */
	uint64_t examiner_deaths;
	uint64_t copies, copy_bytes; /* distilled copies of mapped files, and the memory they take */
	bool spawner_lost;           /* for good: no new file can be probed */
};
void targets_stats(const struct targets *targets, struct targets_stats *out);

#endif
