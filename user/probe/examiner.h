/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examiner: the process that parses what a watched process controls. A uid of its own, no
 * capabilities, no network, seccomp without socket() or open(), CPU, memory and file limits; it reads
 * from descriptors that it is handed and may crash or hang without harm.
 *
 * The agent side is asynchronous: a question goes out, the answer arrives when examiner_fd is readable.
 * The spawner starts the process. When it dies or overruns its time (5 s of CPU, 20 s in all), the question
 * that was in work is answered with -EIO or -ETIMEDOUT (-EPROTO when its answer could not be believed), the
 * ones behind it with -EAGAIN: ask them of the next examiner. Then examiner_read says -EPIPE.
 */
#ifndef LAPIDARY_EXAMINER_H
#define LAPIDARY_EXAMINER_H

#include <stdbool.h>
#include <stdint.h>
#include "user/elf/library.h"

/* Runs in the child on a SOCK_SEQPACKET socket until it closes; confines itself first. Does not return. */
void examiner_main(int socket_fd, uint32_t uid) __attribute__((noreturn));

struct examiner; /* the agent's side */

/* `socket_fd` becomes the examiner's (closed by examiner_free). Never blocks. */
struct examiner *examiner_new(int socket_fd);
void examiner_free(struct examiner *examiner);
/* How long a question may take by the clock before it is given up, instead of 20 s. */
void examiner_set_wait(struct examiner *examiner, uint64_t ms);
int examiner_fd(const struct examiner *examiner);

/*
 * Sends one question about an open file (duplicated into the message; fd stays the caller's).
 * -EAGAIN: the socket is full, ask again later; -EPIPE: the examiner is gone.
 */
int examiner_ask(struct examiner *examiner, uint64_t token, int file_fd);

/* The same, and a distilled copy (user/elf/distil.h) goes into copy_fd, which stays the caller's too. */
enum examiner_copy {
	EXAMINER_COPY_NOT,
	EXAMINER_COPY_LIBRARY /* a Ruby or a libpq alone */,
	EXAMINER_COPY_ALL
};
int examiner_ask_copy(struct examiner *examiner, uint64_t token, int file_fd, int copy_fd,
		      enum examiner_copy copy);

/*
 * Copies the symbols of a separate debug file into copy_fd if the file is the wanted one. The answer's result
 * is that of distil_debug, its library is empty.
 */
struct distil_debug;
int examiner_ask_debug(struct examiner *examiner, uint64_t token, int file_fd, int copy_fd,
		       const struct distil_debug *wanted);

struct examiner_answer {
	uint64_t token;
	int32_t result;  /* of library_examine */
	uint32_t copied; /* 1: the copy was made */
	struct library library;
};
/*
 * One answer: 1 with *out filled, 0 when none is there yet, -EPIPE when the examiner is gone. Call it when
 * examiner_fd is readable, until it says 0, and once a second: time running out makes nothing readable.
 */
int examiner_read(struct examiner *examiner, struct examiner_answer *out);

#endif
