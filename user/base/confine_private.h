/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of confine. */
#ifndef LAPIDARY_CONFINE_PRIVATE_H
#define LAPIDARY_CONFINE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

struct confine_limit {
	int resource;
	rlim_t value;
};

/* Both limits of each, never wider than they are. */
int confine_limits(const struct confine_limit *limits, size_t count);

#endif
