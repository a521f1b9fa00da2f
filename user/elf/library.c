// SPDX-License-Identifier: Apache-2.0
/*
 * Puts the answer together: the exported names say what the file is, the table below says which functions get
 * a probe and what the probe reads there, accessors give the structure offsets. Whatever is missing is named
 * in `problem` and left out; the rest is used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/elf/accessor.h"
#include "user/elf/code.h"
#include "user/elf/debug_link.h"
#include "user/elf/file.h"
#include "user/elf/library.h"
#include "user/elf/placement.h"
#include "user/elf/ruby_vm.h"
#include "user/elf/ruby_version.h"
#include "user/elf/symbols.h"

enum {
	CODE_MAX = 64 * 1024, /* the longest function here is PQconnectPoll with about 8 KiB */
	CODE_UNSIZED = 256,   /* looked at when a symbol has no size */
	ERROR_FIELD_TEXT = 9, /* PGresult's error fields: {next 0, code 8, text 9} in every version so far */
};

/* What is looked up, in one pass. The first two decide what the file is. */
enum name {
	NAME_CONNECT_START,
	NAME_DEFINE_METHOD,
	NAME_RUBY_VERSION,
	NAME_SYSINIT,
	NAME_SETUP,
	NAME_BUG,
	NAME_FATAL,
	NAME_MEMERROR,
	NAME_ASSERT,
	NAME_CONFIRM,
	NAME_ID2STR,
	NAME_SEND_QUERY,
	NAME_SEND_PARAMS,
	NAME_SEND_PREPARE,
	NAME_SEND_PREPARED,
	NAME_RESULT_STATUS,
	NAME_CONNECT_POLL,
	NAME_FINISH,
	NAME_ERROR_MESSAGE,
	NAME_ERROR_FIELD,
	NAME_STATUS,
	NAME_SOCKET,
	NAME_DB,
	NAME_HOST,
	NAME_PORT,
	NAME_COUNT,
};

static const char *const names[NAME_COUNT] = {
	[NAME_CONNECT_START] = "PQconnectStart",
	[NAME_DEFINE_METHOD] = "rb_define_method",
	[NAME_RUBY_VERSION] = "ruby_version",
	[NAME_SYSINIT] = "ruby_sysinit",
	[NAME_SETUP] = "ruby_setup",
	[NAME_BUG] = "rb_bug",
	[NAME_FATAL] = "rb_fatal",
	[NAME_MEMERROR] = "rb_memerror",
	[NAME_ASSERT] = "rb_assert_failure",
	[NAME_CONFIRM] = "rb_source_location_cstr",
	[NAME_ID2STR] = "rb_id2str",
	[NAME_SEND_QUERY] = "PQsendQuery",
	[NAME_SEND_PARAMS] = "PQsendQueryParams",
	[NAME_SEND_PREPARE] = "PQsendPrepare",
	[NAME_SEND_PREPARED] = "PQsendQueryPrepared",
	[NAME_RESULT_STATUS] = "PQresultStatus",
	[NAME_CONNECT_POLL] = "PQconnectPoll",
	[NAME_FINISH] = "PQfinish",
	[NAME_ERROR_MESSAGE] = "PQerrorMessage",
	[NAME_ERROR_FIELD] = "PQresultErrorField",
	[NAME_STATUS] = "PQstatus",
	[NAME_SOCKET] = "PQsocket",
	[NAME_DB] = "PQdb",
	[NAME_HOST] = "PQhost",
	[NAME_PORT] = "PQport",
};

