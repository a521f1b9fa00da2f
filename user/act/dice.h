/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance: ids that nobody guesses and jitter. With seed 0 every throw is the kernel's, because the state of
 * a generator shows in what it gives: whoever saw one trial's id could compute the next. Any other seed
 * gives the same throws each time, for tests and nothing else.
 */
#ifndef LAPIDARY_DICE_H
#define LAPIDARY_DICE_H

#include <stdint.h>

/* The kernel is asked for several throws at once: an order that waits for each would wait 20 us a time. */
struct dice {
	uint64_t seed, throws;
	uint64_t kernel[16];
	uint32_t left; /* of them */
};

uint64_t dice_throw(struct dice *dice);
void dice_id(struct dice *dice, char out[17]); /* 16 hex digits */
/* ms, `less` percent of it taken off and up to `spread` percent added again. */
uint32_t dice_jitter(struct dice *dice, uint32_t ms, uint32_t less, uint32_t spread);

#endif
