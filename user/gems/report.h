/* SPDX-License-Identifier: Apache-2.0 */
/* GemCompatibilityReport documents: rules/schema/gem_report.schema.json is their contract. */
#ifndef LAPIDARY_GEMS_REPORT_H
#define LAPIDARY_GEMS_REPORT_H

#include <cjson/cJSON.h>
#include "user/gems/matrix.h"
#include "user/gems/remedy.h"
#include "user/gems/verdict.h"

/*
 * One extension. `matrix` are the answers that its gem got; `remedy` may be NULL: none was made. NULL when
 * out of memory; the caller deletes.
 */
cJSON *gem_report(const struct extension_found *found, const struct ruby_runtime *ruby,
		  const struct extension_verdict *verdict, const struct matrix_answer *matrix,
		  size_t matrix_count, const struct remedy *remedy);

#endif
