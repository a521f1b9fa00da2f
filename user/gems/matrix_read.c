/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrix is one document, read as a whole or not at all: half of it in force is worse than what was
 * there. The schema says what a line looks like; what is asked of it here holds without one as well, so that
 * asking needs to check nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/base/schema.h"
#include "user/gems/matrix_private.h"
#include "user/gems/version.h"

enum { SCHEMA_LIMIT = 64 << 10 };

struct reading {
	struct matrix *matrix;
	const char *name;
	char *why;
	size_t why_size;
};

static int refuse(const struct reading *reading, size_t line, const char *what)
{
	snprintf(reading->why, reading->why_size, "%s: /lines/%zu: %s", reading->name, line, what);
	return -EBADMSG;
}

/* An object's bounds; false where it has some that are no versions. */
static bool read_bounds(const cJSON *line, const char *key, const char **from, const char **below)
{
	const cJSON *bounds = cJSON_GetObjectItemCaseSensitive(line, key);

	*from = json_text(bounds, "from");
	*below = json_text(bounds, "below");
	if (!bounds)
		return true;
	return cJSON_IsObject(bounds) && (*from[0] || *below[0]) && (!*from[0] || version_is(*from)) &&
	       (!*below[0] || version_is(*below)) &&
	       (!*from[0] || !*below[0] || version_compare(*from, *below) < 0);
}

static bool read_globs(const cJSON *line, const char *key, const cJSON **out)
{
	const cJSON *globs = cJSON_GetObjectItemCaseSensitive(line, key), *glob;

	*out = globs;
	if (!globs)
		return true;
	if (!cJSON_IsArray(globs) || !globs->child)
		return false;
	cJSON_ArrayForEach(glob, globs)
	{
		if (!cJSON_IsString(glob) || strlen(glob->valuestring) > 128)
			return false;
	}
	return true;
}

static bool read_rating(const cJSON *line, enum matrix_rating *out)
{
	const char *rating = json_text(line, "rating");

	for (int i = MATRIX_GOOD; i <= MATRIX_BAD; i++)
		if (!strcmp(rating, matrix_rating_name((enum matrix_rating)i))) {
			*out = (enum matrix_rating)i;
			return true;
		}
	return false;
}

static bool read_built(const cJSON *line, enum matrix_built *out)
{
	const char *built = json_text(line, "built");

	*out = !strcmp(built, "source")        ? BUILT_HERE
	       : !strcmp(built, "precompiled") ? BUILT_PRECOMPILED
					       : BUILT_ANY;
	return *out != BUILT_ANY || !cJSON_HasObjectItem(line, "built");
}

static int read_line(struct reading *reading, const cJSON *line, size_t index)
{
	struct matrix_line *out = &reading->matrix->lines[index];
	const cJSON *reference = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(line, "references"), 0);

	out->gem = json_text(line, "gem");
	out->libc = json_text(line, "libc");
	out->answer = (struct matrix_answer){.id = json_text(line, "id"),
					     .says = json_text(line, "says"),
					     .fixed_in = json_text(line, "fixed_in"),
					     .title = json_text(reference, "title"),
					     .at = json_text(reference, "at"),
					     .line = line};
	if (!cJSON_IsObject(line) || !out->gem[0] || !out->answer.id[0] || !out->answer.says[0])
		return refuse(reading, index, "a line has an id, a gem, and says something");
	if (!out->answer.title[0] || !out->answer.at[0])
		return refuse(reading, index, "no public reference");
	if (!read_rating(line, &out->answer.rating))
		return refuse(reading, index, "rating is good, risk or bad");
	if (!read_built(line, &out->built))
		return refuse(reading, index, "built is source or precompiled");
	if (!read_bounds(line, "versions", &out->from, &out->below) ||
	    !read_bounds(line, "ruby", &out->ruby_from, &out->ruby_below))
		return refuse(reading, index, "bounds are versions, from less than below");
	if (!read_globs(line, "platforms", &out->platforms) ||
	    !read_globs(line, "libraries", &out->libraries))
		return refuse(reading, index, "no list of patterns");
	if (out->answer.fixed_in[0] && !version_is(out->answer.fixed_in))
		return refuse(reading, index, "fixed_in is no version");
	for (size_t i = 0; i < index; i++)
		if (!strcmp(reading->matrix->lines[i].answer.id, out->answer.id))
			return refuse(reading, index, "its id is that of another");
	return 0;
}

