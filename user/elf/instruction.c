// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include "user/base/text.h"
#include "user/elf/code.h"
#include "user/elf/instruction.h"

bool instruction_text(const uint8_t *bytes, size_t size, uint64_t start, uint64_t address, char *out,
		      size_t out_size)
{
	const struct code code = {.bytes = bytes, .size = size, .address = start};
	struct code_reader *reader;
	const cs_insn *insn;

	out[0] = '\0';
	if (!start || address < start || address - start >= size || code_reader_new(&reader))
		return false;
	insn = code_decode(reader, &code, (size_t)(address - start));
	if (insn) {
		snprintf(out, out_size, "%s%s%s", insn->mnemonic, insn->op_str[0] ? " " : "", insn->op_str);
		text_clean(out);
	}
	code_reader_free(reader);
	return insn != NULL;
}
