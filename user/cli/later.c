// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>
#include "user/cli/later.h"

struct later {
	struct later *next;
	void (*run)(void *context, void *payload);
	uint64_t payload[];
};

void later_init(struct later_row *row)
{
	*row = (struct later_row){.end = &row->first};
}

void *later_add(struct later_row *row, size_t size, void (*run)(void *context, void *payload))
{
	struct later *later = malloc(sizeof(*later) + size);

	if (!later)
		return NULL;
	later->next = NULL;
	later->run = run;
	*row->end = later;
	row->end = &later->next;
	return later->payload;
}

void later_run(struct later_row *row, void *context)
{
	struct later *later;

	if (row->running)
		return;
	row->running = true;
	while ((later = row->first)) {
		row->first = later->next;
		if (!row->first)
			row->end = &row->first;
		later->run(context, later->payload);
		free(later);
	}
	row->running = false;
}
