// SPDX-License-Identifier: Apache-2.0
/* What the remedy of one gem rests on, gathered from where it was found. */
#include <pwd.h>
#include <string.h>
#include "user/base/text.h"
#include "user/cli/check.h"

static bool is_bundled(const struct check *check, const char *path)
{
	const char *bundle = check->scene->bundle_path;
	size_t size = strlen(bundle);

	return strstr(path, "/vendor/bundle/") || (size > 1 && strncmp(path, bundle, size) == 0) ||
	       (check->lockfile && *check->scene->app_dir);
}

void check_remedy(const struct check *check, const struct extension_found *found,
		  const struct check_ruby *ruby, const struct extension_verdict *verdict,
		  const char *missing_library, uint32_t uid, struct remedy *out)
{
	const struct check_scene *scene = check->scene;
	bool own_root = strcmp(scene->root, "/") == 0;
	const struct passwd *owner = own_root && uid ? getpwuid(uid) : NULL;
	struct remedy_facts facts = {
		.gem = found->gem.name,
		.version = found->gem.version,
		.platform = found->gemspec_platform,
		.manager = found->gem.debian || strstr(found->path, "/rubygems-integration/") ? MANAGER_DEBIAN
			   : is_bundled(check, found->path) ? MANAGER_BUNDLER
							    : MANAGER_RUBYGEMS,
		.ruby_manager = strstr(ruby->prefix, "/.rbenv/") || (*scene->rbenv_root &&
								     strstr(ruby->prefix, scene->rbenv_root))
					? RUBY_RBENV
				: strstr(ruby->prefix, "/.asdf/") ? RUBY_ASDF
								  : RUBY_PLAIN,
		.ruby_path = ruby->runtime.path,
		.ruby_version = ruby->runtime.version,
		.user = owner ? owner->pw_name : scene->user,
		.home = owner ? owner->pw_dir : scene->home,
		.app_dir = scene->app_dir,
		.gem_home = scene->gem_home,
		.gem_path = scene->gem_path,
		.bundle_path = scene->bundle_path,
		.bundle_gemfile = scene->bundle_gemfile,
		.bundle_app_config = scene->bundle_app_config,
		.rbenv_root = scene->rbenv_root,
		.asdf_data_dir = scene->asdf_data_dir,
		.missing_library = missing_library,
		.server = scene->server,
		.image = !own_root,
	};

	for (size_t i = 0; i < found->matrix_count && !facts.replace_with; i++)
		if (found->matrix[i].rating == MATRIX_BAD && *found->matrix[i].fixed_in)
			facts.replace_with = found->matrix[i].fixed_in;
	memset(out, 0, sizeof(*out));
	/* what nobody could read, or belongs to no gem, no command mends */
	if (verdict->verdict == VERDICT_UNKNOWN || !*found->gem.name)
		text_copy(out->refused, sizeof(out->refused),
			  *found->gem.name ? "it could not be judged" : "it belongs to no gem");
	else
		remedy_make(&facts, out);
}
