/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the crash floor: cause, who is blamed, under which fingerprint, and what a person can do about it.
 */
#ifndef LAPIDARY_BLAME_H
#define LAPIDARY_BLAME_H

#include <cjson/cJSON.h>
#include "user/crash/abi.h"
#include "user/crash/frames.h"
#include "user/crash/report.h"

/* cause_of, with what stack and maps add: who aborted and why, whose ABI is wrong. */
enum cause cause_with_stack(const struct crash_input *input, const struct frames *frames,
			    const struct abi_mismatch *abi, char *evidence, size_t size);

/* Module, gem and confidence, or "unknown" and "none". */
void blame_of(const struct crash_input *input, enum cause cause, const struct frames *frames,
	      const struct abi_mismatch *abi, struct blame *out);

/* 16 hex digits. */
void fingerprint_of(const struct crash_input *input, enum cause cause, const struct blame *blame,
		    const struct frames *frames, char out[20]);

/* A new array of texts: what to do, that of the section "diagnosis" first. */
cJSON *remedies_of(const struct crash_input *input, enum cause cause, const struct blame *blame,
		   const cJSON *diagnosis);

/* "SEGV_MAPERR", "SI_USER", … or the number. */
void signal_code_name(int signal, int code, char out[16]);
/* The signal that the crash is known by: the fault's, else the one that ended it. 0: none. */
int crash_signal(const struct crash *crash);
/* The fault has an address that the processor gave. */
bool crash_has_address(const struct crash *crash);

#endif
