// SPDX-License-Identifier: Apache-2.0
/* Any lock file: read whole or refused with its line; what was read passes its own check. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "user/probe/lockfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lockfile *lockfile = NULL;
	char why[160] = "";

	if (lockfile_parse((const char *)data, size, &lockfile, why) == 0) {
		if (!lockfile_check(lockfile, lockfile->size))
			abort();
		free(lockfile);
	} else if (!why[0] || strlen(why) >= sizeof(why)) {
		abort();
	}
	/* and as what came from an examiner that was taken over */
	if (size >= sizeof(*lockfile)) {
		lockfile = malloc(size);
		memcpy(lockfile, data, size);
		lockfile_check(lockfile, size);
		free(lockfile);
	}
	return 0;
}
