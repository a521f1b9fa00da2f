/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Ruby built an extension, as the logs of the build have it: gem_make.out (the commands that RubyGems
 * ran) and mkmf.log (those of extconf.rb). Pure; runs in the examiner. A log is prose: what it does not say
 * is "", and nothing in it is an error but its size.
 */
#ifndef LAPIDARY_BUILD_LOG_H
#define LAPIDARY_BUILD_LOG_H

#include <stddef.h>
#include <stdint.h>

enum { BUILD_LOG_BYTES_MAX = 4 << 20 };

struct build_log {
	char ruby[256];       /* "/usr/bin/ruby3.1": the program that ran extconf.rb */
	char abi[16];         /* "3.1.0": by the headers, else the library linked, else that program's name */
	uint32_t conflicting; /* 1: it names two ABIs; `abi` is "" then */
};

/* 0, or -E2BIG with a reason. *out is filled from the start in any other case. */
int build_log_parse(const char *bytes, size_t size, struct build_log *out, char why[160]);

#endif
