// SPDX-License-Identifier: Apache-2.0
/*
 * A header of 512 bytes, the file padded to 512, two empty blocks at the end. The reader takes regular files
 * and refuses everything else (links, folders, extended headers): none of our archives has them, and each is
 * a way to say something that a reader did not mean to hear.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "user/base/tar.h"
#include "user/base/text.h"

enum { BLOCK = 512, GZIP_WINDOW = 15 + 16 };

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], time[12], sum[8], type, link[100], magic[6],
		version[2];
	char user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "ustar header");

struct tar {
	uint8_t *bytes;
	size_t size, room;
	int err;
};

struct tar *tar_new(void)
{
	return calloc(1, sizeof(struct tar));
}

void tar_free(struct tar *tar)
{
	if (!tar)
		return;
	free(tar->bytes);
	free(tar);
}

/* Room for `size` more, zeroed; NULL on failure. */
static uint8_t *grow(struct tar *tar, size_t size)
{
	size_t room = tar->room ? tar->room : 1 << 16;
	uint8_t *at;

	if (tar->err)
		return NULL;
	while (room - tar->size < size)
		room *= 2;
	if (room != tar->room) {
		uint8_t *bytes = realloc(tar->bytes, room);

		if (!bytes) {
			tar->err = -ENOMEM;
			return NULL;
		}
		tar->bytes = bytes;
		tar->room = room;
	}
	at = tar->bytes + tar->size;
	memset(at, 0, size);
	tar->size += size;
	return at;
}

/* Every byte of the header, its own field counted as blanks. */
static unsigned sum_of(const struct header *header)
{
	const uint8_t *at = (const uint8_t *)header;
	unsigned sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= offsetof(struct header, sum) && i < offsetof(struct header, type) ? ' ' : at[i];
	return sum;
}

void tar_add(struct tar *tar, const char *name, const void *bytes, size_t size, uint64_t modified_s)
{
	struct header header;
	uint8_t *at;

	if (strlen(name) >= sizeof(header.name) || size >= UINT64_C(1) << 33) {
		tar->err = tar->err ? tar->err : -EINVAL;
		return;
	}
	memset(&header, 0, sizeof(header));
	text_copy(header.name, sizeof(header.name), name);
	memcpy(header.mode, "0000600", 8);
	memcpy(header.uid, "0000000", 8);
	memcpy(header.gid, "0000000", 8);
	snprintf(header.size, sizeof(header.size), "%011llo", (unsigned long long)size);
	snprintf(header.time, sizeof(header.time), "%011llo",
		 (unsigned long long)(modified_s & ((UINT64_C(1) << 33) - 1)));
	header.type = '0';
	memcpy(header.magic, "ustar", 6);
	memcpy(header.version, "00", 2);
	snprintf(header.sum, sizeof(header.sum), "%06o", sum_of(&header) & 0777777);
	header.sum[7] = ' ';
	at = grow(tar, BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK);
	if (!at)
		return;
	memcpy(at, &header, BLOCK);
	memcpy(at + BLOCK, bytes, size);
}

int tar_finish(struct tar *tar, uint8_t **out, size_t *size)
{
	z_stream stream = {0};
	uint8_t *packed;
	uLong room;
	int code;

	grow(tar, 2 * (size_t)BLOCK);
	if (tar->err)
		return tar->err;
	if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	room = deflateBound(&stream, tar->size);
	packed = malloc(room);
	stream.next_in = tar->bytes;
	stream.avail_in = (uInt)tar->size;
	stream.next_out = packed;
	stream.avail_out = (uInt)room;
	code = packed ? deflate(&stream, Z_FINISH) : Z_MEM_ERROR;
	*size = room - stream.avail_out;
	deflateEnd(&stream);
	if (code != Z_STREAM_END) {
		free(packed);
		return -ENOMEM;
	}
	*out = packed;
	return 0;
}

/* --- reading ---------------------------------------------------------------------------------------- */

static int bad(char *why, size_t why_size, size_t at, const char *what)
{
	snprintf(why, why_size, "byte %zu: %s", at, what);
	return -EBADMSG;
}

bool tar_is(const uint8_t *bytes, size_t size)
{
	return (size > 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) ||
	       (size >= BLOCK && !memcmp(bytes + offsetof(struct header, magic), "ustar", 5));
}

