// SPDX-License-Identifier: Apache-2.0
/* Any statement: the normal form fits, is text, and is its own normal form. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/sql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char out[8192], again[8192];
	size_t room = sizeof(out), length;

	if (size > 0 && data[0] < 128)
		room = 1 + data[0];
	length = sql_normalise((const char *)data, size, out, room);
	if (length >= room || strlen(out) != length)
		abort();
	if (sql_normalise(out, length, again, room) != length || strcmp(out, again) != 0)
		abort();
	if (text_clean(out) != 0)
		abort();
	return 0;
}
