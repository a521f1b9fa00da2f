// SPDX-License-Identifier: Apache-2.0
/*
 * Both ends of a recording. The reader trusts nothing: a block is checked against its sum, and its payload
 * goes through decode like any record from a ring. The writer keeps 64 KiB together, and never writes half
 * a block knowingly: at the limit it stops before the block that would pass it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "user/base/file.h"
#include "user/probe/decode.h"
#include "user/probe/record.h"

static const char MAGIC[8] = {'L', 'A', 'P', 'I', 'D', 'R', 'E', 'C'};

struct file_head {
	char magic[8];
	uint32_t format;
	uint32_t size;
	uint32_t reserved[3];
	uint32_t sum; /* CRC-32 of all before it */
};

struct block_head {
	uint32_t length;
	uint32_t sum;
};

_Static_assert(sizeof(struct file_head) == 32, "file_head");
_Static_assert(sizeof(struct block_head) == 8, "block_head");

enum { BUFFER_SIZE = 64 * 1024 };

struct recorder {
	int fd;
	int err; /* the first error; nothing works after it */
	bool begun;
	uint64_t limit, written;
	size_t used;
	unsigned char buffer[BUFFER_SIZE];
};

static uint32_t sum_of(const void *bytes, size_t size)
{
	return (uint32_t)crc32(crc32(0, NULL, 0), bytes, (uInt)size);
}

static struct file_head file_head(void)
{
	struct file_head head = {.format = EV_FORMAT, .size = sizeof(head)};

	memcpy(head.magic, MAGIC, sizeof(head.magic));
	head.sum = sum_of(&head, offsetof(struct file_head, sum));
	return head;
}

static int put(struct recorder *recorder, const void *bytes, size_t size)
{
	if (size > BUFFER_SIZE - recorder->used && recorder_flush(recorder) < 0)
		return recorder->err;
	memcpy(recorder->buffer + recorder->used, bytes, size);
	recorder->used += size;
	return 0;
}

int recorder_open(const char *path, uint64_t limit_bytes, struct recorder **out)
{
	struct recorder *recorder = calloc(1, sizeof(*recorder));
	struct file_head head = file_head();

	if (!recorder)
		return -ENOMEM;
	recorder->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (recorder->fd < 0) {
		int err = -errno;

		free(recorder);
		return err;
	}
	recorder->limit = limit_bytes ? limit_bytes : UINT64_MAX;
	recorder->written = sizeof(head);
	put(recorder, &head, sizeof(head));
	*out = recorder;
	return 0;
}

/* A fault without its stack, which holds what the program had there. */
static struct ev_fault without_stack(const struct ev_fault *from)
{
	struct ev_fault fault;

	memcpy(&fault, from, sizeof(fault));
	fault.head.size = sizeof(fault);
	if (fault.stack_len > 0)
		fault.flags |= FAULT_STRIPPED;
	fault.stack_len = 0;
	memset(fault.missing, 0, sizeof(fault.missing));
	memset(fault.windows, 0, sizeof(fault.windows));
	return fault;
}

/* What it wrote, without the text: a task that crashes may write anything, to anybody. */
static struct ev_written without_bytes(const struct ev_written *from)
{
	struct ev_written written;

	memcpy(&written, from, sizeof(written));
	written.head.size = sizeof(written);
	written.size = 0;
	return written;
}

int recorder_write(struct recorder *recorder, const struct ev_head *ev)
{
	struct block_head block;
	struct ev_written written;
	struct ev_fault fault;

	if (recorder->err)
		return recorder->err;
	if (ev->type == EV_FAULT) {
		fault = without_stack((const struct ev_fault *)ev);
		ev = &fault.head;
	} else if (ev->type == EV_WRITTEN) {
		written = without_bytes((const struct ev_written *)ev);
		ev = &written.head;
	}
	if (ev->size < sizeof(*ev) || ev->size > BUFFER_SIZE || recorder->begun != (ev->type != EV_BEGIN))
		return -EINVAL;
	if (ev->size + sizeof(block) > recorder->limit - recorder->written)
		return recorder->err = -EFBIG;
	block = (struct block_head){ev->size, sum_of(ev, ev->size)};
	recorder->begun = true;
	recorder->written += sizeof(block) + ev->size;
	put(recorder, &block, sizeof(block));
	put(recorder, ev, ev->size);
	return recorder->err;
}

