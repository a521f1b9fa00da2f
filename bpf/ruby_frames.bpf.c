/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a thread's execution context to its control frames, and from each to method, file and line.
 *
 * What Ruby's own crash report does, in the same order and with the same omissions (vm_backtrace.c,
 * backtrace_each): frames of bytecode that have no pc yet and frames that are neither bytecode nor a C
 * function are left out. Path and line of a C function are those of its caller, which is met later on this
 * way out: user space puts them in (user/probe/decode.c).
 *
 * Each step is a function that the verifier checks for itself, once, and not again for each of the 64
 * frames. They are global for that reason alone, and so they look at their argument.
 */
#include "bpf/ruby_frames.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/*
 * The table. One column a version of Ruby; the numbers are of x86-64 and were read from the headers of that
 * version (2.7.4, 3.1.2, 3.3.8 as Debian builds them, the others as tagged):
 *   ec_thread         vm_core.h  rb_execution_context_t.thread_ptr; 3.1 dropped the count of protection tags
 *   cfp_size          vm_core.h  sizeof(rb_control_frame_t); 3.1 and 3.2 also have the address of jitted code
 *   body_insns…       vm_core.h  rb_iseq_constant_body.insns_info: body, size, succ_index_table;
 *                                3.2 made location.first_lineno an int
 *   insn_size         iseq.h     sizeof(struct iseq_insn_info_entry); 3.1 added the node's id
 *   string_embedded   rstring.h  where the bytes of an embedded RString lie; 3.2 put its length before them
 *   thread_id         vm_core.h  rb_thread_t.thread_id; wanted where the context is nobody's own (2.7)
 * What no version has changed stands in the enum below.
 */
static const struct ruby_offsets columns[RUBY_COLUMNS] = {
	/*             ec_thread  cfp_size  body_insns…    insn_size  string_embedded  thread_id */
	[RUBY_2_7] = {56, 56, 120, 136, 144, 8, 16, 72}, [RUBY_3_0] = {56, 56, 120, 136, 144, 8, 16, 0},
	[RUBY_3_1] = {48, 64, 120, 136, 144, 12, 16, 0}, [RUBY_3_2] = {48, 64, 112, 128, 136, 12, 24, 0},
	[RUBY_3_3] = {48, 56, 112, 128, 136, 12, 24, 0}, [RUBY_3_4] = {48, 56, 112, 128, 136, 12, 24, 0},
	[RUBY_4_0] = {48, 56, 112, 128, 136, 12, 24, 0},
};

