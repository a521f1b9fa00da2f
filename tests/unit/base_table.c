// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "user/base/digest.h"
#include "user/base/table.h"

static uint64_t gone_sum;

static void note_gone(void *context, const void *key, void *value)
{
	(void)context;
	(void)value;
	gone_sum += *(const uint64_t *)key;
}

static void full_tables_evict_the_least_recently_used(void **state)
{
	struct table *table = table_new(sizeof(uint64_t), sizeof(uint64_t), 3, note_gone, NULL);
	bool fresh;

	(void)state;
	gone_sum = 0;
	for (uint64_t key = 1; key <= 3; key++)
		*(uint64_t *)table_put(table, &key, &fresh) = key * 10;
	assert_int_equal(*(uint64_t *)table_get(table, &(uint64_t){1}), 10); /* 2 is the oldest now */
	table_put(table, &(uint64_t){4}, &fresh);
	assert_true(fresh);
	assert_null(table_get(table, &(uint64_t){2}));
	assert_non_null(table_peek(table, &(uint64_t){1}));
	assert_int_equal(table_count(table), 3);
	assert_int_equal(table_evicted(table), 1);
	assert_int_equal(gone_sum, 2);
	table_free(table);
	assert_int_equal(gone_sum, 2 + 1 + 3 + 4);
}

static void delete_even(void *context, const void *key, void *value)
{
	(void)value;
	if (*(const uint64_t *)key % 2 == 0)
		assert_true(table_delete(context, key));
}

static void iteration_survives_deleting(void **state)
{
	struct table *table = table_new(sizeof(uint64_t), 1, 1000, NULL, NULL);

	(void)state;
	for (uint64_t key = 0; key < 100; key++)
		table_put(table, &key, NULL);
	table_each(table, delete_even, table);
	assert_int_equal(table_count(table), 50);
	assert_non_null(table_get(table, &(uint64_t){99}));
	assert_null(table_get(table, &(uint64_t){98}));
	table_free(table);
}

/* 100,000 random operations against a plain array. */
static void agrees_with_an_array(void **state)
{
	struct table *table = table_new(sizeof(uint64_t), sizeof(uint64_t), 4096, NULL, NULL);
	uint64_t shadow[512] = {0},
		 seed = getenv("LAPIDARY_SEED") ? strtoull(getenv("LAPIDARY_SEED"), NULL, 0) : 42;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t random = digest_mix(seed + i), key = random % 512;
		uint64_t *value;

		if (random >> 63) {
			assert_int_equal(table_delete(table, &key), shadow[key] != 0);
			shadow[key] = 0;
			continue;
		}
		value = table_put(table, &key, NULL);
		assert_int_equal(*value, shadow[key]);
		*value = shadow[key] = i + 1;
	}
	table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_tables_evict_the_least_recently_used),
		cmocka_unit_test(iteration_survives_deleting),
		cmocka_unit_test(agrees_with_an_array),
	};

	return cmocka_run_group_tests_name("base: table", tests, NULL, NULL);
}
