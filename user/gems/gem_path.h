/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which gem a mapped file belongs to, and the Ruby ABI its path was installed for, by the layouts of
 * RubyGems, Bundler and Debian (FACTS.md 7). Pure string work on a path that may be hostile.
 */
#ifndef LAPIDARY_GEM_PATH_H
#define LAPIDARY_GEM_PATH_H

#include <stdbool.h>

struct gem_path {
	char name[64];
	char version[32]; /* "" for Debian's vendor_ruby */
	char abi[16];     /* "3.1.0", "" when the path has none */
	bool debian;
};

/* True when the path belongs to a gem or a Debian Ruby package; *out is filled then. */
bool gem_path_parse(const char *path, struct gem_path *out);

#endif
