/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which database each scope uses, and a process of the scope from where it can be reached (its holder). What
 * a process connects to is its own to choose, so room is given out fairly: a user and each of his cgroups
 * have a limit, and where all is taken the oldest entry of the greediest user goes, of the greediest of his
 * cgroups. Nobody who uses less than others loses anything to them. Pure.
 */
#ifndef LAPIDARY_USES_H
#define LAPIDARY_USES_H

#include <stddef.h>
#include "user/act/scope.h"

struct uses_settings {
	uint32_t all;       /* 1024 */
	uint32_t of_uid;    /* 256 */
	uint32_t of_cgroup; /* of one uid; 128 */
	uint32_t
		of_scope; /* 64, the slots of a page: one more is refused, since slots are never given anew */
};

struct uses;
struct uses *uses_new(const struct uses_settings *settings); /* NULL: no memory */
void uses_free(struct uses *uses);

/* The process is the holder from now on, and the entry its user's youngest. False: no room, or no memory. */
bool uses_note(struct uses *uses, const struct ev_scope *scope, const char *target, uint32_t tgid,
	       uint64_t start_ns);
bool uses_knows(const struct uses *uses, const struct ev_scope *scope, const char *target);
typedef void (*uses_fn)(void *context, const struct ev_scope *scope, const char *target, uint32_t tgid,
			uint64_t start_ns);
/* Those of a scope, NULL: all; oldest first. fn may not change them. */
void uses_each(const struct uses *uses, const struct ev_scope *scope, uses_fn fn, void *context);

/* The process has ended. Who held nothing, which is nearly everybody, costs one look-up. */
void uses_gone(struct uses *uses, uint32_t tgid, uint64_t start_ns);
bool uses_lack_holder(const struct uses *uses); /* some do, and somebody may be found for them */
/* Another process of the scope. True: it was needed. */
bool uses_offer(struct uses *uses, const struct ev_scope *scope, uint32_t tgid, uint64_t start_ns);
/* All processes there are have been offered: nobody can hold what is left. */
void uses_offered(struct uses *uses);
uint64_t
uses_walked(const struct uses *uses); /* entries looked at for ends of processes, since it was made */

#endif