enum {
	/* vm_core.h, rb_execution_context_t, in words */
	EC_STACK = 0,
	EC_STACK_SIZE = 1, /* in words as well */
	EC_CFP = 2,
	/* vm_core.h, rb_control_frame_t, in words */
	CFP_PC = 0,
	CFP_ISEQ = 2,
	CFP_EP = 4,
	/* vm_core.h, rb_iseq_struct */
	ISEQ_BODY = 16,
	/* vm_core.h, rb_iseq_constant_body, in words: iseq_encoded, location.pathobj, location.label */
	BODY_ENCODED = 1,
	BODY_PATH = 8,
	BODY_LABEL = 10,
	/* vm_core.h, what lies at and below a frame's ep: the method entry, the special value, the flags */
	EP_BELOW = 16,
	FRAME_MASK = 0x7fff0001,
	FRAME_C = 0x55550001,
	/* method.h, rb_callable_method_entry_t.def; rb_method_definition_t in words: type, body.cfunc.func,
	   id */
	METHOD_DEFINITION = 16,
	DEFINITION_TYPE = 0,
	DEFINITION_FUNCTION = 1,
	DEFINITION_ID = 4,
	METHOD_TYPE_MASK = 0xf,
	METHOD_TYPE_C = 1,
	/* ruby/internal/fl_type.h, rstring.h, rarray.h */
	TYPE_MASK = 0x1f,
	TYPE_STRING = 5,
	TYPE_ARRAY = 7,
	STRING_OUTSIDE = 1 << 13,
	STRING_LENGTH_SHIFT = 14, /* where the length is not before the bytes */
	STRING_LENGTH_MASK = 0x1f,
	ARRAY_EMBEDDED = 1 << 13,
	ARRAY_ELEMENTS = 16, /* of an embedded one */
	/* symbol.c, symbol.h: serial numbers of ids, in arrays of 512 pairs of string and symbol */
	ID_SCOPE_SHIFT = 4,
	ID_UNIT = 512,
	ID_PAIR = 2,
	/* iseq.c, struct succ_index_table: 54 places in words of nine 7-bit ranks, then blocks of 512 bits */
	INDEX_IMMEDIATE = 54,
	INDEX_RANKS = 9,
	INDEX_RANK_BITS = 7,
	INDEX_BLOCK = 512,
	INDEX_BLOCK_SIZE = 80, /* rank, the ranks of its seven later words, its eight words */
	INDEX_BLOCK_WORDS = 16,
	INDEX_SMALL_BITS = 9,
	/* no rule of Ruby's but ours: a stack of 1,024 words is less than RUBY_FIBER_VM_STACK_SIZE may ask
	   for */
	STACK_WORDS_MIN = 1024,
	STACK_WORDS_MAX = 1 << 24,
	CONTROL_FRAMES = 128, /* looked at, with those that are left out */
	LABEL_LAST = EV_RUBY_LABEL - 1,
	PATH_LAST = EV_RUBY_PATH - 1,
};

enum text { TEXT_LABEL, TEXT_PATH };

#define DTV_UNALLOCATED (~0ull) /* glibc: this thread has not touched that module's block */

static __always_inline long user_read(void *out, __u32 size, __u64 address)
{
	return bpf_probe_read_user(out, size, (void *)address);
}

static __always_inline __u32 ones(__u64 word)
{
	word -= word >> 1 & 0x5555555555555555ull;
	word = (word & 0x3333333333333333ull) + (word >> 2 & 0x3333333333333333ull);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return word * 0x0101010101010101ull >> 56;
}

static __always_inline __u64 body_word(const struct ruby_walk *walk, __u32 offset)
{
	__u32 word = offset / 8;

	return word < RUBY_BODY_WORDS ? walk->body[word] : 0;
}

/* Copies the RString walk->text into a frame: of a label the beginning, of a path the end. 0 or -1. */
__noinline int ruby_text(struct ruby_walk *walk, __u32 index, enum text what)
{
	__u64 flags, length, from;
	__u32 size;

	if (!walk || index >= EV_RUBY_FRAMES || user_read(walk->object, 4 * sizeof(__u64), walk->text))
		return -1;
	flags = walk->object[0];
	if ((flags & TYPE_MASK) != TYPE_STRING)
		return -1;
	length = walk->object[2];
	from = walk->text + walk->at.string_embedded;
	if (flags & STRING_OUTSIDE)
		from = walk->object[3];
	else if (walk->at.string_embedded == 2 * sizeof(__u64))
		length = flags >> STRING_LENGTH_SHIFT & STRING_LENGTH_MASK;
	if (what == TEXT_LABEL) {
		size = length > LABEL_LAST ? LABEL_LAST : length;
		barrier_var(size);
		size &= LABEL_LAST;
		walk->frames[index].label[size] = '\0';
		return user_read(walk->frames[index].label, size, from) ? -1 : 0;
	}
	if (length > PATH_LAST) {
		from += length - PATH_LAST;
		length = PATH_LAST;
	}
	size = length;
	barrier_var(size);
	size &= PATH_LAST;
	walk->frames[index].path[size] = '\0';
	return user_read(walk->frames[index].path, size, from) ? -1 : 0;
}

