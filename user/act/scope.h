/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scope: what nothing that a process claims can join. Its parts are kernel facts (uid, network namespace,
 * cgroup) and the app's name, which a process may choose, but only inside its own facts.
 *
 * Time in user/act is CLOCK_MONOTONIC in nanoseconds, the clock of the leases, and always an argument.
 */
#ifndef LAPIDARY_SCOPE_H
#define LAPIDARY_SCOPE_H

#include <stdbool.h>
#include <stdint.h>
#include "bpf/event.h"

#define SCOPE_TARGET_SIZE 192 /* bytes of "postgres://host:port/dbname" and its NUL */

/* Zeroes the padding and the rest of the name, so that a scope can be a table's key. */
void scope_set(struct ev_scope *scope, uint32_t uid, uint32_t netns, uint64_t cgroup_id, const char *app);
/*
 * False: its process has been seen and /proc not been read, so that neither its cgroup nor its network
 * namespace is known. Nothing is done to such a scope or on its behalf.
 */
bool scope_known(const struct ev_scope *scope);
bool scope_equal(const struct ev_scope *a, const struct ev_scope *b);

#endif
