/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 26: over the processes of a container: who has another Ruby, gem or library is listed, with all
 * who have it, and who has the same or has not loaded it yet is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/base/json.h"
#include "user/gems/consistency.h"

enum { CASES = 500, PROCESSES = 12, THINGS = 6 };

static const struct {
	enum part_kind kind;
	const char *name;
} things[THINGS] = {{PART_RUBY, "ruby"},           {PART_GEM, "pg"},
		    {PART_GEM, "nokogiri"},        {PART_EXTENSION, "pg_ext.so"},
		    {PART_LIBRARY, "libssl.so.3"}, {PART_LIBRARY, "pg"}};
static const char *const values[] = {"1.0", "1.1", "2.0"};
static const char *const kinds[] = {"ruby", "gem", "extension", "library"};

struct drawn {
	size_t count;
	int has[PROCESSES][THINGS]; /* -1: not loaded; else which of values */
	struct process_part parts[PROCESSES][THINGS];
	struct process_parts processes[PROCESSES];
};

static void draw_processes(struct drawn *out)
{
	memset(out, 0, sizeof(*out));
	out->count = draw(PROCESSES + 1);
	for (size_t p = 0; p < out->count; p++) {
		out->processes[p] =
			(struct process_parts){.pid = (uint32_t)(1000 + p), .parts = out->parts[p]};
		for (size_t t = 0; t < THINGS; t++) {
			/* most deployments are even: a thing differs in a few places, if at all */
			out->has[p][t] = draw(5) == 0 ? -1 : draw(8) == 0 ? (int)draw(3) : 0;
			if (out->has[p][t] < 0)
				continue;
			out->parts[p][out->processes[p].count++] =
				(struct process_part){things[t].kind, things[t].name, values[out->has[p][t]]};
		}
	}
}

static const cJSON *find(const cJSON *list, size_t thing)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, list)
	{
		if (!strcmp(json_text(one, "name"), things[thing].name) &&
		    !strcmp(json_text(one, "kind"), kinds[things[thing].kind]))
			return one;
	}
	return NULL;
}

static bool lists(const cJSON *difference, const char *value, uint32_t pid)
{
	const cJSON *one, *each;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(difference, "values"))
	{
		if (strcmp(json_text(one, "value"), value) != 0)
			continue;
		cJSON_ArrayForEach(each, cJSON_GetObjectItem(one, "pids"))
		{
			if (each->valuedouble == pid)
				return true;
		}
	}
	return false;
}

static void check(const struct drawn *drawn, const cJSON *list, unsigned n)
{
	int found = 0;

	for (size_t t = 0; t < THINGS; t++) {
		const cJSON *difference = find(list, t);
		int counts[3] = {0}, most = 0, kept = 0;
		const cJSON *first;

		for (size_t p = 0; p < drawn->count; p++)
			if (drawn->has[p][t] >= 0)
				counts[drawn->has[p][t]]++;
		for (int v = 0; v < 3; v++) {
			kept += counts[v] > 0;
			most = counts[v] > most ? counts[v] : most;
		}
		if ((kept > 1) != (difference != NULL))
			fail_msg("case %u: %s: %d values, %s", n, things[t].name, kept,
				 difference ? "told" : "not told");
		if (!difference)
			continue;
		found++;
		for (size_t p = 0; p < drawn->count; p++)
			for (int v = 0; v < 3; v++)
				if (lists(difference, values[v], (uint32_t)(1000 + p)) !=
				    (drawn->has[p][t] == v))
					fail_msg("case %u: %s of process %zu has %d, %s", n, things[t].name,
						 p, drawn->has[p][t], cJSON_PrintUnformatted(difference));
		first = cJSON_GetArrayItem(cJSON_GetObjectItem(difference, "values"), 0);
		assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(first, "pids")), most);
	}
	assert_int_equal(cJSON_GetArraySize(list), found);
}

static void who_differs(void **state)
{
	unsigned even = 0, uneven = 0;

	(void)state;
	for (unsigned n = 0; n < CASES; n++) {
		struct drawn drawn;
		char *once, *again;
		cJSON *list;

		draw_processes(&drawn);
		list = consistency_check(drawn.processes, drawn.count);
		assert_non_null(list);
		check(&drawn, list, n);
		even += cJSON_GetArraySize(list) == 0;
		uneven += cJSON_GetArraySize(list) > 0;
		once = cJSON_PrintUnformatted(list);
		cJSON_Delete(list);
		/* the order in which processes are looked at changes nothing */
		for (size_t p = 0; p + 1 < drawn.count; p++) {
			size_t other = p + draw(drawn.count - p);
			struct process_parts kept = drawn.processes[p];

			drawn.processes[p] = drawn.processes[other];
			drawn.processes[other] = kept;
		}
		list = consistency_check(drawn.processes, drawn.count);
		again = cJSON_PrintUnformatted(list);
		assert_string_equal(once, again);
		free(once);
		free(again);
		cJSON_Delete(list);
	}
	print_message("%u even, %u uneven\n", even, uneven);
	assert_true(even >= 50 && uneven >= 100);
}

static void one_process_with_two(void **state)
{
	const struct process_part parts[] = {{PART_LIBRARY, "libssl.so", "aa"},
					     {PART_LIBRARY, "libssl.so", "bb"},
					     {PART_LIBRARY, "libssl.so", "bb"},
					     {PART_GEM, "pg", NULL},
					     {PART_GEM, NULL, "1"},
					     {PART_GEM, "pg", ""}};
	const struct process_parts process = {7, parts, 6};
	cJSON *list = consistency_check(&process, 1);

	(void)state;
	assert_int_equal(cJSON_GetArraySize(list), 1);
	assert_true(lists(list->child, "aa", 7) && lists(list->child, "bb", 7));
	cJSON_Delete(list);
	list = consistency_check(NULL, 0);
	assert_int_equal(cJSON_GetArraySize(list), 0);
	cJSON_Delete(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 26: all who differ are listed, and nobody else", who_differs, NULL, NULL, NULL},
		{"Property 26: two versions in one process", one_process_with_two, NULL, NULL, NULL},
	};

	draw_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
