// SPDX-License-Identifier: Apache-2.0
#include <sys/random.h>
#include "user/act/dice.h"
#include "user/base/digest.h"
#include "user/base/when.h"

uint64_t dice_throw(struct dice *dice)
{
	uint64_t value;

	dice->throws++;
	if (dice->seed)
		return digest_mix(dice->seed + dice->throws * 0x9e3779b97f4a7c15ull);
	if (dice->left == 0) {
		/* Up to 256 bytes are never interrupted; what else fails (a filter) leaves only the clock. */
		if (getrandom(dice->kernel, sizeof(dice->kernel), 0) != (ssize_t)sizeof(dice->kernel))
			return digest_mix(when_boot_now() ^ digest_mix(dice->throws));
		dice->left = sizeof(dice->kernel) / sizeof(*dice->kernel);
	}
	value = dice->kernel[--dice->left];
	dice->kernel[dice->left] = 0; /* what was thrown lies nowhere any more */
	return value;
}

void dice_id(struct dice *dice, char out[17])
{
	digest_hex(dice_throw(dice), out);
}

uint32_t dice_jitter(struct dice *dice, uint32_t ms, uint32_t less, uint32_t spread)
{
	uint64_t least = ms - (uint64_t)ms * less / 100, width = (uint64_t)ms * spread / 100;

	return (uint32_t)(least + dice_throw(dice) % (width + 1));
}