static int read_lines(struct reading *reading)
{
	struct matrix *matrix = reading->matrix;
	const cJSON *lines = cJSON_GetObjectItemCaseSensitive(matrix->document, "lines"), *line;
	int count = cJSON_IsArray(lines) ? cJSON_GetArraySize(lines) : -1, err = 0;

	if (count < 0 || count > MATRIX_LINES_MAX) {
		snprintf(reading->why, reading->why_size, "%s: /lines: %s", reading->name,
			 count < 0 ? "no list" : "more than 1024");
		return count < 0 ? -EBADMSG : -E2BIG;
	}
	matrix->lines = calloc((size_t)count + 1, sizeof(*matrix->lines));
	if (!matrix->lines)
		return -ENOMEM;
	cJSON_ArrayForEach(line, lines)
	{
		if (err)
			break;
		err = read_line(reading, line, matrix->count++);
	}
	return err;
}

int matrix_parse(const char *name, const char *text, const cJSON *schema, struct matrix **out, char *why,
		 size_t why_size)
{
	struct reading reading = {calloc(1, sizeof(struct matrix)), name, why, why_size};
	char what[256];
	int err;

	snprintf(why, why_size, "%s: out of memory", name);
	if (!reading.matrix)
		return -ENOMEM;
	err = json_parse(name, text, &reading.matrix->document, why, why_size);
	if (!err && schema) {
		err = schema_check(schema, reading.matrix->document, what, sizeof(what));
		if (err)
			snprintf(why, why_size, "%s: %s", name, what);
	}
	if (!err)
		err = read_lines(&reading);
	if (err) {
		matrix_free(reading.matrix);
		return err;
	}
	*out = reading.matrix;
	return 0;
}

static int read_from(const char *folder, char **text, cJSON **schema, char *why, size_t why_size)
{
	char path[4096];
	int err;

	snprintf(path, sizeof(path), "%s/gems.json", folder);
	err = file_read(path, MATRIX_FILE_LIMIT, text, NULL);
	if (err) {
		snprintf(why, why_size, "%s: %s", path, strerror(-err));
		return err;
	}
	snprintf(path, sizeof(path), "%s/schema/gems.schema.json", folder);
	err = json_read(path, SCHEMA_LIMIT, schema, why, why_size);
	if (err == -ENOENT) {
		snprintf(path, sizeof(path), "%s/rules/schema/gems.schema.json", LAPIDARY_DATADIR);
		err = json_read(path, SCHEMA_LIMIT, schema, why, why_size);
	}
	/* a matrix without the schema that it must be held against is no missing matrix */
	return err == -ENOENT ? -EBADMSG : err;
}

int matrix_load(const char *rules_dir, struct matrix **out, char *why, size_t why_size)
{
	char folder[3072], *text = NULL;
	cJSON *schema = NULL;
	int err;

	snprintf(folder, sizeof(folder), "%s", rules_dir);
	err = read_from(folder, &text, &schema, why, why_size);
	if (err == -ENOENT) {
		snprintf(folder, sizeof(folder), "%s/rules", LAPIDARY_DATADIR);
		err = read_from(folder, &text, &schema, why, why_size);
	}
	if (err == -ENOENT)
		err = matrix_parse("no matrix", "{\"lines\":[]}", NULL, out, why, why_size);
	else if (!err) {
		snprintf(folder + strlen(folder), sizeof(folder) - strlen(folder), "/gems.json");
		err = matrix_parse(folder, text, schema, out, why, why_size);
	}
	free(text);
	cJSON_Delete(schema);
	return err;
}

void matrix_free(struct matrix *matrix)
{
	if (!matrix)
		return;
	free(matrix->lines);
	cJSON_Delete(matrix->document);
	free(matrix);
}
