/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands are those that mend (FACTS.md 7, tests/bats/remedies.bats tries them):
 *
 *   RubyGems, built here      gem pristine NAME --version V --extensions
 *   RubyGems, precompiled     gem install NAME --version V --platform ruby, and the precompiled one taken
 * away Bundler, built here       bundle pristine NAME Bundler, precompiled      force_ruby_platform, and the
 * bundle installed anew Debian                    apt-get install --reinstall PACKAGE
 *
 * run with the app's own Ruby (the gem and bundle beside it, or through rbenv or asdf), as the app's user,
 * with those variables of its environment that say where gems are.
 */
#include "user/gems/remedy.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"

struct line {
	char *out;
	size_t size, used;
	char unsafe[80]; /* the first word that could not be quoted */
};

static void note_unsafe(struct line *line, const char *word)
{
	if (line->unsafe[0])
		return;
	text_copy(line->unsafe, sizeof(line->unsafe), word[0] ? word : "nothing");
	text_clean(line->unsafe);
}

static bool is_set(const char *text)
{
	return text && text[0];
}

bool shell_quote(const char *word, char *out, size_t size)
{
	static const char plain[] = "@%+=:,./-_";
	bool bare = *word && *word != '~' && *word != '=';
	char copy[1024];
	size_t used = 0;

	out[0] = '\0';
	/* what text_clean would change is what no terminal should get */
	if (strlen(word) >= sizeof(copy))
		return false;
	text_copy(copy, sizeof(copy), word);
	if (text_clean(copy) != 0)
		return false;
	for (const char *at = word; *at; at++)
		bare &= isalnum((unsigned char)*at) || strchr(plain, *at) != NULL;
	if (bare) {
		text_add(out, size, &used, "%s", word);
	} else {
		text_add(out, size, &used, "'");
		for (const char *at = word; *at; at++)
			text_add(out, size, &used, *at == '\'' ? "'\\''" : "%c", *at);
		text_add(out, size, &used, "'");
	}
	if (used + 1 < size)
		return true;
	out[0] = '\0';
	return false;
}

static void add(struct line *line, const char *words)
{
	text_add(line->out, line->size, &line->used, "%s%s", line->used ? " " : "", words);
}

static void add_word(struct line *line, const char *word)
{
	char quoted[2048];

	if (shell_quote(word, quoted, sizeof(quoted)))
		add(line, quoted);
	else
		note_unsafe(line, word);
}

/* What names a gem, a version or a package is an argument: it must not read as an option. */
static void add_name(struct line *line, const char *name)
{
	if (name[0] == '-')
		note_unsafe(line, name);
	add_word(line, name);
}

/* NAME=value, for env */
static void add_setting(struct line *line, const char *name, const char *value)
{
	char setting[1100];

	if (!is_set(value))
		return;
	if ((size_t)snprintf(setting, sizeof(setting), "%s=%s", name, value) >= sizeof(setting)) {
		note_unsafe(line, value);
		return;
	}
	add_word(line, setting);
}

static bool is_root(const char *user)
{
	return !is_set(user) || !strcmp(user, "root");
}

static bool is_precompiled(const struct remedy_facts *facts)
{
	return is_set(facts->platform) && strcmp(facts->platform, "ruby") != 0;
}

/* /usr/bin/ruby3.1 → /usr/bin/gem3.1: the one that installs for this Ruby. "gem" where the path says nothing.
 */
static void add_program(struct line *line, const struct remedy_facts *facts, const char *program)
{
	const char *path = facts->ruby_path ? facts->ruby_path : "", *base = text_base(path);
	char beside[512];

	if (facts->ruby_manager != RUBY_PLAIN || path[0] != '/' || strncmp(base, "ruby", 4) != 0) {
		add(line, program);
		return;
	}
	if ((size_t)snprintf(beside, sizeof(beside), "%.*s%s%s", (int)(base - path), path, program,
			     base + 4) >= sizeof(beside))
		note_unsafe(line, path);
	add_word(line, beside);
}

