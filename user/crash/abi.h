/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extensions that were built for another Ruby than the one that runs: by what the check knew of them, else by
 * their paths (FACTS.md 7: an extension without a NEEDED libruby loads silently and fails later).
 */
#ifndef LAPIDARY_ABI_H
#define LAPIDARY_ABI_H

#include "user/crash/frames.h"

enum abi_where { ABI_NONE, ABI_MAPPED, ABI_ON_STACK_SCANNED, ABI_ON_STACK };

struct abi_mismatch {
	enum abi_where where;
	const char *path; /* borrowed; "" with ABI_NONE */
	struct gem_path gem;
	char running[16];          /* "3.3": of the Ruby that runs, "" when it is not known */
	const struct frame *frame; /* its innermost one, NULL when it is on no stack */
};

void abi_find(const struct crash_input *input, const struct frames *frames, struct abi_mismatch *out);

/* What the check knew of the file; NULL: nothing. */
const struct crash_extension *extension_known(const struct crash_input *input, const char *path);

/* "3.1" of "3.1.7", of ".../libruby-3.1.so.3.1.7", of "/usr/bin/ruby3.1"; false: none is in it. */
bool abi_of_version(const char *text, char out[16]);

#endif
