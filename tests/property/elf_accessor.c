// SPDX-License-Identifier: Apache-2.0
/*
 * For any structure that PGconn could be, and any way a compiler turns libpq's accessors into code: what is
 * read from the code is the offset that the compiler used, or nothing. Never another number.
 *
 * The cases are structures with random members, compiled here with the compilers and levels at hand; the
 * expected offsets come from the same compiler, as data.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/elf/accessor.h"
#include "user/elf/symbols.h"
#include "bpf/shared.h"

enum { CASES = 120, NAMES = 8, NAME_SIZE = 32, CODE_SIZE = 1024 };

static const char *const accessors[NAMES - 1] = {"status", "socket", "db",  "message",
						 "field",  "host",   "port"};

static unsigned int seed;

static unsigned int random_below(unsigned int n)
{
	return rand_r(&seed) % n;
}

/* A few members of any type, so that what follows has an offset of its own. */
static void write_padding(FILE *file, int *count)
{
	for (unsigned int i = random_below(9); i > 0; i--)
		fprintf(file, random_below(3) ? "void *p%d; " : "int p%d[%u]; ", (*count)++,
			1 + random_below(90));
}

static void write_structures(FILE *file, int n)
{
	int count = 0;

	fprintf(file, "struct host%d { int type; ", n);
	write_padding(file, &count);
	fprintf(file, "char *host; ");
	write_padding(file, &count);
	fprintf(file, "char *address, *port; ");
	write_padding(file, &count);
	fprintf(file, "};\nstruct conn%d { ", n);
	write_padding(file, &count);
	fprintf(file, "char *db; ");
	write_padding(file, &count);
	fprintf(file, "int status, other, socket; ");
	write_padding(file, &count);
	fprintf(file, "int which; struct host%d *hosts; ", n);
	write_padding(file, &count);
	fprintf(file,
		"struct { char *data; unsigned long length, max; } message; struct field *fields; };\n");
}

/* libpq's accessors as its versions 10 to 18 write them, in variants. */
static void write_accessors(FILE *file, int n)
{
	const char *empty = random_below(2) ? "" : "&& %s[0] != 0";
	char with[64];

	fprintf(file, "int status_%d(struct conn%d *c) { return c ? c->status : 1; }\n", n, n);
	fprintf(file,
		random_below(2) ? "int socket_%d(struct conn%d *c) { return c ? c->socket : -1; }\n"
				: "int socket_%d(struct conn%d *c) { if (!c) return -1; if (c->other != -1) "
				  "return c->other; return c->socket; }\n",
		n, n);
	fprintf(file, "char *db_%d(struct conn%d *c) { if (!c) return 0; return c->db; }\n", n, n);
	fprintf(file,
		"char *message_%d(struct conn%d *c) { if (!c) return text(\"none\"); if (c->message.max == "
		"0) "
		"return text(\"out of memory\"); return c->message.data; }\n",
		n, n);
	fprintf(file,
		"char *field_%d(struct conn%d *c, int code) { struct field *f; if (!c) return 0; for (f = "
		"c->fields; "
		"f; f = f->next) if (f->code == code) return f->text; return 0; }\n",
		n, n);
	fprintf(file,
		"char *host_%d(struct conn%d *c) { if (!c) return 0; if (c->hosts) { if "
		"(c->hosts[c->which].host && "
		"c->hosts[c->which].host[0]) return c->hosts[c->which].host; else if "
		"(c->hosts[c->which].address "
		"&& c->hosts[c->which].address[0]) return c->hosts[c->which].address; } return \"\"; }\n",
		n, n);
	snprintf(with, sizeof(with), empty, "c->hosts[c->which].port");
	fprintf(file,
		"char *port_%d(struct conn%d *c) { if (!c) return 0; if (c->hosts && c->hosts[c->which].port "
		"%s) "
		"return c->hosts[c->which].port; return \"5432\"; }\n",
		n, n, with);
}

static void write_expected(FILE *file, int n)
{
#define AT "__builtin_offsetof(struct conn%d, "
#define IN "__builtin_offsetof(struct host%d, "
	fprintf(file,
		"const unsigned expected_%d[] = {" AT "status), " AT "socket), " AT "db), " AT "message), " AT
		"fields), " AT "hosts), " AT "which), sizeof(struct host%d), " IN "host), " IN "address), " IN
		"port)};\n",
		n, n, n, n, n, n, n, n, n, n, n, n);
}

static void write_source(const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "struct field { struct field *next; char code; char text[1]; };\nchar *text(const char "
		      "*);\n");
	for (int n = 0; n < CASES; n++) {
		write_structures(file, n);
		write_accessors(file, n);
		write_expected(file, n);
	}
	fclose(file);
}

struct answers {
	uint32_t of[11];
};

static void read_code(const struct elf_file *file, const struct symbol *symbol, uint8_t *bytes,
		      struct code *code)
{
	ssize_t n;

