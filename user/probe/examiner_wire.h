/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the examiner's socket share; the answer is struct examiner_answer. */
#ifndef LAPIDARY_EXAMINER_WIRE_H
#define LAPIDARY_EXAMINER_WIRE_H

#include <stdint.h>
#include "user/elf/distil.h"

enum examiner_limit {
	EXAMINER_CPU_PER_QUESTION = 5, /* seconds; a libpq takes 0.8 ms, a libruby 0.2 */
	EXAMINER_WAIT_MS = 20000,      /* longer than any CPU limit: then it is a dead file system */
};

/* With one descriptor, the file, or two: then its distilled copy goes into the second. */
struct examiner_question {
	uint64_t token;
	uint32_t copy; /* enum examiner_copy */
	uint32_t
		debug; /* 1: the first is no mapped file but a separate debug file, which is to be `wanted` */
	struct distil_debug wanted;
};

#endif