/* One member of at most `limit` bytes; what follows the gzip stream is refused. */
static int unpack(const uint8_t *bytes, size_t size, size_t limit, uint8_t **out, size_t *out_size, char *why,
		  size_t why_size)
{
	z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)size};
	size_t room = 1 << 16, used = 0;
	uint8_t *unpacked = malloc(room), *grown;
	int code = Z_OK, err = 0;

	if (!unpacked || inflateInit2(&stream, GZIP_WINDOW) != Z_OK) {
		free(unpacked);
		return -ENOMEM;
	}
	while (code == Z_OK && !err) {
		stream.next_out = unpacked + used;
		stream.avail_out = (uInt)(room - used);
		code = inflate(&stream, Z_NO_FLUSH);
		used = room - stream.avail_out;
		if (used > limit) {
			snprintf(why, why_size, "more than %zu bytes unpacked", limit);
			err = -EFBIG;
		} else if (code == Z_OK && !stream.avail_out) {
			grown = realloc(unpacked, room *= 2);
			err = grown ? 0 : -ENOMEM;
			unpacked = grown ? grown : unpacked;
		}
	}
	if (!err && (code != Z_STREAM_END || stream.avail_in))
		err = bad(why, why_size, size - stream.avail_in,
			  code == Z_STREAM_END ? "something follows the gzip stream"
			  : stream.avail_in    ? "not a sound gzip stream"
					       : "the gzip stream ends too early");
	inflateEnd(&stream);
	if (err) {
		free(unpacked);
		return err;
	}
	*out = unpacked;
	*out_size = used;
	return 0;
}

/* Octal digits, ended by a NUL or a blank. */
static bool octal(const char *field, size_t size, uint64_t *out)
{
	uint64_t value = 0;
	size_t i = 0;

	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
		value = value << 3 | (uint64_t)(field[i] - '0');
	*out = value;
	return i > 0 && (i == size || field[i] == '\0' || field[i] == ' ');
}

static bool empty(const uint8_t *block)
{
	for (size_t i = 0; i < BLOCK; i++)
		if (block[i])
			return false;
	return true;
}

static const char *header_problem(const struct header *header, size_t rest, uint64_t *size)
{
	uint64_t sum;

	if (memcmp(header->magic, "ustar", 5) != 0)
		return "no ustar header";
	if (!octal(header->sum, sizeof(header->sum), &sum) || sum != sum_of(header))
		return "the header's checksum is wrong";
	if (header->type != '0' && header->type != '\0')
		return "not a regular file";
	if (!memchr(header->name, '\0', sizeof(header->name)) || !header->name[0] || header->prefix[0])
		return "a name that is too long, or none";
	if (strchr(header->name, '/'))
		return "a name with a slash";
	if (!octal(header->size, sizeof(header->size), size))
		return "the size is no number";
	return *size > rest ? "the file is longer than the archive" : NULL;
}

static int read_files(const uint8_t *bytes, size_t size, tar_file_fn fn, void *context, char *why,
		      size_t why_size)
{
	struct header header;
	uint64_t length = 0;
	int err = 0;

	for (size_t at = 0; !err; at += BLOCK + (length + BLOCK - 1) / BLOCK * BLOCK) {
		const char *problem;

		if (at > size || size - at < BLOCK)
			return bad(why, why_size, size, "the archive ends without its end mark");
		if (empty(bytes + at))
			return 0;
		memcpy(&header, bytes + at, BLOCK);
		problem = header_problem(&header, size - at - BLOCK, &length);
		if (problem)
			return bad(why, why_size, at, problem);
		err = fn(context, header.name, bytes + at + BLOCK, length, why, why_size);
	}
	return err;
}

int tar_read(const uint8_t *bytes, size_t size, size_t limit, tar_file_fn fn, void *context, char *why,
	     size_t why_size)
{
	uint8_t *unpacked = NULL;
	size_t unpacked_size = 0;
	int err;

	if (!tar_is(bytes, size))
		return bad(why, why_size, 0, "neither a gzip nor a tar archive");
	if (bytes[0] != 0x1f || bytes[1] != 0x8b)
		return size > limit ? -EFBIG : read_files(bytes, size, fn, context, why, why_size);
	err = unpack(bytes, size, limit, &unpacked, &unpacked_size, why, why_size);
	if (!err)
		err = read_files(unpacked, unpacked_size, fn, context, why, why_size);
	free(unpacked);
	return err;
}
