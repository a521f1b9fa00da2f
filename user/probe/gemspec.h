/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an installed gem says of itself, out of specifications/NAME-VERSION.gemspec, which is a Ruby program:
 * read here are the `# stub:` lines that RubyGems itself reads instead of running it, and the literal text of
 * a few assignments as RubyGems writes them. Nothing is executed. Pure; runs in the examiner.
 */
#ifndef LAPIDARY_GEMSPEC_H
#define LAPIDARY_GEMSPEC_H

#include <stddef.h>
#include <stdint.h>

enum { GEMSPEC_BYTES_MAX = 1 << 20, GEMSPEC_PATHS = 8, GEMSPEC_EXTENSIONS = 8 };

struct gemspec {
	char name[64];
	char version[32];
	char platform[48];      /* "ruby", "x86_64-linux-gnu" */
	char required_ruby[96]; /* ">= 2.7, < 3.4.dev"; "" when it asks for none */
	uint8_t has_stub;       /* 0: by the assignments alone; Debian and hand-written files lack the stub */
	uint8_t require_path_count, extension_count;
	uint8_t more; /* 1: there were more paths or extensions than fit */
	char require_paths[GEMSPEC_PATHS][128];
	char extensions[GEMSPEC_EXTENSIONS][128]; /* "ext/extconf.rb" */
};

/* 0, or -EBADMSG or -E2BIG with `why` naming the line. *out is untouched then. */
int gemspec_parse(const char *bytes, size_t size, struct gemspec *out, char why[160]);

#endif