	assert_true(symbol->found && symbol->size > 0 && symbol->size <= CODE_SIZE);
	n = elf_file_read(file, symbol->address, bytes, symbol->size);
	assert_int_equal(n, symbol->size);
	*code = (struct code){bytes, n, symbol->address};
}

/* Element accessors give five answers; a clear one whose parts are wrong is worse than none. */
static void read_answers(struct code_reader *reader, const struct elf_file *file,
			 const struct symbol *symbols, struct answers *out)
{
	struct accessor_element host, port;
	uint8_t bytes[CODE_SIZE];
	struct code code;

	read_code(file, &symbols[0], bytes, &code);
	out->of[0] = accessor_integer(reader, &code);
	read_code(file, &symbols[1], bytes, &code);
	out->of[1] = accessor_integer_behind(reader, &code);
	read_code(file, &symbols[2], bytes, &code);
	out->of[2] = accessor_pointer(reader, &code);
	read_code(file, &symbols[3], bytes, &code);
	out->of[3] = accessor_pointer(reader, &code);
	read_code(file, &symbols[4], bytes, &code);
	out->of[4] = accessor_list(reader, &code, 9);
	read_code(file, &symbols[5], bytes, &code);
	accessor_element(reader, &code, &host);
	read_code(file, &symbols[6], bytes, &code);
	accessor_element(reader, &code, &port);
	out->of[5] = host.array;
	out->of[6] = host.index;
	out->of[7] = host.stride;
	out->of[8] = host.first;
	out->of[9] = host.second;
	out->of[10] = port.first;
}

/* Returns how many of the offsets were read; each must be the right one. */
static int check_case(struct code_reader *reader, const struct elf_file *file, const char *options, int n)
{
	static const char *const what[] = {"status", "socket", "db",   "message", "fields", "hosts",
					   "which",  "stride", "host", "address", "port"};
	char names[NAMES][NAME_SIZE];
	struct symbol symbols[NAMES] = {0};
	struct answers expected, answers;
	int known = 0;

	for (int i = 0; i < NAMES - 1; i++)
		snprintf(names[i], NAME_SIZE, "%s_%d", accessors[i], n);
	snprintf(names[NAMES - 1], NAME_SIZE, "expected_%d", n);
	for (int i = 0; i < NAMES; i++)
		symbols[i].name = names[i];
	symbols[NAMES - 1].data = true;
	assert_int_equal(symbols_find(file, symbols, NAMES), 0);
	assert_int_equal(elf_file_read(file, symbols[NAMES - 1].address, &expected, sizeof(expected)),
			 sizeof(expected));
	read_answers(reader, file, symbols, &answers);
	for (int i = 0; i < 11; i++) {
		if (answers.of[i] == LAYOUT_UNKNOWN)
			continue;
		known++;
		if (answers.of[i] != expected.of[i])
			fail_msg("case %d, %s: %s at %u was read as %u", n, options, what[i], expected.of[i],
				 answers.of[i]);
	}
	return known;
}

/* All cases of one compilation; returns the offsets read of all there are. */
static int check_file(const char *path, const char *options)
{
	struct code_reader *reader;
	struct elf_file *file;
	int fd = open(path, O_RDONLY | O_CLOEXEC), known = 0;

	assert_true(fd >= 0);
	assert_int_equal(elf_file_open(fd, &file), 0);
	assert_int_equal(code_reader_new(&reader), 0);
	for (int n = 0; n < CASES; n++)
		known += check_case(reader, file, options, n);
	code_reader_free(reader);
	elf_file_free(file);
	close(fd);
	return known;
}

static void offsets_are_right_or_unknown(void **state)
{
	static const struct {
		const char *options;
		int percent; /* of the offsets that must be read: all with optimised code */
	} builds[] = {
		{"cc -O0", 0},      {"cc -O1", 100},
		{"cc -O2", 100},    {"cc -O3", 100},
		{"cc -Os", 100},    {"cc -O2 -fcf-protection=full -fno-omit-frame-pointer", 100},
		{"clang -O1", 100}, {"clang -O2", 100},
		{"clang -Oz", 100},
	};
	char folder[] = "/tmp/lapidary-accessor-XXXXXX", source[64], object[64], command[256];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(source, sizeof(source), "%s/pq.c", folder);
	snprintf(object, sizeof(object), "%s/pq.so", folder);
	write_source(source);
	for (size_t i = 0; i < sizeof(builds) / sizeof(*builds); i++) {
		int known;

		snprintf(command, sizeof(command), "%s -w -fPIC -shared -o %s %s", builds[i].options, object,
			 source);
		assert_int_equal(system(command), 0);
		known = check_file(object, builds[i].options);
		printf("%-60s %d of %d offsets read\n", builds[i].options, known, CASES * 11);
		assert_true(known * 100 >= builds[i].percent * CASES * 11);
	}
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(offsets_are_right_or_unknown)};
	const char *given = getenv("LAPIDARY_SEED");

	seed = given ? strtoul(given, NULL, 0) : (unsigned int)time(NULL) ^ (unsigned int)getpid();
	printf("LAPIDARY_SEED=%u\n", seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
