// SPDX-License-Identifier: Apache-2.0
/* Any record, and a series of them: refused, or sound and unchanged by a second look. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "user/probe/decode.h"

struct room {
	_Alignas(8) unsigned char bytes[EV_RECORD_MAX];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct room first, second;
	struct ev_head *ev = (struct ev_head *)first.bytes;
	struct gaps *gaps = gaps_new();
	const char *why = NULL;
	struct ev_gap gap;

	while (size > 0 && decode(data, size, ev, &why) == 0) {
		uint32_t taken;

		if (ev->size > EV_RECORD_MAX || strcmp(event_name(ev->type), "?") == 0)
			abort();
		if (decode(ev, ev->size, (struct ev_head *)second.bytes, &why) != 0 ||
		    memcmp(ev, second.bytes, ev->size) != 0)
			abort();
		gaps_note(gaps, ev);
		while (gaps_next(gaps, &gap))
			if (gap.lost == 0 || decode(&gap, sizeof(gap), ev, &why) != 0)
				abort();
		memcpy(&taken, data, sizeof(taken)); /* head.size as it came */
		data += taken;
		size -= taken;
	}
	gaps_free(gaps);
	return 0;
}
