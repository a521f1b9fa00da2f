/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that may hang, on threads beside the caller's: reading what another process can hold up. A thread in
 * such a read can be neither ended nor called back, so the places are what is managed:
 *
 *   - an owner (whoever can make the work hang) has few places at once, and the group it belongs to a few
 * more; what it has beyond them waits without taking a thread;
 *   - work that takes longer than the patience is written off: its thread no longer counts, and another one
 * takes its place. Only so many of an owner, of a group and of all are written off; who has used that up
 *     keeps his places occupied, and nobody else's.
 *
 * All calls but the callbacks are for one thread.
 */
#ifndef LAPIDARY_ERRANDS_H
#define LAPIDARY_ERRANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* First in the caller's own struct; zeroed by the caller. */
struct errand {
	struct errand *next;
	uint64_t owner;
	uint32_t group;
	bool known;   /* owner and group are */
	bool refused; /* not run: too many of its owner wait, or the errands were stopped */
};

struct errands_settings {
	uint32_t threads;
	uint32_t of_owner, of_group;              /* at work at once */
	uint32_t waiting_of_owner;                /* beyond them */
	uint32_t off, off_of_owner, off_of_group; /* written off */
	uint64_t patience_ns;
};

struct errands_events {
	void *context;
	/* Fills owner and group; must not hang. On a thread of its own, as run. */
	void (*whose)(struct errand *errand);
	void (*run)(struct errand *errand);
	void (*wake)(void *context); /* errands_done has something; on any thread */
};

struct errands;
struct errands *errands_new(const struct errands_settings *settings, const struct errands_events *events);
/* The errand is lent until errands_done gives it back. -EAGAIN: no thread can be had. */
int errands_add(struct errands *errands, struct errand *errand);
struct errand *errands_done(struct errands *errands); /* NULL: none at present */
/* Wanted now and then: writes off what hangs. now_ns is of CLOCK_MONOTONIC. */
void errands_tick(struct errands *errands, uint64_t now_ns);
uint32_t errands_written_off(struct errands *errands);
/* What waits is given back as refused; threads at work come to their end by themselves. NULL-safe, as free.
 */
void errands_stop(struct errands *errands);
/* After errands_stop. True: all have come back, and it is freed; false: some hang, and their memory stays. */
bool errands_free(struct errands *errands);

#endif
