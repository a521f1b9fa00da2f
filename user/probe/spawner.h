/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner: a small child, forked before the agent drops its capabilities, that keeps what the rest
 * must not have. Verbs: open a mapped file of a process, or the separate debug file of one, open a perf
 * uprobe where uprobe_multi is missing, start an examiner, start a prober (prober.h; a few at once). It may
 * hang on a dead file system: the agent waits for no answer, and kills and replaces a spawner that owes one
 * for too long.
 *
 * Because the replacement must also be forked with those capabilities, a still smaller parent of it, the
 * nursery, does nothing but fork spawners and reap them. All of them die when the agent does, however it
 * dies, and ignore what a terminal or a service manager sends to the group.
 */
#ifndef LAPIDARY_SPAWNER_H
#define LAPIDARY_SPAWNER_H

#include <stdint.h>
#include <sys/types.h>

struct spawner;

enum spawner_verb {
	SPAWNER_OPEN_MAPPED = 1,
	SPAWNER_PERF_UPROBE,
	SPAWNER_EXAMINER,
	SPAWNER_PROBER,
	SPAWNER_OPEN_DEBUG
};

/* Of files as they are mapped, and of crashes: apart, so that a slow file delays no report. */
enum examiner_kind { EXAMINER_OF_FILES, EXAMINER_OF_CRASHES, EXAMINER_KINDS };

struct spawner_request {
	uint32_t verb;
	uint32_t tgid;       /* OPEN_MAPPED: whose mapping; OPEN_DEBUG: whose root */
	uint64_t start_ns;   /* identity, checked after opening; 0: not known yet, not checked */
	uint64_t start, end; /* OPEN_MAPPED: the mapping's range, as in map_files */
	uint64_t token;
	uint64_t offset; /* PERF_UPROBE */
	uint32_t uid;    /* EXAMINER: its uid */
	uint32_t kind;   /* EXAMINER: enum examiner_kind */
	char path[256]; /* OPEN_MAPPED: fallback below /proc/PID/root when map_files is refused; OPEN_DEBUG */
	/* OPEN_DEBUG: the build-id of the file whose symbols are sought; without one, path is that file and
	 * link what its .gnu_debuglink says. */
	uint8_t build_id_len;
	uint8_t build_id[20];
	char link[67];
};

struct spawner_answer {
	uint64_t token;
	uint32_t verb;
	int32_t result; /* 0 or -errno */
	int fd; /* -1, or the caller's to close: file, perf event, the examiner's or prober's socket */
	uint64_t device, inode, size;
	uint64_t changed_ns; /* st_ctim */
	uint32_t uid;        /* the file's owner */
	uint32_t reserved;
};

/* Forks nursery and spawner. Call it before any thread is started and any capability dropped. */
int spawner_start(struct spawner **out);
void spawner_stop(struct spawner *spawner);
int spawner_fd(const struct spawner *spawner);
/*
 * file_fd goes along with PERF_UPROBE and PROBER (-1 otherwise) and stays the caller's. -EAGAIN: queue full;
 * -EPIPE: the nursery is gone. EXAMINER ends the examiner of its kind that was there before: there is one of
 * each at a time.
 */
int spawner_ask(struct spawner *spawner, const struct spawner_request *request, int file_fd);
/*
 * 1 with *out filled, 0 when none is there. A question whose spawner died is answered with the result -EPIPE,
 * or -ETIMEDOUT when the watchdog gave it up; the spawner is replaced by then, and spawner_fd stays the
 * same. -EPIPE as the return value: the nursery is gone, nothing more can be opened until the agent restarts.
 */
int spawner_read(struct spawner *spawner, struct spawner_answer *out);
/*
 * Call once a second with a clock that only goes forward: replaces a spawner whose oldest open question it
 * has seen open for limit_ms.
 */
void spawner_watchdog(struct spawner *spawner, uint64_t now_ms, uint64_t limit_ms);

#endif
