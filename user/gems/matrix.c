// SPDX-License-Identifier: Apache-2.0
#include "user/gems/matrix.h"
#include <fnmatch.h>
#include <string.h>
#include "user/gems/matrix_private.h"
#include "user/gems/version.h"

static const char *known(const char *text)
{
	return text ? text : "";
}

/* At least `from` and less than `below`; a version that is not known lies in no bounds. */
static bool lies_in(const char *version, const char *from, const char *below)
{
	if (!from[0] && !below[0])
		return true;
	if (!version_is(version))
		return false;
	return (!from[0] || version_compare(version, from) >= 0) &&
	       (!below[0] || version_compare(version, below) < 0);
}

static bool any_glob(const cJSON *globs, const char *text)
{
	const cJSON *glob;

	cJSON_ArrayForEach(glob, globs)
	{
		if (fnmatch(glob->valuestring, text, 0) == 0)
			return true;
	}
	return false;
}

static bool gets_library(const cJSON *globs, const struct matrix_query *query)
{
	for (size_t i = 0; i < query->library_count; i++)
		if (any_glob(globs, query->libraries[i]))
			return true;
	return false;
}

static bool is_built_so(enum matrix_built built, const char *platform)
{
	switch (built) {
	case BUILT_HERE:
		return !strcmp(platform, "ruby");
	case BUILT_PRECOMPILED:
		return platform[0] && strcmp(platform, "ruby") != 0;
	default:
		return true;
	}
}

static bool applies(const struct matrix_line *line, const struct matrix_query *query)
{
	const char *platform = known(query->platform);

	return !strcmp(line->gem, known(query->gem)) &&
	       lies_in(known(query->version), line->from, line->below) &&
	       lies_in(known(query->ruby), line->ruby_from, line->ruby_below) &&
	       is_built_so(line->built, platform) &&
	       (!line->libc[0] || !strcmp(line->libc, known(query->libc))) &&
	       (!line->platforms || (platform[0] && any_glob(line->platforms, platform))) &&
	       (!line->libraries || gets_library(line->libraries, query));
}

size_t matrix_ask(const struct matrix *matrix, const struct matrix_query *query, struct matrix_answer *out,
		  size_t size)
{
	size_t count = 0;

	for (int rating = MATRIX_BAD; rating > MATRIX_UNKNOWN; rating--)
		for (size_t i = 0; matrix && i < matrix->count && count < size; i++)
			if (matrix->lines[i].answer.rating == (enum matrix_rating)rating &&
			    applies(&matrix->lines[i], query))
				out[count++] = matrix->lines[i].answer;
	return count;
}

size_t matrix_count(const struct matrix *matrix)
{
	return matrix ? matrix->count : 0;
}

const char *matrix_rating_name(enum matrix_rating rating)
{
	static const char *const names[] = {"unknown", "good", "risk", "bad"};

	return names[rating];
}
