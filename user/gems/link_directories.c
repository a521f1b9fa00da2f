// SPDX-License-Identifier: Apache-2.0
/*
 * The directories of ld.so: first those of its configuration, then those built into it, which differ by
 * distribution; all that are in use are tried. One that does not exist costs nothing but a look.
 */
#include <elf.h>
#include <string.h>
#include "user/base/text.h"
#include "user/gems/link.h"

static void add(struct link_directories *out, const char *name, size_t length)
{
	if (length == 0 || name[0] != '/' || length >= sizeof(out->names[0]) ||
	    out->count == LINK_DIRECTORIES)
		return;
	for (size_t i = 0; i < out->count; i++)
		if (strlen(out->names[i]) == length && memcmp(out->names[i], name, length) == 0)
			return;
	memcpy(out->names[out->count], name, length);
	out->names[out->count][length] = '\0';
	out->list[out->count] = out->names[out->count];
	out->count++;
}

/* One directory a line, or several with blanks, colons or commas between; # begins a comment. */
static void add_configured(struct link_directories *out, const char *text)
{
	while (*text) {
		size_t line = strcspn(text, "\n"), used = strcspn(text, "#\n"), at = 0;

		while (at < used) {
			size_t length;

			at += strspn(text + at, " \t\r:,");
			if (at >= used)
				break;
			length = strcspn(text + at, " \t\r:,=\n#");
			add(out, text + at, length);
			at += length ? length : 1;
		}
		text += line + (text[line] == '\n');
	}
}

static const char *triplet(const struct object *program)
{
	switch (program->machine) {
	case EM_X86_64:
		return program->bits == 64 ? "x86_64-linux-gnu" : "x86_64-linux-gnux32";
	case EM_386:
		return "i386-linux-gnu";
	case EM_AARCH64:
		return "aarch64-linux-gnu";
	case EM_ARM:
		return "arm-linux-gnueabihf";
	case EM_PPC64:
		return "powerpc64le-linux-gnu";
	case EM_S390:
		return "s390x-linux-gnu";
	case EM_RISCV:
		return "riscv64-linux-gnu";
	default:
		return "";
	}
}

void link_directories_make(struct link_directories *out, const struct object *program, const char *configured)
{
	static const char *const glibc[] = {"/lib64", "/usr/lib64", "/lib", "/usr/lib"};
	static const char *const glibc_32[] = {"/lib32", "/usr/lib32", "/lib", "/usr/lib"};
	static const char *const musl[] = {"/lib", "/usr/local/lib", "/usr/lib"};
	static const char *const multiarch[] = {"/lib/", "/usr/lib/"};
	const char *const *fixed = program->libc == OBJECT_LIBC_MUSL ? musl
				   : program->bits == 64             ? glibc
								     : glibc_32;
	size_t fixed_count = program->libc == OBJECT_LIBC_MUSL ? 3 : 4;

	out->count = 0;
	if (configured)
		add_configured(out, configured);
	if (program->libc == OBJECT_LIBC_MUSL && out->count)
		return; /* its file stands instead of what is built in */
	if (program->libc != OBJECT_LIBC_MUSL && *triplet(program))
		for (size_t i = 0; i < 2; i++) {
			char name[64];
			size_t used = 0;

			text_add(name, sizeof(name), &used, "%s%s", multiarch[i], triplet(program));
			add(out, name, used);
		}
	for (size_t i = 0; i < fixed_count; i++)
		add(out, fixed[i], strlen(fixed[i]));
}
