/* SPDX-License-Identifier: Apache-2.0 */
/* Two crashes compared, as the document that --json prints (rules/schema/crash_diff.schema.json). */
#ifndef LAPIDARY_CRASH_DIFF_H
#define LAPIDARY_CRASH_DIFF_H

#include "user/crash/bundle_files.h"

/* NULL: out of memory. The caller deletes it. */
cJSON *crash_compare(const struct bundle_files *a, const struct bundle_files *b);

#endif
