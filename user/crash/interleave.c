/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ruby's control frames and the native stack are two records of the same calls. Where Ruby called a method
 * that is written in C, both have it: the control frame holds the function's address, and the native frame
 * began at that address. These calls are the pins; between two of them the interpreter ran the Ruby frames
 * that lie between the same two pins of the other list.
 *
 *      native                 Ruby                     together
 *      strlen                                          strlen
 *      shop_total        =    Shop#total (C)           shop_total = Shop#total
 *      vm_exec_core           block in report          block in report
 *      rb_vm_exec             ·                        ·
 *      rb_ary_each       =    Array#each (C)           rb_ary_each = Array#each
 *      vm_exec_core           report                   report
 *      rb_vm_exec             <main>                   <main>
 *      main                                            ·
 *      __libc_start_main                               __libc_start_main
 *
 * 1. Pins are the longest common subsequence of the two lists, so that a call that only one of them shows
 *    (its native frame was optimised away, the unwinding ended before) costs no other. A native frame can be
 *    a pin when its caller is the interpreter, or is not known: a C function that calls itself was called
 *    by Ruby once.
 * 2. Between two pins (and before the first, and after the last) the interpreter's native frames give way to
 *    the Ruby frames, if there are any. What else is there stays: it lies outside the first run of
 *    the interpreter's frames, since whatever calls into Ruby calls it, and is called by nothing but the next
 * pin.
 * 3. Before the first pin the interpreter's frames also tell what it was doing when it failed (a garbage
 *    collection, a look-up). They stay up to the loop that runs bytecode, known by its symbol; without
 * symbols the first run of them stays whole.
 */
#include <string.h>
#include "user/crash/interleave.h"

struct lists {
	const struct frame *native;
	const struct ev_ruby_frame *ruby;
	size_t native_count, ruby_count;
	bool interpreter_known; /* at least one native frame is of a module that is Ruby */
};

struct pin {
	size_t native, ruby;
};

static bool is_interpreter(const struct frame *frame)
{
	return frame->kind == MODULE_RUBY;
}

static bool is_pin(const struct lists *lists, size_t native, size_t ruby)
{
	const struct frame *frame = &lists->native[native], *caller = frame + 1;

	if (lists->ruby[ruby].kind != RUBY_FRAME_C || !frame->function ||
	    frame->function != lists->ruby[ruby].address)
		return false;
	if (native + 1 == lists->native_count)
		return true;
	return caller->function != frame->function && (is_interpreter(caller) || !lists->interpreter_known);
}

/*
 * lengths[n][r]: pins among native frames from n and Ruby frames from r on. Filled from the end, then read
 * from the start, which prefers the innermost of equal choices.
 */
static size_t find_pins(const struct lists *lists, uint8_t (*lengths)[EV_RUBY_FRAMES + 1], struct pin *pins)
{
	size_t n, r, count = 0;

	for (n = lists->native_count; n-- > 0;)
		for (r = lists->ruby_count; r-- > 0;) {
			uint8_t inner = lengths[n + 1][r], outer = lengths[n][r + 1];

			lengths[n][r] = is_pin(lists, n, r) ? (uint8_t)(lengths[n + 1][r + 1] + 1)
					: inner > outer     ? inner
							    : outer;
		}
	for (n = r = 0; n < lists->native_count && r < lists->ruby_count;) {
		if (is_pin(lists, n, r))
			pins[count++] = (struct pin){n++, r++};
		else if (lengths[n + 1][r] >= lengths[n][r + 1])
			n++;
		else
			r++;
	}
	return count;
}

bool interpreter_loop(const struct frame *frame)
{
	static const char *const names[] = {"vm_exec",      "rb_vm_exec",   "vm_call",
					    "rb_vm_call",   "vm_sendish",   "vm_invoke",
					    "rb_vm_invoke", "invoke_block", "rb_ec_exec"};

	for (size_t i = 0; is_interpreter(frame) && i < sizeof(names) / sizeof(*names); i++)
		if (!strncmp(frame->symbol, names[i], strlen(names[i])))
			return true;
	return false;
}

/* How many native frames of the innermost stretch stay although they are the interpreter's (3 above). */
static size_t kept_at_top(const struct lists *lists, size_t end)
{
	size_t first = 0, at;

	while (first < end && !is_interpreter(&lists->native[first]))
		first++;
	for (at = first; at < end && is_interpreter(&lists->native[at]); at++)
		if (at > 0 && interpreter_loop(&lists->native[at]))
			break;
	return at;
}

static size_t put(struct interleaved *out, size_t count, size_t native, size_t ruby)
{
	out[count] = (struct interleaved){(uint16_t)native, (uint16_t)ruby};
	return count + 1;
}

/* Where among the native frames of a stretch its Ruby frames belong. */
static size_t ruby_place(const struct lists *lists, size_t from, size_t to)
{
	if (from == 0)
		return kept_at_top(lists, to);
	while (from < to && !is_interpreter(&lists->native[from]))
		from++;
	return from;
}

/* The stretch [from, to) of both lists, which holds no pin. */
static size_t add_stretch(const struct lists *lists, struct pin from, struct pin to, struct interleaved *out,
			  size_t count)
{
	size_t place = from.ruby < to.ruby ? ruby_place(lists, from.native, to.native) : to.native;

	for (size_t n = from.native; n < place; n++)
		count = put(out, count, n, INTERLEAVE_NONE);
	for (size_t r = from.ruby; r < to.ruby; r++)
		count = put(out, count, INTERLEAVE_NONE, r);
	for (size_t n = place; n < to.native; n++)
		if (!is_interpreter(&lists->native[n]))
			count = put(out, count, n, INTERLEAVE_NONE);
	return count;
}

size_t interleave(const struct frame *native, size_t native_count, const struct ev_ruby_frame *ruby,
		  size_t ruby_count, struct interleaved out[INTERLEAVE_MAX])
{
	uint8_t lengths[UNWIND_FRAMES + 1][EV_RUBY_FRAMES + 1] = {0};
	struct lists lists = {native, ruby, native_count, ruby_count, false};
	struct pin pins[EV_RUBY_FRAMES], from = {0, 0};
	size_t pin_count, count = 0;

	for (size_t i = 0; i < native_count && !lists.interpreter_known; i++)
		lists.interpreter_known = is_interpreter(&native[i]);
	pin_count = find_pins(&lists, lengths, pins);
	for (size_t i = 0; i < pin_count; i++) {
		count = add_stretch(&lists, from, pins[i], out, count);
		count = put(out, count, pins[i].native, pins[i].ruby);
		from = (struct pin){pins[i].native + 1, pins[i].ruby + 1};
	}
	return add_stretch(&lists, from, (struct pin){native_count, ruby_count}, out, count);
}
