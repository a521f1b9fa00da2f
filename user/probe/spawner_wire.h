/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between agent, nursery and spawner. Two socket pairs: on `work` the agent asks and the spawner answers
 * (struct spawner_request, struct spawner_answer); the nursery holds the spawner's end of it too, so a new
 * spawner goes on where the old one stopped and the agent's descriptor never changes. On `control` the agent
 * says one thing: replace the spawner.
 */
#ifndef LAPIDARY_SPAWNER_WIRE_H
#define LAPIDARY_SPAWNER_WIRE_H

#include <stdint.h>
#include <sys/types.h>
#include "user/probe/spawner.h"

enum {
	SPAWNER_REPLACED = 0, /* verb of an answer that the nursery gives: the spawner was replaced */
	SPAWNER_REPLACE = 'R',
};

/* Run in the children; do not return. The nursery ends in order at SIGALRM, its death signal. */
void nursery_main(int work_fd, int control_fd) __attribute__((noreturn));
void spawner_main(int work_fd) __attribute__((noreturn));

/*
 * Gets `death_signal` when `parent` dies, which it checks: it may have gone before. Ignores what a terminal
 * sends.
 */
void spawner_child_start(const char *name, int parent, int death_signal);
/* Closes every descriptor from 3 on but these two (-1: only one). */
void spawner_close_others(int keep, int also_keep);

/* The verbs that give files. Return a descriptor or -errno. */
int spawner_open_mapped(const struct spawner_request *request);
int spawner_open_debug(const struct spawner_request *request);
int spawner_open_uprobe(int file_fd, uint64_t offset);
/* Below the root of a process, where no symlink leads out; regular files alone. */
int spawner_open_below(uint32_t tgid, const char *path);
/* 0 when the process of that number started then, else -ESRCH. 0 ns: not known, not checked. */
int spawner_check_start(uint32_t tgid, uint64_t start_ns);

enum { SPAWNER_PROBERS = 16 };

struct spawner_probers {
	pid_t pids[SPAWNER_PROBERS]; /* 0: a free place */
	int fds[SPAWNER_PROBERS];    /* pidfds, -1 in a free place */
};

void spawner_probers_init(struct spawner_probers *probers);
/* Returns the agent's end of its socket, or -errno: -EAGAIN when there is no place. */
int spawner_probers_start(struct spawner_probers *probers, int question_fd);
/* Those that have ended. */
void spawner_probers_reap(struct spawner_probers *probers);
/* All of them, now. */
void spawner_probers_end(struct spawner_probers *probers);

#endif
