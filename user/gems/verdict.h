/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does this native extension belong to this Ruby? From all evidence of FACTS.md 7, strongest first, and never
 * by running anything. Pure: what was found on disk comes in, a verdict with its evidence goes out.
 *
 * The rule that decides doubts: what is not shown is not said. `compatible` needs evidence of the Ruby it was
 * built for; where that is gone the verdict is `suspect` and the version null, however well it may look.
 */
#ifndef LAPIDARY_GEMS_VERDICT_H
#define LAPIDARY_GEMS_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include "user/elf/object.h"
#include "user/gems/gem_path.h"
#include "user/gems/matrix.h"

enum verdict {
	VERDICT_UNKNOWN, /* could not be read, or no Ruby is known to hold it against */
	VERDICT_COMPATIBLE,
	VERDICT_SUSPECT,      /* nothing says what it was built for */
	VERDICT_INCOMPATIBLE, /* another Ruby, libc, processor */
	VERDICT_BROKEN,       /* cannot load: missing library or symbol, not built, half installed */
};

enum confidence { CONFIDENCE_NONE, CONFIDENCE_LOW, CONFIDENCE_MEDIUM, CONFIDENCE_HIGH };

/* The Ruby that an extension is held against. */
struct ruby_runtime {
	const char *path;            /* of its program, inside its root */
	const char *version;         /* "3.1.7" */
	const char *abi;             /* "3.1.0": what its gem folders are called */
	const char *engine;          /* "ruby" */
	const char *platform;        /* "x86_64-linux-gnu" */
	bool is_static;              /* no libruby: the program gives rb_* */
	const struct object *object; /* what gives rb_*: libruby, or the program */
	enum object_libc libc;
	const char *libc_version; /* of the libc in its root: "2.36", "" when not known */
};

/* What was found beside the object: each "" or NULL where it is not there. */
struct extension_found {
	const char *path;            /* inside the root */
	struct gem_path gem;         /* by its path; name "" when it belongs to no gem */
	const struct object *object; /* NULL: could not be read, `problem` says why */
	const char *problem;
	bool damaged;              /* with object NULL: it was read, and is no whole ELF object */
	bool required_unbuilt;     /* the gemspec lists extensions and gem.build_complete is missing */
	const char *built_for_log; /* "3.1.0": by gem_make.out or mkmf.log */
	/* "3.1.0": the only extensions/<platform>/<abi>/ that holds its gem, where its own path says nothing
	 */
	const char *built_for_beside;
	const char *built_for_package;      /* "3.1.0": by the Debian package that owns the file, unchanged */
	const char *built_ruby_log;         /* the ruby that these name: "/usr/bin/ruby3.1" */
	const char *gemspec_ruby;           /* required_ruby_version: ">= 2.7, < 3.4.dev" */
	const char *gemspec_platform;       /* "x86_64-linux-gnu", "ruby" */
	const struct matrix_answer *matrix; /* what matrix_ask said */
	size_t matrix_count;
};

enum evidence_kind {
	EVIDENCE_NEEDED_LIBRUBY,
	EVIDENCE_PATH,
	EVIDENCE_PACKAGE,
	EVIDENCE_BUILD_LOG,
	EVIDENCE_MISSING_RUBY_SYMBOLS,
	EVIDENCE_ABI_VERSION,
	EVIDENCE_PLATFORM, /* processor, class, libc */
	EVIDENCE_LIBRARY,  /* missing library */
	EVIDENCE_SYMBOL,   /* missing symbol of another library */
	EVIDENCE_INSTALLATION,
	EVIDENCE_MATRIX,
	EVIDENCE_LOADED, /* what loading it in isolation did */
};

struct evidence {
	enum evidence_kind kind;
	bool against;   /* speaks against this Ruby */
	char says[160]; /* one line for people: "asks for libruby-3.1.so.3.1" */
};

enum { VERDICT_EVIDENCE = 18 };

struct extension_verdict {
	enum verdict verdict;
	enum confidence confidence;
	char built_for[16]; /* "3.1.0", "" when nothing says so: null in the document */
	size_t evidence_count;
	struct evidence evidence[VERDICT_EVIDENCE];
};

/*
 * Judges one extension. `missing_library` and `missing_symbol` are what resolution found (user/gems/link.h),
 * "" when all is there or it could not be told.
 */
void extension_judge(const struct extension_found *found, const struct ruby_runtime *ruby,
		     const char *missing_library, const char *missing_symbol, struct extension_verdict *out);

/*
 * Adds what loading it in isolation did. A failure makes `compatible` and `suspect` broken; a success makes
 * nothing better: an extension of another Ruby may load and fail later (FACTS.md 7).
 */
void extension_loaded(struct extension_verdict *verdict, bool loaded, const char *says);

/*
 * Precompiled gems hold one object for each Ruby: lib/3.2/pg_ext.so beside lib/3.3/pg_ext.so. True when the
 * path is of that kind; abi is then the Ruby it is for, and key[] the path without that folder, equal for all
 * of a set. Of a set judge the one of the runtime's ABI alone; where it has none, judge any: none will load.
 */
bool extension_variant(const char *path, char abi[16], char *key, size_t key_size);

const char *evidence_name(enum evidence_kind kind);
const char *verdict_name(enum verdict verdict);
const char *confidence_name(enum confidence confidence);

#endif
