/* SPDX-License-Identifier: Apache-2.0 */
/* Random choices of property tests: from one seed, printed, that LAPIDARY_SEED sets again. */
#ifndef LAPIDARY_TESTS_DRAW_H
#define LAPIDARY_TESTS_DRAW_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "user/base/digest.h"
#include "user/base/when.h"

static uint64_t draw_state;

static inline void draw_seed(uint64_t seed)
{
	draw_state = seed;
}

static inline uint64_t draw(uint64_t below)
{
	return digest_mix(draw_state += 0x9e3779b97f4a7c15ull) % below;
}

/* The run's seed, told so that a failure can be repeated. */
static inline uint64_t draw_start(void)
{
	const char *given = getenv("LAPIDARY_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : when_wall_now();
	printf("# LAPIDARY_SEED=%llu\n", (unsigned long long)seed);
	draw_seed(seed);
	return seed;
}

#endif