/* Hot probes are placed for cost; rare ones stay on the entry, where nobody has to wonder. */
static const struct probed {
	enum library_kind kind;
	enum site site;
	enum name name,
		otherwise; /* otherwise: when `name` is not there; the same name when there is no other */
	unsigned int arguments; /* that the probe reads */
	bool hot;
} probed[] = {
	{LIBRARY_RUBY, SITE_RUBY_START, NAME_SYSINIT, NAME_SETUP, 0, false},
	{LIBRARY_RUBY, SITE_RUBY_BUG, NAME_BUG, NAME_BUG, 1, false},
	{LIBRARY_RUBY, SITE_RUBY_FATAL, NAME_FATAL, NAME_FATAL, 1, false},
	{LIBRARY_RUBY, SITE_RUBY_MEMERROR, NAME_MEMERROR, NAME_MEMERROR, 0, false},
	{LIBRARY_RUBY, SITE_RUBY_ASSERT, NAME_ASSERT, NAME_ASSERT, 4, false},
	{LIBRARY_RUBY, SITE_RUBY_CONFIRM, NAME_CONFIRM, NAME_CONFIRM, 0, false},
	{LIBRARY_LIBPQ, SITE_PQ_SEND_QUERY, NAME_SEND_QUERY, NAME_SEND_QUERY, 2, true},
	{LIBRARY_LIBPQ, SITE_PQ_SEND_PARAMS, NAME_SEND_PARAMS, NAME_SEND_PARAMS, 2, true},
	{LIBRARY_LIBPQ, SITE_PQ_SEND_PREPARE, NAME_SEND_PREPARE, NAME_SEND_PREPARE, 3, true},
	{LIBRARY_LIBPQ, SITE_PQ_SEND_PREPARED, NAME_SEND_PREPARED, NAME_SEND_PREPARED, 2, true},
	{LIBRARY_LIBPQ, SITE_PQ_RESULT_STATUS, NAME_RESULT_STATUS, NAME_RESULT_STATUS, 1, true},
	{LIBRARY_LIBPQ, SITE_PQ_CONNECT_POLL, NAME_CONNECT_POLL, NAME_CONNECT_POLL, 1, false},
	{LIBRARY_LIBPQ, SITE_PQ_FINISH, NAME_FINISH, NAME_FINISH, 1, false},
	{LIBRARY_LIBPQ, SITE_PQ_ERROR_MESSAGE, NAME_ERROR_MESSAGE, NAME_ERROR_MESSAGE, 1, false},
};

struct examination {
	struct elf_file *file;
	struct code_reader *reader;
	struct symbol symbols[NAME_COUNT];
	struct library *out;
	size_t problem_used;
	uint8_t bytes[CODE_MAX];
};

static void problem(struct examination *x, const char *name, const char *what)
{
	text_add(x->out->problem, sizeof(x->out->problem), &x->problem_used, "%s%s %s",
		 x->problem_used ? "; " : "", name, what);
}

/* Reads a function's code. *whole says whether it is all of it. */
static int read_code(struct examination *x, enum name name, struct code *code, bool *whole)
{
	const struct symbol *symbol = &x->symbols[name];
	size_t size = symbol->size ? symbol->size : CODE_UNSIZED;
	ssize_t n;

	if (!symbol->found)
		return -ENOENT;
	if (size > sizeof(x->bytes))
		size = sizeof(x->bytes);
	n = elf_file_read(x->file, symbol->address, x->bytes, size);
	if (n < 0)
		return n;
	*code = (struct code){x->bytes, n, symbol->address};
	*whole = symbol->size > 0 && (uint64_t)n == symbol->size;
	return 0;
}

static void add_site(struct examination *x, enum site site, enum name name, const struct placement *placement)
{
	const struct symbol *symbol = &x->symbols[name];
	struct library_site *to = &x->out->sites[x->out->site_count];

	if (x->out->site_count == LIBRARY_SITES)
		return;
	to->site = site;
	to->emulated = placement->emulated;
	to->entry = symbol->offset;
	to->offset = symbol->offset + placement->at;
	text_copy(to->function, sizeof(to->function), names[name]);
	text_copy(to->instruction, sizeof(to->instruction), placement->instruction);
	x->out->site_count++;
}

