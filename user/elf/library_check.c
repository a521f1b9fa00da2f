// SPDX-License-Identifier: Apache-2.0
/*
 * The answer comes from a process that read a hostile file and may have been taken over by it. So the reader
 * of the answer believes no number: what passes here can be shown, stored and attached without harm, true
 * or not.
 */
#include <string.h>
#include "user/base/text.h"
#include "user/elf/debug_link.h"
#include "user/elf/library.h"

enum { MEMBER_MAX = 65536, STRIDE_MAX = 4096, LAST_OP_MAX = 4096 };

static bool is_text(char *text, size_t size)
{
	if (!memchr(text, '\0', size))
		return false;
	text_clean(text);
	return true;
}

static bool check_layout(const struct libpq_layout *layout)
{
	const uint32_t members[] = {
		layout->result_status, layout->result_errors, layout->conn_status, layout->conn_socket,
		layout->conn_database, layout->conn_message,  layout->conn_hosts,  layout->conn_which,
	};
	const uint32_t elements[] = {layout->host_name, layout->host_address, layout->host_port};

	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		if (members[i] != LAYOUT_UNKNOWN && members[i] >= MEMBER_MAX)
			return false;
	if (layout->host_stride != LAYOUT_UNKNOWN && layout->host_stride > STRIDE_MAX)
		return false;
	for (size_t i = 0; i < sizeof(elements) / sizeof(*elements); i++)
		if (elements[i] != LAYOUT_UNKNOWN && elements[i] >= layout->host_stride)
			return false;
	return true;
}

/* Where it says things are the kernel side only looks, and in the process's own memory. */
static bool check_ruby(const struct ruby_layout *ruby)
{
	return ruby->column < RUBY_COLUMNS && ruby->how < RUBY_CONTEXT_END && ruby->word < MEMBER_MAX &&
	       ruby->words <= RUBY_WORDS_MAX && ruby->dtv_step <= 16 && ruby->last_op < LAST_OP_MAX;
}

static bool check_site(struct library_site *site, uint64_t file_size)
{
	return site->site < SITE_COUNT && site->emulated <= 1 && site->offset < file_size &&
	       site->entry <= site->offset && is_text(site->function, sizeof(site->function)) &&
	       is_text(site->instruction, sizeof(site->instruction));
}

bool library_check(struct library *library, uint64_t file_size)
{
	if (library->kind > LIBRARY_RUBY || library->site_count > LIBRARY_SITES ||
	    library->build_id_len > sizeof(library->build_id) ||
	    (library->kind == LIBRARY_NEITHER && library->site_count > 0))
		return false;
	if (!is_text(library->version, sizeof(library->version)) ||
	    !is_text(library->problem, sizeof(library->problem)) || library->symbol_table > 1 ||
	    !is_text(library->debug_link, sizeof(library->debug_link)) ||
	    (library->debug_link[0] && !debug_link_is_name(library->debug_link)) ||
	    !check_layout(&library->layout) || !check_ruby(&library->ruby))
		return false;
	for (uint32_t i = 0; i < library->site_count; i++)
		if (!check_site(&library->sites[i], file_size))
			return false;
	return true;
}
