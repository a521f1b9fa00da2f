/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words for what became of a connection or a test of one. Why libpq could not connect or lost its connection,
 * from its message. The message holds host, user and database names and whatever the server says, so the
 * class is all that is kept of it.
 */
#ifndef LAPIDARY_REASON_H
#define LAPIDARY_REASON_H

#include <stdint.h>
#include "bpf/event.h"

/* REASON_NONE for "", REASON_OTHER for what is not known, translated messages among them. */
enum conn_reason reason_of(const char *message);
const char *result_name(uint32_t result); /* "ok", of enum probe_result; "not_run" for a value out of range */
const char *reason_name(uint32_t reason); /* "refused"; "other" for a value out of range */

#endif