static void place(struct examination *x, const struct probed *probe)
{
	enum name name = x->symbols[probe->name].found ? probe->name : probe->otherwise;
	struct placement placement;
	struct code code;
	bool whole;
	int err = read_code(x, name, &code, &whole);

	if (!err && probe->hot)
		err = placement_choose(x->reader, &code, probe->arguments, whole, &placement);
	else if (!err)
		err = placement_entry(x->reader, &code, &placement);
	if (err)
		problem(x, names[probe->name], err == -ENOENT ? "is not exported" : "cannot be decoded");
	else
		add_site(x, probe->site, name, &placement);
}

/* The end of PQconnectPoll, without a return probe. All of its returns, or none: half would count wrong. */
static void place_returns(struct examination *x)
{
	struct placement returns[LIBRARY_SITES];
	struct code code;
	bool whole;
	int count;

	if (read_code(x, NAME_CONNECT_POLL, &code, &whole) != 0)
		return; /* place() said so */
	count = whole ? placement_returns(x->reader, &code, returns, LIBRARY_SITES - x->out->site_count)
		      : -EINVAL;
	if (count <= 0) {
		problem(x, names[NAME_CONNECT_POLL],
			count == -ENOSPC ? "has too many returns" : "has no end that can be found");
		return;
	}
	for (int i = 0; i < count; i++)
		add_site(x, SITE_PQ_CONNECT_POLL_RETURN, NAME_CONNECT_POLL, &returns[i]);
}

static uint32_t integer_of(struct examination *x, enum name name)
{
	struct code code;
	bool whole;

	return read_code(x, name, &code, &whole) ? LAYOUT_UNKNOWN : accessor_integer(x->reader, &code);
}

static uint32_t pointer_of(struct examination *x, enum name name)
{
	struct code code;
	bool whole;

	return read_code(x, name, &code, &whole) ? LAYOUT_UNKNOWN : accessor_pointer(x->reader, &code);
}

static int element_of(struct examination *x, enum name name, struct accessor_element *out)
{
	struct code code;
	bool whole;
	int err = read_code(x, name, &code, &whole);

	return err ? err : accessor_element(x->reader, &code, out);
}

/* Host and port stand in one array: believed only when PQhost and PQport agree on it. */
static void read_hosts(struct examination *x, struct libpq_layout *layout)
{
	struct accessor_element host, port;

	if (element_of(x, NAME_HOST, &host) != 0 || element_of(x, NAME_PORT, &port) != 0 ||
	    host.array != port.array || host.index != port.index || host.stride != port.stride ||
	    port.second != LAYOUT_UNKNOWN || port.first == host.first || port.first == host.second) {
		problem(x, "PQhost/PQport", "cannot be read");
		return;
	}
	layout->conn_hosts = host.array;
	layout->conn_which = host.index;
	layout->host_stride = host.stride;
	layout->host_name = host.first;
	layout->host_address = host.second;
	layout->host_port = port.first;
}

static void read_layout(struct examination *x, struct libpq_layout *layout)
{
	struct code code;
	bool whole;
	const struct {
		uint32_t *field;
		enum name name;
	} checks[] = {
		{&layout->result_status, NAME_RESULT_STATUS},
		{&layout->result_errors, NAME_ERROR_FIELD},
		{&layout->conn_status, NAME_STATUS},
		{&layout->conn_socket, NAME_SOCKET},
		{&layout->conn_database, NAME_DB},
		{&layout->conn_message, NAME_ERROR_MESSAGE},
	};

	layout->result_status = integer_of(x, NAME_RESULT_STATUS);
	layout->conn_status = integer_of(x, NAME_STATUS);
	layout->conn_database = pointer_of(x, NAME_DB);
	layout->conn_message = pointer_of(x, NAME_ERROR_MESSAGE);
	if (read_code(x, NAME_SOCKET, &code, &whole) == 0)
		layout->conn_socket = accessor_integer_behind(x->reader, &code);
	if (read_code(x, NAME_ERROR_FIELD, &code, &whole) == 0)
		layout->result_errors = accessor_list(x->reader, &code, ERROR_FIELD_TEXT);
	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++)
		if (*checks[i].field == LAYOUT_UNKNOWN)
			problem(x, names[checks[i].name], "cannot be read");
	read_hosts(x, layout);
}

