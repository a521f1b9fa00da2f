/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated crashes, whole and damaged, of processes that may have put anything where we look. Whatever it
 * was, the report is made, is one JSON document of its schema, tells of each part truly whether it is whole,
 * and names no gem that is not at fault. LAPIDARY_SEED repeats a run. Run from the top of the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/crash_draw.h"
#include "tests/report_check.h"

enum { CASES = 400 };

static const char *text_of(const cJSON *json, const char *first, const char *second)
{
	const cJSON *item = cJSON_GetObjectItem(json, first);

	return second ? json_text(item, second) : item ? json_text(json, first) : "";
}

static void test_documents(void **state)
{
	static struct made made;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		struct crash_report *report;
		cJSON *json;

		draw_crash(&made);
		made.input.diagnoses = draw(4) ? check_diagnoses : NULL;
		assert_int_equal(crash_report_new(&made.input, &report), 0);
		json = check_document(report, i);
		/* the columns are what the document says */
		assert_string_equal(report->cause, text_of(json, "cause", NULL));
		assert_string_equal(report->signal, text_of(json, "signal", NULL));
		assert_string_equal(report->fault_address, text_of(json, "fault_address", NULL));
		assert_string_equal(report->fingerprint, text_of(json, "fingerprint", NULL));
		assert_string_equal(report->blame.gem, text_of(json, "blame", "gem"));
		assert_string_equal(report->blame.module, text_of(json, "blame", "module"));
		/* one confidence, and a gem only with a module */
		assert_true(report->blame.confidence[0]);
		if (!strcmp(report->blame.confidence, "none"))
			assert_string_equal(report->blame.gem, "");
		assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(json, "remedies")) > 0);
		cJSON_Delete(json);
		crash_report_free(report);
	}
}

/* --- Property 17: what was captured is in the report, what was not is told ---------------------------- */

static const char *state_of(const cJSON *json, const char *part)
{
	const cJSON *one = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "parts"), part);
	const char *word = json_text(one, "state");

	if (strcmp(word, "complete") != 0 && !*json_text(one, "why"))
		fail_msg("%s is %s, and nobody says why", part, word);
	return word;
}

static size_t size_of(const cJSON *json, const char *list)
{
	return (size_t)cJSON_GetArraySize(cJSON_GetObjectItem(json, list));
}

/* What the generator took away. */
struct loss {
	bool fault, registers, stack, page, maps, events, ruby_record;
	uint32_t ruby_state, end, scanned;
	bool examiner;
};

static void draw_fault_kind(struct made *made)
{
	static const struct {
		int signal, code;
		uint64_t address;
	} kinds[] = {
		{SIGSEGV, 1, 0x18},
		{SIGSEGV, 2, MADE_PG},
		{SIGSEGV, 128, 0},
		{SIGSEGV, 1, 0x7fabcd000000},
		{SIGSEGV, 0, 0},
		{SIGSEGV, 1, MADE_SP - 8},
		{SIGABRT, -6, 0},
		{SIGBUS, 2, MADE_PG},
		{SIGILL, 2, 0x10},
		{SIGFPE, 1, 0x10},
		{SIGSEGV, 2, MADE_SP - 4096},
	};
	size_t kind = draw(11);

	made->crash.fault.signal = (uint32_t)kinds[kind].signal;
	made->crash.fault.code = kinds[kind].code;
	made->crash.fault.address = kinds[kind].address;
	for (int i = 0; i < REG_COUNT; i++)
		if (i != REG_SP_ && i != REG_IP_)
			made->crash.fault.regs[i] = draw(1ull << 47);
}

static void lose(struct made *made, struct loss *loss)
{
	static const uint32_t ends[] = {UNWIND_OUTERMOST,    UNWIND_OUTERMOST, UNWIND_STACK_ENDS,
					UNWIND_PAGE_MISSING, UNWIND_NO_TABLES, UNWIND_LIMIT,
					UNWIND_DAMAGED};

	*loss = (struct loss){.fault = !draw(8), .registers = !draw(6), .stack = !draw(4), .page = !draw(4)};
	loss->maps = !draw(4);
	loss->events = !draw(4);
	loss->ruby_record = !draw(4);
	loss->examiner = !draw(4);
	loss->end = ends[draw(7)];
	loss->scanned = (uint32_t)(draw(3) ? 0 : 1);
	loss->ruby_state = (uint32_t)(draw(2) ? RUBY_STACK_COMPLETE : 1 + draw(5));
	made->unwound.end = loss->end;
	made->unwound.scanned = loss->scanned;
	made->ruby.state = loss->ruby_state;
	if (loss->fault) {
		made->crash.has_fault = false;
		memset(&made->crash.fault, 0, sizeof(made->crash.fault));
	}
	made->input.no_registers = loss->registers;
	if (loss->stack)
		made->input.stack = NULL, made->input.stack_size = 0;
	if (loss->page)
		made->crash.fault.missing[0] |= 1;
	if (loss->maps)
		made->input.regions = NULL, made->input.region_count = 0, made->input.maps_source = MAPS_NONE;
	else if (draw(2))
		made->input.maps_source = MAPS_PROC;
	if (loss->events)
		made->input.flight = NULL;
	if (loss->ruby_record)
		made->input.ruby_stack = NULL;
	if (loss->examiner) {
		made->input.unwound = NULL;
		made->input.unwound_why = "the examiner died of SIGSEGV";
	}
}

