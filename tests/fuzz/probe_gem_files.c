// SPDX-License-Identifier: Apache-2.0
/* Any gemspec, build log or .bundle/config: all texts end where they must, and every refusal has a reason. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "user/probe/build_log.h"
#include "user/probe/bundle_config.h"
#include "user/probe/gemspec.h"

static void must_end(const char *text, size_t size)
{
	if (strnlen(text, size) == size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct bundle_config config;
	struct build_log log;
	struct gemspec spec;
	char why[160] = "";

	if (gemspec_parse(text, size, &spec, why) == 0) {
		must_end(spec.name, sizeof(spec.name));
		must_end(spec.required_ruby, sizeof(spec.required_ruby));
		if (!spec.name[0] || spec.require_path_count > GEMSPEC_PATHS ||
		    spec.extension_count > GEMSPEC_EXTENSIONS)
			abort();
		for (size_t i = 0; i < spec.require_path_count; i++)
			must_end(spec.require_paths[i], sizeof(spec.require_paths[i]));
	} else if (!why[0]) {
		abort();
	}
	if (build_log_parse(text, size, &log, why) == 0) {
		must_end(log.ruby, sizeof(log.ruby));
		must_end(log.abi, sizeof(log.abi));
	}
	why[0] = '\0';
	if (bundle_config_parse(text, size, &config, why) == 0)
		must_end(config.path, sizeof(config.path));
	else if (!why[0])
		abort();
	return 0;
}
