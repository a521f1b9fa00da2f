/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strlen(NULL) fails in libc, a bad VALUE fails in libruby, and a wrong function pointer fails nowhere at
 * all: in each case the culprit is whoever called. So some modules are never blamed. They are known by
 * their base names, which is coarse; a wrong guess costs confidence, since the path itself is always
 * shown beside the verdict.
 */
#include <ctype.h>
#include <string.h>
#include <sys/mman.h>
#include "user/base/text.h"
#include "user/crash/module.h"

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* "ruby", "ruby3.1", "libruby-3.1.so.3.1": not "ruby_parser.so". */
static bool is_ruby(const char *base)
{
	if (starts_with(base, "libruby") && strchr(".-", base[7]))
		return true;
	return starts_with(base, "ruby") && base[4 + strspn(base + 4, ".-0123456789")] == '\0';
}

static bool is_system(const char *base)
{
	static const char *const prefixes[] = {
		"libc.so",    "libc-2.",   "libc.musl",   "ld-linux",    "ld-musl",     "libpthread",
		"libm.so",    "libm-2.",   "libdl.so",    "libdl-2.",    "librt.so",    "librt-2.",
		"libgcc_s",   "libstdc++", "libjemalloc", "libtcmalloc", "libmimalloc", "libffi.so",
		"libasan.so", "libresolv", "[v",
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (starts_with(base, prefixes[i]))
			return true;
	return false;
}

/* Ruby's own extensions: …/ruby/3.1.0/[x86_64-linux/]stringio.so */
static bool is_ruby_library(const char *path)
{
	const char *ruby = strstr(path, "/ruby/"), *end = strstr(path, ".so");

	return ruby && end && end > ruby && isdigit((unsigned char)ruby[6]) &&
	       (end[3] == '\0' || end[3] == ' ');
}

enum module_kind module_kind(const char *path, struct gem_path *gem)
{
	struct gem_path found = {0};
	bool is_gem = path && gem_path_parse(path, &found);

	if (gem)
		*gem = found;
	if (!path || !*path)
		return MODULE_UNKNOWN;
	if (is_gem)
		return MODULE_EXTENSION;
	if (is_system(text_base(path)))
		return MODULE_SYSTEM;
	if (path[0] != '/')
		return MODULE_UNKNOWN;
	if (is_ruby(text_base(path)))
		return MODULE_RUBY;
	return is_ruby_library(path) ? MODULE_EXTENSION : MODULE_LIBRARY;
}

const struct maps_region *region_of(const struct maps_region *regions, size_t count, uint64_t address)
{
	for (size_t i = 0; i < count; i++)
		if (address >= regions[i].start && address < regions[i].end)
			return regions[i].protection & PROT_EXEC ? &regions[i] : NULL;
	return NULL;
}
