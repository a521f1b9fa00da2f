/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mapped ELF file is to Lapidary: a libpq, a Ruby, or neither, and where its probes belong.
 *
 * The file may be hostile: this runs in the examiner (user/probe/examiner.h) alone, reads with pread, and
 * checks every length. No process is known here.
 */
#ifndef LAPIDARY_LIBRARY_H
#define LAPIDARY_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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

/*
 * Travels over the examiner's socket as it is: fixed size, no pointers. A Ruby with libpq linked in is a
 * LIBRARY_RUBY with both kinds of sites and the layout.
 */
struct library {
	uint32_t kind; /* enum library_kind */
	uint32_t site_count;
	uint8_t build_id_len;
	uint8_t build_id[20];
	uint8_t symbol_table; /* 1: it names its static functions itself (.symtab) */
	uint8_t pad[2];
	char version[16]; /* Ruby's ruby_version ("3.1.7"), else "" */
	struct libpq_layout layout;
	struct ruby_layout ruby; /* of a Ruby, else zero */
	/* A place in a Ruby's code, in the file and as linked: of a mapping that holds it, the load address.
	 */
	uint64_t code_offset, code_address;
	struct library_site sites[LIBRARY_SITES];
	char debug_link[64]; /* .gnu_debuglink: the base name of the file with its symbols, "" when it says
				none */
	uint32_t debug_crc;  /* of that file */
	uint32_t reserved;
	char problem[128]; /* why something is missing: one line, "" when all was found */
};

/*
 * Examines an open ELF file. Returns 0 with `out` filled (also for LIBRARY_NEITHER), or -errno:
 * -ENOEXEC not ELF or damaged, -ENOTSUP another architecture or class,
 * -EFBIG larger than 4 GiB (nothing is read whole: only headers, symbols and a few functions). fd stays the
 * caller's.
 */
int library_examine(int fd, struct library *out);

/*
 * Is this an answer that library_examine could have given about a file of that size? It may come from an
 * examiner that was taken over. Texts are made printable.
 */
bool library_check(struct library *library, uint64_t file_size);

#endif
