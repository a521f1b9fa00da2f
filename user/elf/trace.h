/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a small function returns, told in terms of its argument: its code is run with symbols for values,
 * along every path. Whatever is not understood becomes "unknown", and unknown never becomes a number.
 */
#ifndef LAPIDARY_ELF_TRACE_H
#define LAPIDARY_ELF_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include "user/elf/code.h"

enum value_base {
	VALUE_UNKNOWN,
	VALUE_NUMBER,   /* no pointer in it: index * scale + offset */
	VALUE_ARGUMENT, /* the structure that the function was given: S + offset */
	VALUE_FIELD,    /* a pointer loaded from S + field; then + index * scale + offset */
	VALUE_ITEM,     /* a pointer loaded from (S->field + index * scale + item); then + offset */
};

struct value {
	enum value_base base;
	uint32_t field; /* where in S the pointer lies */
	uint32_t index; /* where in S the 32-bit integer lies that is scaled; only when scale is not 0 */
	int32_t scale;
	int32_t offset;
	int32_t item;
};

enum trace_limit {
	TRACE_STEPS = 4096,  /* instructions over all paths; accessors have 10 to 60 */
	TRACE_PATHS = 64,    /* waiting at one time */
	TRACE_BACKWARD = 1,  /* times a path may jump back: a list walk needs its loop entered once */
	TRACE_REACH = 65536, /* larger offsets are no structure's */
};

/* What one path through the function returns, and the first of each kind that it loaded (else unknown). */
struct trace_return {
	struct value value;
	struct value first_integer; /* a 32-bit member of S */
	struct value first_item;    /* a VALUE_ITEM */
};

/* Calls fn for each path that returns. -E2BIG: the function is no accessor but something larger. */
typedef void (*trace_return_fn)(void *context, const struct trace_return *returned);
int trace_returns(struct code_reader *reader, const struct code *code, trace_return_fn fn, void *context);

#endif
