// SPDX-License-Identifier: Apache-2.0
/*
 * Which sequence numbers of a lane are missing. Several CPUs write into a ring, so a number may come a few
 * places late; a hole counts as a loss when nobody can be that late any more. Since every arrival opens or
 * splits at most one hole and a hole stays open for HOLE_ARRIVALS of them, HOLE_ARRIVALS holes is the most
 * a lane can have.
 */
#include <stdlib.h>
#include <string.h>
#include "user/probe/decode.h"

enum { HOLE_ARRIVALS = 64, HOLE_TICKS = 2 };

struct hole {
	uint64_t first, last;
	uint64_t from_ns, to_ns;
	uint64_t arrivals, tick; /* what the counts were before it was seen */
};

struct lane_gaps {
	uint64_t next;    /* the number after the highest seen */
	uint64_t last_ns; /* when that one was written */
	uint64_t arrivals;
	uint64_t lost;
	struct ev_gap due; /* certain and not yet handed out; lost 0: none */
	size_t count;
	struct hole holes[HOLE_ARRIVALS]; /* oldest first */
};

struct gaps {
	uint64_t ticks, begin_ns, now_ns;
	struct lane_gaps lanes[LANE_USER];
};

struct gaps *gaps_new(void)
{
	struct gaps *gaps = calloc(1, sizeof(*gaps));

	for (size_t i = 0; gaps && i < LANE_USER; i++)
		gaps->lanes[i].next = 1;
	return gaps;
}

void gaps_free(struct gaps *gaps)
{
	free(gaps);
}

static void hole_remove(struct lane_gaps *lane, size_t at)
{
	lane->count--;
	memmove(lane->holes + at, lane->holes + at + 1, (lane->count - at) * sizeof(*lane->holes));
}

/* The hole is a loss: joins what is due of this lane. */
static void hole_close(struct lane_gaps *lane, size_t at)
{
	const struct hole *hole = &lane->holes[at];
	struct ev_gap *due = &lane->due;
	uint64_t lost = hole->last - hole->first + 1;

	if (due->lost == 0 || hole->from_ns < due->from_ns)
		due->from_ns = hole->from_ns;
	if (due->lost == 0 || hole->to_ns > due->to_ns)
		due->to_ns = hole->to_ns;
	due->lost += lost;
	lane->lost += lost;
	hole_remove(lane, at);
}

static void close_certain(struct lane_gaps *lane, uint64_t ticks)
{
	for (size_t i = lane->count; i-- > 0;)
		if (lane->arrivals - lane->holes[i].arrivals >= HOLE_ARRIVALS ||
		    ticks - lane->holes[i].tick >= HOLE_TICKS)
			hole_close(lane, i);
}

/* A number below the highest: it lies in a hole, or it was given up already. */
static void fill(struct lane_gaps *lane, uint64_t seq)
{
	for (size_t i = 0; i < lane->count; i++) {
		struct hole *hole = &lane->holes[i];

		if (seq < hole->first || seq > hole->last)
			continue;
		if (hole->first == hole->last) {
			hole_remove(lane, i);
		} else if (seq == hole->first) {
			hole->first++;
		} else if (seq == hole->last) {
			hole->last--;
		} else {
			memmove(hole + 1, hole, (lane->count - i) * sizeof(*hole));
			lane->count++;
			hole[0].last = seq - 1;
			hole[1].first = seq + 1;
		}
		return;
	}
}

static void note_seq(struct gaps *gaps, struct lane_gaps *lane, const struct ev_head *ev)
{
	uint64_t from_ns = lane->last_ns ? lane->last_ns : gaps->begin_ns;

	if (ev->seq < lane->next) {
		fill(lane, ev->seq);
	} else {
		if (ev->seq > lane->next)
			lane->holes[lane->count++] = (struct hole){
				.first = lane->next,
				.last = ev->seq - 1,
				.from_ns = from_ns < ev->time_ns ? from_ns : ev->time_ns,
				.to_ns = ev->time_ns,
				.arrivals = lane->arrivals,
				.tick = gaps->ticks,
			};
		lane->next = ev->seq + 1;
		lane->last_ns = ev->time_ns;
	}
	lane->arrivals++;
	close_certain(lane, gaps->ticks);
}

void gaps_note(struct gaps *gaps, const struct ev_head *ev)
{
	if (gaps->begin_ns == 0)
		gaps->begin_ns = ev->time_ns;
	if (ev->time_ns > gaps->now_ns)
		gaps->now_ns = ev->time_ns;
	if (ev->type == EV_TICK) {
		gaps->ticks++;
		for (size_t i = 0; i < LANE_USER; i++)
			close_certain(&gaps->lanes[i], gaps->ticks);
	}
	if (ev->lane < LANE_USER && ev->seq > 0 && ev->seq < UINT64_MAX)
		note_seq(gaps, &gaps->lanes[ev->lane], ev);
}

int gaps_next(struct gaps *gaps, struct ev_gap *out)
{
	for (uint32_t i = 0; i < LANE_USER; i++) {
		struct ev_gap *due = &gaps->lanes[i].due;

		if (due->lost == 0)
			continue;
		*out = *due;
		out->head = (struct ev_head){
			.size = sizeof(*out), .type = EV_GAP, .lane = LANE_USER, .time_ns = gaps->now_ns};
		out->of_lane = i;
		memset(due, 0, sizeof(*due));
		return 1;
	}
	return 0;
}

uint64_t gaps_lost(const struct gaps *gaps, enum lane lane)
{
	return lane < LANE_USER ? gaps->lanes[lane].lost : 0;
}