int recorder_flush(struct recorder *recorder)
{
	if (!recorder->err)
		recorder->err = file_write_all(recorder->fd, recorder->buffer, recorder->used);
	recorder->used = 0;
	return recorder->err;
}

int recorder_close(struct recorder *recorder)
{
	int err;

	if (!recorder)
		return 0;
	/* the limit is an error to its caller, yet what fitted under it is to be kept */
	err = recorder->err;
	recorder->err = err == -EFBIG ? 0 : err;
	if (recorder_flush(recorder) < 0 && !err)
		err = recorder->err;
	if (close(recorder->fd) < 0 && !err)
		err = -errno;
	free(recorder);
	return err;
}

struct recording {
	int fd;
	bool begun;
	uint64_t at;     /* offset of the block that comes next */
	size_t from, to; /* what is left in the buffer */
	unsigned char buffer[BUFFER_SIZE];
	_Alignas(8) unsigned char payload[EV_RECORD_MAX];
};

/* Returns how much of `size` there was, or -errno. */
static ssize_t get(struct recording *recording, void *out, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t piece = recording->to - recording->from;
		ssize_t got;

		if (piece > 0) {
			piece = piece < size - done ? piece : size - done;
			memcpy((char *)out + done, recording->buffer + recording->from, piece);
			recording->from += piece;
			done += piece;
			continue;
		}
		got = read(recording->fd, recording->buffer, sizeof(recording->buffer));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		recording->from = 0;
		recording->to = (size_t)got;
	}
	return (ssize_t)done;
}

static int refuse(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

static int check_head(struct recording *recording, const char **why)
{
	struct file_head head;
	ssize_t got = get(recording, &head, sizeof(head));

	if (got < 0)
		return (int)got;
	if (got < (ssize_t)sizeof(head) || memcmp(head.magic, MAGIC, sizeof(MAGIC)) != 0)
		return refuse(why, "not a recording");
	if (head.sum != sum_of(&head, offsetof(struct file_head, sum)))
		return refuse(why, "damaged header");
	if (head.format != EV_FORMAT || head.size != sizeof(head)) {
		*why = head.format < EV_FORMAT
			       ? "recorded by an older version of lapidary; replay it with that version"
			       : "recorded by a newer version of lapidary; replay it with that version";
		return -EPROTO;
	}
	recording->at = sizeof(head);
	return 0;
}

int recording_open(const char *path, struct recording **out, const char **why)
{
	struct recording *recording = calloc(1, sizeof(*recording));
	int err;

	*why = "cannot be read";
	if (!recording)
		return -ENOMEM;
	recording->fd = open(path, O_RDONLY | O_CLOEXEC);
	err = recording->fd < 0 ? -errno : check_head(recording, why);
	if (err) {
		recording_close(recording);
		return err;
	}
	*out = recording;
	return 0;
}

int recording_next(struct recording *recording, struct ev_head *out, const char **why, uint64_t *where)
{
	struct block_head block = {0};
	ssize_t got;
	int err;

	*where = recording->at;
	got = get(recording, &block, sizeof(block));
	if (got <= 0)
		return (int)got;
	if (got < (ssize_t)sizeof(block))
		return refuse(why, "ends inside a block");
	if (block.length < sizeof(*out) || block.length > EV_RECORD_MAX)
		return refuse(why, "block length");
	got = get(recording, recording->payload, block.length);
	if (got < 0)
		return (int)got;
	if (got < (ssize_t)block.length)
		return refuse(why, "ends inside a block");
	if (block.sum != sum_of(recording->payload, block.length))
		return refuse(why, "block sum");
	err = decode(recording->payload, block.length, out, why);
	if (err)
		return err;
	if (!recording->begun && out->type != EV_BEGIN)
		return refuse(why, "the first record is not EV_BEGIN");
	recording->begun = true;
	recording->at += sizeof(block) + block.length;
	return 1;
}

void recording_close(struct recording *recording)
{
	if (!recording)
		return;
	if (recording->fd >= 0)
		close(recording->fd);
	free(recording);
}
