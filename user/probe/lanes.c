/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the rings: life cycle and captures first and again between batches of flow, so that a flood of
 * queries never delays a crash.
 *
 * Each lane has a ring_buffer of its own, because libbpf 1.1 reads all rings of one until they are empty;
 * a callback that returns less than 0 is its only way to stop. A ring record may be larger than the record
 * in it (a capture reserves one of three sizes): head.size says what is handed over.
 *
 * Captures come one after the other while the first of them is looked at, so life cycle is read before each
 * of them: whoever crashes was born before that, and its birth is told before its fault.
 */
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <bpf/libbpf.h>
#include "lapidary.skel.h"
#include "user/probe/probe_private.h"

enum { ROUND_FULL = -1, FLOW_SLICE = 64 };

static int reader_drain(struct lane_reader *reader, int limit, probe_record_fn fn, void *context);

static int record_hand(void *context, void *data, size_t size)
{
	struct lane_reader *reader = context;
	const struct ev_head *head = data;
	int before = 0, err;

	if (reader->before)
		before = reader_drain(reader->before, INT_MAX, reader->fn, reader->context);
	if (size >= sizeof(*head) && head->size >= sizeof(*head) && head->size < size)
		size = head->size;
	reader->handed += 1 + (before > 0 ? before : 0);
	err = reader->fn(reader->context, data, size);
	if (err >= 0 && before < 0)
		err = before;
	if (err < 0) {
		reader->stopped = err;
		return ROUND_FULL;
	}
	return --reader->left > 0 ? 0 : ROUND_FULL;
}

/* Hands over at most `limit` records of a lane. Returns how many, or the negative value of a callback. */
static int reader_drain(struct lane_reader *reader, int limit, probe_record_fn fn, void *context)
{
	reader->fn = fn;
	reader->context = context;
	reader->left = limit;
	reader->handed = 0;
	reader->stopped = 0;
	ring_buffer__consume(reader->ring);
	return reader->stopped ? reader->stopped : reader->handed;
}

static int lane_drain(struct probe *probe, enum lane lane, int limit, probe_record_fn fn, void *context)
{
	return reader_drain(&probe->readers[lane], limit, fn, context);
}

/* LIFE and CAPTURE until both are empty. */
static int urgent_drain(struct probe *probe, probe_record_fn fn, void *context)
{
	int total = 0, got, lane, round;

	do {
		round = 0;
		for (lane = LANE_LIFE; lane <= LANE_CAPTURE; lane++) {
			got = lane_drain(probe, lane, INT_MAX, fn, context);
			if (got < 0)
				return got;
			round += got;
		}
		total += round;
	} while (round);
	return total;
}

int probe_drain(struct probe *probe, int flow_batch, probe_record_fn fn, void *context, bool *more)
{
	int total = 0, got, slice;

	*more = false;
	for (;;) {
		got = urgent_drain(probe, fn, context);
		if (got < 0)
			return got;
		total += got;
		slice = flow_batch < FLOW_SLICE ? flow_batch : FLOW_SLICE;
		if (slice <= 0) {
			*more = true;
			return total;
		}
		got = lane_drain(probe, LANE_FLOW, slice, fn, context);
		if (got < 0)
			return got;
		total += got;
		flow_batch -= got;
		if (got < slice)
			return total;
	}
}

int probe_fd(const struct probe *probe)
{
	return probe->epoll;
}

static int lane_open(struct probe *probe, enum lane lane, struct bpf_map *map)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = lane};
	int fd = bpf_map__fd(map);

	probe->readers[lane].ring = ring_buffer__new(fd, record_hand, &probe->readers[lane], NULL);
	if (!probe->readers[lane].ring)
		return -errno;
	return epoll_ctl(probe->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int lanes_open(struct probe *probe)
{
	struct lapidary_bpf *bpf = probe->skeleton;
	struct bpf_map *maps[PROBE_LANES] = {bpf->maps.life, bpf->maps.capture, bpf->maps.flow};
	int err = 0, lane;

	probe->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (probe->epoll < 0)
		return -errno;
	for (lane = 0; lane < PROBE_LANES && !err; lane++)
		err = lane_open(probe, lane, maps[lane]);
	probe->readers[LANE_CAPTURE].before = &probe->readers[LANE_LIFE];
	return err;
}

void lanes_close(struct probe *probe)
{
	int lane;

	for (lane = 0; lane < PROBE_LANES; lane++)
		ring_buffer__free(probe->readers[lane].ring);
	if (probe->epoll >= 0)
		close(probe->epoll);
}
