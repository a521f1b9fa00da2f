/* SPDX-License-Identifier: Apache-2.0 */
/* A command that lists what the store holds: flags, query, JSON or table. */
#ifndef LAPIDARY_DOCUMENTS_H
#define LAPIDARY_DOCUMENTS_H

#include "user/cli/grid.h"
#include "user/cli/listing.h"

struct documents {
	const char *name; /* of the command and of the array in its answer */
	struct help help;
	const char *heads; /* as grid_new takes them */
	void (*row)(struct grid *grid, const cJSON *one);
	int (*read)(struct store_reader *reader, const struct store_filter *filter, cJSON **out);
	unsigned flags;                   /* enum listing_flag */
	void (*remark)(const cJSON *all); /* said on stderr beside a table; may be NULL */
};

int documents_run(const struct documents *documents, int argc, char **argv);

#endif
