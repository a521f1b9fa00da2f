// SPDX-License-Identifier: Apache-2.0
/*
 * Names of all frames of a module in one pass over a symbol table, instead of a pass a frame: libruby has
 * 10,000 symbols and 20 of the frames. The full table knows most, then the separate debug file's, then
 * the dynamic one.
 *
 * libiberty's demanglers hand out pieces, so a name that would never end is cut, not held.
 */
#include <stdlib.h>
#include <string.h>
#include <gelf.h>
#include <libiberty/demangle.h>
#include "user/base/text.h"
#include "user/elf/file.h"
#include "user/elf/symbols.h"
#include "user/elf/unwind_private.h"

enum { MANGLED_MAX = 512 };

struct piece {
	char *text;
	size_t size, used;
};

static void add_piece(const char *text, size_t size, void *context)
{
	struct piece *piece = context;
	size_t room = piece->size - 1 - piece->used;

	if (size > room)
		size = room;
	memcpy(piece->text + piece->used, text, size);
	piece->used += size;
	piece->text[piece->used] = '\0';
}

static void demangle(const char *name, char out[UNWIND_SYMBOL])
{
	const int options = DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO;
	struct piece piece = {.text = out, .size = UNWIND_SYMBOL};
	bool mangled = (name[0] == '_' && (name[1] == 'Z' || name[1] == 'R')) || strncmp(name, "__Z", 3) == 0;

	if (mangled && strlen(name) < MANGLED_MAX) {
		if (rust_demangle_callback(name, options, add_piece, &piece))
			return;
		piece.used = 0;
		if (cplus_demangle_v3_callback(name, options, add_piece, &piece))
			return;
	}
	text_copy(out, UNWIND_SYMBOL, name);
}

/* A frame whose name is looked for; addresses are the file's. */
struct wanted {
	struct unwind_frame *frame;
	uint64_t address;  /* inside the call instruction, not behind it */
	uint64_t function; /* by the unwind tables, 0: not known */
	const char *name;  /* best so far */
	uint64_t start;
	bool global;
	enum unwind_symbols from;
};

struct search {
	enum unwind_symbols table;           /* the one that is being searched */
	struct wanted wanted[UNWIND_FRAMES]; /* by address */
	size_t count;
};

static int by_address(const void *a, const void *b)
{
	uint64_t left = ((const struct wanted *)a)->address, right = ((const struct wanted *)b)->address;

	return left < right ? -1 : left > right;
}

/* Of two that cover it: the one that starts later, then the one that others may call. */
static void offer(struct wanted *wanted, const GElf_Sym *symbol, const char *name, enum unwind_symbols from)
{
	bool global = GELF_ST_BIND(symbol->st_info) == STB_GLOBAL;

	if (wanted->name && (symbol->st_value < wanted->start ||
			     (symbol->st_value == wanted->start && (wanted->global || !global))))
		return;
	wanted->name = name;
	wanted->start = symbol->st_value;
	wanted->global = global;
	wanted->from = from;
}

/* Labels of assembly have no size: one counts where a function begins. */
static bool covers(const GElf_Sym *symbol, const struct wanted *wanted)
{
	return symbol->st_size ? wanted->address - symbol->st_value < symbol->st_size
			       : wanted->function == symbol->st_value;
}

static void match(struct search *search, const GElf_Sym *symbol, const char *name)
{
	size_t low = 0, high = search->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (search->wanted[middle].address < symbol->st_value)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < search->count && covers(symbol, &search->wanted[low]); low++)
		offer(&search->wanted[low], symbol, name, search->table);
}

static bool is_code(const GElf_Sym *symbol)
{
	unsigned char type = GELF_ST_TYPE(symbol->st_info);

	return symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS && symbol->st_value != 0 &&
	       (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE);
}

/* True when there is such a table at all. */
static bool search_table(struct search *search, Elf *elf, GElf_Word type, enum unwind_symbols table)
{
	GElf_Shdr header = {0};
	Elf_Scn *section = NULL;
	const char *names;
	size_t names_size;
	Elf_Data *data;

	while ((section = elf_nextscn(elf, section)))
		if (gelf_getshdr(section, &header) && header.sh_type == type)
			break;
	if (!section || header.sh_size > ELF_FILE_SECTION_MAX || header.sh_entsize != sizeof(Elf64_Sym) ||
	    symbols_names(elf, header.sh_link, &names, &names_size) != 0)
		return false;
	search->table = table;
	data = elf_getdata(section, NULL);
	if (!data || !data->d_buf)
		return false;
	for (size_t i = 1; i < data->d_size / sizeof(Elf64_Sym); i++) {
		GElf_Sym symbol;

		if (!gelf_getsym(data, (int)i, &symbol))
			break;
		if (is_code(&symbol) && symbol.st_name > 0 && symbol.st_name < names_size)
			match(search, &symbol, names + symbol.st_name);
	}
	return true;
}

static void collect(struct unwind_walk *walk, uint16_t module, struct search *search)
{
	uint64_t bias = walk->out->modules[module].bias;

	search->count = 0;
	for (uint32_t i = 0; i < walk->out->count; i++) {
		struct unwind_frame *frame = &walk->out->frames[i];
		bool exact = frame->how == UNWIND_REGISTERS || frame->interrupted;

		if (frame->module == module)
			search->wanted[search->count++] = (struct wanted){
				.frame = frame,
				.address = frame->pc - bias - !exact,
				.function = frame->function ? frame->function - bias : 0,
			};
	}
	qsort(search->wanted, search->count, sizeof(*search->wanted), by_address);
}

static void take_names(const struct search *search, uint64_t bias)
{
	for (size_t i = 0; i < search->count; i++) {
		const struct wanted *wanted = &search->wanted[i];
		struct unwind_frame *frame = wanted->frame;

		if (!wanted->name || frame->symbol[0])
			continue;
		demangle(wanted->name, frame->symbol);
		text_clean(frame->symbol);
		frame->symbol_offset = (uint32_t)(frame->pc - bias - wanted->start);
		frame->symbol_from = wanted->from;
		if (!frame->function)
			frame->function = bias + wanted->start;
	}
}

static void name_module(struct unwind_walk *walk, uint16_t index, struct search *search)
{
	struct unwind_module *module = &walk->out->modules[index];
	Elf *elf = unwind_module_elf(walk, index), *debug = NULL;

	if (!elf)
		return;
	if (search_table(search, elf, SHT_DYNSYM, UNWIND_DYNAMIC_SYMBOLS))
		module->symbols = UNWIND_DYNAMIC_SYMBOLS;
	if (search_table(search, elf, SHT_SYMTAB, UNWIND_FULL_SYMBOLS)) {
		module->symbols = UNWIND_FULL_SYMBOLS;
	} else if (walk->files[index].debug_fd >= 0) {
		debug = elf_begin(walk->files[index].debug_fd, ELF_C_READ, NULL);
		if (debug && search_table(search, debug, SHT_SYMTAB, UNWIND_DEBUG_SYMBOLS))
			module->symbols = UNWIND_DEBUG_SYMBOLS;
	}
	take_names(search, module->bias);
	elf_end(debug);
}

void unwind_name(struct unwind_walk *walk)
{
	struct search *search = malloc(sizeof(*search));

	for (uint32_t i = 0; search && i < walk->out->module_count; i++) {
		collect(walk, (uint16_t)i, search);
		if (search->count)
			name_module(walk, (uint16_t)i, search);
	}
	free(search);
}
