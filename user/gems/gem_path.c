/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A native extension is found below one of a few layouts, and each of them names the gem in a directory:
 *
 *   …/gems/pg-1.5.4/lib/pg_ext.so                          RubyGems, Bundler, rbenv, asdf
 *   …/gems/pg-1.6.0-x86_64-linux/lib/3.3/pg_ext.so         precompiled, one object per Ruby
 *   …/extensions/x86_64-linux/3.1.0/pg-1.5.4/pg_ext.so     where RubyGems keeps what it compiled
 *   …/bundler/gems/shop-0a1b2c3d4e5f/lib/shop/shop.so      Bundler's git sources: a revision, no version
 *   …/ruby/vendor_ruby/3.1.0/pg_ext.so                     Debian: no version in the path
 *   …/shop/ext/shop/shop.so                                Bundler's path sources: a name at most
 *
 * The innermost layout counts (a gem may hold a vendored bundle of its own). The path is what a watched
 * process mapped, so it may be anything: every piece is bounded by its slashes and checked letter by letter,
 * and what does not fit whole is no gem rather than half a name.
 */
#include <ctype.h>
#include <string.h>
#include "user/gems/gem_path.h"

/* A piece of the path between two slashes. */
struct piece {
	const char *text;
	size_t size;
};

enum { PIECES = 64 };

static size_t path_split(const char *path, struct piece *pieces)
{
	size_t count = 0;

	while (*path && count < PIECES) {
		size_t size = strcspn(path, "/");

		if (size)
			pieces[count++] = (struct piece){path, size};
		path += size;
		path += *path == '/';
	}
	return *path ? 0 : count;
}

static bool piece_is(const struct piece *piece, const char *word)
{
	return piece->size == strlen(word) && !memcmp(piece->text, word, piece->size);
}

static bool piece_copy(char *out, size_t out_size, const char *text, size_t size)
{
	if (size == 0 || size >= out_size)
		return false;
	memcpy(out, text, size);
	out[size] = '\0';
	return true;
}

static bool is_name(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("_-.", text[i]))
			return false;
	return size > 0 && isalnum((unsigned char)text[0]);
}

/* "1.5.4", "2.0.0.rc1": digits first, then dotted words. */
static bool is_version(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!isalnum((unsigned char)text[i]) &&
		    (text[i] != '.' || i + 1 == size || text[i + 1] == '.'))
			return false;
	return size > 0 && isdigit((unsigned char)text[0]);
}

static bool is_platform(const char *text, size_t size)
{
	static const char *const first[] = {"x86_64", "x86",  "x64",  "aarch64", "arm64",
					    "arm",    "i386", "i686", "java",    "universal"};

	for (size_t i = 0; i < sizeof(first) / sizeof(*first); i++) {
		size_t length = strlen(first[i]);

		if (size >= length && !memcmp(text, first[i], length) &&
		    (size == length || text[length] == '-'))
			return true;
	}
	return false;
}

/* "3.1.0", "3.3", "3.1.0-static", "3.4.0+1": the first two numbers are the ABI, the third is always 0. */
static bool abi_parse(const struct piece *piece, char *out, size_t out_size)
{
	size_t i = 0, dots = 0, end = 0;

	for (; i < piece->size && (isdigit((unsigned char)piece->text[i]) || piece->text[i] == '.'); i++) {
		if (piece->text[i] == '.' && (i == 0 || piece->text[i - 1] == '.'))
			return false;
		if (piece->text[i] == '.' && ++dots == 2)
			end = i;
	}
	if (i < piece->size && piece->text[i] != '-' && piece->text[i] != '+')
		return false;
	if (i == 0 || piece->text[i - 1] == '.' || dots == 0 || dots > 2)
		return false;
	if (dots == 1)
		end = i;
	if (end + 3 > out_size)
		return false;
	memcpy(out, piece->text, end);
	memcpy(out + end, ".0", 3);
	return true;
}

/* "name-version" or "name-version-platform". */
static bool versioned_parse(const struct piece *piece, struct gem_path *out)
{
	for (size_t i = 1; i + 1 < piece->size; i++) {
		const char *version = piece->text + i + 1, *end = piece->text + piece->size, *dash;
		size_t size;

		if (piece->text[i] != '-')
			continue;
		dash = memchr(version, '-', (size_t)(end - version));
		size = (size_t)((dash ? dash : end) - version);
		if (!is_version(version, size) || (dash && !is_platform(dash + 1, (size_t)(end - dash - 1))))
			continue;
		return is_name(piece->text, i) && piece_copy(out->name, sizeof(out->name), piece->text, i) &&
		       piece_copy(out->version, sizeof(out->version), version, size);
	}
	return false;
}