static void add_environment(struct line *line, const struct remedy_facts *facts)
{
	size_t before = line->used, empty;

	add(line, "env");
	empty = line->used;
	add_setting(line, "HOME", is_root(facts->user) ? "" : facts->home);
	add_setting(line, "GEM_HOME", facts->gem_home);
	add_setting(line, "GEM_PATH", facts->gem_path);
	if (facts->manager == MANAGER_BUNDLER) {
		add_setting(line, "BUNDLE_GEMFILE", facts->bundle_gemfile);
		add_setting(line, "BUNDLE_PATH", facts->bundle_path);
		add_setting(line, "BUNDLE_APP_CONFIG", facts->bundle_app_config);
	}
	if (facts->ruby_manager == RUBY_RBENV) {
		add_setting(line, "RBENV_ROOT", facts->rbenv_root);
		add_setting(line, "RBENV_VERSION", facts->ruby_version);
	} else if (facts->ruby_manager == RUBY_ASDF) {
		add_setting(line, "ASDF_DATA_DIR", facts->asdf_data_dir);
		add_setting(line, "ASDF_RUBY_VERSION", facts->ruby_version);
	}
	if (line->used == empty) {
		line->used = before;
		line->out[before] = '\0';
	}
}

/* Whoever runs it, in the app's environment, with its Ruby. */
static void add_call(struct line *line, const struct remedy_facts *facts, const char *program)
{
	if (!is_root(facts->user)) {
		add(line, "runuser -u");
		add_name(line, facts->user);
		add(line, "--");
	}
	add_environment(line, facts);
	if (facts->ruby_manager == RUBY_RBENV)
		add(line, "rbenv exec");
	else if (facts->ruby_manager == RUBY_ASDF)
		add(line, "asdf exec");
	add_program(line, facts, program);
}

static void add_version(struct line *line, const char *version)
{
	if (!is_set(version))
		return;
	add(line, "--version");
	add_name(line, version);
}

static void say_install(struct line *line, const struct remedy_facts *facts, const char *version)
{
	add_call(line, facts, "gem");
	add(line, "install");
	add_name(line, facts->gem);
	add_version(line, version);
}

/*
 * RubyGems prefers the precompiled one while it is there, and its uninstall takes both of a version. So it is
 * compiled once beside it, to know that it can be, before what the app has is taken away.
 */
static void say_compiled(struct line *line, const struct remedy_facts *facts)
{
	say_install(line, facts, facts->version);
	add(line, "--platform ruby &&");
	add_call(line, facts, "gem");
	add(line, "uninstall");
	add_name(line, facts->gem);
	add_version(line, facts->version);
	add(line, "--platform");
	add_name(line, facts->platform);
	add(line, "--force --executables &&");
	say_install(line, facts, facts->version);
	add(line, "--platform ruby");
}

static void say_rubygems(struct line *line, const struct remedy_facts *facts)
{
	if (is_set(facts->replace_with)) {
		say_install(line, facts, facts->replace_with);
	} else if (is_precompiled(facts)) {
		say_compiled(line, facts);
	} else {
		add_call(line, facts, "gem");
		add(line, "pristine");
		add_name(line, facts->gem);
		add_version(line, facts->version);
		add(line, "--extensions");
	}
}

static void say_bundler(struct line *line, const struct remedy_facts *facts)
{
	if (is_set(facts->app_dir)) {
		add(line, "cd");
		add_name(line, facts->app_dir);
		add(line, "&&");
	}
	add_call(line, facts, "bundle");
	if (is_set(facts->replace_with)) {
		add(line, "update --conservative");
		add_name(line, facts->gem);
	} else if (is_precompiled(facts)) {
		add(line, "config set --local force_ruby_platform true &&");
		add_call(line, facts, "bundle");
		add(line, "install --redownload");
	} else {
		add(line, "pristine");
		add_name(line, facts->gem);
	}
}

static void say_debian(struct line *line, const struct remedy_facts *facts)
{
	char package[160];

	if (is_set(facts->package))
		snprintf(package, sizeof(package), "%s", facts->package);
	else
		snprintf(package, sizeof(package), "ruby-%s", facts->gem);
	for (char *at = package; *at; at++)
		*at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
	add(line, "apt-get install --reinstall");
	add_name(line, package);
}

static void say_note(const struct remedy_facts *facts, struct remedy *out)
{
	char library[128];

	if (is_set(facts->missing_library)) {
		text_copy(library, sizeof(library), facts->missing_library);
		text_clean(library);
		snprintf(out->note, sizeof(out->note),
			 "%s must be there first: install the package that has it, with its headers.",
			 library);
	} else if (facts->manager == MANAGER_BUNDLER && is_precompiled(facts) &&
		   !is_set(facts->replace_with)) {
		snprintf(out->note, sizeof(out->note),
			 "Gemfile.lock needs the platform ruby: bundle lock --add-platform ruby.");
	} else if (facts->manager != MANAGER_DEBIAN) {
		snprintf(out->note, sizeof(out->note),
			 "It is compiled anew: that takes a compiler and Ruby's headers.");
	}
}

