/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated crashes, whole and damaged, of processes that may have put anything where we look, and of an
 * examiner that may answer anything.
 */
#ifndef LAPIDARY_TESTS_CRASH_DRAW_H
#define LAPIDARY_TESTS_CRASH_DRAW_H

#include "tests/crash_make.h"
#include "tests/draw.h"

static inline void draw_bytes(void *out, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)out)[i] = (uint8_t)draw(256);
}

/* Addresses that matter: NULL, small, mapped, near the stack, no address at all. */
static inline uint64_t draw_address(void)
{
	static const uint64_t bases[] = {0,          0x1000,  MADE_LIBC,          MADE_RUBY, MADE_PG,
					 MADE_LIBPQ, MADE_SP, 0x4141414141414141, ~0ull};

	return bases[draw(9)] + draw(3) * draw(0x40000);
}

static inline void draw_fault(struct made *made)
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
static inline void draw_unwound(struct made *made)
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

static inline void draw_ruby(struct made *made)
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

static inline void draw_crash(struct made *made)
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
}

#endif
