// SPDX-License-Identifier: Apache-2.0
/* The receiver's side: a result may come from an examiner that was taken over. */
#include "user/base/text.h"
#include "user/elf/unwind.h"

static bool check_module(const struct unwind_module *module, size_t source_count)
{
	return module->start < module->end && module->region < source_count && module->tables <= 1 &&
	       module->symbols <= UNWIND_DEBUG_SYMBOLS && module->readable <= 1;
}

static bool check_frame(struct unwind_frame *frame, const struct unwind_result *result)
{
	if (frame->module != UNWIND_NO_MODULE && frame->module >= result->module_count)
		return false;
	if (frame->how < UNWIND_REGISTERS || frame->how > UNWIND_SCANNED || frame->interrupted > 1 ||
	    frame->symbol_from > UNWIND_DEBUG_SYMBOLS)
		return false;
	frame->symbol[UNWIND_SYMBOL - 1] = '\0';
	text_clean(frame->symbol);
	return true;
}

bool unwind_check(struct unwind_result *result, size_t source_count)
{
	if (result->count > UNWIND_FRAMES || result->module_count > UNWIND_MODULES ||
	    result->scanned > result->count || result->end < UNWIND_OUTERMOST || result->end > UNWIND_DAMAGED)
		return false;
	for (uint32_t i = 0; i < result->module_count; i++)
		if (!check_module(&result->modules[i], source_count))
			return false;
	for (uint32_t i = 0; i < result->count; i++)
		if (!check_frame(&result->frames[i], result))
			return false;
	result->why[sizeof(result->why) - 1] = '\0';
	text_clean(result->why);
	result->instruction[sizeof(result->instruction) - 1] = '\0';
	text_clean(result->instruction);
	return true;
}
