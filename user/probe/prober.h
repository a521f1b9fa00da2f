/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prober: an unprivileged child that tests one database with libpq, in the network and mount namespaces
 * (and the root) of a process that uses it, and ends. A hung resolver or a crash in libpq harms no one.
 *
 * The spawner forks it (verb SPAWNER_PROBER). The question comes as one struct through the descriptor that
 * the agent sends along (a pipe's read end), so that a password passes through no other hands; credentials
 * are read while the prober still may (password_file and service_file are paths on the host), then it enters
 * the namespaces, becomes `uid`, drops all capabilities, forbids itself executable mappings, other programs
 * and other processes (seccomp), and connects. It dies with the spawner, at its deadline, and when its socket
 * closes.
 */
#ifndef LAPIDARY_PROBER_H
#define LAPIDARY_PROBER_H

#include <stdint.h>
#include "bpf/event.h"

struct prober_question {
	uint32_t tgid, uid, timeout_ms, has_credentials; /* uid: never 0; timeout_ms: at most 60000 */
	uint64_t start_ns;
	char target[192];        /* postgres://host:port/dbname */
	char user[64];           /* "": the service's, else "lapidary" */
	char password_file[256]; /* one line; "": none */
	char service[64];        /* "": none */
	char service_file[256];  /* "": libpq's own places on the host */
};

struct prober_answer {
	uint32_t result; /* enum probe_result */
	uint32_t ms;
	char sqlstate[8];
	char detail[112]; /* for PROBE_NOT_RUN: what failed; never libpq's words, which may hold secrets */
};

/* In the forked child; never returns. Writes one prober_answer to answer_fd (SOCK_SEQPACKET). */
void prober_main(int question_fd, int answer_fd) __attribute__((noreturn));

/*
 * Agent's side: asks the spawner and gives the answer's descriptor to read later. Returns the token's
 * spawner result (0, -EAGAIN, -EPIPE); the spawner's answer carries the socket as its fd.
 */
struct spawner;
int prober_ask(struct spawner *spawner, const struct prober_question *question, uint64_t token);

#endif
