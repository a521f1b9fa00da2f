/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both sides of the inspector's socket share. A question is a batch: descriptor 0 is a file of memory
 * for the answers, those behind it are the files. An answer says where in that file its bytes are.
 */
#ifndef LAPIDARY_INSPECTOR_WIRE_H
#define LAPIDARY_INSPECTOR_WIRE_H

#include <stdbool.h>
#include "user/probe/inspector.h"

struct inspector_question {
	uint64_t number;
	uint32_t count;
	uint32_t kinds[INSPECTOR_BATCH];
};

struct inspector_answer {
	uint64_t number;
	uint32_t index;
	int32_t result;
	uint64_t offset, size;
	char why[160];
};

/* Could an honest child have given this? Texts are made printable. */
bool inspector_check(enum inspection_kind kind, void *answer, size_t size);

#endif