/* Which entry of insns_info is that of the instruction at `at`? 0: none (entries count from 1). */
__noinline __u32 ruby_insn_index(struct ruby_walk *walk, __u64 table, __u32 at)
{
	__u64 word, block;
	__u32 bit;

	if (!walk)
		return 0;
	if (at < INDEX_IMMEDIATE) {
		if (user_read(&word, sizeof(word), table + at / INDEX_RANKS * sizeof(word)))
			return 0;
		return word >> at % INDEX_RANKS * INDEX_RANK_BITS & ((1 << INDEX_RANK_BITS) - 1);
	}
	at -= INDEX_IMMEDIATE;
	block = table + INDEX_IMMEDIATE / INDEX_RANKS * sizeof(word) +
		(__u64)(at / INDEX_BLOCK) * INDEX_BLOCK_SIZE;
	bit = at % INDEX_BLOCK;
	if (user_read(walk->block, sizeof(walk->block), block) ||
	    user_read(&word, sizeof(word), block + INDEX_BLOCK_WORDS + bit / 64 * sizeof(word)))
		return 0;
	at = (__u32)walk->block[0] + ones(word << (63 - bit % 64));
	if (bit >= 64)
		at += walk->block[1] >> (bit / 64 - 1) * INDEX_SMALL_BITS & ((1 << INDEX_SMALL_BITS) - 1);
	return at;
}

/* The line of walk->frame in walk->body; 0: not known, -1: not readable. */
__noinline int ruby_line(struct ruby_walk *walk)
{
	__u64 at, entries;
	__u32 count, index = 1;
	int line = 0;

	if (!walk)
		return -1;
	at = (walk->frame[CFP_PC] - walk->body[BODY_ENCODED]) / sizeof(__u64);
	entries = body_word(walk, walk->at.body_insns);
	count = body_word(walk, walk->at.body_insns_count);
	if (!count)
		return 0;
	if (at > 0x7fffffff)
		return -1;
	if (at)
		at--; /* pc is already at the next instruction */
	if (count > 1)
		index = ruby_insn_index(walk, body_word(walk, walk->at.body_insns_index), at);
	if (!index || index > count ||
	    user_read(&line, sizeof(line), entries + (__u64)(index - 1) * walk->at.insn_size))
		return -1;
	return line;
}

/* walk->text = element `index` of an RArray. 0 or -1. */
__noinline int ruby_element(struct ruby_walk *walk, __u64 array, __u32 index)
{
	__u64 elements = array + ARRAY_ELEMENTS;

	if (!walk || user_read(walk->object, sizeof(walk->object), array) ||
	    (walk->object[0] & TYPE_MASK) != TYPE_ARRAY)
		return -1;
	if (!(walk->object[0] & ARRAY_EMBEDDED)) {
		if (index >= walk->object[2])
			return -1;
		elements = walk->object[4];
	}
	return user_read(&walk->text, sizeof(walk->text), elements + (__u64)index * sizeof(__u64)) ? -1 : 0;
}

/* The name of a method's id into the label of a frame. 0 or -1. */
__noinline int ruby_name(struct ruby_walk *walk, __u32 index, __u64 id)
{
	__u32 serial;

	if (!walk)
		return -1;
	serial = id > walk->ruby.last_op ? id >> ID_SCOPE_SHIFT : id;
	if (ruby_element(walk, walk->names, serial / ID_UNIT) ||
	    ruby_element(walk, walk->text, serial % ID_UNIT * ID_PAIR))
		return -1;
	return ruby_text(walk, index, TEXT_LABEL);
}

/* A frame of bytecode. Returns how many of its parts could not be read, -1 when that is all of it. */
__noinline int ruby_bytecode_frame(struct ruby_walk *walk, __u32 index)
{
	struct ev_ruby_frame *frame;
	int missing = 0, line;
	__u64 body;

	if (!walk || index >= EV_RUBY_FRAMES)
		return -1;
	if (user_read(&body, sizeof(body), walk->frame[CFP_ISEQ] + ISEQ_BODY) ||
	    user_read(walk->body, sizeof(walk->body), body))
		return -1;
	frame = &walk->frames[index];
	frame->kind = RUBY_FRAME_RUBY;
	frame->address = walk->frame[CFP_ISEQ];
	line = ruby_line(walk);
	frame->line = line > 0 ? line : 0;
	missing += line < 0;
	walk->text = walk->body[BODY_LABEL];
	missing += ruby_text(walk, index, TEXT_LABEL) != 0;
	/* a string where path and real path are one, else an array of the two */
	walk->text = walk->body[BODY_PATH];
	if (ruby_text(walk, index, TEXT_PATH))
		missing += ruby_element(walk, walk->body[BODY_PATH], 0) || ruby_text(walk, index, TEXT_PATH);
	return missing;
}