/* A rolled worker inherits what its master has mapped. */
static void say_restart(const struct remedy_facts *facts, struct remedy *out)
{
	const char *server = is_set(facts->server) ? facts->server : "the server";
	const char *how = !strcmp(server, "unicorn") ? "USR2 to the master, then QUIT to the old one"
			  : !strcmp(server, "puma")  ? "USR2 to the master, or the service restarted"
						     : "the service restarted";

	if (facts->preloaded)
		snprintf(out->restart, sizeof(out->restart),
			 "The master of %.40s must be replaced, it has the extension mapped and workers "
			 "inherit it: %s.",
			 server, how);
	else
		snprintf(out->restart, sizeof(out->restart),
			 "The processes of %.40s must be restarted to load it.", server);
	text_clean(out->restart);
}

static void say_image(const struct remedy_facts *facts, struct remedy *out)
{
	char gem[160], version[160] = "";

	if (!facts->image || !shell_quote(facts->gem, gem, sizeof(gem)) ||
	    (is_set(facts->version) && !shell_quote(facts->version, version, sizeof(version))))
		return;
	if (facts->manager == MANAGER_DEBIAN)
		snprintf(out->image, sizeof(out->image),
			 "In the image: build it anew without its cache (docker build --no-cache --pull), so "
			 "that its "
			 "packages are of one release.");
	else if (facts->manager == MANAGER_BUNDLER)
		snprintf(out->image, sizeof(out->image),
			 "In the image: RUN %sbundle install in the stage whose Ruby runs it, no bundle "
			 "copied from "
			 "another, and build it without its cache (docker build --no-cache --pull).",
			 is_precompiled(facts) ? "bundle config set force_ruby_platform true && " : "");
	else
		snprintf(out->image, sizeof(out->image),
			 "In the image: RUN gem install %s%s%s%s in the stage whose Ruby runs it, and build "
			 "it "
			 "without its cache (docker build --no-cache --pull).",
			 gem, version[0] ? " --version " : "", version,
			 is_precompiled(facts) ? " --platform ruby" : "");
	text_clean(out->image);
}

/* Is this what gems are called? Then whatever else holds, it is no option and no path. */
static bool is_gem_name(const char *name)
{
	for (const char *at = name; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr("_-.", *at))
			return false;
	return isalnum((unsigned char)name[0]) || name[0] == '_';
}

static void refuse(struct remedy *out, const char *what)
{
	char shown[80];

	text_copy(shown, sizeof(shown), what);
	text_clean(shown);
	memset(out, 0, sizeof(*out));
	snprintf(out->refused, sizeof(out->refused), "no command is told: \"%s\" cannot stand in one safely",
		 shown);
}

void remedy_make(const struct remedy_facts *facts, struct remedy *out)
{
	struct line line = {out->command, sizeof(out->command), 0, ""};

	memset(out, 0, sizeof(*out));
	if (!is_set(facts->gem)) {
		snprintf(out->refused, sizeof(out->refused), "no gem is known that it belongs to");
		return;
	}
	if (!is_gem_name(facts->gem)) {
		refuse(out, facts->gem);
		return;
	}
	if (facts->manager == MANAGER_RUBYGEMS && is_precompiled(facts) && !is_set(facts->version) &&
	    !is_set(facts->replace_with)) {
		/* without a version uninstall takes them all */
		snprintf(out->refused, sizeof(out->refused),
			 "which version of %.60s is installed is not known", facts->gem);
		return;
	}
	if (facts->from_path && facts->manager == MANAGER_BUNDLER) {
		snprintf(out->refused, sizeof(out->refused),
			 "%.60s is a path source: bundler leaves it alone, compile it where it lies",
			 facts->gem);
		return;
	}
	if (facts->manager == MANAGER_DEBIAN)
		say_debian(&line, facts);
	else if (facts->manager == MANAGER_BUNDLER)
		say_bundler(&line, facts);
	else
		say_rubygems(&line, facts);
	if (line.unsafe[0] || line.used + 1 >= line.size) {
		refuse(out, line.unsafe[0] ? line.unsafe : "what is too long");
		return;
	}
	out->as_root = facts->manager == MANAGER_DEBIAN || !is_root(facts->user);
	say_note(facts, out);
	say_restart(facts, out);
	say_image(facts, out);
}