static void check_registers(const cJSON *json, const struct made *made, const struct loss *loss)
{
	const cJSON *registers = cJSON_GetObjectItem(json, "registers");
	bool missing = loss->fault || loss->registers;

	assert_string_equal(state_of(json, "registers"), missing ? "missing" : "complete");
	assert_int_equal(cJSON_IsNull(registers), missing);
	if (!missing)
		assert_int_equal(strtoull(json_text(registers, "rbx"), NULL, 16),
				 made->crash.fault.regs[REG_BX_]);
}

static void check_stack(const cJSON *json, const struct loss *loss)
{
	const char *expected = loss->fault || loss->stack ? "missing" : loss->page ? "partial" : "complete";
	const cJSON *stack = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "memory"), "stack");

	assert_string_equal(state_of(json, "stack"), expected);
	assert_int_equal(cJSON_IsNull(stack), expected[0] == 'm');
	if (expected[0] != 'm') {
		assert_int_equal(json_number(stack, "size", 0), MADE_STACK);
		assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(stack, "missing")), loss->page);
	}
	if (loss->fault || loss->registers || loss->stack || loss->maps)
		assert_string_equal(state_of(json, "core"), "missing");
	else
		assert_string_equal(state_of(json, "core"), loss->page ? "partial" : "complete");
}

static void check_native(const cJSON *json, const struct made *made, const struct loss *loss)
{
	bool whole = !loss->fault && !loss->examiner && loss->end == UNWIND_OUTERMOST && !loss->scanned;

	assert_string_equal(state_of(json, "native_frames"), loss->fault ? "missing"
							     : whole     ? "complete"
									 : "partial");
	if (loss->fault)
		assert_int_equal(size_of(json, "native_frames"), 0);
	else if (!loss->examiner)
		assert_int_equal(size_of(json, "native_frames"), made->unwound.count);
	else
		assert_true(size_of(json, "native_frames") >= 1);
}

static void check_ruby(const cJSON *json, const struct made *made, const struct loss *loss)
{
	static const char *const states[] = {"", "complete", "partial", "partial", "complete", "missing"};

	assert_string_equal(state_of(json, "ruby_frames"),
			    loss->fault || loss->ruby_record ? "missing" : states[loss->ruby_state]);
	assert_int_equal(size_of(json, "ruby_frames"), loss->ruby_record ? 0 : made->ruby.count);
}

/* Each native frame is in the whole stack or gave way to Ruby frames, each Ruby frame is in it. */
static void check_whole_stack(const cJSON *json)
{
	const cJSON *one;
	size_t ruby = 0;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(json, "stack"))
	{
		if (cJSON_HasObjectItem(one, "ruby"))
			assert_int_equal(json_number(one, "ruby", -1), ruby++);
		if (cJSON_HasObjectItem(one, "native"))
			assert_true(json_number(one, "native", 1e9) < (double)size_of(json, "native_frames"));
	}
	assert_int_equal(ruby, size_of(json, "ruby_frames"));
}

static void test_capture(void **state)
{
	static struct made made;

	(void)state;
	for (int i = 0; i < CASES; i++) {
		struct crash_report *report;
		struct loss loss;
		cJSON *json;

		crash_make(&made, "a1");
		draw_fault_kind(&made);
		for (size_t k = 1 + draw(40); k > 0; k--)
			made_frame(&made, MADE_PG + draw(0x20000), 0, "");
		for (size_t k = 1 + draw(40); k > 0; k--)
			made_ruby(&made, 0, "report");
		lose(&made, &loss);
		assert_int_equal(crash_report_new(&made.input, &report), 0);
		json = check_document(report, i);
		check_registers(json, &made, &loss);
		check_stack(json, &loss);
		check_native(json, &made, &loss);
		check_ruby(json, &made, &loss);
		check_whole_stack(json);
		assert_string_equal(state_of(json, "maps"), loss.maps ? "missing"
							    : made.input.maps_source == MAPS_PROC
								    ? "complete"
								    : "partial");
		assert_string_equal(state_of(json, "events"), loss.events ? "missing" : "complete");
		assert_int_equal(report->stack_size, made.input.stack_size);
		cJSON_Delete(json);
		crash_report_free(report);
	}
}

static int start(void **state)
{
	(void)state;
	draw_start();
	return check_start();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 17: what was captured is in the report, what was not is told, for every kind of "
		 "fault",
		 test_capture, NULL, NULL, NULL},
		{"Property 19: every report is one document of its schema, and one line where one is wanted",
		 test_documents, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, start, check_finish);
}