/* A frame of a method in C: walk->object has its method entry. As above. */
__noinline int ruby_c_frame(struct ruby_walk *walk, __u32 index)
{
	struct ev_ruby_frame *frame;
	__u64 definition;

	if (!walk || index >= EV_RUBY_FRAMES)
		return -1;
	frame = &walk->frames[index];
	frame->kind = RUBY_FRAME_C;
	if (user_read(&definition, sizeof(definition), walk->object[0] + METHOD_DEFINITION) ||
	    user_read(walk->object, sizeof(walk->object), definition))
		return 1;
	if ((walk->object[DEFINITION_TYPE] & METHOD_TYPE_MASK) == METHOD_TYPE_C)
		frame->address = walk->object[DEFINITION_FUNCTION];
	return walk->names && ruby_name(walk, index, walk->object[DEFINITION_ID]) ? 1 : 0;
}

/* The control frame at walk->cfp. 0: go on, 1: it has no room any more, -1: it cannot be read. */
__noinline int ruby_frame(struct ruby_walk *walk)
{
	struct ev_ruby_frame *frame;
	int missing;
	__u32 index;
	bool c;

	if (!walk || user_read(walk->frame, sizeof(walk->frame), walk->cfp))
		return -1;
	c = !walk->frame[CFP_ISEQ];
	if (!c && !walk->frame[CFP_PC])
		return 0;
	if (c) {
		if (user_read(walk->object, 3 * sizeof(__u64), walk->frame[CFP_EP] - EP_BELOW))
			return -1;
		if ((walk->object[2] & FRAME_MASK) != FRAME_C)
			return 0;
	}
	index = walk->count;
	if (index >= EV_RUBY_FRAMES)
		return 1;
	frame = &walk->frames[index];
	frame->kind = RUBY_FRAME_OTHER;
	frame->address = 0;
	frame->line = 0;
	frame->label[0] = '\0';
	frame->path[0] = '\0';
	missing = c ? ruby_c_frame(walk, index) : ruby_bytecode_frame(walk, index);
	if (missing < 0)
		return -1;
	if (missing)
		walk->state = RUBY_STACK_UNREADABLE;
	walk->count = index + 1;
	return 0;
}

/* Is there an execution context at `at`? walk->ec has it then. */
__noinline int ruby_context_at(struct ruby_walk *walk, __u64 at)
{
	__u64 stack, size, cfp, thread;

	if (!walk || !at || at % sizeof(__u64) || user_read(walk->ec, sizeof(walk->ec), at))
		return 0;
	stack = walk->ec[EC_STACK];
	size = walk->ec[EC_STACK_SIZE];
	cfp = walk->ec[EC_CFP];
	thread = walk->ec[walk->at.ec_thread / sizeof(__u64) & (RUBY_EC_WORDS - 1)];
	return stack && stack % sizeof(__u64) == 0 && size >= STACK_WORDS_MIN && size <= STACK_WORDS_MAX &&
	       cfp % sizeof(__u64) == 0 && cfp >= stack && cfp < stack + size * sizeof(__u64) && thread &&
	       thread % sizeof(__u64) == 0;
}

