// SPDX-License-Identifier: Apache-2.0
/* Any document, and any question: it is refused with a reason, or asking it is safe and answers are whole. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/gems/matrix.h"
#include "user/gems/version.h"

static void ask(const struct matrix *matrix, const char *gem, const char *version, const char *ruby)
{
	static const char *const libraries[] = {"libpq.so.5", ""};
	struct matrix_answer answers[MATRIX_ANSWERS];
	const struct matrix_query query = {.gem = gem,
					   .version = version,
					   .ruby = ruby,
					   .platform = version,
					   .libc = "musl",
					   .libraries = libraries,
					   .library_count = 2};
	size_t count = matrix_ask(matrix, &query, answers, MATRIX_ANSWERS);

	if (count > MATRIX_ANSWERS || count > matrix_count(matrix))
		abort();
	for (size_t i = 0; i < count; i++)
		if (strcmp(gem, json_text(answers[i].line, "gem")) != 0 || !answers[i].id[0] ||
		    !answers[i].says[0] || !answers[i].at[0] || answers[i].rating == MATRIX_UNKNOWN)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), why[256] = "", *half;
	struct matrix *matrix = NULL;

	memcpy(text, data, size);
	text[size] = '\0';
	if (matrix_parse("fuzz", text, NULL, &matrix, why, sizeof(why)) == 0) {
		ask(matrix, "pg", "1.5.4", "3.1.7");
		ask(matrix, text, text, text);
		matrix_free(matrix);
	} else if (!why[0]) {
		abort();
	}
	/* versions and requirements of gems come from disk as well */
	half = text + size / 2;
	if (version_compare(text, text) != 0 ||
	    (version_compare(text, half) > 0) != (version_compare(half, text) < 0))
		abort();
	version_satisfies(text, half);
	free(text);
	return 0;
}
