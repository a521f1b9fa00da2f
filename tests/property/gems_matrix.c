/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 25: the matrix is accurate and enforced. Over generated versions, Rubies and platforms: what is
 * answered is what the document says, judged by a reader of its own that knows numbers alone; and a verdict
 * never calls compatible what a line calls bad.
 */
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/object_make.h"
#include "user/base/json.h"
#include "user/gems/matrix.h"
#include "user/gems/verdict.h"

enum { CASES = 5000 };

static struct matrix *matrix;
static cJSON *document;

static int set_up(void **state)
{
	char why[256];

	(void)state;
	if (matrix_load("rules", &matrix, why, sizeof(why)) ||
	    json_read("rules/gems.json", MATRIX_FILE_LIMIT, &document, why, sizeof(why))) {
		print_error("%s\n", why);
		return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	matrix_free(matrix);
	cJSON_Delete(document);
	return 0;
}

/* The whole table of the three gems that must be right, as their references have it. */
static void critical_gems(void **state)
{
	static const struct {
		const char *gem, *version, *ruby, *platform, *library, *id;
		enum matrix_rating worst;
	} rows[] = {
		{"pg", "1.6.2", "4.0.0", "x86_64-linux", "", "pg-precompiled-ruby-4.0", MATRIX_BAD},
		{"pg", "1.6.2", "3.4.1", "x86_64-linux", "", "", MATRIX_UNKNOWN},
		{"pg", "1.6.2", "4.0.0", "ruby", "", "", MATRIX_UNKNOWN},
		{"pg", "1.6.3", "4.0.0", "x86_64-linux", "", "pg-precompiled-good", MATRIX_GOOD},
		{"pg", "1.6.3", "2.7.8", "x86_64-linux", "", "pg-precompiled-ruby-2.7", MATRIX_BAD},
		{"pg", "1.6.0", "2.6.10", "ruby", "", "pg-ruby-before-2.7", MATRIX_BAD},
		{"pg", "1.5.2", "3.2.0", "ruby", "", "pg-type-map-collection", MATRIX_RISK},
		{"pg", "1.4.5", "3.1.2", "ruby", "libgssapi_krb5.so.2", "pg-gss-after-fork", MATRIX_RISK},
		{"pg", "1.5.6", "3.4.0", "ruby", "", "pg-ruby-3.4-io", MATRIX_RISK},
		{"pg", "1.6.3", "3.3.0", "ruby", "", "", MATRIX_UNKNOWN},
		{"iodine", "0.7.49", "3.2.0", "ruby", "", "iodine-ruby-3.2", MATRIX_RISK},
		{"iodine", "0.7.56", "3.3.0", "ruby", "", "iodine-name-collision", MATRIX_RISK},
		{"iodine", "0.7.58", "3.3.0", "ruby", "", "", MATRIX_UNKNOWN},
		{"bcrypt", "3.1.14", "2.7.1", "ruby", "", "bcrypt-3.1.14-ruby-2.7", MATRIX_BAD},
		{"bcrypt", "3.1.14", "2.6.0", "ruby", "", "", MATRIX_UNKNOWN},
		{"bcrypt", "3.1.15", "2.7.1", "ruby", "", "", MATRIX_UNKNOWN},
		{"bcrypt", "3.1.11", "2.5.1", "ruby", "", "bcrypt-libxcrypt", MATRIX_RISK},
		{"bcrypt", "3.1.20", "3.3.0", "ruby", "", "", MATRIX_UNKNOWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct matrix_answer answers[MATRIX_ANSWERS];
		const struct matrix_query query = {.gem = rows[i].gem,
						   .version = rows[i].version,
						   .ruby = rows[i].ruby,
						   .platform = rows[i].platform,
						   .libc = "glibc",
						   .libraries = &rows[i].library,
						   .library_count = rows[i].library[0] != 0};
		size_t count = matrix_ask(matrix, &query, answers, MATRIX_ANSWERS);
		bool found = !rows[i].id[0];

		for (size_t k = 0; k < count; k++)
			found |= !strcmp(answers[k].id, rows[i].id);
		if (!found || (count ? answers[0].rating : MATRIX_UNKNOWN) != rows[i].worst)
			fail_msg("%s %s on %s: %zu answers, %s", rows[i].gem, rows[i].version, rows[i].ruby,
				 count, count ? answers[0].id : "unknown");
	}
}

/* "1.2.3" as one number; the drawn versions have no letters. */
static uint64_t number(const char *version)
{
	uint64_t value = 0;

	for (int part = 0; part < 4; part++) {
		value = value * 4096 + strtoull(version, (char **)&version, 10);
		version += *version == '.';
	}
	return value;
}

static bool in_bounds(const cJSON *bounds, const char *version)
{
	const char *from = json_text(bounds, "from"), *below = json_text(bounds, "below");

	if (!bounds)
		return true;
	return version[0] && (!from[0] || number(version) >= number(from)) &&
	       (!below[0] || number(version) < number(below));
}

static bool any_of(const cJSON *globs, const char *text)
{
	const cJSON *glob;

	cJSON_ArrayForEach(glob, globs)
	{
		if (text[0] && fnmatch(glob->valuestring, text, 0) == 0)
			return true;
	}
	return false;
}

static bool must_apply(const cJSON *line, const struct matrix_query *query)
{
	const char *built = json_text(line, "built"), *libc = json_text(line, "libc");
	const cJSON *platforms = cJSON_GetObjectItem(line, "platforms");
	const cJSON *libraries = cJSON_GetObjectItem(line, "libraries");

	if (strcmp(json_text(line, "gem"), query->gem) != 0 ||
	    !in_bounds(cJSON_GetObjectItem(line, "versions"), query->version) ||
	    !in_bounds(cJSON_GetObjectItem(line, "ruby"), query->ruby))
		return false;
	if (!strcmp(built, "source") && strcmp(query->platform, "ruby") != 0)
		return false;
	if (!strcmp(built, "precompiled") && (!query->platform[0] || !strcmp(query->platform, "ruby")))
		return false;
	return (!libc[0] || !strcmp(libc, query->libc)) &&
	       (!platforms || any_of(platforms, query->platform)) &&
	       (!libraries || (query->library_count && any_of(libraries, query->libraries[0])));
}

/* A version near some bound of the document, or not known. */
static void draw_version(const cJSON *line, const char *key, char out[32])
{
	const cJSON *bounds = cJSON_GetObjectItem(line, key);
	const char *near = json_text(bounds, draw(2) ? "from" : "below");
	unsigned a = (unsigned)draw(5), b = (unsigned)draw(20), c = (unsigned)draw(20);

	out[0] = '\0';
	if (draw(12) == 0)
		return;
	if (near[0] && draw(3)) {
		sscanf(near, "%u.%u.%u", &a, &b, &c);
		c += (unsigned)draw(3);
		c -= c > 0 && draw(2);
	}
	snprintf(out, 32, "%u.%u.%u", a, b, c);
}

struct drawn {
	char version[32], ruby[32];
	const char *library;
	struct matrix_query query;
};

static void draw_query(struct drawn *out)
{
	static const char *const platforms[] = {
		"", "ruby", "x86_64-linux", "x86_64-linux-gnu", "x86_64-linux-musl", "aarch64-linux"};
	static const char *const libraries[] = {"libpq.so.5", "libgssapi_krb5.so.2", "libcrypto.so.3",
						"libhiredis.so.1.1", "libicuuc.so.77"};
	static const char *const libcs[] = {"", "glibc", "musl"};
	const cJSON *lines = cJSON_GetObjectItem(document, "lines");
	const cJSON *line = cJSON_GetArrayItem(lines, (int)draw((uint64_t)cJSON_GetArraySize(lines)));

	draw_version(line, "versions", out->version);
	draw_version(line, "ruby", out->ruby);
	out->library = libraries[draw(5)];
	out->query = (struct matrix_query){.gem = json_text(line, "gem"),
					   .version = out->version,
					   .ruby = out->ruby,
					   .platform = platforms[draw(6)],
					   .libc = libcs[draw(3)],
					   .libraries = &out->library,
					   .library_count = draw(2)};
}

static void every_answer(void **state)
{
	unsigned answered = 0, unknown = 0;

	(void)state;
	for (unsigned n = 0; n < CASES; n++) {
		struct matrix_answer answers[64];
		struct drawn drawn;
		size_t count, expected = 0;
		const cJSON *line;

		draw_query(&drawn);
		count = matrix_ask(matrix, &drawn.query, answers, 64);
		cJSON_ArrayForEach(line, cJSON_GetObjectItem(document, "lines"))
		{
			bool told = false;

			for (size_t i = 0; i < count; i++)
				told |= !strcmp(answers[i].id, json_text(line, "id"));
			if (told != must_apply(line, &drawn.query))
				fail_msg("case %u: %s %s, Ruby %s, %s, %s: %s %s", n, drawn.query.gem,
					 drawn.version, drawn.ruby, drawn.query.platform, drawn.query.libc,
					 json_text(line, "id"), told ? "was told" : "was not told");
			expected += told;
		}
		assert_int_equal(count, expected);
		answered += count > 0;
		unknown += count == 0;
	}
	print_message("%u answered, %u unknown\n", answered, unknown);
	assert_true(answered >= 100 && unknown >= 100);
}

/* Whatever else speaks for it: bad is never compatible, and no line makes a suspect better. */
static void enforced(void **state)
{
	const char *const asked[] = {"rb_define_method", NULL};
	const char *const linked[] = {"libruby.so.3.1", NULL}, *const bare[] = {"libc.so.6", NULL};
	struct object *ours = object_make(&(struct object_made){.needed = linked, .asked = asked});
	struct object *gone = object_make(&(struct object_made){.needed = bare, .asked = asked});
	struct object *libruby = object_make(&(struct object_made){.soname = "libruby.so.3.1"});
	struct ruby_runtime ruby = {.version = "3.1.7", .abi = "3.1.0", .object = libruby};
	unsigned bad = 0, other = 0;

	(void)state;
	for (unsigned n = 0; n < CASES; n++) {
		struct matrix_answer answers[MATRIX_ANSWERS];
		struct extension_verdict verdict;
		struct drawn drawn;
		struct extension_found found = {
			.path = "/x.so", .object = draw(2) ? ours : gone, .matrix = answers};
		bool is_bad = false;

		draw_query(&drawn);
		found.matrix_count = matrix_ask(matrix, &drawn.query, answers, MATRIX_ANSWERS);
		for (size_t i = 0; i < found.matrix_count; i++)
			is_bad |= answers[i].rating == MATRIX_BAD;
		extension_judge(&found, &ruby, "", "", &verdict);
		if (is_bad ? verdict.verdict != VERDICT_INCOMPATIBLE
			   : verdict.verdict != (found.object == ours ? VERDICT_COMPATIBLE : VERDICT_SUSPECT))
			fail_msg("case %u: %s", n, verdict_name(verdict.verdict));
		bad += is_bad;
		other += !is_bad;
	}
	assert_true(bad >= 100 && other >= 100);
	free(ours);
	free(gone);
	free(libruby);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 25: pg, iodine and bcrypt as their references have them", critical_gems, NULL,
		 NULL, NULL},
		{"Property 25: every answer is what the document says, and nothing else is answered",
		 every_answer, NULL, NULL, NULL},
		{"Property 25: what is bad is rejected, and nothing else changes", enforced, NULL, NULL,
		 NULL},
	};

	draw_start();
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
