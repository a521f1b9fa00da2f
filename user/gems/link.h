/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Would this extension load into this Ruby? What ld.so would do, worked out from what the objects say of
 * themselves: the closure of DT_NEEDED by ld.so's own search order, and each strong undefined symbol, with
 * its version where there are versions, looked up in the program, its libraries and the closure. Nothing is
 * run.
 *
 * Pure: files come through a callback, so the same code works on a disk, a cache and a test. An object is
 * borrowed for as long as the link; its names are hashed once.
 *
 * It never says more than it knows: where an object was cut or could not be read, no symbol is called
 * missing.
 */
#ifndef LAPIDARY_GEMS_LINK_H
#define LAPIDARY_GEMS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "user/elf/object.h"

enum { LINK_LIBRARIES = 256, LINK_DIRECTORIES = 64 };

/*
 * The object behind an absolute path inside the root, borrowed until link_free. NULL: *result says why,
 * -ENOENT where no file is.
 */
typedef const struct object *(*link_open_fn)(void *context, const char *path, int *result);

struct link_options {
	const char *library_path;       /* LD_LIBRARY_PATH of the process; NULL or "": none */
	const char *const *directories; /* link_directories_make's, borrowed */
	size_t directory_count;
	link_open_fn open;
	void *context;
};

struct link;
struct link *link_new(const struct link_options *options); /* NULL: no memory */
void link_free(struct link *link);                         /* NULL-safe */

/*
 * The Ruby: its program with all that it asks for, which is there before any extension. Once, first.
 * 0 or -ENOMEM; what it misses itself is in *out (may be NULL).
 */
struct link_result;
int link_program(struct link *link, const char *path, const struct object *program, struct link_result *out);

struct link_result {
	char missing_library[128]; /* the first; "" when all are there */
	char asked_by[128];        /* the file name of the object that asks for it */
	char missing_symbol[128];  /* the first that nobody gives; of Ruby's own names first */
	char missing_version[64];  /* of that symbol, "" for none */
	uint32_t missing_library_count, missing_symbol_count, missing_ruby_count;
	bool is_ruby_symbol; /* missing_symbol is one of Ruby's names */
	bool uncertain;      /* something was cut or unreadable: symbols are not judged */
	/* sonames of the closure, the Ruby's own included; borrowed from the link */
	size_t library_count;
	const char *libraries[LINK_LIBRARIES];
};

/* What gives Ruby's names, with its path: the program or its libruby; NULL: neither does. Borrowed. */
const struct object *link_ruby(const struct link *link, const char **path);
/* Of the C library that the program gets: "2.36", "" when it is musl or not known. Borrowed. */
const char *link_libc_version(const struct link *link);

/* 0 with *out filled, or -ENOMEM. */
int link_resolve(struct link *link, const char *path, const struct object *object, struct link_result *out);

/*
 * An extension that the same Ruby may load first: what it gives is there for the others (Ruby loads them with
 * RTLD_GLOBAL, and narray's or glib2's dependents count on it). Object borrowed until link_free. 0 or
 * -ENOMEM.
 */
int link_add_extension(struct link *link, const struct object *object);

/* rb_*, ruby_* and the like: names that a Ruby gives and nobody else. */
bool link_is_ruby_name(const char *name);

/* Highest GLIBC_x.y that a C library gives: "2.36"; "" for any other object. Borrowed from it. */
const char *link_glibc_version(const struct object *libc);

struct link_directories {
	size_t count;
	char names[LINK_DIRECTORIES][256];
	const char *list[LINK_DIRECTORIES];
};

/*
 * Where ld.so looks besides: `configured` is the text of ld.so.conf with its includes put in, or of musl's
 * /etc/ld-musl-ARCH.path (NULL: none), then what is built in for that libc, machine and class.
 */
void link_directories_make(struct link_directories *out, const struct object *program,
			   const char *configured);

#endif
