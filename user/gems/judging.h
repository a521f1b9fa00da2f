/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the verdict. */
#ifndef LAPIDARY_GEMS_JUDGING_H
#define LAPIDARY_GEMS_JUDGING_H

#include "user/gems/verdict.h"

/* What does not fit any more is left out: there is room for all kinds once. */
void evidence_add(struct extension_verdict *out, enum evidence_kind kind, bool against, const char *format,
		  ...) __attribute__((format(printf, 4, 5)));

/* Adds what speaks against it; true: another processor or libc. */
bool platform_weigh(const struct extension_found *found, const struct ruby_runtime *ruby,
		    struct extension_verdict *out);

/* Adds what the gem itself says of the Rubies it is for. Decides nothing: RubyGems loads it all the same. */
void gemspec_weigh(const struct extension_found *found, const struct ruby_runtime *ruby,
		   struct extension_verdict *out);

#endif
