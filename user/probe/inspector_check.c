// SPDX-License-Identifier: Apache-2.0
/* The reader of an answer believes no number and no text: whoever made it read a hostile file. */
#include <string.h>
#include "user/base/text.h"
#include "user/elf/object.h"
#include "user/probe/build_log.h"
#include "user/probe/bundle_config.h"
#include "user/probe/gemspec.h"
#include "user/probe/inspector_wire.h"
#include "user/probe/lockfile.h"

static bool is_text(char *text, size_t size)
{
	if (!memchr(text, '\0', size))
		return false;
	text_clean(text);
	return true;
}

#define IS_TEXT(array) is_text(array, sizeof(array))

static bool check_gemspec(struct gemspec *spec)
{
	if (!IS_TEXT(spec->name) || !IS_TEXT(spec->version) || !IS_TEXT(spec->platform) ||
	    !IS_TEXT(spec->required_ruby) || spec->has_stub > 1 || spec->more > 1 ||
	    spec->require_path_count > GEMSPEC_PATHS || spec->extension_count > GEMSPEC_EXTENSIONS)
		return false;
	for (size_t i = 0; i < spec->require_path_count; i++)
		if (!IS_TEXT(spec->require_paths[i]))
			return false;
	for (size_t i = 0; i < spec->extension_count; i++)
		if (!IS_TEXT(spec->extensions[i]))
			return false;
	return true;
}

static bool check_build_log(struct build_log *log)
{
	return IS_TEXT(log->ruby) && IS_TEXT(log->abi) && log->conflicting <= 1;
}

static bool check_bundle_config(struct bundle_config *config)
{
	return IS_TEXT(config->path) && IS_TEXT(config->gemfile) && IS_TEXT(config->without);
}

static bool check_lines(char *text, size_t size)
{
	if (size == 0 || size > INSPECTOR_TEXT_MAX + 1 || text[size - 1] != '\0' || strlen(text) != size - 1)
		return false;
	for (; *text; text++)
		if ((unsigned char)*text < ' ' && *text != '\n' && *text != '\t')
			*text = '?';
	return true;
}

bool inspector_check(enum inspection_kind kind, void *answer, size_t size)
{
	switch (kind) {
	case INSPECT_OBJECT:
		return object_check(answer, size);
	case INSPECT_LOCKFILE:
		return lockfile_check(answer, size);
	case INSPECT_GEMSPEC:
		return size == sizeof(struct gemspec) && check_gemspec(answer);
	case INSPECT_BUILD_LOG:
		return size == sizeof(struct build_log) && check_build_log(answer);
	case INSPECT_BUNDLE_CONFIG:
		return size == sizeof(struct bundle_config) && check_bundle_config(answer);
	case INSPECT_TEXT:
		return check_lines(answer, size);
	case INSPECT_KINDS:
		break;
	}
	return false;
}
