/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes two crashes alike: the class, the module that failed, and where in it, as far as that is the
 * same on the next host. Addresses are not (ASLR); offsets in libc and libruby are those of one build of
 * them, so they stay out; an offset in the blamed extension stays in, since another build of it is another
 * suspect. What rests on a low confidence names the module alone: a leftover word may lie elsewhere the
 * next time. The path of a module is where this host keeps it; the base name counts.
 */
#include <string.h>
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/crash/blame.h"

static uint64_t add_offset(uint64_t digest, uint64_t offset)
{
	return digest_fnv(digest, &offset, sizeof(offset));
}

static uint64_t add_blame(uint64_t digest, const struct crash *crash, const struct blame *blame,
			  const struct scan *scan)
{
	digest = digest_text(digest, text_base(blame->module));
	digest = digest_text(digest, blame->gem);
	if (blame->confidence[0] == 'l' || blame->confidence[0] == 'n')
		return digest;
	if (crash->location.what == LOCATION_FILE && !strcmp(crash->location.module, blame->module))
		return add_offset(digest, crash->location.offset);
	if (scan->suspect)
		return add_offset(digest, scan->suspect->address - scan->suspect->region->start +
						  scan->suspect->region->offset);
	return digest;
}

void fingerprint_of(const struct crash *crash, enum cause cause, const struct blame *blame,
		    const struct scan *scan, char out[20])
{
	uint64_t digest = digest_text(DIGEST_START, cause_name(cause));
	char signal[12];

	switch (cause) {
	case CAUSE_OOM:
		digest = digest_text(digest, crash->app);
		break;
	case CAUSE_INJECTED:
		signal_name(crash_signal(crash), signal);
		digest = digest_text(digest, signal);
		break;
	case CAUSE_VM_ERROR:
		/* the format string, unexpanded: the same for every instance of it */
		digest = digest_text(digest, crash->fatal.message);
		digest = add_offset(digest, crash->fatal.kind);
		break;
	default:
		digest = digest_text(digest, crash->location.what == LOCATION_FILE
						     ? text_base(crash->location.module)
						     : "");
		digest = add_blame(digest, crash, blame, scan);
	}
	digest_hex(digest, out);
}
