/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mapped ELF file is to Lapidary: a libpq, a Ruby, or neither, and where its probes belong.
 *
 * The file may be hostile: this runs in the examiner (user/probe/examiner.h) alone, reads with pread, and
 * checks every length. No process is known here.
 */
#ifndef LAPIDARY_LIBRARY_H
#define LAPIDARY_LIBRARY_H

#include <stdint.h>
#include <stddef.h>
#include "bpf/shared.h"

enum library_kind { LIBRARY_NEITHER, LIBRARY_LIBPQ, LIBRARY_RUBY };

enum { LIBRARY_SITES = 48 };

struct library_site {
	uint32_t site;     /* enum site */
	uint32_t emulated; /* 1: the kernel emulates the instruction there; 0: single-stepped */
	uint64_t offset;   /* in the file */
	uint64_t entry;    /* the function's entry, in the file */
	char function[40];
	char instruction[48]; /* as decoded: "je", "push rbp", for `lapidary features` */
};

/* Travels over the examiner's socket as it is: fixed size, no pointers. */
struct library {
	uint32_t kind; /* enum library_kind */
	uint32_t site_count;
	uint8_t build_id_len;
	uint8_t build_id[20];
	uint8_t pad[3];
	char version[16]; /* Ruby's ruby_version ("3.1.7"), else "" */
	struct libpq_layout layout;
	struct library_site sites[LIBRARY_SITES];
	char problem[128]; /* why something is missing: one line, "" when all was found */
};

/*
 * Examines an open ELF file. Returns 0 with `out` filled (also for LIBRARY_NEITHER), or -errno:
 * -ENOEXEC not ELF or damaged, -ENOTSUP another architecture or class. fd stays the caller's.
 */
int library_examine(int fd, struct library *out);

#endif
