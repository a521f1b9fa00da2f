/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examiner of crashes: a process confined like the examiner of files, that makes frames out of captured
 * registers and stack (user/elf/unwind.h). It is handed a question and the distilled copies of the files that
 * were mapped, keeps nothing, and may crash or hang without harm.
 *
 * One question at a time. When the process dies, overruns its time or answers what cannot be, the answer is
 * an error and the unwinder is of no more use: free it and ask the spawner for the next.
 */
#ifndef LAPIDARY_UNWINDER_H
#define LAPIDARY_UNWINDER_H

#include <stdbool.h>
#include "user/elf/unwind.h"

enum { UNWINDER_WAIT_MS = 2000 };

/* Runs in the child on a SOCK_SEQPACKET socket until it closes; confines itself first. Does not return. */
void unwinder_main(int socket_fd, uint32_t uid) __attribute__((noreturn));

struct unwinder;
/* `socket_fd` becomes the unwinder's. NULL: no memory, and it stays the caller's. */
struct unwinder *unwinder_new(int socket_fd);
void unwinder_free(struct unwinder *unwinder);
int unwinder_fd(const struct unwinder *unwinder);
bool unwinder_busy(const struct unwinder *unwinder);

/*
 * Sends the question; everything in it is copied, its descriptors stay the caller's. Of more than 249 files
 * the later ones are left out. 0, -EBUSY, -EPIPE when the process is gone, or another -errno.
 */
int unwinder_ask(struct unwinder *unwinder, const struct unwind_question *question, uint64_t now_ns);

/*
 * 1 with *out filled (the caller's, sound), 0 when none is there yet, or why there will be none: -EIO it
 * died, -ETIMEDOUT, -EPROTO, -ENOMEM it had no memory for it. Call it when unwinder_fd is readable and on
 * each tick.
 */
int unwinder_read(struct unwinder *unwinder, uint64_t now_ns, struct unwind_result *out);

#endif
