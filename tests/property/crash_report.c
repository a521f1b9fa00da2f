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
#include "tests/draw.h"
#include "tests/report_check.h"

enum { CASES = 400 };

static void draw_bytes(void *out, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)out)[i] = (uint8_t)draw(256);
}

/* Addresses that matter: NULL, small, mapped, near the stack, no address at all. */
static uint64_t draw_address(void)
{
	static const uint64_t bases[] = {0,          0x1000,  MADE_LIBC,          MADE_RUBY, MADE_PG,
					 MADE_LIBPQ, MADE_SP, 0x4141414141414141, ~0ull};

	return bases[draw(9)] + draw(3) * draw(0x40000);
}

static void draw_fault(struct made *made)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
	static const int codes[] = {1, 2, 3, 4, 128, 0, -1, -6, 77};
	struct ev_fault *fault = &made->crash.fault;

	for (int i = 0; i < REG_COUNT; i++)
		fault->regs[i] = draw_address();
	fault->signal = (uint32_t)signals[draw(6)];
	fault->code = codes[draw(9)];
	fault->address = draw(3) ? draw_address() : fault->regs[REG_IP_];
	fault->error_code = draw(32);
	fault->trap_nr = draw(20);
	fault->flags = (uint32_t)draw(64);
	fault->handler = draw(4) ? draw_address() : draw(2);
	fault->sender_tgid = draw(2) ? made->crash.process.tgid : (uint32_t)draw(100000);
	draw_bytes(fault->missing, sizeof(fault->missing));
	draw_bytes(fault->comm, sizeof(fault->comm) - 1);
	fault->capture_ns = (uint32_t)draw(200000);
	fault->auxv_count = (uint32_t)draw(EV_AUXV + 9);
	draw_bytes(fault->auxv, sizeof(fault->auxv));
	fault->code_start = draw(2) ? draw_address() : 0;
	draw_bytes(fault->text, sizeof(fault->text));
}

/* What an examiner that went mad could send, its texts made printable by unwind_check. */
static void draw_unwound(struct made *made)
{
	struct unwind_result *unwound = &made->unwound;

	unwound->count = (uint32_t)draw(draw(2) ? 6 : UNWIND_FRAMES + 1);
	unwound->end = (uint32_t)draw(8);
	unwound->scanned = (uint32_t)draw(5);
	unwound->module_count = (uint32_t)draw(5);
	snprintf(unwound->why, sizeof(unwound->why), "%s", draw(2) ? "a reason" : "");
	snprintf(unwound->instruction, sizeof(unwound->instruction), "%s", draw(2) ? "ud2" : "");
	for (size_t i = 0; i < unwound->module_count; i++) {
		draw_bytes(&unwound->modules[i], sizeof(unwound->modules[i]));
		unwound->modules[i].region = (uint32_t)draw(6);
	}
	for (size_t i = 0; i < unwound->count; i++) {
		static const char *const symbols[] = {"",        "free",    "abort",      "rb_bug",
						      "vm_exec", "gc_mark", "f<\xc3\xa9>"};
		struct unwind_frame *frame = &unwound->frames[i];

		frame->pc = draw_address();
		frame->sp = draw(2) ? draw_address() : 0;
		frame->function = draw(2) ? draw_address() : 0;
		frame->module = (uint16_t)draw(8);
		frame->how = (uint8_t)(1 + draw(4));
		frame->interrupted = (uint8_t)draw(2);
		frame->symbol_offset = (uint32_t)draw(1ull << 32);
		snprintf(frame->symbol, sizeof(frame->symbol), "%s", symbols[draw(7)]);
	}
	made->input.unwound = unwound;
}

static void draw_ruby(struct made *made)
{
	struct ev_ruby *ruby = &made->ruby;

	ruby->state = (uint32_t)draw(7);
	ruby->count = (uint32_t)draw(draw(2) ? 6 : EV_RUBY_FRAMES + 1);
	for (size_t i = 0; i < ruby->count; i++) {
		draw_bytes(&ruby->frames[i], sizeof(ruby->frames[i]));
		ruby->frames[i].kind = (uint32_t)draw(6);
		ruby->frames[i].address = draw(2) && made->unwound.count
						  ? made->unwound.frames[draw(made->unwound.count)].function
						  : draw_address();
	}
	made->input.ruby_stack = ruby;
}

static void draw_crash(struct made *made)
{
	struct crash *crash = &made->crash;

	crash_make(made, "a1");
	draw_fault(made);
	made_locate(made, draw(3) ? made->regions[draw(4)].path : "", draw_address(), draw(0x30000));
	crash->location.what = (uint32_t)draw(7);
	crash->location.build_id_len = (uint8_t)draw(24);
	crash->location.source = (uint32_t)draw(6);
	for (size_t at = 0; at + 8 <= sizeof(made->stack); at += 8)
		if (!draw(8))
			made_push(made, at, draw_address());
	crash->fatal.kind = (uint32_t)(draw(4) ? 0 : draw(7));
	draw_bytes(crash->fatal.message, draw(sizeof(crash->fatal.message)));
	crash->oom = !draw(8);
	crash->has_fault = draw(8) != 0;
	crash->status = draw(2) ? -1 : (int32_t)draw(65536);
	crash->confirmed_by = (enum confirmation)draw(5);
	crash->role = (enum role)draw(4);
	draw_bytes(crash->app, draw(sizeof(crash->app)));
	draw_bytes(crash->sql, draw(sizeof(crash->sql)));
	draw_bytes(crash->comm, sizeof(crash->comm) - 1);
	if (!draw(4))
		made->input.stack = NULL, made->input.stack_size = 0;
	if (!draw(4))
		made->input.regions = NULL, made->input.region_count = 0;
	if (!draw(4))
		made->input.flight = NULL;
	if (draw(2))
		draw_unwound(made);
	if (draw(2))
		draw_ruby(made);
	made->input.diagnoses = draw(4) ? check_diagnoses : NULL;
}

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
