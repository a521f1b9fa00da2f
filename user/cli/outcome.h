/* SPDX-License-Identifier: Apache-2.0 */
/* What became of an order, as every command says it: its colour, its exit code, and what to do about it. */
#ifndef LAPIDARY_OUTCOME_H
#define LAPIDARY_OUTCOME_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include "user/cli/grid.h"

/* "done", "sent", "observed", "refused", "failed" */
enum tint outcome_tint(const char *outcome);
/*
 * EXIT_FINE when all of `one` was done or is under way; else EXIT_PROBLEMS, and, unless `quiet`, one line on
 * stderr: "WHAT: refused: REASON; what to do".
 */
int outcome_tell(const char *what, const cJSON *one, bool quiet);

#endif
