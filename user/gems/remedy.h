/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command that mends one gem of one app (Property 3), by its gem manager, Ruby, user and environment.
 * Names and paths come from disk and environments that a watched process controls: each is quoted for sh, and
 * what cannot be quoted safely (control characters, broken UTF-8, a name that reads as an option) is refused
 * with a reason instead of printed. Pure.
 */
#ifndef LAPIDARY_GEMS_REMEDY_H
#define LAPIDARY_GEMS_REMEDY_H

#include <stdbool.h>
#include <stddef.h>

enum gem_manager { MANAGER_RUBYGEMS, MANAGER_BUNDLER, MANAGER_DEBIAN };
enum ruby_manager { RUBY_PLAIN, RUBY_RBENV, RUBY_ASDF };

/* Each text "" or NULL where it is not known or not set. */
struct remedy_facts {
	const char *gem, *version;
	const char
		*platform; /* of the installed gem: "x86_64-linux" is precompiled; "" or "ruby": built here */
	bool from_path;    /* a path source of Bundler: built in place, by the app's own means */
	enum gem_manager manager;
	enum ruby_manager ruby_manager;
	const char *ruby_path;    /* "/usr/bin/ruby3.1", inside the root */
	const char *ruby_version; /* "3.1.7": for rbenv and asdf */
	const char *user;         /* whose gems they are: a name; "" or "root": whoever runs the command */
	const char *home;         /* of that user */
	const char *app_dir;      /* holds the Gemfile */
	const char *gem_home, *gem_path;                              /* from its environment */
	const char *bundle_path, *bundle_gemfile, *bundle_app_config; /* likewise */
	const char *rbenv_root, *asdf_data_dir;                       /* likewise */
	const char *package;         /* Debian package that owns the file; "": ruby-GEM */
	const char *missing_library; /* "libpq.so.5" */
	const char *replace_with;    /* a version that the matrix knows to be mended */
	const char *server;          /* "puma", "unicorn", "pitchfork", "iodine" */
	bool preloaded;              /* its master has the extension mapped: a new worker inherits it */
	bool image;                  /* in a container: the command mends this one, not the next */
};

struct remedy {
	char command[3072]; /* one line for sh, "" when none can be told */
	char refused[160];  /* why none */
	char note[256];     /* what a person has to know besides; "" */
	char restart[256];  /* what must be restarted for it to count */
	char image[768];    /* how the image is rebuilt; "" outside containers */
	bool as_root;       /* the command needs root */
};

void remedy_make(const struct remedy_facts *facts, struct remedy *out);

/*
 * A script of all commands for review: comments say which gem and why, set -eu stands first, equal commands
 * stand once. `why[i]` is one line each. malloc'd, the caller's; NULL when out of memory.
 */
char *remedy_script(const struct remedy *remedies, const char *const *why, size_t count);

/*
 * Quotes one word for sh into out: as it is where nothing in it is special, else in single quotes. False, and
 * out is "", when it does not fit or has what no terminal and no sh should be handed.
 */
bool shell_quote(const char *word, char *out, size_t size);

#endif
