/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A made-up crash of a worker with a libc, a libruby, a gem's extension and a library in its maps, for the
 * tests of report and store. crash_make gives a NULL read in the extension; tests bend it from there.
 */
#ifndef LAPIDARY_TESTS_CRASH_MAKE_H
#define LAPIDARY_TESTS_CRASH_MAKE_H

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "user/crash/report.h"

enum { MADE_STACK = 8192 };

#define MADE_SP     0x7ffc00001000ull
#define MADE_LIBC   0x7f0000000000ull
#define MADE_RUBY   0x7f0010000000ull
#define MADE_PG     0x7f0020000000ull
#define MADE_LIBPQ  0x7f0030000000ull
#define MADE_WALL   1700000000000000000ull
#define MADE_SECOND 1000000000ull

#define PG_PATH "/var/lib/gems/3.1.0/gems/pg-1.5.4/lib/pg_ext.so"

struct made {
	struct crash crash;
	struct maps_region regions[4];
	uint8_t stack[MADE_STACK];
	struct crash_input input;
	struct unwind_result unwound;
	union {
		struct ev_ruby ruby;
		uint8_t ruby_bytes[sizeof(struct ev_ruby) + EV_RUBY_FRAMES * sizeof(struct ev_ruby_frame)];
	};
};

/* The next frame outward, as an examiner found it. function 0: not known; symbol "": none. */
static inline struct unwind_frame *made_frame(struct made *made, uint64_t pc, uint64_t function,
					      const char *symbol)
{
	struct unwind_frame *frame = &made->unwound.frames[made->unwound.count++];

	*frame = (struct unwind_frame){.pc = pc, .function = function, .module = UNWIND_NO_MODULE};
	frame->how = made->unwound.count == 1 ? UNWIND_REGISTERS : UNWIND_TABLES;
	snprintf(frame->symbol, sizeof(frame->symbol), "%s", symbol);
	frame->symbol_offset = function ? (uint32_t)(pc - function) : 0;
	made->unwound.end = UNWIND_OUTERMOST;
	made->input.unwound = &made->unwound;
	return frame;
}

/* The next Ruby frame outward; address only of C functions. */
static inline struct ev_ruby_frame *made_ruby(struct made *made, uint64_t address, const char *label)
{
	struct ev_ruby_frame *frame = &made->ruby.frames[made->ruby.count++];

	memset(frame, 0, sizeof(*frame));
	frame->kind = address ? RUBY_FRAME_C : RUBY_FRAME_RUBY;
	frame->address = address;
	frame->line = 7;
	snprintf(frame->label, sizeof(frame->label), "%s", label);
	snprintf(frame->path, sizeof(frame->path), "/srv/shop/config.ru");
	made->ruby.state = RUBY_STACK_COMPLETE;
	made->input.ruby_stack = &made->ruby;
	return frame;
}

static inline void made_locate(struct made *made, const char *module, uint64_t map_start, uint64_t offset)
{
	struct ev_location *at = &made->crash.location;

	snprintf(at->module, sizeof(at->module), "%s", module);
	at->what = *module ? LOCATION_FILE : LOCATION_ANON;
	at->map_start = map_start;
	at->offset = offset;
	at->source = MAPS_RECORDS;
	at->build_id_len = 20;
	memset(at->build_id, 0xab, sizeof(at->build_id));
	made->crash.fault.regs[REG_IP_] = map_start + offset;
}

/* Puts a word on the stack, `distance` bytes above the stack pointer. */
static inline void made_push(struct made *made, size_t distance, uint64_t word)
{
	memcpy(made->stack + distance, &word, sizeof(word));
}

static inline void crash_make(struct made *made, const char *id)
{
	static const struct maps_region regions[] = {
		{MADE_LIBC,
		 MADE_LIBC + 0x155000,
		 0x26000,
		 1,
		 8,
		 1,
		 PROT_READ | PROT_EXEC,
		 2,
		 {1, 2},
		 "/usr/lib/x86_64-linux-gnu/libc.so.6"},
		{MADE_RUBY,
		 MADE_RUBY + 0x200000,
		 0x1000,
		 2,
		 8,
		 1,
		 PROT_READ | PROT_EXEC,
		 2,
		 {3, 4},
		 "/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1.7"},
		{MADE_PG, MADE_PG + 0x30000, 0x6000, 3, 8, 1, PROT_READ | PROT_EXEC, 2, {5, 6}, PG_PATH},
		{MADE_LIBPQ,
		 MADE_LIBPQ + 0x40000,
		 0,
		 4,
		 8,
		 1,
		 PROT_READ | PROT_EXEC,
		 0,
		 {0},
		 "/usr/lib/x86_64-linux-gnu/libpq.so.5.15"},
	};
	struct crash *crash = &made->crash;

	memset(made, 0, sizeof(*made));
	memcpy(made->regions, regions, sizeof(regions));
	snprintf(crash->id, sizeof(crash->id), "%s", id);
	snprintf(crash->app, sizeof(crash->app), "shop");
	snprintf(crash->comm, sizeof(crash->comm), "puma");
	crash->process = (struct identity){4711, 5 * MADE_SECOND};
	crash->parent = (struct identity){4700, 3 * MADE_SECOND};
	crash->uid = 1000;
	crash->role = ROLE_WORKER;
	crash->time_ns = 60 * MADE_SECOND;
	crash->confirmed_ns = crash->time_ns + 30000;
	crash->confirmed_by = CONFIRMED_HANDLER;
	crash->has_fault = true;
	crash->status = -1;
	crash->live_workers = 3;
	crash->fault.signal = SIGSEGV;
	crash->fault.code = SEGV_MAPERR;
	crash->fault.address = 0x18;
	crash->fault.trap_nr = 14;
	crash->fault.error_code = 4;
	crash->fault.handler = MADE_RUBY + 0x5000;
	crash->fault.regs[REG_SP_] = MADE_SP;
	snprintf(crash->sql, sizeof(crash->sql), "select $1");
	snprintf(crash->target, sizeof(crash->target), "postgres://localhost:5432/shop");
	made_locate(made, PG_PATH, MADE_PG, 0x7123);
	made->input = (struct crash_input){
		.crash = crash,
		.regions = made->regions,
		.region_count = 4,
		.maps_source = MAPS_RECORDS,
		.stack = made->stack,
		.stack_size = sizeof(made->stack),
		.flight = "{}\n",
		.flight_size = 3,
		.wall_offset_ns = MADE_WALL,
		.host = "test",
		.agent_version = "0.1.0",
		.server = "puma",
		.ruby = "3.1.7",
	};
}

#endif
