/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .bundle/config: where Bundler puts and looks for an app's gems. Pure; runs in the examiner. Bundler writes
 * a flat mapping; what is nested or not asked for is passed over, and values that may be credentials
 * (BUNDLE_GEMS__EXAMPLE__COM: "user:password") are never kept.
 */
#ifndef LAPIDARY_BUNDLE_CONFIG_H
#define LAPIDARY_BUNDLE_CONFIG_H

#include <stddef.h>

enum { BUNDLE_CONFIG_BYTES_MAX = 64 << 10 };

struct bundle_config {
	char path[512];    /* BUNDLE_PATH, as it stands: relative to the app's folder */
	char gemfile[512]; /* BUNDLE_GEMFILE */
	char without[256]; /* BUNDLE_WITHOUT: "development:test" */
	char deployment, frozen, path_system, force_ruby_platform; /* 1: set to true */
};

/* 0, or -EBADMSG or -E2BIG with `why` naming the line. *out is untouched then. */
int bundle_config_parse(const char *bytes, size_t size, struct bundle_config *out, char why[160]);

#endif
