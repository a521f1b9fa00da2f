/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All parts are sorted by what they are, then by what they are worth: a run of one name with more than one
 * value is a difference. A process that names one thing twice with two values differs from itself, and stands
 * under both: two versions of a library in one process are worth being told.
 */
#include "user/gems/consistency.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"

struct entry {
	const struct process_part *part;
	uint32_t pid;
};

static const char *const kinds[] = {"ruby", "gem", "extension", "library"};

static int compare_names(const struct entry *a, const struct entry *b)
{
	if (a->part->kind != b->part->kind)
		return a->part->kind < b->part->kind ? -1 : 1;
	return strcmp(a->part->name, b->part->name);
}

static int compare(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	int order = compare_names(a, b);

	if (!order)
		order = strcmp(a->part->value, b->part->value);
	if (!order)
		order = (a->pid > b->pid) - (a->pid < b->pid);
	return order;
}

/* A value, and those who have it. */
struct run {
	const struct entry *entries;
	size_t count, pids;
};

static int compare_runs(const void *left, const void *right)
{
	const struct run *a = left, *b = right;

	if (a->pids != b->pids)
		return a->pids > b->pids ? -1 : 1;
	return strcmp(a->entries->part->value, b->entries->part->value);
}

static cJSON *value_make(const struct run *run)
{
	cJSON *value = cJSON_CreateObject(), *pids;

	json_add_text(value, "value", run->entries->part->value);
	pids = cJSON_AddArrayToObject(value, "pids");
	for (size_t i = 0; i < run->count; i++)
		if (i == 0 || run->entries[i].pid != run->entries[i - 1].pid)
			cJSON_AddItemToArray(pids, cJSON_CreateNumber(run->entries[i].pid));
	return value;
}

static size_t find_runs(const struct entry *entries, size_t count, struct run *runs)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		bool same = i > 0 && !strcmp(entries[i].part->value, entries[i - 1].part->value);

		if (!same)
			runs[used++] = (struct run){.entries = &entries[i]};
		runs[used - 1].count++;
		runs[used - 1].pids += !same || entries[i].pid != entries[i - 1].pid;
	}
	return used;
}

/* What most have stands first; of equals the smaller value, so that the order is always the same. */
static bool add_difference(cJSON *list, const struct entry *entries, size_t count)
{
	struct run *runs = calloc(count, sizeof(*runs));
	cJSON *difference = cJSON_CreateObject(), *values;
	size_t used;

	if (!runs || !difference) {
		free(runs);
		cJSON_Delete(difference);
		return false;
	}
	json_add_text(difference, "kind", kinds[entries->part->kind]);
	json_add_text(difference, "name", entries->part->name);
	values = cJSON_AddArrayToObject(difference, "values");
	used = find_runs(entries, count, runs);
	qsort(runs, used, sizeof(*runs), compare_runs);
	for (size_t i = 0; i < used; i++)
		cJSON_AddItemToArray(values, value_make(&runs[i]));
	cJSON_AddItemToArray(list, difference);
	free(runs);
	return true;
}

static bool differs(const struct entry *entries, size_t count)
{
	return strcmp(entries[0].part->value, entries[count - 1].part->value) != 0;
}

/* What has no name or no value is not known, and differs from nothing. */
static size_t collect(const struct process_parts *processes, size_t count, struct entry *entries)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < processes[i].count; k++) {
			const struct process_part *part = &processes[i].parts[k];

			if (part->name && part->name[0] && part->value && part->value[0])
				entries[used++] = (struct entry){part, processes[i].pid};
		}
	return used;
}

cJSON *consistency_check(const struct process_parts *processes, size_t count)
{
	cJSON *list = cJSON_CreateArray();
	struct entry *entries;
	size_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += processes[i].count;
	entries = calloc(total + 1, sizeof(*entries));
	if (!list || !entries) {
		cJSON_Delete(list);
		free(entries);
		return NULL;
	}
	total = collect(processes, count, entries);
	qsort(entries, total, sizeof(*entries), compare);
	for (size_t from = 0, to; from < total && list; from = to) {
		for (to = from + 1; to < total && compare_names(&entries[to], &entries[from]) == 0; to++)
			;
		if (differs(entries + from, to - from) && !add_difference(list, entries + from, to - from)) {
			cJSON_Delete(list);
			list = NULL;
		}
	}
	free(entries);
	return list;
}