static uint64_t start_address(const struct examination *x)
{
	const struct symbol *symbol = &x->symbols[NAME_DEFINE_METHOD];

	for (uint32_t i = 0; i < x->out->site_count; i++)
		if (x->out->sites[i].site == SITE_RUBY_START)
			return x->out->sites[i].offset + (symbol->address - symbol->offset);
	return 0;
}

/* What it takes to walk this Ruby's frames. */
static void read_ruby(struct examination *x)
{
	struct ruby_layout *ruby = &x->out->ruby;

	x->out->code_offset = x->symbols[NAME_DEFINE_METHOD].offset;
	x->out->code_address = x->symbols[NAME_DEFINE_METHOD].address;
	ruby->start = start_address(x);
	ruby->column = ruby_column_of(x->out->version);
	if (ruby->column == RUBY_NONE)
		problem(x, "Ruby frames:", "no offsets for this version");
	else if (ruby_vm_context(x->file, ruby->column, ruby) != 0)
		problem(x, "Ruby frames:", "the execution context is not found");
	else if (ruby_vm_names(x->file, x->reader, &x->symbols[NAME_ID2STR], ruby) != 0)
		problem(x, names[NAME_ID2STR], "cannot be read");
}

/* A Ruby that has libpq linked in is probed as both, and is a Ruby: that is what marks its processes. */
static void fill(struct examination *x)
{
	bool libpq = x->symbols[NAME_CONNECT_START].found, ruby = x->symbols[NAME_DEFINE_METHOD].found;

	x->out->kind = ruby ? LIBRARY_RUBY : LIBRARY_LIBPQ;
	if (ruby && ruby_version_read(x->file, &x->symbols[NAME_RUBY_VERSION], x->out->version,
				      sizeof(x->out->version)) != 0)
		problem(x, names[NAME_RUBY_VERSION], "cannot be read");
	for (size_t i = 0; i < sizeof(probed) / sizeof(*probed); i++)
		if (probed[i].kind == LIBRARY_RUBY ? ruby : libpq)
			place(x, &probed[i]);
	if (ruby)
		read_ruby(x);
	if (!libpq)
		return;
	place_returns(x);
	read_layout(x, &x->out->layout);
}

static int examine(struct examination *x, int fd)
{
	int err = elf_file_open(fd, &x->file);

	if (err)
		return err;
	x->out->build_id_len = elf_file_build_id(x->file, x->out->build_id);
	x->out->symbol_table = debug_link_read(x->file, x->out->debug_link, &x->out->debug_crc);
	for (int i = 0; i < NAME_COUNT; i++)
		x->symbols[i] = (struct symbol){.name = names[i], .data = i == NAME_RUBY_VERSION};
	err = symbols_find(x->file, x->symbols, NAME_COUNT);
	if (err || (!x->symbols[NAME_CONNECT_START].found && !x->symbols[NAME_DEFINE_METHOD].found))
		return err;
	err = code_reader_new(&x->reader);
	if (!err)
		fill(x);
	return err;
}

int library_examine(int fd, struct library *out)
{
	struct library library = {0};
	struct examination *x = calloc(1, sizeof(*x));
	int err;

	if (!x)
		return -ENOMEM;
	x->out = &library;
	memset(&library.layout, 0xff, sizeof(library.layout)); /* LAYOUT_UNKNOWN, each of them */
	err = examine(x, fd);
	if (!err)
		*out = library;
	code_reader_free(x->reader);
	elf_file_free(x->file);
	free(x);
	return err;
}
