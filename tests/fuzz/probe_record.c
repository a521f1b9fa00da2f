// SPDX-License-Identifier: Apache-2.0
/*
 * Any file, and any payloads in well-formed blocks (sums keep a fuzzer out otherwise). An even first byte
 * asks for the former.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include "user/base/file.h"
#include "user/probe/record.h"

static void put(int fd, const void *data, size_t size)
{
	if (file_write_all(fd, data, size) != 0)
		abort();
}

static void put_block(int fd, const uint8_t *data, uint32_t size)
{
	uint32_t head[2] = {size, (uint32_t)crc32(0, data, size)};

	put(fd, head, sizeof(head));
	put(fd, data, size);
}

static void put_framed(int fd, const uint8_t *data, size_t size)
{
	struct ev_begin begin = {.head = {.size = sizeof(begin), .type = EV_BEGIN, .lane = LANE_USER},
				 .format = EV_FORMAT};
	uint32_t head[8] = {0, 0, EV_FORMAT, sizeof(head)};

	memcpy(head, "LAPIDREC", 8);
	head[7] = (uint32_t)crc32(0, (const unsigned char *)head, 28);
	put(fd, head, sizeof(head));
	put_block(fd, (const unsigned char *)&begin, sizeof(begin));
	while (size > 4) {
		uint32_t piece;

		memcpy(&piece, data, sizeof(piece)); /* head.size of the record */
		piece = piece <= size ? piece : (uint32_t)size;
		put_block(fd, data, piece);
		if (piece == 0)
			break;
		data += piece;
		size -= piece;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) unsigned char out[EV_RECORD_MAX];
	struct recording *recording;
	uint64_t where, before = 0;
	const char *why = NULL;
	char path[64];
	int fd;

	if (size == 0)
		return 0;
	fd = memfd_create("recording", MFD_CLOEXEC);
	if (data[0] % 2)
		put_framed(fd, data + 1, size - 1);
	else
		put(fd, data + 1, size - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (recording_open(path, &recording, &why) == 0) {
		while (recording_next(recording, (struct ev_head *)out, &why, &where) == 1) {
			if (where <= before)
				abort();
			before = where;
		}
		recording_close(recording);
	}
	close(fd);
	return 0;
}
