/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each of our processes gives up for good. There is one function a process, and what it keeps is in a
 * table with the reason beside it, which the agent prints and tests run under.
 */
#ifndef LAPIDARY_CONFINE_H
#define LAPIDARY_CONFINE_H

#include <stddef.h>
#include <stdint.h>

struct confine_capability {
	unsigned int number; /* CAP_… */
	const char *name;
	const char *why;
};

/* The tables, static; *count says how many rows. The agent's has CAP_SYS_NICE where urgency.h needs it. */
const struct confine_capability *confine_agent_capabilities(size_t *count);
const struct confine_capability *confine_spawner_capabilities(size_t *count);

/*
 * The agent after its start: its capabilities alone, nothing to inherit, no new privileges. The calling
 * thread alone is changed, so call it before the first thread. Returns 0, or -errno when one of the table
 * (CAP_SYS_NICE excepted) is not there to be kept (-EPERM, its name in *missing when that is not NULL) or
 * could not be dropped.
 */
int confine_agent(const char **missing);

/* The same for nursery and spawner; a capability that is not there costs the verbs that need it. */
int confine_spawner(void);

/*
 * The examiner, for the rest of its life: `uid` and nothing else, no capability, no network, no file to open,
 * no process to start, memory and file limits, and a list of system calls outside of which it is killed. It
 * dies with its parent. Returns 0 or -errno; on an error the caller must exit.
 */
int confine_examiner(uint32_t uid);
/* The examiner of crashes: the same, but it writes nothing and holds more files at once. */
int confine_unwinder(uint32_t uid);
/* The one of a command: the same with files in batches. Who is not root keeps the uid that it has. */
int confine_inspector(uint32_t uid);

/*
 * The prober, once it stands in the namespaces and the root it is to look from: `uid` and nothing else, no
 * capability, no file to write, no program, no other process, no new code. Calls outside of its list fail
 * with EPERM rather than kill: libpq, OpenSSL and the resolver try many things that they can do without.
 */
int confine_prober(uint32_t uid);

/* Before each question: the CPU seconds that it may take until SIGXCPU ends the process. */
int confine_renew_cpu(unsigned int seconds);

#endif
