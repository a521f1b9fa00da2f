// SPDX-License-Identifier: Apache-2.0
/*
 * Each question is asked of every path through the function (user/elf/trace.h). Paths that return a constant
 * or something unknown are the ones for NULL arguments and error texts; the others must agree on one offset,
 * else there is no answer.
 */
#include <errno.h>
#include "bpf/shared.h"
#include "user/elf/accessor.h"
#include "user/elf/trace.h"

enum { STRIDE_MAX = 4096 };

/* Notes `value` in *slot; false when something else was noted there before. */
static bool agree(uint32_t *slot, uint32_t value)
{
	if (*slot == LAYOUT_UNKNOWN)
		*slot = value;
	return *slot == value;
}

struct single {
	enum value_base base;
	int32_t text; /* expected offset behind a pointer */
	bool behind;  /* a second integer may stand behind the first, and is the answer then */
	uint32_t first, second;
	bool contradicted;
};

static void single_return(void *context, const struct trace_return *returned)
{
	struct single *single = context;
	const struct value *value = &returned->value;
	bool second;

	if (value->base != single->base || value->offset != single->text ||
	    value->scale != (value->base == VALUE_NUMBER))
		return;
	second = single->behind && value->index != returned->first_integer.index;
	if (!agree(second ? &single->second : &single->first,
		   value->base == VALUE_NUMBER ? value->index : value->field))
		single->contradicted = true;
}

static uint32_t single_answer(struct code_reader *reader, const struct code *code, struct single single,
			      uint32_t alignment)
{
	uint32_t answer;

	single.first = single.second = LAYOUT_UNKNOWN;
	if (trace_returns(reader, code, single_return, &single) != 0 || single.contradicted)
		return LAYOUT_UNKNOWN;
	answer = single.second != LAYOUT_UNKNOWN ? single.second : single.first;
	return answer < TRACE_REACH && answer % alignment == 0 ? answer : LAYOUT_UNKNOWN;
}

uint32_t accessor_integer(struct code_reader *reader, const struct code *code)
{
	return single_answer(reader, code, (struct single){.base = VALUE_NUMBER}, 4);
}

uint32_t accessor_integer_behind(struct code_reader *reader, const struct code *code)
{
	return single_answer(reader, code, (struct single){.base = VALUE_NUMBER, .behind = true}, 4);
}

uint32_t accessor_pointer(struct code_reader *reader, const struct code *code)
{
	return single_answer(reader, code, (struct single){.base = VALUE_FIELD}, 8);
}

uint32_t accessor_list(struct code_reader *reader, const struct code *code, uint32_t text)
{
	return single_answer(reader, code, (struct single){.base = VALUE_FIELD, .text = (int32_t)text}, 8);
}

struct element {
	struct accessor_element answer;
	bool contradicted;
};

static void element_return(void *context, const struct trace_return *returned)
{
	struct element *element = context;
	struct accessor_element *answer = &element->answer;
	const struct value *value = &returned->value;
	int32_t first = returned->first_item.item;

	if (value->base != VALUE_ITEM || value->offset != 0)
		return;
	if (!agree(&answer->array, value->field) || !agree(&answer->index, value->index) ||
	    !agree(&answer->stride, value->scale) || !agree(&answer->first, first) ||
	    (value->item != first && !agree(&answer->second, value->item)))
		element->contradicted = true;
}

int accessor_element(struct code_reader *reader, const struct code *code, struct accessor_element *out)
{
	const struct accessor_element none = {LAYOUT_UNKNOWN, LAYOUT_UNKNOWN, LAYOUT_UNKNOWN, LAYOUT_UNKNOWN,
					      LAYOUT_UNKNOWN};
	struct element element = {.answer = none};
	struct accessor_element *answer = &element.answer;
	int err = trace_returns(reader, code, element_return, &element);

	*out = none;
	if (err || element.contradicted || answer->array >= TRACE_REACH || answer->array % 8 != 0 ||
	    answer->index >= TRACE_REACH || answer->index % 4 != 0 || answer->stride > STRIDE_MAX ||
	    answer->stride % 8 != 0 || answer->first % 8 != 0 ||
	    (answer->second != LAYOUT_UNKNOWN && answer->second % 8 != 0))
		return -EINVAL;
	*out = *answer;
	return 0;
}