/* Where the words are among which the context's address is. 0, or the state that the walk ends with. */
static __always_inline int context_place(const struct ruby_walk *walk, __u64 *at)
{
	__u64 context = walk->ruby.context, slot, vector;

	switch (walk->ruby.how) {
	case RUBY_CONTEXT_GLOBAL:
		*at = walk->bias + context;
		return 0;
	case RUBY_CONTEXT_PROGRAM:
		*at = walk->thread_pointer - context;
		return 0;
	case RUBY_CONTEXT_OFFSET:
		if (user_read(&slot, sizeof(slot), walk->bias + context))
			return RUBY_STACK_UNREADABLE;
		*at = walk->thread_pointer + slot;
		return 0;
	case RUBY_CONTEXT_MODULE:
		if (user_read(&slot, sizeof(slot), walk->bias + context) ||
		    user_read(&vector, sizeof(vector), walk->thread_pointer + sizeof(__u64)) ||
		    user_read(at, sizeof(*at), vector + slot * walk->ruby.dtv_step))
			return RUBY_STACK_UNREADABLE;
		return !*at || *at == DTV_UNALLOCATED ? RUBY_STACK_NO_CONTEXT : 0;
	default:
		return RUBY_STACK_UNSUPPORTED;
	}
}

/* Fills walk->ec with the context of the thread that runs. 0, or the state that the walk ends with. */
__noinline int ruby_context_find(struct ruby_walk *walk)
{
	__u64 at = 0, word, thread;
	__u32 i;
	int end;

	if (!walk)
		return RUBY_STACK_UNSUPPORTED;
	end = context_place(walk, &at);
	if (end)
		return end;
	at += walk->ruby.word;
	for (i = 0; i < RUBY_WORDS_MAX && i < walk->ruby.words; i++) {
		if (user_read(&word, sizeof(word), at + i * sizeof(word)))
			return RUBY_STACK_UNREADABLE;
		if (ruby_context_at(walk, word))
			break;
		if (word && walk->ruby.words == 1)
			return RUBY_STACK_UNREADABLE;
	}
	if (i >= RUBY_WORDS_MAX || i >= walk->ruby.words)
		return RUBY_STACK_NO_CONTEXT;
	if (!walk->at.thread_id)
		return 0;
	thread = walk->ec[walk->at.ec_thread / sizeof(__u64) & (RUBY_EC_WORDS - 1)];
	if (user_read(&word, sizeof(word), thread + walk->at.thread_id))
		return RUBY_STACK_UNREADABLE;
	return word == walk->thread_pointer ? 0 : RUBY_STACK_NO_CONTEXT;
}

/* 0, or the state that the walk ends with. */
static __always_inline int walk_start(struct ruby_walk *walk)
{
	__u32 column = walk->ruby.column;
	int end;

	if (column == RUBY_NONE || column >= RUBY_COLUMNS)
		return RUBY_STACK_UNSUPPORTED;
	walk->at = columns[column];
	end = ruby_context_find(walk);
	if (end)
		return end;
	walk->cfp = walk->ec[EC_CFP];
	/* the outermost control frame is there before any code runs and belongs to none */
	walk->end = walk->ec[EC_STACK] + walk->ec[EC_STACK_SIZE] * sizeof(__u64) - walk->at.cfp_size;
	walk->names = 0;
	if (walk->ruby.names && user_read(&walk->names, sizeof(walk->names), walk->bias + walk->ruby.names))
		walk->names = 0;
	return 0;
}

__noinline int ruby_walk_frames(struct ruby_walk *walk)
{
	int result = 0;
	__u32 i;

	if (!walk)
		return 0;
	walk->count = 0;
	walk->state = walk_start(walk);
	if (walk->state)
		return 0;
	walk->state = RUBY_STACK_COMPLETE;
	for (i = 0; i < CONTROL_FRAMES && walk->cfp < walk->end; i++) {
		result = ruby_frame(walk);
		if (result)
			break;
		walk->cfp += walk->at.cfp_size;
	}
	if (result < 0)
		walk->state = RUBY_STACK_UNREADABLE;
	else if (walk->cfp < walk->end && walk->state == RUBY_STACK_COMPLETE)
		walk->state = RUBY_STACK_CLIPPED;
	return 0;
}
