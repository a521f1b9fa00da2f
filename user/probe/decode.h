/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to a record that may be trusted, and that may be kept.
 *
 * Decode is the one gate between the rings (or a recording) and everything else. It checks size against
 * type, terminates strings, bounds lengths; and it scrubs: SQL is normalised (literals to $n), libpq's
 * messages become a reason class and are erased. What comes out never holds a literal or a password, so
 * the model, recordings, logs and the store need not think about it. Decoding what was decoded changes
 * nothing: live and replay go through the same function.
 */
#ifndef LAPIDARY_DECODE_H
#define LAPIDARY_DECODE_H

#include <stddef.h>
#include <stdint.h>
#include "bpf/event.h"

/*
 * Copies one record from `bytes` into `out` (at least EV_RECORD_MAX bytes, 8-aligned) and makes it sound.
 * Returns 0 or -EBADMSG with a static string in *why that names the field. `out` is then undefined.
 */
int decode(const void *bytes, size_t size, struct ev_head *out, const char **why);

const char *event_name(uint16_t type); /* "EV_FAULT" -> "fault"; "?" for an unknown type */
const char *lane_name(uint8_t lane);

/*
 * Sequence keeper of the lanes. Feed it every decoded kernel record in arrival order. When a hole is
 * certain (64 later records of the lane have arrived, or a tick has passed), gaps_next yields it.
 * Pure: its answers depend on the records alone, so a replay finds the same gaps.
 */
struct gaps;
struct gaps *gaps_new(void);
void gaps_free(struct gaps *gaps);
void gaps_note(struct gaps *gaps, const struct ev_head *ev);
/* 1 with *out filled (an EV_GAP of lane USER without seq), 0 when there is none. */
int gaps_next(struct gaps *gaps, struct ev_gap *out);
uint64_t gaps_lost(const struct gaps *gaps, enum lane lane);

#endif
