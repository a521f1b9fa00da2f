// SPDX-License-Identifier: Apache-2.0
#include "user/gems/version.h"
#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* A run of digits or of letters; empty at the end. */
struct segment {
	const char *text;
	size_t size;
	bool number;
};

static struct segment next_segment(const char **at)
{
	struct segment segment = {0};

	while (**at && !isalnum((unsigned char)**at))
		(*at)++;
	segment.text = *at;
	segment.number = isdigit((unsigned char)**at);
	while (isalnum((unsigned char)**at) && (isdigit((unsigned char)**at) != 0) == segment.number)
		(*at)++;
	segment.size = (size_t)(*at - segment.text);
	return segment;
}

static int compare_numbers(struct segment a, struct segment b)
{
	while (a.size && *a.text == '0') {
		a.text++;
		a.size--;
	}
	while (b.size && *b.text == '0') {
		b.text++;
		b.size--;
	}
	if (a.size != b.size)
		return a.size < b.size ? -1 : 1;
	return memcmp(a.text, b.text, a.size);
}

static int compare_words(struct segment a, struct segment b)
{
	size_t size = a.size < b.size ? a.size : b.size;
	int order = memcmp(a.text, b.text, size);

	if (order)
		return order;
	return a.size == b.size ? 0 : a.size < b.size ? -1 : 1;
}

int version_compare(const char *a, const char *b)
{
	static const struct segment zero = {"0", 1, true};

	for (;;) {
		struct segment one = next_segment(&a), two = next_segment(&b);
		int order;

		if (!one.size && !two.size)
			return 0;
		if (!one.size)
			one = zero;
		if (!two.size)
			two = zero;
		if (one.number != two.number)
			return one.number ? 1 : -1;
		order = one.number ? compare_numbers(one, two) : compare_words(one, two);
		if (order)
			return order;
	}
}

bool version_is(const char *text)
{
	if (!isdigit((unsigned char)*text))
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) &&
		    (!strchr(".-", *text) || !isalnum((unsigned char)text[1])))
			return false;
	return true;
}

enum { WORD = 48 };

/* "~> 3.1.2": at least that, and the same but for the last number. */
static bool is_close(const char *version, const char *bound)
{
	char kept[WORD] = "";
	size_t size = 0, last = 0;

	if (version_compare(version, bound) < 0)
		return false;
	/* letters go, then the last number */
	for (; bound[size] && size + 1 < sizeof(kept) && !isalpha((unsigned char)bound[size]); size++) {
		kept[size] = bound[size];
		if (bound[size] == '.' && isdigit((unsigned char)bound[size + 1]))
			last = size;
	}
	kept[last ? last : size] = '\0';
	/* the version's own first numbers must be those of what is left */
	for (const char *at = kept, *own = version;;) {
		struct segment want = next_segment(&at), have = next_segment(&own);

		if (!want.size)
			return true;
		if (!have.size)
			have = (struct segment){"0", 1, true};
		if (!have.number || compare_numbers(want, have) != 0)
			return false;
	}
}

static int satisfies_one(const char *version, const char *op, const char *bound)
{
	int order = version_compare(version, bound);

	if (!strcmp(op, ">="))
		return order >= 0;
	if (!strcmp(op, "<="))
		return order <= 0;
	if (!strcmp(op, ">"))
		return order > 0;
	if (!strcmp(op, "<"))
		return order < 0;
	if (!strcmp(op, "!="))
		return order != 0;
	if (!strcmp(op, "~>"))
		return is_close(version, bound);
	return !strcmp(op, "=") || !op[0] ? order == 0 : -1;
}

static bool next_word(const char **at, const char *letters, bool among, char *out, size_t size)
{
	size_t length = 0;

	while (**at == ' ')
		(*at)++;
	while (**at && **at != ' ' && **at != ',' && (strchr(letters, **at) != NULL) == among) {
		if (length + 1 == size)
			return false;
		out[length++] = *(*at)++;
	}
	out[length] = '\0';
	return true;
}

int version_satisfies(const char *version, const char *requirement)
{
	char op[4] = "", bound[WORD] = "";
	int all = 1;

	for (;;) {
		int one;

		if (!next_word(&requirement, "<>=!~", true, op, sizeof(op)) ||
		    !next_word(&requirement, "<>=!~", false, bound, sizeof(bound)) || !version_is(bound))
			return -1;
		one = satisfies_one(version, op, bound);
		if (one < 0)
			return -1;
		all &= one;
		while (*requirement == ' ')
			requirement++;
		if (!*requirement)
			return all;
		if (*requirement++ != ',')
			return -1;
	}
}
