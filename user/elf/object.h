/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an ELF object of any machine says of itself without being run: for which processor, libc and Ruby it
 * was built, which libraries and symbols it asks for, and what it gives. An object of another machine or
 * class is an answer here, not an error: it is what the check has to report.
 *
 * The file may be hostile: object_read runs in the examiner alone, reads with pread, and is bounded. Its
 * result is one flat piece of memory that travels as it is; object_check believes none of it.
 */
#ifndef LAPIDARY_ELF_OBJECT_H
#define LAPIDARY_ELF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum object_libc { OBJECT_LIBC_UNKNOWN, OBJECT_LIBC_GLIBC, OBJECT_LIBC_MUSL };

enum object_limit {
	OBJECT_NEEDED_MAX = 256,
	OBJECT_SYMBOLS_MAX = 65536, /* asked for, and given; libcrypto 3 gives 5,000, chromium's ICU 6,000 */
	OBJECT_TEXT_MAX = 4 << 20,  /* all names together */
};

enum object_flag {
	OBJECT_IS_RUBY = 1 << 0,    /* gives rb_define_method and ruby_version: a libruby or a static Ruby */
	OBJECT_IS_PROGRAM = 1 << 1, /* has an interpreter, or is ET_EXEC */
	OBJECT_GIVES_INIT = 1 << 2, /* gives a function Init_…: an extension */
	OBJECT_GIVES_ABI_VERSION = 1 << 3, /* gives ruby_abi_version: built by a development Ruby */
	OBJECT_CUT = 1 << 4,    /* a limit was met: names are missing, so nothing may be called unresolved */
	OBJECT_STATIC = 1 << 5, /* no dynamic section */
	OBJECT_RPATH = 1 << 6,  /* runpath is a DT_RPATH: it holds for what the libraries ask for, too */
};

/* A name in the object's text: an offset from its start, always ended by a NUL inside it. */
typedef uint32_t object_name;

struct object_symbol {
	object_name name;
	object_name version; /* "GLIBC_2.34", or 0, the empty text */
	uint32_t weak;       /* 1: may stay unresolved */
};

struct object {
	uint32_t size;      /* of all, this head included */
	uint16_t machine;   /* e_machine: EM_X86_64, EM_AARCH64 … */
	uint8_t bits;       /* 32 or 64 */
	uint8_t big_endian; /* 1 or 0 */
	uint32_t flags;     /* enum object_flag */
	uint32_t libc;      /* enum object_libc: by interpreter, DT_NEEDED and needed versions */
	uint8_t build_id[20];
	uint8_t build_id_len; /* 0: none */
	uint8_t pad[3];
	uint64_t text_digest;      /* of the executable segments' headers and sizes: 0 where it has none */
	char ruby_version[16];     /* of a Ruby: "3.1.7", else "" */
	uint32_t ruby_api[3];      /* of a Ruby: ruby_api_version, else 0, 0, 0 */
	object_name ruby_platform; /* "x86_64-linux-gnu", of a Ruby; else the empty text */
	object_name soname, interpreter,
		runpath;          /* runpath: DT_RUNPATH, else DT_RPATH, $ORIGIN as it stands */
	object_name libc_version; /* the highest GLIBC_x.y it asks for: "2.34", else "" */
	uint32_t needed_count, asked_count, given_count;
	uint32_t text_size;
	/* needed names (object_name), asked symbols (struct object_symbol), given symbols (the same), text */
	unsigned char rest[];
};

/*
 * Reads what is behind fd (the caller's). On success *out is malloc'd, the caller's to free. -ENOEXEC: no ELF
 * object, or damaged (`why`, one line, says where); -EFBIG: over 4 GiB; -ENOMEM.
 */
int object_read(int fd, struct object **out, char why[128]);

/* Could object_read have made this? All offsets and counts inside `size`, texts ended and printable. */
bool object_check(const struct object *object, size_t size);

/* Borrowed, never NULL; "" for the name 0. Only of an object that object_check holds for, and i < count. */
const char *object_text(const struct object *object, object_name name);
const char *object_needed(const struct object *object, size_t i);
const struct object_symbol *object_asked(const struct object *object, size_t i);
const struct object_symbol *object_given(const struct object *object, size_t i);

#endif