/* "name-0a1b2c3d4e5f": what Bundler calls a git checkout. */
static bool revision_parse(const struct piece *piece, struct gem_path *out)
{
	size_t dash = piece->size;

	while (dash > 0 && piece->text[dash - 1] != '-')
		dash--;
	if (dash < 2 || piece->size - dash < 7 || piece->size - dash > 40)
		return false;
	for (size_t i = dash; i < piece->size; i++)
		if (!isxdigit((unsigned char)piece->text[i]))
			return false;
	return is_name(piece->text, dash - 1) &&
	       piece_copy(out->name, sizeof(out->name), piece->text, dash - 1) &&
	       piece_copy(out->version, sizeof(out->version), piece->text + dash, piece->size - dash);
}

/* "pg_ext.so" → "pg", "nokogiri.so" → "nokogiri". */
static bool object_name(const struct piece *file, char *out, size_t out_size)
{
	size_t size = file->size;

	if (size <= 3 || memcmp(file->text + size - 3, ".so", 3))
		return false;
	size -= 3;
	if (size > 4 && !memcmp(file->text + size - 4, "_ext", 4))
		size -= 4;
	return is_name(file->text, size) && piece_copy(out, out_size, file->text, size);
}

/* The ABI that the layout around a gem's directory states, unless the object's own directory does. */
static void abi_find(const struct piece *pieces, size_t count, size_t gem, struct gem_path *out)
{
	for (size_t i = count - 1; i-- > gem + 1;)
		if (abi_parse(&pieces[i], out->abi, sizeof(out->abi)))
			return;
	/* ruby/<abi>/gems/<gem>, gems/<abi>/gems/<gem>, extensions/<platform>/<abi>/<gem>,
	 * <abi>/bundler/gems/<gem> */
	for (size_t i = gem; i-- > 0 && i + 4 > gem;)
		if (abi_parse(&pieces[i], out->abi, sizeof(out->abi)))
			return;
}

static bool gem_at(const struct piece *pieces, size_t count, size_t i, struct gem_path *out)
{
	bool compiled = i >= 3 && piece_is(&pieces[i - 3], "extensions") &&
			is_platform(pieces[i - 2].text, pieces[i - 2].size);
	bool gems = i >= 1 && piece_is(&pieces[i - 1], "gems");
	bool git = (gems && i >= 2 && piece_is(&pieces[i - 2], "bundler")) ||
		   (compiled && i >= 5 && piece_is(&pieces[i - 4], "gems") &&
		    piece_is(&pieces[i - 5], "bundler"));

	if (!gems && !compiled)
		return false;
	if (!(git && revision_parse(&pieces[i], out)) && !versioned_parse(&pieces[i], out))
		return false;
	abi_find(pieces, count, i, out);
	return true;
}

/* vendor_ruby and site_ruby: <abi>, perhaps <platform>, then the object or the gem's directory. */
static bool vendored_at(const struct piece *pieces, size_t count, size_t i, struct gem_path *out)
{
	bool vendor = piece_is(&pieces[i], "vendor_ruby");
	size_t next = i + 2;

	if ((!vendor && !piece_is(&pieces[i], "site_ruby")) || next >= count)
		return false;
	if (!abi_parse(&pieces[i + 1], out->abi, sizeof(out->abi)))
		return false;
	if (next + 1 < count && is_platform(pieces[next].text, pieces[next].size))
		next++;
	if (next + 1 < count
		    ? !(is_name(pieces[next].text, pieces[next].size) &&
			piece_copy(out->name, sizeof(out->name), pieces[next].text, pieces[next].size))
		    : !object_name(&pieces[next], out->name, sizeof(out->name)))
		return false;
	out->debian = vendor;
	return true;
}

/* A path source of Bundler: the directory that holds lib/ or ext/ has the object's name. */
static bool source_at(const struct piece *pieces, size_t count, size_t i, struct gem_path *out)
{
	char name[sizeof(out->name)];

	if (i == 0 || (!piece_is(&pieces[i], "lib") && !piece_is(&pieces[i], "ext")))
		return false;
	if (!object_name(&pieces[count - 1], name, sizeof(name)) || pieces[i - 1].size != strlen(name))
		return false;
	for (size_t k = 0; name[k]; k++) {
		char c = pieces[i - 1].text[k];

		if (c != name[k] && !(c == '-' && name[k] == '_'))
			return false;
	}
	return is_name(pieces[i - 1].text, pieces[i - 1].size) &&
	       piece_copy(out->name, sizeof(out->name), pieces[i - 1].text, pieces[i - 1].size);
}

bool gem_path_parse(const char *path, struct gem_path *out)
{
	static bool (*const layouts[])(const struct piece *, size_t, size_t,
				       struct gem_path *) = {gem_at, vendored_at, source_at};
	struct piece pieces[PIECES];
	size_t count = path && *path == '/' ? path_split(path, pieces) : 0;

	for (size_t layout = 0; count && layout < sizeof(layouts) / sizeof(*layouts); layout++)
		for (size_t i = count - 1; i-- > 0;) {
			struct gem_path found = {0};

			if (layouts[layout](pieces, count, i, &found)) {
				*out = found;
				return true;
			}
		}
	return false;
}
