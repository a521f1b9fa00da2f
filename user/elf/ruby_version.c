// SPDX-License-Identifier: Apache-2.0
/*
 * `const char ruby_version[]` is plain read-only data in every Ruby since 1.9. The text ends up in records
 * and on terminals, so it is taken only when it looks like a version.
 */
#include <errno.h>
#include <string.h>
#include "user/base/text.h"
#include "user/elf/ruby_version.h"

int ruby_version_read(const struct elf_file *file, const struct symbol *symbol, char *out, size_t size)
{
	char text[17] = "";
	ssize_t n;
	size_t length;

	if (!symbol->found)
		return -ENOENT;
	n = elf_file_read(file, symbol->address, text, sizeof(text) - 1);
	if (n < 0)
		return n;
	length = strspn(text, "0123456789.");
	if (length == 0 || length >= size || text[length] != '\0' || text[0] == '.')
		return -EINVAL;
	text_copy(out, size, text);
	return 0;
}
