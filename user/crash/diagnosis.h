/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known patterns of crashes as data: the files of rules/diagnosis/, against
 * rules/schema/diagnosis.schema.json. A pattern says what a report must show, and what a person is told then.
 * Matching is pure.
 */
#ifndef LAPIDARY_DIAGNOSIS_H
#define LAPIDARY_DIAGNOSIS_H

#include <cjson/cJSON.h>
#include <stddef.h>

struct diagnoses;

/*
 * Reads rules_dir/diagnosis/, in name order; where rules_dir has no such folder, the one that is installed;
 * where there is none either, nothing is known. Returns 0, or -errno with one line in `why`: file, place in
 * it, what is wrong. The caller frees.
 */
int diagnoses_load(const char *rules_dir, struct diagnoses **out, char *why, size_t why_size);
void diagnoses_free(struct diagnoses *diagnoses); /* NULL-safe */
size_t diagnoses_count(const struct diagnoses *diagnoses);

#endif
