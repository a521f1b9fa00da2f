/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recordings: a file of decoded records that replays to the same decisions.
 *
 * Layout: a 32-byte header (magic "LAPIDREC", format, header size, reserved, CRC-32 of the header), then
 * blocks of {u32 length, u32 CRC-32 of the payload} + payload, each payload one record of bpf/event.h.
 * The first record is EV_BEGIN. Stacks are left out (FAULT_STRIPPED). A file that ends inside a block is
 * read up to there and says so.
 */
#ifndef LAPIDARY_RECORD_H
#define LAPIDARY_RECORD_H

#include <stdint.h>
#include "bpf/event.h"

struct recorder;
/* Creates `path` anew (0600, O_EXCL | O_NOFOLLOW); refuses one that is there. limit_bytes 0: no limit. */
int recorder_open(const char *path, uint64_t limit_bytes, struct recorder **out);
/* Buffered; never blocks on more than the page cache. After a write error or the limit all calls fail. */
int recorder_write(struct recorder *recorder, const struct ev_head *ev);
int recorder_flush(struct recorder *recorder);
int recorder_close(struct recorder *recorder); /* flushes; NULL-safe; the first error of its life */

struct recording;
/* -EBADMSG: not a recording, or a damaged header; -EPROTO: whole, but of another format. `why` is a static
 * string. */
int recording_open(const char *path, struct recording **out, const char **why);
/*
 * Next record, decoded, into out (EV_RECORD_MAX bytes). 1; 0 at the end; -EBADMSG with *why and the byte
 * offset in *where when a block is damaged.
 */
int recording_next(struct recording *recording, struct ev_head *out, const char **why, uint64_t *where);
void recording_close(struct recording *recording);

#endif
